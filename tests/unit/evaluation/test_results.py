import doctest
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.metrics import classification, detection, grounding, retrieval
from lgdea.evaluation.results import definitions, differences, metric_facts
from lgdea.evaluation.results.metric_facts import main_metrics
from lgdea.evaluation.results.result import Result, Value, list_results, read_result, write_result
from lgdea.statistics import format, overlap, roc


def result(task="grounding", **parts):
    base = {
        "task": task,
        "definition": f"{task}-v1",
        "model": "m",
        "archive": "a",
        "split": "test",
        "metrics": {"cnr_macro": Value(float("inf"), n=3), "miou_macro": Value(0.25, 0.1, 0.4, 3, "grounding/miou-v1")},
        "per_class": {"mass": {"miou": Value(float("nan"), n=0)}},
        "config": {"seed": 0},
        "items": pd.DataFrame({"image_id": ["x", "y"], "phrase": ["p", "p"], "miou": [0.5, np.nan]}),
        "skipped": [{"id": "z", "reason": "is damaged"}],
        "notes": ["one"],
    }
    return Result(**base | parts)


def test_json_holds_null_where_a_number_is_not_defined(tmp_path):
    file = write_result(result(), tmp_path / "r")
    content = json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["metrics"]["cnr_macro"]["value"] is None
    assert content["metrics"]["miou_macro"] == {
        "value": 0.25, "low": 0.1, "high": 0.4, "n": 3, "definition": "grounding/miou-v1",
    }  # fmt: skip
    assert content["per_class"]["mass"]["miou"]["value"] is None
    assert (content["n_items"], content["n_skipped"]) == (2, 1)


def test_what_is_written_is_read_back(tmp_path):
    written = result(metrics={"miou_macro": Value(0.25, 0.1, 0.4, 3, "grounding/miou-v1")}, per_class={})
    write_result(written, tmp_path)
    read = read_result(tmp_path)
    assert read == written
    pd.testing.assert_frame_equal(read.items, written.items)
    assert np.isnan(read_result(write_result(result(), tmp_path)).metrics["cnr_macro"].low)


def test_a_folder_of_several_results_asks_which(tmp_path):
    for task in ("grounding", "retrieval"):
        write_result(result(task), tmp_path)
    assert list_results(tmp_path) == ["grounding", "retrieval"]
    with pytest.raises(UsageError, match="grounding, retrieval"):
        read_result(tmp_path)
    assert read_result(tmp_path, "retrieval").task == "retrieval"


def test_what_is_no_result_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such results folder"):
        read_result(tmp_path / "none")
    with pytest.raises(UsageError, match="no such result"):
        read_result(tmp_path, "probe")
    (tmp_path / "probe.json").write_text('{"task": "probe"}')
    with pytest.raises(DataError, match="is not a result"):
        read_result(tmp_path, "probe")


TASKS = (
    *("zero-shot", "retrieval", "grounding", "probe", "features", "change", "entity-retrieval", "references"),
    "answers",
)


def test_definitions_have_versions_and_sentences():
    for name, sentence in definitions.DEFINITIONS.items():
        task, metric = name.split("/")
        assert task in TASKS
        assert metric.rsplit("-v", 1)[1].isdigit()
        assert sentence.endswith(".")
    assert "ROC" in definitions.meaning("zero-shot/auroc-v1")


def test_single_and_paired_readings_are_shown_together():
    methods = ["single", *(f"{kind}/random@{k}" for kind in ("z", "ratio") for k in (1, 5))]
    ends = ("balanced_accuracy_macro", "balanced_accuracy_gain", "f1_macro", "auroc_macro")
    names = [f"{m}/{end}" for m in methods for end in ends if (m, end) != ("single", "balanced_accuracy_gain")]
    assert main_metrics("references", names) == [
        "single/balanced_accuracy_macro", "single/auroc_macro",
        "z/random@5/balanced_accuracy_macro", "z/random@5/balanced_accuracy_gain", "z/random@5/auroc_macro",
        "ratio/random@5/balanced_accuracy_macro", "ratio/random@5/balanced_accuracy_gain", "ratio/random@5/auroc_macro",
    ]  # fmt: skip


def test_every_way_of_ranking_cases_is_shown():
    ways = ["conditioned", "unconditioned", "whole_image", "zero_shot", "reranked", "conditioned-zero_shot"]
    ends = ("recall@1", "recall@5", "ndcg@5", "recall_chance@1", "recall_chance@5", "ndcg_chance@5")
    shown = main_metrics("entity-retrieval", [f"{way}/{end}" for way in ways for end in ends])
    assert shown == [
        *(f"{way}/{end}" for way in ways[:5] for end in ("recall@1", "ndcg@5")),
        "conditioned/recall_chance@1", "conditioned/ndcg_chance@5",
    ]  # fmt: skip


def test_metrics_and_tasks_are_imported_without_torch():
    modules = "lgdea.evaluation.tasks, lgdea.evaluation.results.compare, lgdea.evaluation.embed"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


MODULES = [classification, detection, retrieval, grounding, differences, metric_facts, format, overlap, roc]


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples_are_true(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
