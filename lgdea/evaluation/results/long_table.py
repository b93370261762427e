"""Compared results as one long table: a row per model, class and metric, with everything that was computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lgdea.evaluation.results.compare import ResultTable
from lgdea.evaluation.results.differences import PairedDifference
from lgdea.evaluation.results.reading_differences import TESTED, ReadingTable
from lgdea.evaluation.results.result import Value

COLUMNS = (
    "task", "task_definition", "archive", "split", "suite", "ids_sha256", "model", "baseline", "class", "metric",
    "definition", "value", "low", "high", "n", "difference", "difference_low", "difference_high", "p_value", "p_holm",
)  # fmt: skip
"""``class`` is empty for values over all classes; numbers that are not defined are blank."""


def long_table(tables: Sequence[ResultTable], readings: Sequence[ReadingTable] = ()) -> pd.DataFrame:
    """All values of all tables, chance levels and thresholds included, in :data:`COLUMNS`.

    Args:
        tables: Tables of results.
        readings: Differences between the readings of one result; each is a value of its own, ``a - b/METRIC``.
    """
    rows = [row for table in tables for row in _rows(table)] + [
        row for table in readings for row in _reading_rows(table)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n": int})


def to_csv(tables: Sequence[ResultTable], readings: Sequence[ReadingTable] = ()) -> str:
    """:func:`long_table` as CSV with every digit, so that reading it gives the results back."""
    return str(long_table(tables, readings).to_csv(index=False, lineterminator="\n"))


def _rows(table: ResultTable) -> list[dict[str, object]]:
    rows = []
    for label, result in table.results.items():
        head = _head(table, label)
        found = table.differences.get(label, {})
        by_class: list[tuple[str, Mapping[str, Value]]] = [("", result.metrics), *result.per_class.items()]
        for name, metrics in by_class:
            for metric, value in metrics.items():
                rows.append({**head, "class": name, "metric": metric, **_numbers(value, found.get((name, metric)))})
    return rows


def _reading_rows(table: ReadingTable) -> list[dict[str, object]]:
    head = {**_head(table.source, table.label), "class": ""}
    return [
        {**head, "metric": f"{d.name}/{metric}_macro", **_numbers(value, None)}
        | ({"p_value": d.p_value, "p_holm": d.p_holm} if metric == TESTED else {})
        for d in table.differences
        for metric, value in d.metrics.items()
    ]


def _head(table: ResultTable, label: str) -> dict[str, object]:
    return {
        "task": table.task,
        "task_definition": table.definition,
        "archive": table.archive,
        "split": table.split,
        "suite": table.suite,
        "ids_sha256": table.ids_sha256,
        "model": label,
        "baseline": table.labels[0],
    }


def _numbers(value: Value, difference: PairedDifference | None) -> dict[str, object]:
    numbers: dict[str, object] = {
        "definition": value.definition,
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "n": value.n,
    }
    if difference is not None:
        numbers |= {
            "difference": difference.value,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "p_value": difference.p_value,
            "p_holm": difference.p_holm,
        }
    return numbers
