import numpy as np
import pytest

from lgdea.errors import DataError
from lgdea.evaluation.encoders.occlusion_maps import occlusion_maps, resize
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.evaluation.tasks import grounding
from lgdea.records.archive import write_archive
from tests.helpers.mini_archive import FINDINGS, HEIGHT, WIDTH, Oracle, Shuffled


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


def test_an_oracles_boxes_are_the_true_ones(mini):
    result = grounding(Noisy(), mini, bootstrap_replicates=50)
    for t in (0.1, 0.3, 0.5, 0.7):
        assert (value := result.metrics[f"ap@{t}_macro"]).value == pytest.approx(1)
        assert (value.low, value.high) == pytest.approx((1, 1))
    for name in ("iou_hit@0.5", "iobb_hit@0.5"):
        assert result.metrics[f"{name}_macro"].value == result.metrics[f"{name}_micro"].value == 1
    assert result.metrics["iou_false@0.5_micro"].value == 0
    assert result.per_class["cardiomegaly"]["ap@0.5"].n == (result.items["class"] == "cardiomegaly").sum()
    assert not [name for values in result.per_class.values() for name in values if "whole" in name or "centre" in name]


def test_boxes_of_the_whole_image_and_of_its_middle_are_the_references(mini):
    result = grounding(Noisy(), mini, bootstrap_replicates=0, hit_thresholds=(0.04, 0.06), ap_thresholds=(0.04, 0.06))
    share = 6 * 4 / (WIDTH * HEIGHT)
    assert 0.04 < share < 0.06
    for t, right in ((0.04, 1), (0.06, 0)):
        assert result.metrics[f"iou_hit_whole@{t}_micro"].value == right
    # One true box per (image, phrase), so a box that is always right has all precision and recall.
    assert result.metrics["ap_whole@0.04_macro"].value == 1
    assert result.metrics["ap_whole@0.06_macro"].value == 0
    hits = []
    for _, box in mini.boxes[mini.boxes["image_id"].isin(result.items["image_id"])].iterrows():
        width = max(0, min(box["x_max"], 18) - max(box["x_min"], 6))
        height = max(0, min(box["y_max"], 15) - max(box["y_min"], 5))
        hits.append(width * height / (24 + 12 * 10 - width * height) > 0.06)
    assert result.metrics["iou_hit_centre@0.06_micro"].value == pytest.approx(np.mean(hits))


def covered(archive, splits, finding=None):
    """Share of the boxes over each of 64 x 64 places, by loop over places."""
    boxes = archive.boxes.merge(archive.images, on="image_id").merge(archive.studies, on="study_id")
    boxes = boxes[boxes["split"].isin(splits) & ((boxes["finding"] == finding) | (finding is None))]
    edges = boxes[["x_min", "y_min", "x_max", "y_max"]].to_numpy()
    shares = np.zeros((64, 64))
    for r in range(64):
        for c in range(64):
            x, y = (c + 0.5) / 64 * WIDTH, (r + 0.5) / 64 * HEIGHT
            shares[r, c] = np.mean([x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in edges])
    return shares


def test_the_prior_is_the_best_fixed_place_of_the_other_splits(mini):
    result = grounding(Shuffled(), mini, bootstrap_replicates=0)
    items, test = result.items, mini.boxes[mini.boxes["image_id"].isin(result.items["image_id"])]
    assert f"places chosen on {len(mini.boxes) - len(test)} boxes of train and val" in result.notes[-1]
    by_class = {name: covered(mini, ("train", "val"), name) for name in FINDINGS}
    for column, of in (("pointing_class_prior", by_class), ("pointing_prior", None)):
        for name in FINDINGS:
            shares = of[name] if of else np.mean(list(by_class.values()), axis=0)
            best = np.argwhere(shares == shares.max())
            # A place of the plateau that is nearest to its middle.
            y, x = (best[np.hypot(*(best - best.mean(axis=0)).T).argmin()] + 0.5) / 64
            mine = test[test["finding"] == name]
            x, y = int(x * WIDTH), int(y * HEIGHT)
            hits = (mine["x_min"] <= x) & (x < mine["x_max"]) & (mine["y_min"] <= y) & (y < mine["y_max"])
            assert items.loc[items["class"] == name, column].mean() == pytest.approx(hits.mean())
    assert result.metrics["pointing_class_prior_macro"].value > result.metrics["pointing_chance_macro"].value + 0.2
    assert result.metrics["pointing_class_prior_macro"].value >= result.metrics["pointing_prior_macro"].value


