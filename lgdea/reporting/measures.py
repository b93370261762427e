"""Results of several models as rows of one table: the same metric of the same task side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lgdea.errors import UsageError
from lgdea.evaluation.bootstrap import Comparison
from lgdea.evaluation.results import Result, Value, list_results, read_result
from lgdea.evaluation.summary import compare

HEADLINE = {
    "zero-shot": ("auroc_macro", "auprc_macro", "mcc_macro"),
    "retrieval": ("evidence_precision@10", "evidence_ndcg@10", "/recall@10"),
    "grounding": ("pointing_macro", "cnr_macro", "miou_macro"),
}
"""What the first table shows of each task: for each of these the first metric whose name ends with it."""

CHANCE = {"auroc": 0.5, "mcc": 0.0}
"""What knowing nothing scores, where that does not depend on the data; not CNR, an absolute contrast, which is above 0
for a random map too."""

LOWER_IS_BETTER = ("median_rank", "iou_false", "iobb_false")
NO_SCORE = ("threshold",)
"""Facts among the metrics of a class that are no score."""


@dataclass(frozen=True)
class Cell:
    """One model's value in a row, and how it differs from the baseline's."""

    label: str
    value: Value | None
    difference: float | None = None
    """This model minus the baseline; None for the baseline itself and where a value is missing."""
    p_value: float | None = None
    """One-sided: is this model better than the baseline? None where that was not tested."""


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


def task_tables(folders: Mapping[str, Path], *, baseline: str | None = None) -> list[TaskTables]:
    """Read results folders and lay them side by side.

    Results under different definitions, of different archives or splits are never put in one table.

    Args:
        folders: Label -> results folder, in the order of the columns.
        baseline: The label with which the others are compared; None for no comparison.

    Raises:
        UsageError: A folder is missing or holds no results.
        DataError: A file is broken.
    """
    groups: dict[tuple[str, str, str, str], dict[str, Result]] = {}
    for label, folder in folders.items():
        for task in _tasks(Path(folder)):
            result = read_result(folder, task)
            key = (result.task, result.definition, result.archive, result.split)
            groups.setdefault(key, {})[label] = result
    tests = _tests(folders, baseline)
    tables = [_table(by_label, baseline, tests.get(key, {})) for key, by_label in groups.items()]
    order = list(HEADLINE)
    return sorted(tables, key=lambda t: order.index(t.task) if t.task in order else len(order))


def headline_rows(tables: Sequence[TaskTables]) -> list[MetricRow]:
    """The few rows that answer "how good is it": see :data:`HEADLINE`; an unknown task gives its first two."""
    chosen = []
    for table in tables:
        wanted = HEADLINE.get(table.task, ())
        matches = [next((row for row in table.rows if row.metric.endswith(key)), None) for key in wanted]
        chosen += [row for row in matches if row is not None] or list(table.rows[:2])
    return chosen


def first_per_task(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """The one row of each task that stands for it."""
    first: dict[str, MetricRow] = {}
    for row in rows:
        first.setdefault(row.task, row)
    return list(first.values())


def metric_name(metric: str) -> str:
    """A metric's id as people write it: ``auroc_macro`` -> ``macro AUROC``."""
    stem, _, average = metric.rpartition("_")
    text = f"{average}_{stem}" if average in ("macro", "micro") else metric
    text = text.replace("image_to_report", "image→report").replace("report_to_image", "report→image")
    words = [_WRITTEN.get(word.lower(), word) for word in re.split(r"[_/ ]+", text)]
    return " ".join(words) + (", lower is better" if any(word in metric for word in LOWER_IS_BETTER) else "")


def chance_metric(metric: str) -> str:
    """The metric that holds the chance level of ``metric``, as the evaluation tasks name it.

    >>> chance_metric("image_to_report/recall@10"), chance_metric("pointing_macro")
    ('image_to_report/recall_chance@10', 'pointing_chance_macro')
    """
    if metric == "single_label_accuracy":
        return "single_label_chance"
    if metric.startswith("auprc"):
        return metric.replace("auprc", "prevalence", 1)
    stem, end = re.fullmatch(r"(.*?)(@\d+|_macro|_micro|)", metric).groups()  # type: ignore[union-attr]
    return f"{stem}_chance{end}"


_WRITTEN = {"auroc": "AUROC", "auprc": "AUPRC", "mcc": "MCC", "f1": "F1", "cnr": "CNR", "miou": "mIoU"}
_WRITTEN |= {"pointing": "pointing game"}
_WRITTEN |= {f"ndcg@{k}": f"nDCG@{k}" for k in (1, 5, 10, 50, 100)}


