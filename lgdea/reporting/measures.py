"""Results of several models as rows of one table: the same metric of the same task side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lgdea.errors import UsageError
from lgdea.evaluation.results.compare import ResultTable, compare_results
from lgdea.evaluation.results.differences import Name, PairedDifference
from lgdea.evaluation.results.metric_facts import (
    HEADLINE,
    chance_level,
    headline_metrics,
    is_defined,
    metric_name,
    reference_name,
    score_names,
)
from lgdea.evaluation.results.result import Result, Value, list_results


@dataclass(frozen=True)
class Cell:
    """One model's value in a row, and how it differs from the baseline's."""

    label: str
    value: Value | None
    difference: float | None = None
    """This model minus the baseline; None for the baseline itself and where a value is missing."""
    low: float | None = None
    """Bounds of the difference's 95% interval; None where the two did not score the same items."""
    high: float | None = None
    p_value: float | None = None
    """One-sided: is this model better than the baseline? None where that was not tested."""
    p_holm: float | None = None
    """The same, corrected for the number of tests in the table of the metric by class; None for all classes."""

    @property
    def p_shown(self) -> float | None:
        """The p-value to judge by: the corrected one where there is one."""
        return self.p_value if self.p_holm is None else self.p_holm


FEW = 30
"""Items below which an interval is too narrow to be believed (docs/metrics.md, Intervals)."""


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
        """Position of ``value`` on the row's scale, in percent, clipped to it."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    @property
    def reference(self) -> str:
        """What the level beside it is: ``prior``, ``prevalence`` or ``chance``."""
        return reference_name(self.metric)

    @property
    def few(self) -> bool:
        """True when there are too few items to judge by."""
        return self.n < FEW

    @property
    def n(self) -> int:
        """Items behind the row: those of its first model."""
        return next((cell.value.n for cell in self.cells if cell.value), 0)


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
    archive: str
    split: str
    labels: tuple[str, ...]
    rows: tuple[MetricRow, ...]
    per_class: tuple[ClassTable, ...]
    definitions: tuple[str, ...]
    """Ids of what its metrics mean."""
    notes: tuple[str, ...]
    results: Mapping[str, Result]
    """Label to the result behind it, with its items."""
    source: ResultTable
    """The same numbers, none left out."""

    @property
    def about(self) -> str:
        """Origin of its items: archive and split, the suite if any, and the beginning of the ids' hash."""
        ids = f"ids {self.source.ids_sha256[:8]}" if self.source.ids_sha256 else ""
        return ", ".join(part for part in (self.archive, f"{self.split} split", self.source.suite, ids) if part)


