"""Agreement of two runs: per finding, over all, and on the attributes of what both found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lgdea.annotation.unit_matching import ATTRIBUTES, Pair


@dataclass(frozen=True)
class Agreement:
    """Agreement of the runs on one finding.

    ``units_a``, ``units_b``: units of it; ``matched``: of these matched one to one; ``agreed``: matched with the same
    assertion; ``f1`` = 2 agreed / (units_a + units_b); ``kappa``: Cohen's, over reports, on "some unit says present"
    (None when both runs say the same of all reports).
    """

    finding: str
    units_a: int
    units_b: int
    matched: int
    agreed: int
    f1: float
    kappa: float | None


def present_reports(rows: Mapping[str, list[Any]], reports: Sequence[str]) -> defaultdict[str, set[str]]:
    """The reports that hold a finding's present units, per finding."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for report in reports:
        for unit in rows.get(report, ()):
            if unit.assertion == "present":
                found[unit.finding].add(report)
    return found


def compute_agreement(
    pairs: Iterable[Pair], present_a: Mapping[str, set[str]], present_b: Mapping[str, set[str]], reports: int
) -> list[Agreement]:
    """The overall row (kappa over all report-finding cells), then one per finding, most units first."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for pair in pairs:
        matched = pair.kind in ("same", "assertion", "attribute")
        for side, unit in enumerate((pair.a, pair.b)):
            if unit is not None:
                counts[unit.finding][side] += 1
        counts[pair.finding][2] += matched
        counts[pair.finding][3] += matched and "assertion" not in pair.differs
    empty: set[str] = set()
    cells = {f: (present_a.get(f, empty), present_b.get(f, empty)) for f in counts}
    both = np.array([[len(x & y), len(x - y), len(y - x)] for x, y in cells.values()]).reshape(-1, 3)
    rows = [_make_agreement(f, counts[f], both[n], reports) for n, f in enumerate(counts)]
    total = [sum(c[k] for c in counts.values()) for k in range(4)]
    overall = _make_agreement("all", total, both.sum(axis=0), reports * len(counts))
    return [overall, *sorted(rows, key=lambda r: (-(r.units_a + r.units_b), r.finding))]


def _make_agreement(finding: str, counts: Sequence[int], cells: np.ndarray, total: int) -> Agreement:
    a, b, matched, agreed = counts
    return Agreement(finding, a, b, matched, agreed, 2 * agreed / (a + b) if a + b else 0.0, _cohen_kappa(cells, total))


def _cohen_kappa(cells: np.ndarray, total: int) -> float | None:
    """Cohen's kappa of two yes-no raters from (both yes, only A, only B) of ``total``."""
    if not total:
        return None
    both, only_a, only_b = (float(x) / total for x in cells)
    yes_a, yes_b = both + only_a, both + only_b
    expected = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
    return (1 - only_a - only_b - expected) / (1 - expected) if expected < 1 else None


def attribute_agreement(pairs: Iterable[Pair]) -> dict[str, tuple[float, int]]:
    """Field -> (share of matched units with the same value, units compared)."""
    hits: dict[str, list[bool]] = {name: [] for name in ("assertion", *ATTRIBUTES)}
    for pair in pairs:
        if pair.kind not in ("same", "assertion", "attribute"):
            continue
        for name, found in hits.items():
            values = {getattr(pair.a, name), getattr(pair.b, name)}
            if values - {None, "unspecified", False}:
                found.append(len(values) == 1)
    return {name: (float(np.mean(found)), len(found)) for name, found in hits.items() if found}
