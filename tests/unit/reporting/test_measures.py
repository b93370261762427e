from __future__ import annotations

import pytest

from lgdea.reporting.inputs import Interval, TaskResult
from lgdea.reporting.measures import headline_rows, metric_name, task_tables


def result(
    label: str, task: str, metrics: dict[str, Interval], *, definition: str = "v1", per_class=None
) -> TaskResult:
    return TaskResult(label, task, definition, "test", "m", "a", "0", metrics, per_class or {})


def test_the_difference_is_first_minus_other() -> None:
    both = [
        result("lgdea", "zero-shot", {"auroc": Interval(0.9)}),
        result("clip", "zero-shot", {"auroc": Interval(0.7)}),
    ]
    (table,) = task_tables(both, ["lgdea", "clip"])
    first, other = table.rows[0].cells
    assert first.difference is None
    assert other.difference == pytest.approx(0.2)
    assert table.rows[0].chance == 0.5


def test_results_of_different_definitions_are_never_in_one_table() -> None:
    metrics = {"auroc": Interval(0.9)}
    mixed = [result("a", "zero-shot", metrics), result("b", "zero-shot", metrics, definition="v2")]
    assert [t.labels for t in task_tables(mixed, ["a", "b"])] == [("a",), ("b",)]


def test_a_missing_value_has_no_difference_and_an_unknown_metric_no_row() -> None:
    one = result("a", "grounding", {"cnr": Interval(1.1), "miou": Interval(None)})
    other = result("b", "grounding", {"cnr": Interval(None), "miou": Interval(None)})
    (table,) = task_tables([one, other], ["a", "b"])
    assert [r.metric for r in table.rows] == ["cnr"]
    assert table.rows[0].cells[1].difference is None


def test_scale_holds_every_whisker() -> None:
    values = {"cnr": Interval(1.4, 1.1, 1.9), "mcc": Interval(-0.1, -0.2, 0.05), "auroc": Interval(0.8, 0.7, 0.9)}
    (table,) = task_tables([result("a", "x", values)], ["a"])
    for row in table.rows:
        interval = row.cells[0].interval
        assert row.low <= interval.low
        assert row.high >= interval.high
        assert 0 <= row.position(interval.low) < row.position(interval.high) <= 100
    assert (table.rows[2].low, table.rows[2].high) == (0, 1)


def test_classes_are_sorted_by_the_first_model_and_share_a_scale() -> None:
    classes = {"low": {"auroc": Interval(0.6)}, "high": {"auroc": Interval(0.9)}, "none": {"auroc": Interval(None)}}
    (table,) = task_tables([result("a", "zero-shot", {}, per_class=classes)], ["a"])
    (by_class,) = table.per_class
    assert [r.name for r in by_class.rows] == ["high", "low"]


def test_chance_is_taken_from_the_metric_beside_it() -> None:
    metrics = {"recall@10": Interval(0.4), "recall_chance@10": Interval(0.02)}
    (table,) = task_tables([result("a", "retrieval", metrics)], ["a"])
    assert [(r.metric, r.chance) for r in table.rows] == [("recall@10", 0.02)]


def test_headline_takes_one_row_per_key_in_order() -> None:
    names = ["image_to_report/recall@10", "image_to_report/evidence_ndcg@10", "report_to_image/evidence_ndcg@10"]
    tables = task_tables([result("a", "retrieval", {n: Interval(0.5) for n in names})], ["a"])
    assert [r.metric for r in headline_rows(tables)] == [names[1], names[0]]


def test_names_for_people() -> None:
    assert metric_name("image_to_report/evidence_ndcg@10") == "image→report evidence nDCG@10"
    assert metric_name("auroc") == "AUROC"
