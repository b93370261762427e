import numpy as np
import pytest
from mini_archive import FINDINGS, HEIGHT, WIDTH, Oracle, Shuffled

from lgdea.errors import DataError
from lgdea.evaluation.definitions import DEFINITIONS
from lgdea.evaluation.tasks import grounding
from lgdea.records.archive import write_archive


class Noisy(Oracle):
    """The oracle's map with a little noise, so that its contrast is finite."""

    def heat_maps(self, image, phrases):
        rng = np.random.default_rng(0)
        return [heat + rng.uniform(0, 0.01, heat.shape) for heat in super().heat_maps(image, phrases)]


def rewrite(archive, folder, **tables):
    old = {name: getattr(archive, name) for name in ("studies", "images", "reports", "boxes", "labels")}
    return write_archive(folder, "mini", old | tables, archive.image_root, {})


def test_an_oracle_scores_one(mini):
    result = grounding(Noisy(), mini, bootstrap_replicates=50)
    for metric in ("miou_macro", "miou_micro", "pointing_macro", "pointing_micro"):
        value = result.metrics[metric]
        assert (value.value, value.low, value.high) == pytest.approx((1, 1, 1))
    assert result.metrics["cnr_macro"].value > 100
    assert set(result.per_class) == set(FINDINGS)
    assert (
        len(result.items)
        == result.metrics["miou_micro"].n
        == (mini.boxes.merge(mini.images, on="image_id").merge(mini.studies, on="study_id")["split"] == "test").sum()
    )


def test_a_noiseless_map_has_no_mean_contrast_and_says_so(mini):
    result = grounding(Oracle(), mini, bootstrap_replicates=0)
    assert np.isnan(result.metrics["cnr_macro"].value)
    assert result.metrics["cnr_macro"].n == 0
    assert "CNR is infinite" in result.notes[0]


def test_a_model_without_knowledge_points_by_chance(mini):
    values = [grounding(Shuffled(seed=s), mini, bootstrap_replicates=0).metrics for s in range(12)]
    chance = 6 * 4 / (WIDTH * HEIGHT)
    assert values[0]["pointing_chance_macro"].value == pytest.approx(chance)
    assert np.mean([v["pointing_micro"].value for v in values]) == pytest.approx(chance, abs=0.02)


def test_macro_weighs_classes_and_micro_weighs_items(mini):
    class OnlyOne(Shuffled):
        def heat_maps(self, image, phrases):
            return [
                heat if "cardiomegaly" in phrase.lower() else -heat
                for heat, phrase in zip(Oracle.heat_maps(self, image, phrases), phrases, strict=True)
            ]

    boxes = mini.boxes
    result = grounding(OnlyOne(), mini, bootstrap_replicates=0)
    hits = result.items.groupby("class")["pointing"].mean()
    assert hits["cardiomegaly"] == 1.0
    assert result.metrics["pointing_macro"].value == pytest.approx(1 / 3)
    assert result.metrics["pointing_micro"].value == pytest.approx(result.items["pointing"].mean())
    assert len(boxes)


def test_boxes_of_one_phrase_are_one_item_and_other_kinds_are_none(mini, tmp_path):
    boxes = mini.boxes[mini.boxes["image_id"] == "mini:25-a"]
    finding = boxes["finding"].iloc[0]
    second = boxes.assign(box_id="second", x_min=18.0, x_max=22.0)
    heart = boxes.assign(box_id="heart", kind="anatomy", finding="heart")
    named = boxes.assign(box_id="named", phrase="a named phrase")
    import pandas as pd

    class Named(Oracle):
        def heat_maps(self, image, phrases):
            return [np.random.default_rng(0).normal(size=image.shape) for _ in phrases]

    archive = rewrite(mini, tmp_path / "two", boxes=pd.concat([boxes, second, heart, named]))
    items = grounding(Named(), archive, bootstrap_replicates=0).items.set_index("phrase")
    assert set(items["class"]) == {finding}
    assert items["n_boxes"].tolist() == [2, 1]
    assert items["pointing_chance"].tolist() == pytest.approx([(24 + 16) / 480, 24 / 480])
    assert "a named phrase" in items.index


def test_an_image_of_another_size_than_its_row_is_not_scored(mini, tmp_path):
    images = mini.images.copy()
    images.loc[images["image_id"] == "mini:25-a", ["width", "height"]] = [WIDTH * 2, HEIGHT * 2]
    result = grounding(Noisy(), rewrite(mini, tmp_path / "scaled", images=images), bootstrap_replicates=0)
    assert [item["id"] for item in result.skipped] == ["mini:25-a"]
    assert "24 x 20" in result.skipped[0]["reason"]


def test_unreadable_images_are_named(damaged):
    result = grounding(Noisy(), damaged, bootstrap_replicates=0)
    assert "mini:30-a" in {item["id"] for item in result.skipped}
    assert result.metrics["miou_micro"].value == pytest.approx(1)


def test_no_boxes_is_one_clear_error(mini, tmp_path):
    archive = rewrite(mini, tmp_path / "none", boxes=mini.boxes.iloc[:0])
    with pytest.raises(DataError, match="the test split has no boxes of findings"):
        grounding(Oracle(), archive)


def test_every_value_has_a_known_definition(mini):
    result = grounding(Noisy(), mini, bootstrap_replicates=0)
    assert {value.definition for value in result.metrics.values()} <= set(DEFINITIONS)