def test_without_other_boxes_the_prior_is_chosen_on_other_patients(mini):
    everything = grounding(Shuffled(), mini, split="all", bootstrap_replicates=0)
    assert "in 5 folds by patient" in everything.notes[-1]
    assert everything.metrics["pointing_class_prior_macro"].value > 0.4


def test_a_patient_alone_has_no_prior(mini, tmp_path):
    boxes = mini.boxes[mini.boxes["image_id"] == "mini:25-a"]
    result = grounding(Shuffled(), rewrite(mini, tmp_path / "one", boxes=boxes), bootstrap_replicates=0)
    assert np.isnan(result.metrics["pointing_prior_micro"].value)
    assert np.isnan(result.metrics["pointing_class_prior_macro"].value)
    assert result.metrics["pointing_micro"].n == len(boxes)


class Blurred(Oracle):
    """A model that knows what is in an image, not where: its own map is of one value."""

    def score_phrases(self, images, phrases):
        return np.array([[image[10:16, 4:10].mean() for _ in phrases] for image in images])

    def heat_maps(self, image, phrases):
        return [np.full(image.shape, 0.3) for _ in phrases]


def test_hiding_places_tells_where_a_model_looks():
    image = np.full((32, 32), 0.2, np.float32)
    image[10:16, 4:10] = 0.9
    (heat,) = occlusion_maps(Blurred(), image, ["mass"])
    inside = np.zeros_like(image, bool)
    inside[10:16, 4:10] = True
    assert heat.shape == image.shape
    assert inside.flat[heat.argmax()]
    assert heat[inside].mean() > heat[~inside].mean() + 1
    (other,) = occlusion_maps(Blurred(), np.full((32, 32), 0.9, np.float32), ["mass"])
    assert (other == 0).all()  # where both sides are alike hiding changes nothing


def test_an_occlusion_map_is_the_joint_of_falls_and_of_the_models_own_map():
    class Sum(Blurred):
        scoring = "presence"

        def score_phrases(self, images, phrases):
            return np.array([[1 / (1 + np.exp(-image.sum() / 50)) for _ in phrases] for image in images])

        def heat_maps(self, image, phrases):
            own = np.arange(image.size, dtype=float).reshape(image.shape)
            own[:, 0] = np.nan
            return [own for _ in phrases]

    image = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    (heat,) = occlusion_maps(Sum(), image, ["mass"])
    falls = np.zeros((8, 8))
    for row in range(8):
        for column in range(8):
            hidden = image.copy()
            place = (slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
            hidden[place] = image[:, ::-1][place]
            falls[row, column] = (image.astype(float).sum() - hidden.astype(float).sum()) / 50
    fall = resize(falls.astype(np.float32), 16, 16).astype(float)
    fall[:, 0] = np.nan
    own = Sum().heat_maps(image, ["mass"])[0]
    expected = fall / np.nanstd(fall) + 2 * (own - np.nanmean(own)) / np.nanstd(own)
    np.testing.assert_allclose(heat, expected, atol=1e-3)


def test_a_large_picture_is_shown_reduced_and_mapped_in_its_own_pixels():
    class Counting(Blurred):
        shapes: set = set()

        def score_phrases(self, images, phrases):
            self.shapes.update(image.shape for image in images)
            return super().score_phrases(images, phrases)

    (heat,) = occlusion_maps(Counting(), np.random.default_rng(0).random((1024, 600), np.float32), ["mass"])
    assert heat.shape == (1024, 600)
    assert Counting.shapes == {(512, 300)}


def test_grounding_takes_occlusion_maps(mini):
    class SameScore(Noisy):
        def score_phrases(self, images, phrases):
            return np.full((len(images), len(phrases)), 0.7)

    own = grounding(SameScore(), mini, bootstrap_replicates=0)
    joint = grounding(SameScore(), mini, bootstrap_replicates=0, maps="occlusion")
    assert joint.config["maps"] == "occlusion"
    for metric in ("pointing_macro", "miou_macro"):  # nothing falls: the model's own maps, standardised
        assert joint.metrics[metric].value == pytest.approx(own.metrics[metric].value), metric

    class Corner(Blurred):
        def score_phrases(self, images, phrases):
            return np.array([[1 - image[0, :2].mean()] * len(phrases) for image in images])

    flat = grounding(Corner(), mini, bootstrap_replicates=0).items
    found = grounding(Corner(), mini, bootstrap_replicates=0, maps="occlusion").items
    assert flat["pointing"].between(0.01, 0.2).all()  # a map of one value points everywhere
    assert set(found["pointing"].round(6)) <= {0.0, 1.0}
