"""Units of two sources matched one to one within a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

ATTRIBUTES = ("anatomy", "laterality", "severity", "change", "refers_to_prior")
"""Attributes of a unit, beyond finding and assertion."""

Kind = Literal["same", "assertion", "attribute", "finding", "only_a", "only_b"]


@dataclass(frozen=True)
class Pair:
    """A unit of run A and its partner in run B; one of them is None when the other run has no such unit.

    ``a`` and ``b`` are rows with the fields of :class:`~lgdea.evidence.schema.Unit`; ``differs`` names the fields
    whose values differ; ``tier`` is a key of :data:`lgdea.annotation.compare_runs.TIERS`, empty for equal units.
    """

    report_id: str
    kind: Kind
    a: Any | None
    b: Any | None
    differs: tuple[str, ...] = ()
    tier: str = ""

    @property
    def finding(self) -> str:
        """The finding; run A's where the two differ."""
        return str(self._unit.finding)

    @property
    def start(self) -> int:
        """Begin of the quote in the raw report; run A's where the two differ."""
        return int(self._unit.start)

    @property
    def _unit(self) -> Any:
        return self.b if self.a is None else self.a


def units_by_report(units: pd.DataFrame) -> dict[str, list[Any]]:
    """The rows per report, in order of place; a null is None."""
    plain = units.sort_values(["start", "end"], kind="stable").astype(object)
    plain = plain.where(plain.notna(), None)
    result: dict[str, list[Any]] = defaultdict(list)
    for row in plain.itertuples(index=False, name="Row"):
        result[str(row.report_id)].append(row)
    return dict(result)


def match(first: Sequence[Any], second: Sequence[Any], similar: Callable[[Any, Any], float]) -> list[tuple[int, int]]:
    """One-to-one pairs of positions: as many as possible, and of those choices the most similar.

    Args:
        first: N units.
        second: M units.
        similar: Similarity in [0, 1] of two units that may be matched, negative for two that may not.
    """
    if not first or not second:
        return []
    values = np.array([[similar(x, y) for y in second] for x in first])
    if values.shape == (1, 1):
        return [(0, 0)] if values[0, 0] >= 0 else []
    from scipy.optimize import linear_sum_assignment

    # A pair more outweighs any gain in similarity.
    rows, columns = linear_sum_assignment(np.where(values >= 0, values + min(values.shape) + 1, 0), maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if values[r, c] >= 0]


def similarity(x: Any, y: Any) -> float:
    """Similarity of two units of a report: negative unless their quotes overlap, else by place and attributes."""
    inside = min(x.end, y.end) - max(x.start, y.start)
    if inside <= 0:
        return -1.0
    overlap = inside / (max(x.end, y.end) - min(x.start, y.start))
    equal = sum(getattr(x, name) == getattr(y, name) for name in ATTRIBUTES) / len(ATTRIBUTES)
    return float(0.5 * (x.assertion == y.assertion) + 0.3 * equal + 0.2 * overlap)