def task_tables(
    folders: Mapping[str, Path],
    *,
    baseline: str | None = None,
    task: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> list[TaskTables]:
    """Read results folders and lay them side by side.

    Results under different definitions, of different archives, splits, suites or items are never put in one table.

    Args:
        folders: Label -> results folder, in the order of the columns.
        baseline: The label with which the others are compared; None for no comparison.
        task: Only this task; by default all that any folder holds.
        replicates: Of each difference's interval and test; 0 for neither.
        seed: Seed of both.

    Raises:
        UsageError: A folder is missing or holds no results.
        DataError: A file is broken.
    """
    for folder in folders.values():
        _require_results(Path(folder))
    if not folders:
        return []
    labels = list(folders) if baseline is None else [baseline, *(label for label in folders if label != baseline)]
    ordered = {label: folders[label] for label in labels}
    compared = compare_results(ordered, task=task, replicates=0 if baseline is None else replicates, seed=seed)
    tables = [_table(table, [label for label in folders if label in table.labels], baseline) for table in compared]
    order = list(HEADLINE)
    return sorted(tables, key=lambda t: order.index(t.task) if t.task in order else len(order))


def headline_rows(tables: Sequence[TaskTables]) -> list[MetricRow]:
    """The few rows that answer "how good is it": see :func:`headline_metrics`."""
    chosen = []
    for table in tables:
        by_metric = {row.metric: row for row in table.rows}
        chosen += [by_metric[name] for name in headline_metrics(table.task, by_metric)]
    return chosen


def first_per_task(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """The one row of each task that stands for it."""
    first: dict[str, MetricRow] = {}
    for row in rows:
        first.setdefault(row.task, row)
    return list(first.values())


def _require_results(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError("no such results folder", file=folder, remedy="check the path")
    if not list_results(folder):
        raise UsageError("holds no results", file=folder, remedy="make them with `lgdea eval`")


def _table(source: ResultTable, labels: Sequence[str], baseline: str | None) -> TaskTables:
    by_label = {label: source.results[label] for label in labels}
    # Where the baseline has no comparable result, the source compared with another model.
    found = source.differences if baseline in by_label else {}
    metrics = score_names([r.metrics for r in by_label.values()])
    values = {m: {k: r.metrics.get(m) for k, r in by_label.items()} for m in metrics}
    chances = {m: chance_level(m, [r.metrics for r in by_label.values()]) for m in metrics}
    rows = [
        _row(source.task, m, metric_name(m), values[m], chances[m], baseline, _of(found, ("", m)))
        for m in metrics
        if any(is_defined(v) for v in values[m].values())
    ]
    definitions = [v.definition for r in by_label.values() for v in r.metrics.values() if v.definition]
    return TaskTables(
        task=source.task,
        title=source.task[:1].upper() + source.task[1:].replace("_", " "),
        definition=source.definition,
        archive=source.archive,
        split=source.split,
        labels=tuple(by_label),
        rows=tuple(rows),
        per_class=tuple(_class_tables(by_label, baseline, found)),
        definitions=tuple(dict.fromkeys(definitions)),
        notes=tuple(dict.fromkeys(note for r in by_label.values() for note in r.notes)),
        results=by_label,
        source=source,
    )


def _of(found: Mapping[str, Mapping[Name, PairedDifference]], name: Name) -> dict[str, PairedDifference]:
    return {label: by_name[name] for label, by_name in found.items() if name in by_name}


def _class_tables(
    by_label: Mapping[str, Result], baseline: str | None, found: Mapping[str, Mapping[Name, PairedDifference]]
) -> list[ClassTable]:
    task = next(iter(by_label.values())).task
    names = list(dict.fromkeys(name for r in by_label.values() for name in r.per_class))
    tables = []
    for metric in score_names([values for r in by_label.values() for values in r.per_class.values()]):
        rows = []
        for name in names:
            by_model = {k: r.per_class.get(name, {}) for k, r in by_label.items()}
            values = {k: v.get(metric) for k, v in by_model.items()}
            if any(is_defined(v) for v in values.values()):
                chance = chance_level(metric, list(by_model.values()))
                rows.append(_row(task, metric, name, values, chance, baseline, _of(found, (name, metric))))
        if rows:
            low, high = min(r.low for r in rows), max(r.high for r in rows)
            shared = [MetricRow(r.task, r.metric, r.name, r.cells, r.chance, low, high) for r in rows]
            tables.append(ClassTable(metric, metric_name(metric), tuple(sorted(shared, key=_best_first))))
    return tables


def _row(
    task: str,
    metric: str,
    name: str,
    values: Mapping[str, Value | None],
    chance: float | None,
    baseline: str | None,
    differences: Mapping[str, PairedDifference],
) -> MetricRow:
    base = values.get(baseline) if baseline else None
    cells = []
    for label, value in values.items():
        if label == baseline or value is None or base is None or not is_defined(value) or not is_defined(base):
            cells.append(Cell(label, value if is_defined(value) else None))
            continue
        d = differences.get(label, PairedDifference(math.nan))
        more = {k: _or_none(getattr(d, k)) for k in ("low", "high", "p_value", "p_holm")}
        cells.append(Cell(label, value, value.value - base.value, **more))
    low, high = _scale([cell.value for cell in cells if cell.value], chance)
    return MetricRow(task, metric, name, tuple(cells), chance, low, high)


def _scale(values: Sequence[Value], chance: float | None) -> tuple[float, float]:
    """0 to 1 where everything fits in it, else wide enough for every whisker and for chance."""
    numbers = [x for v in values for x in (v.value, v.low, v.high) if math.isfinite(x)]
    numbers += [] if chance is None else [chance]
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    pad = 0.05 * (high - low)
    return (low - pad if low < 0 else 0.0), (1.0 if high <= 1 else high + pad)


def _best_first(row: MetricRow) -> float:
    value = row.cells[0].value if row.cells else None
    return -value.value if value else float("inf")


def _or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None