def _tasks(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UsageError("no such results folder", file=folder, remedy="check the path")
    tasks = list_results(folder)
    if not tasks:
        raise UsageError("holds no results", file=folder, remedy="make them with `lgdea eval`")
    return tasks


def _tests(
    folders: Mapping[str, Path], baseline: str | None
) -> dict[tuple[str, str, str, str], dict[str, dict[str, Comparison]]]:
    """Paired tests against the baseline: (task, definition, archive, split) -> metric -> label -> test."""
    if baseline is None or len(folders) < 2:
        return {}
    ordered = {baseline: folders[baseline], **{k: v for k, v in folders.items() if k != baseline}}
    return {(t.task, t.definition, t.archive, t.split): t.tests for t in compare(ordered) if t.labels[0] == baseline}


def _table(
    by_label: Mapping[str, Result], baseline: str | None, tests: Mapping[str, Mapping[str, Comparison]]
) -> TaskTables:
    first = next(iter(by_label.values()))
    metrics = _scores([r.metrics for r in by_label.values()])
    values = {m: {k: r.metrics.get(m) for k, r in by_label.items()} for m in metrics}
    chances = {m: _chance(m, [r.metrics for r in by_label.values()]) for m in metrics}
    rows = [
        _row(first.task, m, metric_name(m), values[m], chances[m], baseline, tests.get(m, {}))
        for m in metrics
        if any(_known(v) for v in values[m].values())
    ]
    definitions = [v.definition for r in by_label.values() for v in r.metrics.values() if v.definition]
    return TaskTables(
        task=first.task,
        title=first.task[:1].upper() + first.task[1:].replace("_", " "),
        definition=first.definition,
        archive=first.archive,
        split=first.split,
        labels=tuple(by_label),
        rows=tuple(rows),
        per_class=tuple(_class_tables(by_label, baseline)),
        definitions=tuple(dict.fromkeys(definitions)),
        notes=tuple(dict.fromkeys(note for r in by_label.values() for note in r.notes)),
    )


def _class_tables(by_label: Mapping[str, Result], baseline: str | None) -> list[ClassTable]:
    task = next(iter(by_label.values())).task
    names = list(dict.fromkeys(name for r in by_label.values() for name in r.per_class))
    tables = []
    for metric in _scores([values for r in by_label.values() for values in r.per_class.values()]):
        rows = []
        for name in names:
            found = {k: r.per_class.get(name, {}) for k, r in by_label.items()}
            values = {k: v.get(metric) for k, v in found.items()}
            if any(_known(v) for v in values.values()):
                rows.append(_row(task, metric, name, values, _chance(metric, list(found.values())), baseline, {}))
        if rows:
            low, high = min(r.low for r in rows), max(r.high for r in rows)
            shared = [MetricRow(r.task, r.metric, r.name, r.cells, r.chance, low, high) for r in rows]
            tables.append(ClassTable(metric, metric_name(metric), tuple(sorted(shared, key=_best_first))))
    return tables


def _scores(found: Sequence[Mapping[str, Value]]) -> list[str]:
    """Metric names in order, without those that are the chance level of another one or no score."""
    names = list(dict.fromkeys(name for metrics in found for name in metrics))
    chances = {chance_metric(name) for name in names}
    return [name for name in names if name not in chances and name not in NO_SCORE]


def _chance(metric: str, found: Sequence[Mapping[str, Value]]) -> float | None:
    told = next((m[chance_metric(metric)] for m in found if _known(m.get(chance_metric(metric)))), None)
    if told is not None:
        return told.value
    return next((level for name, level in CHANCE.items() if metric.split("_", maxsplit=1)[0] == name), None)


def _row(
    task: str,
    metric: str,
    name: str,
    values: Mapping[str, Value | None],
    chance: float | None,
    baseline: str | None,
    tests: Mapping[str, Comparison],
) -> MetricRow:
    base = values.get(baseline) if baseline else None
    cells = []
    for label, value in values.items():
        difference, p_value = None, None
        if label != baseline and value is not None and base is not None and _known(value) and _known(base):
            difference = value.value - base.value
            tested = tests.get(label)
            p_value = None if tested is None or math.isnan(tested.p_value) else tested.p_value
        cells.append(Cell(label, value if _known(value) else None, difference, p_value))
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


def _known(value: Value | None) -> bool:
    return value is not None and math.isfinite(value.value)
