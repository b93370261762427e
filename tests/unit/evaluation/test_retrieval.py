import numpy as np
import pytest

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.evaluation.tasks import ranking, retrieval
from lgdea.evaluation.tasks.retrieval import word_key
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
from lgdea.records.archive import write_archive
from tests.helpers.mini_archive import Oracle, Shuffled, truth_of

DIRECTIONS = ("image_to_report", "report_to_image")


def test_an_oracle_finds_every_report_although_many_are_identical(mini):
    result = retrieval(Oracle(), mini, bootstrap_replicates=50)
    for direction in DIRECTIONS:
        for k in (1, 5, 10):
            value = result.metrics[f"{direction}/recall@{k}"]
            assert (value.value, value.low, value.high, value.n) == pytest.approx((1, 1, 1, 42))
        assert result.metrics[f"{direction}/evidence_ndcg@1"].value == pytest.approx(1)
        assert result.metrics[f"{direction}/evidence_precision@1"].value == pytest.approx(1)


def test_a_model_without_knowledge_is_at_chance(mini):
    results = [retrieval(Shuffled(seed=seed), mini, bootstrap_replicates=0).metrics for seed in range(30)]
    for metric in ("recall@1", "recall@10", "evidence_precision@5", "evidence_ndcg@10"):
        name, k = metric.split("@")
        for direction in DIRECTIONS:
            chance = results[0][f"{direction}/{name}_chance@{k}"].value
            value = np.mean([result[f"{direction}/{metric}"].value for result in results])
            if direction == "report_to_image":
                assert value == pytest.approx(chance, abs=0.05)
            else:
                # Identical reports share an embedding and come as one block, which random orders do not.
                assert value < chance + 0.05


def test_a_constant_model_is_exactly_at_chance(mini):
    class Constant(Oracle):
        def encode_images(self, images):
            return np.ones((len(images), 4))

        def encode_texts(self, texts):
            return np.ones((len(texts), 4))

    metrics = retrieval(Constant(), mini, bootstrap_replicates=0).metrics
    for name, value in metrics.items():
        if "prior" in name:
            assert value.value >= metrics[name.replace("prior", "chance")].value, name
        elif "chance" not in name and "rank" not in name:
            assert value.value == pytest.approx(metrics[name.replace("@", "_chance@")].value), name


def test_grades_come_from_the_labels_or_the_evidence(mini, units):
    by_labels = retrieval(Shuffled(), mini, bootstrap_replicates=0)
    by_units = retrieval(Shuffled(), mini, evidence=units, bootstrap_replicates=0)
    assert by_labels.notes[1] == "graded by labels"
    assert by_units.notes[1] == "graded by evidence"
    for name, value in by_labels.metrics.items():
        assert by_units.metrics[name].value == pytest.approx(value.value)


def test_sides_make_agreement_rarer(mini, units):
    plain = retrieval(Shuffled(), mini, evidence=units, bootstrap_replicates=0).metrics
    sided = retrieval(Shuffled(), mini, evidence=units, laterality=True, bootstrap_replicates=0).metrics
    name = "image_to_report/evidence_precision_chance@5"
    assert sided[name].value < 0.7 * plain[name].value
    with pytest.raises(UsageError, match="labels have no laterality"):
        retrieval(Shuffled(), mini, laterality=True)


def test_evidence_of_another_archive_is_one_clear_error(mini, units):
    with pytest.raises(DataError, match="nothing is present in the evidence"):
        retrieval(Oracle(), mini, evidence=units.assign(report_id="other:" + units["report_id"]))


def test_evidence_is_read_from_its_folder(mini, tmp_path):
    extract(mini, get_backend("rules"), tmp_path / "evidence")
    result = retrieval(Oracle(), mini, evidence=tmp_path / "evidence", bootstrap_replicates=0)
    assert result.notes[1] == "graded by evidence"
    assert result.metrics["image_to_report/evidence_ndcg@1"].value == pytest.approx(1)


def test_evidence_precision_by_loop(mini):
    result = retrieval(Shuffled(), mini, bootstrap_replicates=0)
    model = Shuffled()
    test = [i for i in range(90) if (i % 60 if i >= 60 else i) >= 24]
    images = np.concatenate([model.encode_images([None] * 42)])
    texts = model.encode_texts(
        [f"{t}" for t in mini.reports.set_index("report_id")["text"].loc[[f"mini:{i}-r" for i in test]]]
    )
    scores = (images / np.linalg.norm(images, axis=1, keepdims=True)) @ (
        texts / np.linalg.norm(texts, axis=1, keepdims=True)
    ).T
    expected = []
    for q, query in enumerate(test):
        # Tied candidates have word-identical texts, hence the same evidence: any order gives the same grades.
        top = np.argsort(-scores[q].round(6), kind="stable")[:5]
        sets = [(set(truth_of(query)) or {"none"}, set(truth_of(test[c])) or {"none"}) for c in top]
        expected.append(np.mean([len(a & b) / len(a | b) for a, b in sets]))
    items = result.items[result.items["direction"] == "image_to_report"]
    np.testing.assert_allclose(items["evidence_precision@5"], expected)


def test_blocks_of_queries_change_nothing(mini, monkeypatch):
    whole = retrieval(Shuffled(), mini, bootstrap_replicates=0)
    monkeypatch.setattr(ranking, "_CELLS", 200)
    parts = retrieval(Shuffled(), mini, bootstrap_replicates=0)
    for name, value in whole.metrics.items():
        assert parts.metrics[name].value == pytest.approx(value.value)


def test_unreadable_images_and_empty_reports_are_named(damaged, tmp_path):
    reports = damaged.reports.copy()
    reports.loc[reports["report_id"] == "mini:40-r", "text"] = "  \n"
    tables = {name: getattr(damaged, name) for name in ("studies", "images", "boxes", "labels")}
    archive = write_archive(tmp_path / "second", "mini", {**tables, "reports": reports}, damaged.image_root, {})
    result = retrieval(Oracle(), archive, bootstrap_replicates=0)
    assert {item["id"] for item in result.skipped} == {"mini:30-a", "mini:31-a", "mini:40-r"}
    assert set(result.items["study_id"]) & {"mini:30", "mini:31", "mini:40"} == set()
    assert result.metrics["image_to_report/recall@1"].value == 1.0


def test_without_labels_and_evidence_only_recall_is_told(mini, tmp_path):
    tables = {name: getattr(mini, name) for name in ("studies", "images", "reports", "boxes")}
    archive = write_archive(tmp_path / "bare", "mini", tables, mini.image_root, {})
    result = retrieval(Oracle(), archive, bootstrap_replicates=0)
    assert not [name for name in result.metrics if "evidence" in name]
    assert result.metrics["report_to_image/recall@1"].value == 1.0
    assert "neither evidence nor labels: retrieval is not graded" in result.notes


def test_a_split_without_pairs_is_one_clear_error(mini, tmp_path):
    tables = {name: getattr(mini, name) for name in ("studies", "images", "boxes", "labels")}
    archive = write_archive(tmp_path / "mute", "mini", tables, mini.image_root, {})
    with pytest.raises(DataError, match="no study with both an image and a report"):
        retrieval(Oracle(), archive)


def test_every_value_has_a_known_definition(mini):
    result = retrieval(Oracle(), mini, bootstrap_replicates=0)
    assert {value.definition for value in result.metrics.values()} <= set(DEFINITIONS)


def test_case_and_spacing_do_not_make_a_report_another():
    assert word_key("The LUNGS\n are clear. ") == word_key("the lungs are clear.")
    assert word_key("no effusion") != word_key("no effusion.")
