"""Results of a model: one per task, as a table, a page fragment or files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lgdea.errors import UsageError
from lgdea.evaluation.results.compare import compare_results
from lgdea.evaluation.results.metric_facts import chance_level
from lgdea.evaluation.results.result import Result, Value, list_results, read_result, write_result
from lgdea.reporting.results_view import results_html, results_text

if TYPE_CHECKING:
    import pandas as pd


COLUMNS = ["task", "class", "metric", "value", "low", "high", "n", "chance"]
DIFFERENCE_COLUMNS = [*COLUMNS[:4], "baseline", "difference", "low", "high", "p_value", "p_holm", "n"]


class Results(Mapping[str, Result]):
    """Results of one model by task: ``results["zero-shot"].metrics["auroc_macro"].value``.

    A :class:`~lgdea.evaluation.results.result.Result` has ``metrics`` and ``per_class`` (each value with its interval,
    n and definition), ``items`` (a row per scored item), ``notes`` and ``skipped``. Every interval is a 95% percentile
    bootstrap over patients.

    Args:
        results: Task to its result.

    Example:
        >>> results = lgdea.evaluate(model, archive, tasks=["grounding"], bootstrap_replicates=50)
        >>> list(results)
        ['grounding']
        >>> list(results.to_frame().columns)
        ['task', 'class', 'metric', 'value', 'low', 'high', 'n', 'chance']
    """

    def __init__(self, results: Mapping[str, Result]) -> None:
        self._results = dict(results)

    def __getitem__(self, task: str) -> Result:
        return self._results[task]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return results_text(self._results)

    def _repr_html_(self) -> str:
        return str(results_html(self._results))

    def to_frame(self) -> pd.DataFrame:
        """Lay out every value in a row of its own.

        Returns:
            Columns ``task``, ``class`` (empty over all classes), ``metric``, ``value``, ``low`` and ``high`` (bounds of
            the 95% interval), ``n`` (items) and ``chance`` (the metric's chance level). NaN where not defined.
        """
        import pandas as pd

        rows = []
        for task, result in self._results.items():
            for name, metrics in [("", result.metrics), *result.per_class.items()]:
                for metric, v in metrics.items():
                    chance = chance_level(metric, [metrics])
                    rows.append((task, name, metric, v.value, v.low, v.high, v.n, chance))
        frame = pd.DataFrame(rows, columns=COLUMNS)
        return frame.astype({"chance": float})

    def compare(self, baseline: Results | str | Path, *, replicates: int = 1000, seed: int = 0) -> pd.DataFrame:
        """Subtract a baseline's results, on the same drawn patients for both models.

        Args:
            baseline: Results of another model on the same items, or their folder.
            replicates: Bootstrap replicates of each difference's interval and permutations of its test.
            seed: Seed of both.

        Returns:
            A row per class and metric of both: ``task``, ``class``, ``metric``, ``value``, ``baseline``,
            ``difference``, its 95% interval ``low`` and ``high``, ``p_value`` (one-sided: better than the baseline),
            ``p_holm`` (corrected for the number of classes) and ``n``. NaN where there is no difference or no test.

        Raises:
            UsageError: No task was scored on the same items under the same definition.
        """
        import pandas as pd

        other = baseline if isinstance(baseline, Results) else load_results(baseline)
        tables = compare_results({"baseline": other, "model": self}, replicates=replicates, seed=seed)
        rows = []
        for table in (table for table in tables if len(table.labels) == 2):
            for (name, metric), d in table.differences.get("model", {}).items():
                model, base = (_values_of(table.results[label], name)[metric].value for label in ("model", "baseline"))
                rows.append((table.task, name, metric, model, base, d.value, d.low, d.high, d.p_value, d.p_holm, d.n))
        if not rows:
            raise UsageError(
                "no task has results of both models on the same items under the same definition",
                remedy="evaluate both on the same archive, split and suite, with replicates above 0",
            )
        columns = [
            "task",
            "class",
            "metric",
            "value",
            "baseline",
            "difference",
            "low",
            "high",
            "p_value",
            "p_holm",
            "n",
        ]
        return pd.DataFrame(rows, columns=columns)

    def save(self, folder: str | Path) -> Path:
        """Write ``TASK.json`` and ``TASK.parquet`` of every task, as ``lgdea eval`` does; returns the folder.

        Args:
            folder: Results folder, made if needed; results of the same tasks in it are replaced.
        """
        for result in self._results.values():
            write_result(result, folder)
        return Path(folder)


def load_results(folder: str | Path) -> Results:
    """Load the results of a folder that :meth:`Results.save` or ``lgdea eval`` wrote.

    Args:
        folder: Results folder.

    Returns:
        All results in it, by task.

    Raises:
        UsageError: There is no such folder, or it holds no results.
        DataError: A file is not a result.

    Example:
        >>> results = lgdea.evaluate(model, archive, tasks=["grounding"], out=folder / "results")
        >>> lgdea.load_results(folder / "results").to_frame().equals(results.to_frame())
        True
    """
    tasks = list_results(folder)
    if not tasks:
        what = "holds no results" if Path(folder).is_dir() else "no such results folder"
        raise UsageError(what, file=folder, remedy="make them with lgdea.evaluate or `lgdea eval`")
    return Results({task: read_result(folder, task) for task in tasks})


def _values_of(result: Result, name: str) -> Mapping[str, Value]:
    return result.per_class[name] if name else result.metrics
