"""Results side by side: value and interval per model, and whether a model beats the first one beyond chance.

Only results with the same task, definition, archive and split share a table; numbers of different meaning are never
put next to each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lgdea.errors import UsageError
from lgdea.evaluation.bootstrap import Comparison, permutation_test, swap_test
from lgdea.evaluation.metrics import classification
from lgdea.evaluation.results import Result, Value, list_results, read_result

if TYPE_CHECKING:
    from rich.table import Table

_KEYS = {
    "zero-shot": ["image_id", "class"],
    "retrieval": ["direction", "query_id"],
    "grounding": ["image_id", "phrase"],
}

_NO_SCORE = ("_chance", "_prior", "_whole", "_centre", "_false")
"""In the names of references, which are the same for every model, and of counts where lower is better: not tested."""


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
    tests: dict[str, dict[str, Comparison]]
    """Metric to label: is this model better than the first? Only where the same items were scored."""

    @property
    def title(self) -> str:
        """One line that says what the numbers are of."""
        return f"{self.task} on {self.archive} ({self.split}), {self.definition}"


def compare(
    results: Mapping[str, str | Path], *, task: str | None = None, replicates: int = 1000, seed: int = 0
) -> list[ResultTable]:
    """Lay results side by side.

    Args:
        results: Label (a model's name) to its results folder; the first is the baseline of the tests.
        task: Only this task; by default every task that any folder holds.
        replicates: Permutations of each test; 0 for no tests.
        seed: Seed of the permutations.

    Returns:
        One table for each set of comparable results, in order of task.

    Raises:
        UsageError: A folder is missing, or no folder holds a result.
    """
    loaded: dict[tuple[str, str, str, str], dict[str, Result]] = {}
    for label, folder in results.items():
        if not Path(folder).is_dir():
            raise UsageError("no such results folder", file=folder, remedy="make it with `lgdea eval`")
        for found in list_results(folder):
            if task is None or found == task:
                result = read_result(folder, found)
                key = (result.task, result.definition, result.archive, result.split)
                loaded.setdefault(key, {})[label] = result
    if not loaded:
        what = f"results of {task}" if task else "results"
        raise UsageError(f"no {what} in {', '.join(map(str, results.values()))}", remedy="make them with `lgdea eval`")
    return [_table(*key, by_label, replicates, seed) for key, by_label in sorted(loaded.items())]


def to_rows(table: ResultTable) -> list[list[str]]:
    """The table as text, header first: ``metric``, then ``value [low, high]`` per label with ``p`` where tested."""
    rows = [["metric", *table.labels]]
    for metric, cells in table.metrics.items():
        row = [metric]
        for label in table.labels:
            text = format_value(cells[label]) if label in cells else "-"
            test = table.tests.get(metric, {}).get(label)
            if test is not None and not math.isnan(test.p_value):
                text += f" p={test.p_value:.3f}" if test.p_value >= 0.001 else " p<0.001"
            row.append(text)
        rows.append(row)
    return rows


def format_value(value: Value) -> str:
    """``0.812 [0.790, 0.835]``; without bounds the value alone; ``-`` when it is not defined."""
    if math.isnan(value.value):
        return "-"
    if math.isnan(value.low):
        return f"{value.value:.3f}"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def to_markdown(table: ResultTable) -> str:
    """The table in Markdown, with its title above."""
    head, *rows = to_rows(table)
    lines = [f"**{table.title}**", "", _line(head), _line([":---", *["---:"] * len(table.labels)]), *map(_line, rows)]
    return "\n".join(lines) + "\n"


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


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(
    task: str, definition: str, archive: str, split: str, results: dict[str, Result], replicates: int, seed: int
) -> ResultTable:
    labels = list(results)
    names = list(dict.fromkeys(name for result in results.values() for name in result.metrics))
    cells = {n: {label: r.metrics[n] for label, r in results.items() if n in r.metrics} for n in names}
    tests: dict[str, dict[str, Comparison]] = {}
    if replicates:
        for label in labels[1:]:
            for metric, test in _tests(results[label], results[labels[0]], replicates, seed).items():
                tests.setdefault(metric, {})[label] = test
    return ResultTable(task, definition, archive, split, labels, cells, tests)


def _tests(better: Result, base: Result, replicates: int, seed: int) -> dict[str, Comparison]:
    """Is ``better`` better than ``base``? By metric name, for the metrics that items can tell."""
    key = _KEYS.get(better.task)
    if key is None or better.items.empty or base.items.empty:
        return {}
    both = better.items.merge(base.items, on=key, suffixes=("", "_base"), validate="one_to_one")
    if len(both) != len(better.items) or len(both) != len(base.items):
        return {}
    if better.task == "zero-shot":
        return {"auroc_macro": _auroc_test(both, replicates, seed)}
    tests = {}
    for metric in better.metrics:
        rows, column = both, metric
        if better.task == "retrieval":
            direction, column = metric.split("/")
            rows = both[both["direction"] == direction]
        elif metric.endswith("_micro"):
            column = metric.removesuffix("_micro")
        if f"{column}_base" in rows and not any(word in column for word in _NO_SCORE):
            a, b = rows[column].to_numpy(float), rows[f"{column}_base"].to_numpy(float)
            finite = np.isfinite(a) & np.isfinite(b)
            patients = rows["patient_id"].to_numpy()[finite]
            tests[metric] = permutation_test(a[finite], b[finite], patients, replicates=replicates, seed=seed)
    return tests


def _auroc_test(both: pd.DataFrame, replicates: int, seed: int) -> Comparison:
    """Macro AUROC; scores of two models share no scale, so each is ranked within its model and class first."""
    ranked: list[Any] = []
    for column in ("score", "score_base"):
        rank = both.groupby("class")[column].rank()
        ranked.append(both.assign(rank=rank).pivot(index="image_id", columns="class", values="rank"))
    truth = both.pivot(index="image_id", columns="class", values="label").to_numpy(float)
    patients = both.drop_duplicates("image_id").set_index("image_id")["patient_id"].reindex(ranked[0].index)

    def statistic(scores: Any) -> float:
        return float(classification.macro(classification.multilabel(classification.auroc, scores, truth)))

    a, b = (table.to_numpy(float) for table in ranked)
    return swap_test(statistic, a, b, patients.to_numpy(), replicates=replicates, seed=seed)
