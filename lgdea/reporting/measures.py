"""Results of several models as rows of one table: the same metric of the same task side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lgdea.reporting.inputs import Interval, TaskResult

HEADLINE = {
    "zero-shot": ("auroc", "auprc", "mcc"),
    "retrieval": ("evidence_precision@10", "evidence_ndcg@10", "recall@10"),
    "grounding": ("pointing_game", "cnr", "miou"),
}
"""What the first table shows of each task: for each of these the first metric whose name ends with it."""

CHANCE = {"auroc": 0.5, "mcc": 0.0, "cnr": 0.0}
"""What knowing nothing scores, where that does not depend on the data."""

UNIT_RANGE = (0.0, 1.0)


@dataclass(frozen=True)
class Comparison:
    """A tested difference: one-sided p-value of "the first model is better"."""

    p: float


@dataclass(frozen=True)
class Cell:
    """One model's value in a row, and its difference from the first model's."""

    label: str
    interval: Interval | None
    difference: float | None = None
    """First model minus this one; None for the first model itself and where a value is missing."""
    comparison: Comparison | None = None


@dataclass(frozen=True)
class MetricRow:
    """One metric of one task (or of one class of it), a cell per model."""

    task: str
    metric: str
    name: str
    cells: tuple[Cell, ...]
    chance: float | None
    low: float
    """Lower end of the scale on which the row is drawn."""
    high: float

    def position(self, value: float) -> float:
        """Where ``value`` stands on the row's scale, in percent, clipped to it."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


@dataclass(frozen=True)
class ClassTable:
    """One metric of one task for every class."""

    metric: str
    name: str
    rows: tuple[MetricRow, ...]


@dataclass(frozen=True)
class TaskTables:
    """All tables of one task."""

    task: str
    title: str
    definition: str
    split: str
    labels: tuple[str, ...]
    rows: tuple[MetricRow, ...]
    per_class: tuple[ClassTable, ...]


def task_tables(results: Sequence[TaskResult], labels: Sequence[str]) -> list[TaskTables]:
    """Group results by task; results of one task under different definitions are never put in one table."""
    groups: dict[tuple[str, str, str], dict[str, TaskResult]] = {}
    for result in results:
        groups.setdefault((result.task, result.definition, result.split), {})[result.label] = result
    tables = []
    for (task, definition, split), by_label in groups.items():
        present = [label for label in labels if label in by_label]
        metrics = _union([by_label[label].metrics for label in present])
        rows = [_row(task, m, metric_name(m), {k: by_label[k].metrics.get(m) for k in present}) for m in metrics]
        tables.append(
            TaskTables(
                task=task,
                title=task_title(task),
                definition=definition,
                split=split,
                labels=tuple(present),
                rows=tuple(r for r in rows if any(c.interval and c.interval.value is not None for c in r.cells)),
                per_class=tuple(_class_tables(task, by_label, present)),
            )
        )
    order = list(HEADLINE)
    return sorted(tables, key=lambda t: order.index(t.task) if t.task in order else len(order))


def headline_rows(tables: Sequence[TaskTables]) -> list[MetricRow]:
    """The few rows that answer "how good is it": see :data:`HEADLINE`; an unknown task gives its first two."""
    chosen = []
    for table in tables:
        wanted = HEADLINE.get(table.task)
        if wanted is None:
            chosen += list(table.rows[:2])
            continue
        matches = [next((row for row in table.rows if row.metric.endswith(key)), None) for key in wanted]
        chosen += [row for row in matches if row is not None] or list(table.rows[:2])
    return chosen


def metric_name(metric: str) -> str:
    """A metric's id as people write it: ``macro_auroc`` -> ``macro AUROC``."""
    arrows = metric.replace("image_to_report", "image→report").replace("report_to_image", "report→image")
    return " ".join(_ACRONYMS.get(word.lower(), word) for word in re.split(r"[_/ ]+", arrows))


def task_title(task: str) -> str:
    """``zero-shot`` -> ``Zero-shot``."""
    return task.replace("_", "-")[:1].upper() + task.replace("_", "-")[1:]


_ACRONYMS = {"auroc": "AUROC", "auprc": "AUPRC", "mcc": "MCC", "f1": "F1", "cnr": "CNR", "miou": "mIoU", "ndcg": "nDCG"}
_ACRONYMS |= {f"ndcg@{k}": f"nDCG@{k}" for k in (1, 5, 10, 50)}


def _class_tables(task: str, by_label: dict[str, TaskResult], labels: list[str]) -> list[ClassTable]:
    names = _union([by_label[label].per_class for label in labels])
    metrics = _union([m for label in labels for m in by_label[label].per_class.values()])
    tables = []
    for metric in metrics:
        rows = [
            _row(task, metric, name, {k: by_label[k].per_class.get(name, {}).get(metric) for k in labels})
            for name in names
        ]
        known = [r for r in rows if any(c.interval and c.interval.value is not None for c in r.cells)]
        if known:
            low, high = min(r.low for r in known), max(r.high for r in known)
            shared = [MetricRow(r.task, r.metric, r.name, r.cells, r.chance, low, high) for r in known]
            tables.append(ClassTable(metric, metric_name(metric), tuple(sorted(shared, key=_best_first))))
    return tables


def _row(task: str, metric: str, name: str, values: dict[str, Interval | None]) -> MetricRow:
    first = next(iter(values.values()), None)
    cells = []
    for position, (label, interval) in enumerate(values.items()):
        difference = None
        if position and first and interval and first.value is not None and interval.value is not None:
            difference = first.value - interval.value
        cells.append(Cell(label, interval, difference))
    told = next((i.chance for i in values.values() if i and i.chance is not None), None)
    known = next((v for key, v in CHANCE.items() if key in metric.lower()), None)
    chance = told if told is not None else known
    low, high = _scale([*values.values()], chance)
    return MetricRow(task, metric, name, tuple(cells), chance, low, high)


def _scale(intervals: Sequence[Interval | None], chance: float | None) -> tuple[float, float]:
    """0 to 1 where everything fits in it, else wide enough for every whisker and for chance."""
    numbers = [x for i in intervals if i for x in (i.value, i.low, i.high) if x is not None]
    numbers += [] if chance is None else [chance]
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    if low >= 0 and high <= 1:
        return UNIT_RANGE
    if high <= 1:
        return low - 0.05, 1.0
    pad = 0.05 * (high - low)
    return (low - pad if low < 0 else 0.0), high + pad


def _best_first(row: MetricRow) -> float:
    interval = row.cells[0].interval if row.cells else None
    return -interval.value if interval and interval.value is not None else float("inf")


def _union(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))
