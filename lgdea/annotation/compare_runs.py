"""Comparison of two extractions of the same reports; the differences that a person should read first come first.

Units are matched one to one: same report, same finding, overlapping quotes. Of what is left, units whose findings are
kinds of each other (opacity, consolidation) and that assert the same over overlapping quotes are matched too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from lgdea.annotation.agreement import Agreement, attribute_agreement, compute_agreement, present_reports
from lgdea.annotation.unit_matching import ATTRIBUTES, Kind, Pair, match, similarity, units_by_report
from lgdea.vocabulary import load_vocabulary

TIERS: dict[str, str] = {
    "opposite": "one run says present, the other absent",
    "presence": "present in one run only",
    "side": "left against right",
    "certainty": "uncertain in one run",
    "detail": "same evidence, another detail or a more general finding",
    "repeat": "a further mention of what the other run has found in the same report",
    "negative": "absent or normal in one run only, or a detail of it",
}
"""Reasons for reading a difference, most important first."""

RANKING = (
    "Sorted by what differs ("
    + "; ".join(TIERS.values())
    + "), then findings that may call for action today, then the finding that fewest reports have."
)

# After the ACR Actionable Reporting Work Group (Larson et al., J Am Coll Radiol 2014); their kinds count too.
_ACTIONABLE = (
    "pneumothorax", "hydropneumothorax", "pneumomediastinum", "pneumoperitoneum", "hemothorax", "empyema", "edema",
    "pneumonia", "tuberculosis", "lung_abscess", "pulmonary_embolism", "aortic_aneurysm", "mediastinal_mass",
    "mediastinal_shift", "pericardial_effusion", "lung_lesion", "fracture", "dislocation", "foreign_body",
    "endotracheal_tube", "intracranial_hemorrhage", "midline_shift", "ischemic_stroke", "bowel_obstruction",
    "appendicitis",
)  # fmt: skip
# Benign kinds of a lesion.
_HARMLESS = ("calcified_nodule", "calcified_granuloma")


@dataclass(frozen=True)
class RunComparison:
    """The comparison of two runs over ``reports`` reports; ``pairs`` come in reading order."""

    reports: int
    pairs: tuple[Pair, ...]
    overall: Agreement
    findings: tuple[Agreement, ...]
    attributes: dict[str, tuple[float, int]]
    """Field -> (share of matched units with the same value, units compared): for the assertion all matched units, for
    the rest those where at least one run names a value."""

    @property
    def differing(self) -> tuple[Pair, ...]:
        """The pairs that are not the same."""
        return tuple(pair for pair in self.pairs if pair.kind != "same")

    def distinct(self) -> list[tuple[Pair, int]]:
        """The differences in reading order, each wording once, with how many units read the same.

        One phrase that the runs read differently comes back in hundreds of reports.
        """
        counts: dict[tuple[str, ...], int] = Counter()
        first: dict[tuple[str, ...], Pair] = {}
        for pair in self.differing:
            unit = pair.b if pair.a is None else pair.a
            words = " ".join(str(getattr(unit, "quote", "")).lower().split())
            key = (pair.kind, pair.tier, pair.finding, words, *pair.differs)
            counts[key] += 1
            first.setdefault(key, pair)
        return [(pair, counts[key]) for key, pair in first.items()]

    def kinds(self) -> dict[str, int]:
        """Count the pairs of each kind."""
        counts = Counter(pair.kind for pair in self.pairs)
        return {kind: counts[kind] for kind in ("same", "assertion", "attribute", "finding", "only_a", "only_b")}

    def to_dict(self, top: int) -> dict[str, Any]:
        """Plain JSON data: agreement, counts, and the first ``top`` differences (``alike``: units that read so)."""
        return {
            "reports": self.reports,
            "kinds": self.kinds(),
            "tiers": {tier: sum(p.tier == tier for p in self.pairs) for tier in TIERS},
            "overall": asdict(self.overall),
            "findings": [asdict(row) for row in self.findings],
            "attributes": {k: {"agreement": share, "n": n} for k, (share, n) in self.attributes.items()},
            "ranking": RANKING,
            "top": [
                {"report_id": p.report_id, "kind": p.kind, "tier": p.tier, "finding": p.finding, "alike": n,
                 "differs": list(p.differs), "a": describe(p.a), "b": describe(p.b)}
                for p, n in self.distinct()[:top]
            ],
        }  # fmt: skip


def compare_runs(a: pd.DataFrame, b: pd.DataFrame, reports: Sequence[str]) -> RunComparison:
    """Compare the units of two runs.

    Args:
        a: Units of run A, rows of :class:`~lgdea.evidence.schema.Unit`.
        b: Units of run B.
        reports: Ids of the reports that both have read; units of others are left out.
    """
    rows_a, rows_b = units_by_report(a), units_by_report(b)
    pairs: list[Pair] = []
    for report in reports:
        pairs.extend(compare_report(report, rows_a.get(report, []), rows_b.get(report, [])))
    present_a, present_b = present_reports(rows_a, reports), present_reports(rows_b, reports)
    rare = {f: len(present_a[f] | present_b[f]) for f in present_a.keys() | present_b.keys()}
    order = {report: n for n, report in enumerate(reports)}
    tiers = {tier: n for n, tier in enumerate([*TIERS, ""])}
    pairs.sort(
        key=lambda p: (
            tiers[p.tier], not is_actionable(p.finding), rare.get(p.finding, 0), p.finding, order[p.report_id]
        )
    )  # fmt: skip
    findings = compute_agreement(pairs, present_a, present_b, len(reports))
    return RunComparison(len(reports), tuple(pairs), findings[0], tuple(findings[1:]), attribute_agreement(pairs))


@lru_cache(maxsize=1024)
def is_actionable(finding: str) -> bool:
    """Return whether the finding, when it is there, may call for action today."""
    return finding not in _HARMLESS and not load_vocabulary().ancestors(finding).isdisjoint(_ACTIONABLE)


def describe(unit: Any | None) -> str:
    """One line: assertion, side, structure, severity, change and quote; empty for None."""
    if unit is None:
        return ""
    side = None if unit.anatomy and unit.anatomy.startswith(f"{unit.laterality}_") else unit.laterality
    words = [unit.assertion, side, unit.anatomy, unit.severity, unit.change]
    words = [str(w).replace("_", " ") for w in words if w not in (None, "unspecified")]
    return f"{' '.join(words)}: {' '.join(str(unit.quote).split())}"


def compare_report(report: str, a: Sequence[Any], b: Sequence[Any]) -> list[Pair]:
    """Match the units of one report, given as rows of :func:`~lgdea.annotation.unit_matching.units_by_report`."""
    pairs: list[tuple[Any | None, Any | None]] = []
    left_a, left_b = list(a), list(b)
    for finding in dict.fromkeys(u.finding for u in a):
        mine = [u for u in left_a if u.finding == finding]
        theirs = [u for u in left_b if u.finding == finding]
        pairs += _take(mine, theirs, left_a, left_b, similarity)
    pairs += _take(list(left_a), list(left_b), left_a, left_b, _similarity_of_kin)
    pairs += [(u, None) for u in left_a] + [(None, u) for u in left_b]
    return [_make_pair(report, x, y, a, b) for x, y in pairs]


def _take(
    mine: list[Any], theirs: list[Any], left_a: list[Any], left_b: list[Any], similar: Callable[[Any, Any], float]
) -> list[tuple[Any | None, Any | None]]:
    """Match and take the matched units out of what is left."""
    found = [(mine[i], theirs[j]) for i, j in match(mine, theirs, similar)]
    for x, y in found:
        left_a[:] = [u for u in left_a if u is not x]
        left_b[:] = [u for u in left_b if u is not y]
    return [(x, y) for x, y in found]


def _similarity_of_kin(x: Any, y: Any) -> float:
    ancestors = load_vocabulary().ancestors
    kin = x.finding in ancestors(y.finding) or y.finding in ancestors(x.finding)
    return similarity(x, y) if kin and x.assertion == y.assertion else -1.0


def _make_pair(report: str, x: Any | None, y: Any | None, a: Sequence[Any], b: Sequence[Any]) -> Pair:
    if x is None or y is None:
        alone, others = (x, b) if y is None else (y, a)
        return Pair(report, "only_a" if y is None else "only_b", x, y, (), _tier_alone(alone, others))
    differs = tuple(n for n in ("finding", "assertion", *ATTRIBUTES) if getattr(x, n) != getattr(y, n))
    if not differs:
        return Pair(report, "same", x, y)
    kind: Kind = "finding" if "finding" in differs else "assertion" if "assertion" in differs else "attribute"
    return Pair(report, kind, x, y, differs, _tier_matched(x, y))


def _tier_alone(unit: Any, others: Iterable[Any]) -> str:
    if unit.assertion == "absent" or unit.finding == "no_finding":
        return "negative"
    if any(o.finding == unit.finding and o.assertion == unit.assertion for o in others):
        return "repeat"
    return "presence" if unit.assertion == "present" else "certainty"


def _tier_matched(x: Any, y: Any) -> str:
    assertions = {x.assertion, y.assertion}
    if assertions == {"present", "absent"}:
        return "opposite"
    if len(assertions) > 1:
        return "certainty"
    if assertions == {"absent"} or x.finding == "no_finding":
        return "negative"
    return "side" if {x.laterality, y.laterality} == {"left", "right"} else "detail"
