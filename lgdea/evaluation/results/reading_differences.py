"""Paired differences of the readings of one result: beside references and alone, strategies, numbers, scores.

A reading is a way to tell findings: ``single`` (the query alone), ``self`` (the same, display standardised), or a score
beside K references of a strategy, ``z/demographic@10``. All readings of a result are of the same queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lgdea.evaluation.metrics.references import METRICS, balanced_accuracy_test, method_statistic
from lgdea.evaluation.results.compare import ResultTable
from lgdea.evaluation.results.differences import Floats, holm
from lgdea.evaluation.results.metric_facts import metric_name
from lgdea.evaluation.results.paired_readings import SELF, SINGLE, reading_arrays, readings_of
from lgdea.evaluation.results.result import Result, Value
from lgdea.statistics.bootstrap import cluster_bootstrap
from lgdea.statistics.format import format_interval

TASK, STANDARDISED = "references", "standardised"
QUESTIONS = ("references", "score", "strategy", "number")
"""What may differ between two readings, in the order in which they are shown."""
TESTED = "balanced_accuracy"
DEFINITIONS = {metric: f"references/{metric.replace('_', '-')}-difference-v1" for metric in METRICS}


@dataclass(frozen=True)
class ReadingDifference:
    """Reading ``a`` less reading ``b`` of the same result, on the same queries.

    Attributes:
        a: The first reading.
        b: The other.
        what: What differs: ``references`` (b is the query alone), ``score``, ``strategy`` or ``number``.
        metrics: Balanced accuracy, F1 and AUROC, macro: difference with its bounds.
        p_value: One-sided, by patient: the balanced accuracy of ``a`` is greater than that of ``b``.
        p_holm: The same, corrected for the number of pairs in which the same differs.
    """

    a: str
    b: str
    what: str
    metrics: dict[str, Value]
    p_value: float
    p_holm: float

    @property
    def name(self) -> str:
        """``a - b``."""
        return f"{self.a} - {self.b}"


def reading_pairs(readings: Sequence[str]) -> list[tuple[str, str, str]]:
    """Pairs (a, b, what differs) that ask one thing: every reading against ``single``, and those that differ in one.

    ``self`` differs from ``single`` in the score, and from ``standardised`` in the references.

    Args:
        readings: Names ``score/strategy@K``, and ``single``.

    Example:
        >>> [pair[:2] for pair in reading_pairs(["single", "z/random@1", "z/random@5"])]
        [('z/random@1', 'single'), ('z/random@5', 'single'), ('z/random@5', 'z/random@1')]
    """
    beside = [name for name in readings if name not in (SINGLE, SELF)]
    pairs = [(name, SINGLE, "references") for name in beside] if SINGLE in readings else []
    if SELF in readings:
        pairs += [(name, SELF, "references") for name in beside if _parts(name)[0] == STANDARDISED]
        pairs += [(SELF, SINGLE, "score")] if SINGLE in readings else []
    for later, name in enumerate(beside):
        for other in beside[:later]:
            differing = [
                what
                for what, mine, theirs in zip(QUESTIONS[1:], _parts(name), _parts(other), strict=True)
                if mine != theirs
            ]
            if len(differing) == 1:
                pairs.append((name, other, differing[0]))
    return sorted(pairs, key=lambda pair: QUESTIONS.index(pair[2]))


def _parts(reading: str) -> tuple[str, str, str]:
    score, _, rest = reading.partition("/")
    strategy, _, number = rest.rpartition("@")
    return score, strategy, number


def reading_differences(result: Result, *, replicates: int = 1000, seed: int = 0) -> list[ReadingDifference]:
    """Compare the readings of one result: beside references against alone, strategies, numbers, scores.

    Args:
        result: Of ``lgdea eval references``, with its items.
        replicates: Bootstrap replicates of each interval, over patients, and permutations of each test.
        seed: Seed of both.

    Returns:
        One per pair of :func:`reading_pairs`; none for a result of another task, without items, or with 0 replicates.
    """
    readings = readings_of(result.items)
    pairs = reading_pairs(readings) if result.task == TASK and replicates else []
    if not pairs:
        return []
    scores, calls, truth, patients, _ = reading_arrays(result.items, readings)
    first, second = (np.array([readings.index(pair[side]) for pair in pairs]) for side in (0, 1))
    whole = method_statistic(scores, calls, truth)
    shape = (2, len(readings), len(METRICS), truth.shape[1] + 1)

    def statistic(weights: Floats) -> Floats:
        macro = whole(weights).reshape(len(weights), *shape)[:, 0, :, :, -1]
        return np.asarray((macro[:, first] - macro[:, second]).reshape(len(weights), -1))

    interval = cluster_bootstrap(statistic, patients, replicates=replicates, seed=seed)
    numbers = np.stack([np.asarray(part).reshape(len(pairs), len(METRICS)) for part in interval], axis=-1)
    p_values = np.array([
        balanced_accuracy_test(calls[i], calls[j], truth, patients, replicates=replicates, seed=seed).p_value
        for i, j in zip(first, second, strict=True)
    ])  # fmt: skip
    kinds, corrected = np.array([pair[2] for pair in pairs]), np.full(len(pairs), np.nan)
    for kind in set(kinds):
        corrected[kinds == kind] = holm(p_values[kinds == kind])
    found = []
    for pair, row, p_value, p_holm in zip(pairs, numbers.tolist(), p_values, corrected, strict=True):
        values = {
            metric: Value(value, low, high, len(patients), DEFINITIONS[metric])
            for metric, (value, low, high) in zip(METRICS, row, strict=True)
        }
        found.append(ReadingDifference(*pair, values, float(p_value), float(p_holm)))
    return found


@dataclass(frozen=True)
class ReadingTable:
    """Differences between the readings of one result of a table.

    Attributes:
        source: The table.
        label: Label of the result in it.
        differences: Of :func:`reading_differences`.
    """

    source: ResultTable
    label: str
    differences: list[ReadingDifference]

    @property
    def title(self) -> str:
        """Title of the table, and whose readings they are."""
        return f"{self.source.title}, differences of the readings of {self.label}"

    @property
    def columns(self) -> list[str]:
        """Column names of :meth:`rows`."""
        return ["difference", *map(metric_name, METRICS), "p(Holm)"]

    def rows(self) -> list[list[str]]:
        """Rows as text: ``a - b``, each metric's difference with its interval, the corrected p-value."""
        return [
            [
                d.name,
                *(format_interval(v.value, v.low, v.high) for v in d.metrics.values()),
                "<0.001" if d.p_holm < 0.001 else f"{d.p_holm:.3f}",
            ]
            for d in self.differences
        ]


def reading_tables(tables: Sequence[ResultTable], *, replicates: int = 1000, seed: int = 0) -> list[ReadingTable]:
    """Tables of :func:`reading_differences` of every result of reading beside references.

    Args:
        tables: Tables of any tasks.
        replicates: Bootstrap replicates and permutations; 0 for no table.
        seed: Seed of both.
    """
    found = [
        ReadingTable(table, label, reading_differences(result, replicates=replicates, seed=seed))
        for table in tables
        for label, result in table.results.items()
    ]
    return [table for table in found if table.differences]
