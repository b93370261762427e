"""Agreement of what two texts state: F1 of sets of statements, by what is compared of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lgdea.statistics.bootstrap import Statistic
from lgdea.statistics.roc import divide_or_nan

Floats = NDArray[np.float64]
UNSAID = "unspecified"


class Statement(Protocol):
    """A finding with what is said of it; a unit of evidence, or a match of the rules."""

    @property
    def finding(self) -> str: ...  # noqa: D102
    @property
    def assertion(self) -> str: ...  # noqa: D102
    @property
    def laterality(self) -> str: ...  # noqa: D102
    @property
    def change(self) -> str: ...  # noqa: D102


Placed = tuple[int, Statement]
"""A statement and the image that it is about; 0 where it names none."""


def _sides(statement: Statement) -> tuple[str, ...]:
    side = statement.laterality
    return ("left", "right") if side == "bilateral" else () if side == UNSAID else (side,)


FACETS: dict[str, Callable[[Statement], list[tuple[str, ...]]]] = {
    "entity": lambda s: [(s.finding,)],
    "assertion": lambda s: [(s.finding, s.assertion)],
    "side": lambda s: [(s.finding, side) for side in _sides(s)],
    "change": lambda s: [(s.finding, s.change)] if s.change != UNSAID else [],
    "together": lambda s: [(s.finding, s.assertion, side, s.change) for side in _sides(s) or (UNSAID,)],
}
"""What is compared of each statement. A side (both are the left and the right one) and a change count where they are
said; ``together`` is all four at once."""


def statement_counts(found: Iterable[Placed], true: Iterable[Placed]) -> dict[str, tuple[int, int, int]]:
    """Hits, false statements and misses of each facet, as sets: saying a thing twice counts once.

    Args:
        found: Statements of the generated text.
        true: Statements that are taken for true.

    Example:
        >>> from types import SimpleNamespace
        >>> effusion = {"finding": "pleural_effusion", "assertion": "present", "change": "worse"}
        >>> left, both = (SimpleNamespace(**effusion, laterality=side) for side in ("left", "bilateral"))
        >>> counts = statement_counts([(0, left)], [(0, both)])
        >>> counts["entity"], counts["side"], counts["together"]
        ((1, 0, 0), (1, 0, 1), (1, 0, 1))
    """
    found, true = list(found), list(true)
    counts = {}
    for facet, parts in FACETS.items():
        a, b = ({(image, *part) for image, s in side for part in parts(s)} for side in (found, true))
        counts[facet] = (len(a & b), len(a - b), len(b - a))
    return counts


def micro_f1(counts: ArrayLike) -> Statistic:
    """The statistic "F1 of summed counts": weights (R, N) to (R,); NaN where nothing is said on either side.

    Args:
        counts: (N, 3) hits, false statements and misses of each item.

    Example:
        >>> micro_f1([[1, 1, 0], [1, 0, 1]])(np.array([[1.0, 1.0], [2.0, 0.0]])).round(3)
        array([0.667, 0.667])
    """
    table = np.asarray(counts, np.float64)

    def statistic(weights: Floats) -> Floats:
        hits, false, missed = (weights @ table).T
        return divide_or_nan(2 * hits, 2 * hits + false + missed)

    return statistic
