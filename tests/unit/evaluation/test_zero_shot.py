import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lgdea.errors import ConfigError, DataError, UsageError
from lgdea.evaluation.config import ZeroShotConfig
from lgdea.evaluation.metrics import classification
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.evaluation.tasks import common, zero_shot
from lgdea.records.archive import write_archive
from lgdea.vocabulary import ScoredClass
from tests.helpers.mini_archive import FINDINGS, Oracle, Shuffled, truth_of


@pytest.mark.parametrize("scoring", ["presence", "global"])
def test_an_oracle_scores_one(mini, scoring):
    result = zero_shot(Oracle(scoring), mini, bootstrap_replicates=50)
    for metric in ("auroc_macro", "auprc_macro", "f1_macro", "mcc_macro", "single_label_accuracy"):
        value = result.metrics[metric]
        assert (value.value, value.low, value.high) == pytest.approx((1, 1, 1))
    assert result.config["texts"] == {"presence": "phrase", "global": "pair"}[scoring]
    assert set(result.per_class) == set(FINDINGS)


def test_a_model_without_knowledge_is_at_chance(mini):
    areas, hits = [], []
    for seed in range(12):
        result = zero_shot(Shuffled(seed=seed), mini, bootstrap_replicates=0)
        areas.append(result.metrics["auroc_macro"].value)
        hits.append(result.metrics["single_label_accuracy"].value)
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)
    assert np.mean(hits) == pytest.approx(result.metrics["single_label_chance"].value, abs=0.06)
    assert result.metrics["single_label_chance"].value == pytest.approx(1 / 3)


def test_the_interval_of_a_model_without_knowledge_holds_chance(mini):
    value = zero_shot(Shuffled(seed=3), mini).metrics["auroc_macro"]
    assert value.low < 0.5 < value.high
    assert value.low < value.value < value.high


def test_items_give_the_metrics_again(mini):
    result = zero_shot(Shuffled(), mini, bootstrap_replicates=0)
    items = result.items
    assert list(items.columns) == ["image_id", "study_id", "patient_id", "class", "score", "label"]
    for name, rows in items.groupby("class"):
        assert result.per_class[name]["auroc"].value == pytest.approx(roc_auc_score(rows["label"], rows["score"]))
        assert result.per_class[name]["auroc"].n == len(rows) == 42
        assert result.per_class[name]["prevalence"].value == pytest.approx(rows["label"].mean())


def test_only_test_patients_are_scored_and_the_threshold_is_that_of_validation(mini):
    result = zero_shot(Shuffled(), mini, bootstrap_replicates=0, split="test")
    splits = result.items.merge(mini.studies, on="study_id")["split"]
    assert set(splits) == {"test"}

    class Shifted(Oracle):
        """On test images every score is higher by 1: thresholds chosen on them would still give F1 = 1."""

        def score(self, number, phrase):
            patient = number if number < 60 else number - 60
            return super().score(number, phrase) + (1.0 if patient >= 24 else 0.0)

    shifted = zero_shot(Shifted(), mini, bootstrap_replicates=0)
    assert shifted.metrics["auroc_macro"].value == 1.0
    assert shifted.metrics["mcc_macro"].value == 0.0
    assert shifted.per_class["cardiomegaly"]["threshold"].value == pytest.approx(0.0)


def test_every_value_has_a_known_definition(mini):
    result = zero_shot(Oracle(), mini, bootstrap_replicates=0)
    found = [*result.metrics.values(), *(v for values in result.per_class.values() for v in values.values())]
    assert {value.definition for value in found} <= set(DEFINITIONS)


def test_unreadable_images_are_named_and_left_out(damaged):
    result = zero_shot(Oracle(), damaged, bootstrap_replicates=0, batch_size=7)
    assert {item["id"] for item in result.skipped} == {"mini:30-a", "mini:31-a"}
    assert all(item["reason"] for item in result.skipped)
    assert result.items["image_id"].nunique() == 40
    assert result.metrics["auroc_macro"].value == 1.0


def test_a_named_class_list_scores_what_has_labels(mini):
    result = zero_shot(Oracle(), mini, classes="nih14", bootstrap_replicates=0)
    assert set(result.per_class) == {"Cardiomegaly", "Effusion", "Pneumothorax"}
    assert any("classes have no labels" in note for note in result.notes)
    assert result.metrics["auroc_macro"].value == 1.0


def test_rare_classes_are_named_not_scored(mini):
    counts = zero_shot(Oracle(), mini, bootstrap_replicates=0).items.groupby("class")["label"].sum().sort_values()
    result = zero_shot(Oracle(), mini, bootstrap_replicates=0, min_positive=int(counts.iloc[0]) + 1)
    assert set(result.per_class) == set(counts.index[counts > counts.iloc[0]])
    assert f"{counts.index[0]} ({counts.iloc[0]:.0f} positive" in result.notes[0]
    with pytest.raises(DataError, match="no class has 50 positive"):
        zero_shot(Oracle(), mini, min_positive=50)


def test_what_cannot_be_scored_is_one_clear_error(mini):
    with pytest.raises(UsageError, match="known: truth"):
        zero_shot(Oracle(), mini, labeller="nobody")
    with pytest.raises(ConfigError, match="clases: no such key"):
        zero_shot(Oracle(), mini, clases="nih14")
    with pytest.raises(UsageError, match="no list of classes"):
        zero_shot(Oracle(), mini, ZeroShotConfig(classes="nih15"))

    class Broken(Oracle):
        def score(self, number, phrase):
            return float("nan")

    with pytest.raises(DataError, match="not finite"):
        zero_shot(Broken(), mini)


