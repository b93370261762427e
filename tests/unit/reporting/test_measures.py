from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from lgdea.errors import UsageError
from lgdea.evaluation.results.metric_facts import chance_metric, metric_name
from lgdea.evaluation.results.result import Result, Value, write_result
from lgdea.reporting.measures import TaskTables, headline_rows, task_tables

Metrics = Mapping[str, Value]


def put(
    folder: Path,
    task: str,
    metrics: Metrics,
    *,
    definition: str = "v1",
    per_class: Mapping[str, Metrics] | None = None,
) -> Path:
    classes = {name: dict(values) for name, values in (per_class or {}).items()}
    write_result(Result(task, definition, "m", "a", "test", dict(metrics), classes, {}), folder)
    return folder


def one_table(folder: Path, task: str, metrics: Metrics, **more: object) -> TaskTables:
    (table,) = task_tables({"a": put(folder, task, metrics, **more)})  # type: ignore[arg-type]
    return table


def test_the_difference_is_to_the_baseline(tmp_path: Path) -> None:
    lgdea = put(tmp_path / "lgdea", "zero-shot", {"auroc_macro": Value(0.9)})
    clip = put(tmp_path / "clip", "zero-shot", {"auroc_macro": Value(0.7)})
    (table,) = task_tables({"lgdea": lgdea, "clip": clip}, baseline="clip")
    first, base = table.rows[0].cells
    assert first.difference == pytest.approx(0.2)
    assert base.difference is None
    assert table.rows[0].chance == 0.5


def test_p_values_come_from_the_items(world) -> None:
    tables = task_tables({k: world.results[k] for k in ("lgdea", "clip")}, baseline="clip")
    retrieval = next(t for t in tables if t.task == "retrieval")
    (row,) = retrieval.rows
    assert row.cells[0].p_value == pytest.approx(1 / 1001)
    assert row.cells[1].p_value is None
    assert row.chance == 0.02


def test_results_of_different_definitions_are_never_in_one_table(tmp_path: Path) -> None:
    a = put(tmp_path / "a", "zero-shot", {"auroc_macro": Value(0.9)})
    b = put(tmp_path / "b", "zero-shot", {"auroc_macro": Value(0.9)}, definition="v2")
    assert [t.labels for t in task_tables({"a": a, "b": b}, baseline="a")] == [("a",), ("b",)]


def test_a_missing_value_has_no_difference_and_an_unknown_metric_no_row(tmp_path: Path) -> None:
    a = put(tmp_path / "a", "grounding", {"cnr_macro": Value(1.1), "miou_macro": Value(math.nan)})
    b = put(tmp_path / "b", "grounding", {"cnr_macro": Value(math.nan), "miou_macro": Value(math.nan)})
    (table,) = task_tables({"a": a, "b": b}, baseline="b")
    assert [r.metric for r in table.rows] == ["cnr_macro"]
    assert [c.difference for c in table.rows[0].cells] == [None, None]


def test_scale_holds_every_whisker(tmp_path: Path) -> None:
    values = {"cnr": Value(1.4, 1.1, 1.9), "mcc": Value(-0.1, -0.2, 0.05), "auroc": Value(0.8, 0.7, 0.9)}
    table = one_table(tmp_path, "x", values)
    for row in table.rows:
        shown = row.cells[0].value
        assert shown is not None
        assert row.low <= shown.low
        assert row.high >= shown.high
        assert 0 <= row.position(shown.low) < row.position(shown.high) <= 100
    assert (table.rows[2].low, table.rows[2].high) == (0, 1)
    assert table.rows[2].position(0.8) == pytest.approx(80)


def test_classes_are_sorted_by_the_first_model_and_facts_are_no_scores(tmp_path: Path) -> None:
    classes = {
        "low": {"auroc": Value(0.6), "threshold": Value(0.1)},
        "high": {"auroc": Value(0.9), "threshold": Value(0.2)},
        "none": {"auroc": Value(math.nan), "threshold": Value(0.3)},
    }
    (by_class,) = one_table(tmp_path, "zero-shot", {}, per_class=classes).per_class
    assert [r.name for r in by_class.rows] == ["high", "low"]


