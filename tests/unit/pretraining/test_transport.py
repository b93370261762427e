from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lgdea.errors import DataError, UsageError
from lgdea.pretraining.corpus import group_numbers
from lgdea.pretraining.fit import fit
from lgdea.pretraining.inputs import read_inputs
from lgdea.pretraining.objective_config import TransportConfig
from lgdea.pretraining.propagation import evidence_targets
from lgdea.pretraining.transport import (
    FOLDS,
    LINKED_DROPOUT,
    _folds,
    choose_dropout,
    find_cues,
    load,
    quality,
    transported_evidence,
)


@pytest.fixture
def corpus(config, tmp_path):
    return read_inputs(config("lgdea"), tmp_path).corpus


def in_views(features: np.ndarray, corpus) -> tuple[np.ndarray, np.ndarray]:
    """Features of all images, and of linked ones in two views that do not differ."""
    return features, np.stack([features[corpus.pairs[:, 0]]] * 2, axis=1)


def knowing(corpus, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features of an image tower that has seen each image's own report, hidden ones included."""
    features = np.zeros((len(corpus.image_ids), targets.shape[1]), np.float32)
    both = np.concatenate([corpus.pairs, corpus.hidden_pairs])
    features[both[:, 0]] = targets[both[:, 1]]
    return in_views(features, corpus)


def test_cues_are_findings_and_their_sides(corpus):
    texts = [corpus.phrases.texts[cue] for cue in find_cues(corpus, evidence_targets(corpus))]
    assert {"pleural effusion", "left pleural effusion", "cardiomegaly", "right pulmonary nodule"} <= set(texts)


def test_unlinked_images_get_the_evidence_of_hidden_reports_and_linked_ones_none(corpus):
    targets = evidence_targets(corpus)
    found = transported_evidence(knowing(corpus, targets.toarray()), targets, corpus, TransportConfig(), 0)
    assert np.isnan(found[corpus.pairs[:, 0]]).all()
    assert np.isfinite(found[corpus.unpaired_images]).all()
    assert quality(found, corpus, targets)["evidence_auroc"] > 0.97
    again = transported_evidence(knowing(corpus, targets.toarray()), targets, corpus, TransportConfig(), 0)
    np.testing.assert_array_equal(found, again)


def test_a_blind_tower_finds_nothing_but_the_rates(corpus):
    targets = evidence_targets(corpus)
    found = transported_evidence(in_views(np.zeros((60, 4), np.float32), corpus), targets, corpus, TransportConfig(), 0)
    rates = targets.toarray()[corpus.unpaired_reports].mean(axis=0)
    np.testing.assert_allclose(found[corpus.unpaired_images], np.tile(rates, (30, 1)), atol=2e-3)
    assert quality(found, corpus, targets)["evidence_auroc"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("missing", ["unpaired_images", "unpaired_reports", "pairs"])
def test_without_links_images_or_reports_there_is_no_evidence(corpus, missing):
    targets = evidence_targets(corpus)
    less = replace(corpus, **{missing: getattr(corpus, missing)[:0]})
    found = transported_evidence(knowing(corpus, targets.toarray()), targets, less, TransportConfig(), 0)
    assert np.isnan(found).all()


@pytest.mark.parametrize(("count", "chosen"), [(24, 0.9), (3000, 0.5)])
def test_the_fewer_images_the_more_dropout(count, chosen):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 64)).astype(np.float32)
    # Cues 1 to 8 are in products of two features, which takes many images to learn; 9 to 16 in the sum of all.
    drawn = np.concatenate(
        [x[:, :8] * x[:, 8:16], x.sum(axis=1, keepdims=True) / 8 + rng.standard_normal((count, 8))], 1
    )
    labels = torch.from_numpy((drawn > 0).astype(np.float32))
    assert choose_dropout(torch.from_numpy(x)[:, None], labels, np.arange(count), 0) == chosen


def test_images_of_one_patient_are_in_one_fold():
    patients = np.array([7, 3, 7, 9, 3, 7])
    fold = _folds(patients, 0)
    assert fold[0] == fold[2] == fold[5]
    assert fold[1] == fold[4]
    assert len({*_folds(np.arange(30), 0)}) == FOLDS


def test_too_few_images_to_tell_take_the_strongest_dropout():
    assert choose_dropout(torch.zeros(1, 2, 4), torch.ones(1, 3), np.zeros(1, int), 0) == LINKED_DROPOUT[-1]


def test_groups_are_of_what_studies_have_in_common(archive):
    studies = archive.studies.iloc[:6].assign(
        site=["a", "a", "a", "b", "a", None], sex=["F", "F", "M", "F", "F", "F"], age=[40, 44, 40, 40, 47, 40]
    )

    class Tables:
        folder = archive.folder

    Tables.studies = studies
    assert group_numbers(Tables, []).tolist() == [0] * 6
    numbers = group_numbers(Tables, ["site", "sex", "age"])
    assert numbers.index.tolist() == studies["study_id"].tolist()
    assert numbers.iloc[0] == numbers.iloc[1]
    assert numbers.nunique() == 5
    assert group_numbers(Tables, ["site"]).nunique() == 3  # a missing site is one of its own


def test_a_column_that_the_archive_lacks_is_named_with_the_remedy(config, tmp_path):
    with pytest.raises(UsageError, match=r"studies\.parquet: no study has a sex; leave 'sex' out of transport\.within"):
        read_inputs(config("lgdea", transport={"within": ["sex"]}), tmp_path)


def test_a_run_finds_the_evidence_once_and_a_damaged_file_is_named(config, tmp_path):
    fit(config("lgdea", steps=10, objective={"name": "lgdea", "weights": {"transport": 3.0}}), tmp_path / "run")
    found = load(tmp_path / "run" / "transport")
    assert np.isfinite(found).all(axis=1).sum() == 30
    names = set(pd.read_csv(tmp_path / "run" / "metrics.csv")["name"])
    assert {"loss/transport", "transport/evidence_auroc"} <= names
    file = tmp_path / "run" / "transport" / "transported.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"transported\.safetensors"):
        load(tmp_path / "run" / "transport")


def test_without_the_loss_nothing_is_found(config, tmp_path):
    fit(config("lgdea", steps=10), tmp_path / "run")
    assert not (tmp_path / "run" / "transport").exists()
    assert "loss/transport" not in set(pd.read_csv(tmp_path / "run" / "metrics.csv")["name"])