def test_the_score_of_a_pair_is_positive_minus_negative(mini):
    from lgdea.evaluation.tasks.zero_shot import class_scores
    from lgdea.vocabulary.phrases import class_texts

    rng = np.random.default_rng(0)

    class Fixed(Oracle):
        def score_phrases(self, images, phrases):
            self.seen = {p: rng.normal() for p in phrases}
            return np.array([[self.seen[p] for p in phrases]])

    model, positive, negative = Fixed(), *class_texts("cardiomegaly")
    scored = [ScoredClass("Cardiomegaly", frozenset({"cardiomegaly"}))]
    value = class_scores(model, [np.zeros((2, 2), np.float32)], scored, "pair")[0, 0]
    mean = {key: np.mean([model.seen[t] for t in texts]) for key, texts in (("+", positive), ("-", negative))}
    assert value == pytest.approx(mean["+"] - mean["-"])


class TestLabelMatrix:
    images = pd.DataFrame({"image_id": ["a", "b", "c"], "study_id": ["s", "s", "t"], "patient_id": ["p", "p", "q"]})
    opacity = ScoredClass("Opacity", frozenset({"opacity", "consolidation", "pneumonia"}))

    def matrix(self, *rows):
        labels = pd.DataFrame(rows, columns=["study_id", "image_id", "finding", "value"])
        return common.label_matrix(labels, self.images, [self.opacity])[:, 0]

    def test_a_study_label_holds_for_its_images_unless_they_have_their_own(self):
        values = self.matrix(("s", None, "opacity", 1.0), ("s", "b", "opacity", 0.0))
        np.testing.assert_array_equal(values, [1, 0, np.nan])

    def test_a_kind_that_is_present_makes_the_class_present(self):
        values = self.matrix(("s", "a", "opacity", 0.0), ("s", "a", "pneumonia", 1.0), ("t", "c", "consolidation", 1.0))
        np.testing.assert_array_equal(values, [1, np.nan, 1])

    def test_a_kind_that_is_absent_says_nothing_of_the_class(self):
        np.testing.assert_array_equal(self.matrix(("t", None, "pneumonia", 0.0)), [np.nan] * 3)

    def test_uncertain_is_unknown(self):
        values = self.matrix(("s", "a", "opacity", -1.0), ("s", "b", "opacity", 0.0), ("s", "b", "pneumonia", -1.0))
        assert np.isnan(values).all()


def test_single_label_items_have_exactly_one_finding(mini):
    result = zero_shot(Oracle(), mini, bootstrap_replicates=0, single_label_per_class=4)
    assert result.metrics["single_label_accuracy"].n == 12
    everything = zero_shot(Oracle(), mini, bootstrap_replicates=0)
    single = [i for i in range(90) if len(truth_of(i)) == 1 and (i % 60 if i >= 60 else i) >= 24]
    assert everything.metrics["single_label_accuracy"].n == len(single)


def test_single_label_items_have_no_unknown_class(mini, tmp_path):
    everything = zero_shot(Oracle(), mini, bootstrap_replicates=0).metrics["single_label_accuracy"].n
    labels = mini.labels.copy()
    labels.loc[(labels["study_id"] == "mini:25") & (labels["finding"] == "pleural_effusion"), "value"] = np.nan
    tables = {name: getattr(mini, name) for name in ("studies", "images", "reports", "boxes")}
    archive = write_archive(tmp_path / "gap", "mini", {**tables, "labels": labels}, mini.image_root, {})
    assert truth_of(25) == ("cardiomegaly",)
    result = zero_shot(Oracle(), archive, bootstrap_replicates=0)
    assert result.metrics["single_label_accuracy"].n == everything - 1
    assert result.per_class["pleural_effusion"]["auroc"].n == 41


def test_only_scored_classes_can_compete(mini):
    chosen = ("cardiomegaly", "pneumothorax")
    result = zero_shot(Oracle(), mini, bootstrap_replicates=0, single_label_classes=chosen)
    assert result.metrics["single_label_chance"].value == 0.5
    with pytest.raises(UsageError, match="cannot let Mass compete"):
        zero_shot(Oracle(), mini, bootstrap_replicates=0, single_label_classes=("cardiomegaly", "Mass"))


def test_thresholds_that_are_missing_or_not_honest_are_noted(mini, tmp_path):
    result = zero_shot(Oracle(), mini, bootstrap_replicates=0, threshold_split="test")
    assert "F1 and MCC are optimistic" in result.notes[-1]
    studies = mini.studies[mini.studies["split"] != "val"]
    tables = {name: getattr(mini, name) for name in ("images", "reports", "boxes", "labels")}
    tables = {name: t[t["study_id"].isin(studies["study_id"])] if "study_id" in t else t for name, t in tables.items()}
    tables["boxes"] = tables["boxes"][tables["boxes"]["image_id"].isin(tables["images"]["image_id"])]
    archive = write_archive(tmp_path / "no-val", "mini", {**tables, "studies": studies}, mini.image_root, {})
    result = zero_shot(Oracle(), archive, bootstrap_replicates=0)
    assert np.isnan(result.metrics["f1_macro"].value)
    assert result.metrics["auroc_macro"].value == 1.0
    assert sum("has no F1" in note for note in result.notes) == 3


def test_a_threshold_needs_validation_images(mini):
    result = zero_shot(Oracle(), mini, bootstrap_replicates=0, threshold_split="train", min_positive=1)
    assert result.metrics["f1_macro"].value == classification.macro([1.0])
