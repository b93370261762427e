"""The tasks on archives as they really are: a few boxes, mined labels, reports that repeat each other."""

import numpy as np
import pytest

from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.tasks import grounding, zero_shot
from lgdea.evaluation.tasks.retrieval import word_key
from lgdea.records.adapters.base import get_adapter

pytestmark = pytest.mark.data


class Brightness:
    """Scores every phrase by the image's mean, and points at its brightest place."""

    scoring = "global"

    def encode_images(self, images):
        return np.array([[image.mean(), image.std()] for image in images])

    def encode_texts(self, texts):
        return np.ones((len(texts), 2))

    def score_phrases(self, images, phrases):
        return np.array([[image.mean() * (1 + len(p)) for p in phrases] for image in images])

    def heat_maps(self, image, phrases):
        return [image for _ in phrases]


@pytest.fixture(scope="module")
def nih(real_data, tmp_path_factory):
    return get_adapter("nih-cxr14").build(real_data / "nih_cxr14", tmp_path_factory.mktemp("nih") / "archive")


def test_brightness_tells_little_of_nih_labels(nih):
    result = zero_shot(Brightness(), nih, classes="nih14", split="all", threshold_split="all", bootstrap_replicates=100)
    assert len(result.items["image_id"].unique()) == 626
    assert result.skipped == []
    assert 0.35 < result.metrics["auroc_macro"].value < 0.65
    assert "Pneumonia" in result.per_class


def test_every_nih_box_is_scored_in_source_pixels(nih):
    result = grounding(Brightness(), nih, split="all", bootstrap_replicates=100)
    assert result.skipped == []
    assert result.items["n_boxes"].sum() == len(nih.boxes) == 29
    assert 0 < result.metrics["pointing_chance_micro"].value < 0.3


def test_openi_reports_repeat_each_other_word_for_word(real_data, tmp_path):
    archive = get_adapter("openi").build(real_data / "openi", tmp_path / "archive")
    keys = archive.reports["text"].map(word_key)
    assert keys[keys != ""].duplicated().sum() > 20


def test_real_images_are_read_in_order(nih):
    ids = nih.images["image_id"].tolist()[:40]
    source = ImageSource(nih, workers=3)
    seen = [i for batch, _ in source.batches(ids, 16) for i in batch]
    assert seen == ids
