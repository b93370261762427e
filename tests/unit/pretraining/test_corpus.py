import numpy as np
import pandas as pd
import pytest

from lgdea.errors import DataError
from lgdea.pretraining.corpus import build_corpus, without_images
from lgdea.records.pairing import read_pairing


@pytest.fixture
def pairing(world) -> pd.DataFrame:
    return read_pairing(world / "pairing.parquet")


def test_only_training_studies_enter(archive, evidence, pairing, world):
    corpus = build_corpus(archive, evidence, pairing, source=world)
    train = set(archive.studies.loc[archive.studies["split"] == "train", "study_id"])
    assert {image.removesuffix(":i") for image in corpus.image_ids} == train
    assert len(corpus.report_texts) == 60


def test_linked_and_unlinked_are_apart_and_together_everything(archive, evidence, pairing, world):
    corpus = build_corpus(archive, evidence, pairing, source=world)
    assert len(corpus.pairs) == 30
    assert len(corpus.hidden_pairs) == 30
    assert set(corpus.pairs[:, 0]) | set(corpus.unpaired_images) == set(range(60))
    assert not set(corpus.pairs[:, 0]) & set(corpus.unpaired_images)
    assert not set(corpus.pairs[:, 1]) & set(corpus.unpaired_reports)


def test_pairs_belong_to_one_study(archive, evidence, pairing, world):
    corpus = build_corpus(archive, evidence, pairing, source=world)
    texts = archive.reports.set_index("study_id")["text"]
    for image, report in [*corpus.pairs, *corpus.hidden_pairs]:
        assert corpus.report_texts[report] == texts[corpus.image_ids[image].removesuffix(":i")]


def test_a_link_outside_training_is_refused(archive, evidence, pairing, world):
    wrong = pairing.copy()
    wrong.loc[wrong["study_id"] == "toy:80", "state"] = "paired"
    with pytest.raises(DataError, match=r"toy:80.*not in the training split"):
        build_corpus(archive, evidence, wrong, source=world)


def test_a_pairing_of_another_archive_is_refused(archive, evidence, pairing, world):
    wrong = pairing.assign(study_id="other:" + pairing["study_id"])
    with pytest.raises(DataError, match="lacks"):
        build_corpus(archive, evidence, wrong, source=world)


def test_unreadable_images_leave_and_the_rest_keeps_its_report(archive, evidence, pairing, world):
    corpus = build_corpus(archive, evidence, pairing, source=world)
    gone = {corpus.image_ids[corpus.pairs[0, 0]], corpus.image_ids[corpus.unpaired_images[0]]}
    smaller = without_images(corpus, gone)
    assert len(smaller.image_ids) == 58
    assert len(smaller.pairs) == 29
    before = {corpus.image_ids[i]: r for i, r in corpus.pairs}
    assert all(before[smaller.image_ids[i]] == r for i, r in smaller.pairs)
    assert np.array_equal(
        sorted(smaller.image_ids[i] for i in smaller.unpaired_images),
        sorted({corpus.image_ids[i] for i in corpus.unpaired_images} - gone),
    )