@pytest.mark.parametrize(
    ("metric", "chance"),
    [
        ("auprc_macro", "prevalence_macro"),
        ("auprc", "prevalence"),
        ("linear@10%/auprc_macro", "prevalence_macro"),
        ("frechet_pair_macro", "frechet_pair_chance_macro"),
        ("single_label_accuracy", "single_label_chance"),
        ("report_to_image/evidence_ndcg@5", "report_to_image/evidence_ndcg_prior@5"),
        ("pointing_micro", "pointing_prior_micro"),
        ("pointing", "pointing_prior"),
    ],
)
def test_chance_is_the_metric_beside_it_and_no_row(tmp_path: Path, metric: str, chance: str) -> None:
    assert chance_metric(metric) == chance
    table = one_table(tmp_path, "x", {metric: Value(0.4), chance: Value(0.02)})
    assert [(r.metric, r.chance) for r in table.rows] == [(metric, 0.02)]


def test_a_random_order_has_no_row_where_the_best_fixed_list_is_the_chance_level(tmp_path: Path) -> None:
    levels = {"x/evidence_ndcg_chance@5": Value(0.1), "x/evidence_ndcg_prior@5": Value(0.3)}
    (row,) = one_table(tmp_path, "retrieval", {"x/evidence_ndcg@5": Value(0.4), **levels}).rows
    assert (row.metric, row.chance) == ("x/evidence_ndcg@5", 0.3)


def test_an_absolute_contrast_has_no_chance_level_of_zero(tmp_path: Path) -> None:
    assert one_table(tmp_path, "grounding", {"cnr_macro": Value(0.5)}).rows[0].chance is None


def test_the_area_of_a_probe_has_the_chance_of_an_area_and_its_spread_has_none(tmp_path: Path) -> None:
    names = ["linear@1%/auroc_macro", "linear@1%/auroc_draw_sd"]
    table = one_table(tmp_path, "probe", {name: Value(0.6) for name in names})
    assert [row.chance for row in table.rows] == [0.5, None]


def test_a_chance_level_that_differs_between_models_has_a_row_of_its_own(tmp_path: Path) -> None:
    folders = {}
    for label, chance in (("a", 0.1), ("b", 0.2)):
        metrics = {"fisher_ratio": Value(0.5), "fisher_ratio_chance": Value(chance), "knn": Value(0.6)}
        folders[label] = put(tmp_path / label, "features", metrics | {"knn_chance": Value(0.25)})
    (table,) = task_tables(folders)
    assert [(row.metric, row.chance) for row in table.rows] == [
        ("fisher_ratio", None),
        ("fisher_ratio_chance", None),
        ("knn", 0.25),
    ]
    assert [cell.value.value for cell in table.rows[1].cells if cell.value] == [0.1, 0.2]


def test_headline_takes_one_row_per_key_in_order(tmp_path: Path) -> None:
    names = ["image_to_report/recall@10", "image_to_report/evidence_ndcg@10", "report_to_image/evidence_ndcg@10"]
    table = one_table(tmp_path, "retrieval", {n: Value(0.5) for n in names})
    assert [r.metric for r in headline_rows([table])] == [names[1], names[0]]


def test_names_for_people() -> None:
    assert metric_name("image_to_report/evidence_ndcg@10") == "image→report evidence nDCG@10"
    assert metric_name("auroc_macro") == "macro AUROC"
    assert metric_name("image_to_report/median_rank").endswith(", lower is better")


def test_a_folder_without_results_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no results; make them with `lgdea eval`"):
        task_tables({"a": tmp_path})
    with pytest.raises(UsageError, match="no such results folder"):
        task_tables({"a": tmp_path / "none"})
