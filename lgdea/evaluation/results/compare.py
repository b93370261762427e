"""Results side by side: value and interval per model, and whether a model beats the first one beyond chance.

Only results with the same task, definition, archive, split, suite and scored items share a table; numbers of different
meaning are never put next to each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lgdea.errors import UsageError
from lgdea.evaluation.results.differences import Name, PairedDifference, differences
from lgdea.evaluation.results.result import Result, TableKey, Value, list_results, read_result
from lgdea.statistics.bootstrap import PairedTest
from lgdea.statistics.format import format_interval

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class ResultTable:
    """Comparable results of one task."""

    task: str
    definition: str
    archive: str
    split: str
    labels: list[str]
    """Columns; the first is the baseline of the tests."""
    metrics: dict[str, dict[str, Value]]
    """Metric to label to value."""
    tests: dict[str, dict[str, PairedTest]]
    """Metric to label: is this model better than the first? Only where the same items were scored."""
    results: dict[str, Result] = field(default_factory=dict, repr=False)
    """Label to what was read, per class and per item."""
    differences: dict[str, dict[Name, PairedDifference]] = field(default_factory=dict, repr=False)
    """Label to (class, metric) to its difference from the first; see :mod:`lgdea.evaluation.results.differences`."""
    suite: str = ""
    ids_sha256: str = ""

    @property
    def key(self) -> TableKey:
        """Key that its results share."""
        return TableKey(self.task, self.definition, self.archive, self.split, self.suite, self.ids_sha256)

    @property
    def title(self) -> str:
        """Task, archive, split, definition, suite and ids in one line."""
        parts = [f"{self.task} on {self.archive} ({self.split})", self.definition, self.suite]
        ids = f"ids {self.ids_sha256[:8]}" if self.ids_sha256 else ""
        return ", ".join(part for part in (*parts, ids) if part)


def compare_results(
    results: Mapping[str, str | Path | Mapping[str, Result]],
    *,
    task: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> list[ResultTable]:
    """Lay results side by side.

    Args:
        results: Label (a model's name) to its results folder, or its results by task; the first is the baseline of the
            tests.
        task: Only this task; by default every task that any folder holds.
        replicates: Permutations of each test and replicates of each difference's interval; 0 for neither.
        seed: Seed of both.

    Returns:
        One table for each set of comparable results, in order of task.

    Raises:
        UsageError: A folder is missing, or no folder holds a result.
    """
    loaded: dict[TableKey, dict[str, Result]] = {}
    for label, source in results.items():
        for result in source.values() if isinstance(source, Mapping) else _read_folder(source, task):
            if task is None or result.task == task:
                loaded.setdefault(result.table_key, {})[label] = result
    if not loaded:
        what = f"results of {task}" if task else "results"
        places = ", ".join(label if isinstance(place, Mapping) else str(place) for label, place in results.items())
        raise UsageError(f"no {what} in {places}", remedy="make them with `lgdea eval`")
    return [_table(key, by_label, replicates, seed) for key, by_label in sorted(loaded.items())]


def _read_folder(folder: str | Path, task: str | None) -> list[Result]:
    if not Path(folder).is_dir():
        raise UsageError("no such results folder", file=folder, remedy="make it with `lgdea eval`")
    return [read_result(folder, found) for found in list_results(folder) if task is None or found == task]


def to_rows(table: ResultTable) -> list[list[str]]:
    """The table as text, header first: ``metric``, then ``value [low, high]`` per label with ``p`` where tested."""
    rows = [["metric", *table.labels]]
    for metric, cells in table.metrics.items():
        row = [metric]
        for label in table.labels:
            v = cells.get(label)
            text = format_interval(v.value, v.low, v.high) if v is not None else "-"
            test = table.tests.get(metric, {}).get(label)
            if test is not None and not math.isnan(test.p_value):
                text += f" p={test.p_value:.3f}" if test.p_value >= 0.001 else " p<0.001"
            row.append(text)
        rows.append(row)
    return rows


def to_markdown(table: ResultTable) -> str:
    """The table in Markdown, with its title above."""
    head, *rows = to_rows(table)
    return markdown_table(table.title, head, rows)


def markdown_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Any table in Markdown, numbers to the right."""
    rule = [":---", *["---:"] * (len(columns) - 1)]
    return "\n".join([f"**{title}**", "", _line(columns), _line(rule), *map(_line, rows)]) + "\n"


def to_rich(table: ResultTable) -> Table:
    """The table for the terminal."""
    from rich.table import Table

    head, *rows = to_rows(table)
    shown = Table(title=table.title, title_justify="left", header_style="bold")
    for i, column in enumerate(head):
        shown.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(key: TableKey, results: dict[str, Result], replicates: int, seed: int) -> ResultTable:
    labels = list(results)
    names = list(dict.fromkeys(name for result in results.values() for name in result.metrics))
    cells = {n: {label: r.metrics[n] for label, r in results.items() if n in r.metrics} for n in names}
    found = differences(results, replicates=replicates, seed=seed)
    tests: dict[str, dict[str, PairedTest]] = {}
    for label, by_name in found.items():
        for (class_name, metric), d in by_name.items():
            if not class_name and metric in cells and not math.isnan(d.p_value):
                tests.setdefault(metric, {})[label] = PairedTest(d.value, d.p_value, d.n)
    return ResultTable(*key[:4], labels, cells, tests, results, found, key.suite, key.ids_sha256)
