"""The gold standards that evidence is scored against, each as counts per report and class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from lgdea.annotation.unit_matching import ATTRIBUTES, match, similarity, units_by_report
from lgdea.errors import UsageError
from lgdea.records.archive import Archive
from lgdea.vocabulary import ScoredClass, Vocabulary, load_vocabulary

_MESH_SEVERITY = {"mild": "mild", "small": "mild", "moderate": "moderate", "severe": "severe", "large": "severe",
                  "borderline": "minimal"}  # fmt: skip
# The coding has no lung zones; its indexers wrote the lobe, "lingula" for the left middle zone.
_CODED_AS = {"upper_zone": {"upper_lobe"}, "middle_zone": {"middle_lobe", "lingula"},
             "lower_zone": {"lower_lobe", "lung_base"}}  # fmt: skip
_BOTH = frozenset({"left", "right"})


@dataclass
class GoldCounts:
    """Counts of one gold.

    ``counts`` is (R, C, 3): true positives, false positives, misses of each report and class. Micro and macro leave
    out the classes ``excluded_from_averages`` ("normal"), which only say that there is nothing else.
    """

    definition: str
    reports: list[str]
    classes: list[str]
    members: list[frozenset[str]]
    counts: np.ndarray
    excluded_from_averages: tuple[str, ...] = ()
    attributes: dict[str, float | int | None] = field(default_factory=dict)
    not_asked: int = 0
    """Reports of the gold that are left out because the run was not asked to read them."""

    def among(self, asked: Iterable[str]) -> GoldCounts:
        """Keep the reports that a run was asked to read; the attributes are of found units anyway.

        Raises:
            UsageError: It is none of the gold's.
        """
        known = set(asked)
        rows = [r for r, report in enumerate(self.reports) if report in known]
        if self.reports and not rows:
            raise UsageError(
                f"none of the {len(self.reports):,} reports that have this gold was to be read",
                remedy="extract more reports, without --limit",
            )
        reports = [self.reports[r] for r in rows]
        return replace(self, reports=reports, counts=self.counts[rows], not_asked=len(self.reports) - len(rows))


def compare_openi14(units: pd.DataFrame, archive: Archive) -> GoldCounts:
    """Report-level presence of 13 findings and ``normal`` in Open-I's gold labels.

    A class counts as found when the report has a unit of it with assertion ``present``: the indexers did not code what
    "may" be. ``Hernia`` is not scored, its column is all 0. The column ``Pleural_Thickening`` is the heading
    ``Thickening`` whatever thickens (all of its reports have that heading, a quarter of them for bronchi, interstitium
    or heart, and no other report has it); since v2 any finding that is coded under that heading counts for it.
    """
    labels = archive.labels[archive.labels["labeller"] == "openi-14"]
    if labels.empty:
        raise UsageError("holds no openi-14 labels", file=archive.folder, remedy="build it from a folder with the CSV")
    vocabulary = load_vocabulary()
    truth = {
        (s, f): value == 1 for s, f, value in zip(labels["study_id"], labels["finding"], labels["value"], strict=True)
    }
    labelled = set(labels["study_id"])
    study_of = dict(zip(archive.reports["report_id"], archive.reports["study_id"], strict=True))
    reports = [r for r, s in study_of.items() if s in labelled]
    present = _present_findings(units)
    classes = [_add_heading(vocabulary, c) for c in vocabulary.classes("openi14") if c.name != "Hernia"]
    keys = [vocabulary.from_code("openi14", c.name) for c in classes]
    counts = np.zeros((len(reports), len(classes), 3))
    for r, report in enumerate(reports):
        for c, scored in enumerate(classes):
            counts[r, c] = _count_outcome(
                bool(present[report] & scored.findings), truth.get((study_of[report], str(keys[c])), False)
            )
    return GoldCounts(
        "openi-14/v2: report level, present units only, Hernia not scored, normal apart, any thickening",
        reports,
        [c.name for c in classes],
        [c.findings for c in classes],
        counts,
        excluded_from_averages=("normal",),
    )


def compare_mesh(units: pd.DataFrame, archive: Archive) -> GoldCounts:
    """Report-level findings, and their place, side and severity, in Open-I's human MeSH coding.

    Only findings that the coding can express are scored; a unit whose finding has no heading counts as its nearest
    parents that have one. Reports coded "No Indexing" are left out. Side, structure and severity are compared among
    found findings where the gold names them:

    - Side, once per finding: the sides of all its units together are exactly those of all its codings together.
    - Structure, once per coding: a unit's structure (or the finding's usual one) is the coded one or a part of it.
    - Severity, once per finding: a unit has one of the coded ones.

    v2 differs from v1 in what it takes for coded: the structure of ``lung/hilum`` is the hilum alone; ``interstitial``
    is a pattern and no structure; lobes also stand for the lung zones, which the coding lacks; and "lingula" says left.
    v1 asked once per finding whether any unit names exactly any coded structure.
    """
    mesh = archive.extra("mesh")
    if mesh is None:
        raise UsageError("holds no table `mesh`", file=archive.folder, remedy="build it with the openi adapter")
    vocabulary = load_vocabulary()
    gold: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    skipped = set()
    for report, major in zip(mesh["report_id"], mesh["major"], strict=True):
        if major == "No Indexing":
            skipped.add(report)
        finding = vocabulary.from_code("openi_mesh", major)
        if finding is not None:
            gold[report][finding].append(major)
    classes = [f for f, entry in vocabulary.findings.items() if "openi_mesh" in entry.codes]
    coded = set(mesh["report_id"]) - skipped
    reports = [r for r in archive.reports["report_id"] if r in coded]
    nearest = {f: _coded_parents(vocabulary, f, set(classes)) for f in vocabulary.findings}
    stated: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for unit in units[units["assertion"] == "present"].itertuples():
        for finding in nearest.get(str(unit.finding), ()):
            stated[str(unit.report_id)][finding].append(unit)
    counts = np.zeros((len(reports), len(classes), 3))
    index = {f: c for c, f in enumerate(classes)}
    tally = _AttributeCounter()
    for r, report in enumerate(reports):
        for finding in stated[report].keys() | gold[report].keys():
            counts[r, index[finding]] = _count_outcome(finding in stated[report], finding in gold[report])
        for finding in stated[report].keys() & gold[report].keys():
            _compare_attributes(vocabulary, gold[report][finding], stated[report][finding], tally)
    return GoldCounts(
        "openi-mesh/v2: report level, present units only, findings with a heading",
        reports,
        classes,
        [frozenset(k for k, up in nearest.items() if f in up) for f in classes],
        counts,
        excluded_from_averages=("no_finding",),
        attributes=tally.shares(),
    )


def compare_phantom(units: pd.DataFrame, archive: Archive) -> GoldCounts:
    """Units against the phantom's exact ones: same report, finding and assertion, overlapping quotes, one to one.

    Findings that the phantom never states are not scored. Attributes are compared among matched units.
    """
    truth = archive.extra("evidence_truth")
    if truth is None:
        raise UsageError("holds no table `evidence_truth`", file=archive.folder, remedy="only a phantom archive has it")
    classes = sorted(set(truth["finding"]))
    index = {f: c for c, f in enumerate(classes)}
    reports = list(archive.reports["report_id"])
    true_by = _group_by_report(truth, index)
    said_by = _group_by_report(units, index)
    counts = np.zeros((len(reports), len(classes), 3))
    tally = _AttributeCounter()
    for r, report in enumerate(reports):
        open_units = list(said_by.get(report, ()))
        for wanted in true_by.get(report, ()):
            found = next((u for u in open_units if _is_same_unit(u, wanted)), None)
            counts[r, index[wanted.finding], 0 if found is not None else 2] += 1
            if found is not None:
                open_units.remove(found)
                for name in ("laterality", "severity", "change"):
                    tally.add(name, getattr(found, name) == getattr(wanted, name))
                if isinstance(wanted.anatomy, str):
                    tally.add("anatomy", found.anatomy == wanted.anatomy)
        for extra in open_units:
            counts[r, index[extra.finding], 1] += 1
    return GoldCounts(
        "phantom/v1: unit level, same finding and assertion, overlapping quotes",
        reports,
        classes,
        [frozenset({f}) for f in classes],
        counts,
        attributes=tally.shares(),
    )


def compare_units(units: pd.DataFrame, gold: pd.DataFrame, reports: Sequence[str], definition: str) -> GoldCounts:
    """Count units against those of another table, over given reports.

    A unit is right when the gold has one of the same finding and assertion with an overlapping quote, one to one;
    attributes are compared among these. A unit that the gold does not have is false, whatever its finding.

    Args:
        units: The evidence.
        gold: The units that are taken for true.
        reports: Ids of the reports that count.
        definition: Name of this way of counting.
    """
    true_by, stated_by = units_by_report(gold), units_by_report(units)
    classes = sorted({u.finding for by in (true_by, stated_by) for r in reports for u in by.get(r, ())})
    index = {finding: c for c, finding in enumerate(classes)}
    counts = np.zeros((len(reports), len(classes), 3))
    tally = _AttributeCounter()
    for r, report in enumerate(reports):
        true, stated = true_by.get(report, []), stated_by.get(report, [])
        pairs = match(true, stated, _similarity_of_same)
        for i, j in pairs:
            counts[r, index[true[i].finding], 0] += 1
            for name in ATTRIBUTES:
                tally.add(name, getattr(true[i], name) == getattr(stated[j], name))
        for column, rows, matched in ((1, stated, {j for _, j in pairs}), (2, true, {i for i, _ in pairs})):
            for n, unit in enumerate(rows):
                counts[r, index[unit.finding], column] += n not in matched
    members = [frozenset({finding}) for finding in classes]
    return GoldCounts(definition, list(reports), classes, members, counts, attributes=tally.shares())


def _similarity_of_same(x: Any, y: Any) -> float:
    return similarity(x, y) if (x.finding, x.assertion) == (y.finding, y.assertion) else -1.0


def _add_heading(vocabulary: Vocabulary, scored: ScoredClass) -> ScoredClass:
    if scored.name != "Pleural_Thickening":
        return scored
    coded = {
        f for f, entry in vocabulary.findings.items()
        if any(code.split("/")[0] == "Thickening" for code in entry.codes.get("openi_mesh", ()))
    }  # fmt: skip
    return ScoredClass(scored.name, scored.findings | coded)


class _AttributeCounter:
    """Shares of attributes that agree."""

    def __init__(self) -> None:
        self._hits: dict[str, list[bool]] = defaultdict(list)

    def add(self, name: str, agrees: bool) -> None:
        self._hits[name].append(agrees)

    def shares(self) -> dict[str, float | int | None]:
        result: dict[str, float | int | None] = {}
        for name, hits in sorted(self._hits.items()):
            result[f"{name}_accuracy"] = float(np.mean(hits))
            result[f"{name}_n"] = len(hits)
        return result


def _count_outcome(stated: bool, true: bool) -> tuple[int, int, int]:
    return int(stated and true), int(stated and not true), int(true and not stated)


def _present_findings(units: pd.DataFrame) -> defaultdict[str, set[str]]:
    present: defaultdict[str, set[str]] = defaultdict(set)
    rows = units[units["assertion"] == "present"]
    for report, finding in zip(rows["report_id"], rows["finding"], strict=True):
        present[report].add(finding)
    return present


def _coded_parents(vocabulary: Vocabulary, finding: str, coded: set[str]) -> tuple[str, ...]:
    if finding in coded:
        return (finding,)
    found: list[str] = []
    for parent in vocabulary.findings[finding].parents:
        found.extend(_coded_parents(vocabulary, parent, coded))
    return tuple(dict.fromkeys(found))


def _group_by_report(units: pd.DataFrame, index: dict[str, int]) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = defaultdict(list)
    for unit in units[units["finding"].isin(list(index))].itertuples():
        result[str(unit.report_id)].append(unit)
    return result


def _is_same_unit(unit: Any, wanted: Any) -> bool:
    same = unit.finding == wanted.finding and unit.assertion == wanted.assertion
    return bool(same and unit.start < wanted.end and wanted.start < unit.end)


def _compare_attributes(
    vocabulary: Vocabulary, majors: Sequence[str], units: Sequence[Any], tally: _AttributeCounter
) -> None:
    """Side, structure and severity of one found finding, each where the coding names it."""
    qualifiers = {q.strip() for major in majors for q in major.split("/")[1:]}
    places = {str(p) for q in qualifiers if (p := vocabulary.anatomy_from_code("openi_mesh", q)) is not None}
    sides = _expand_sides(
        (qualifiers & {"left", "right", "bilateral"}) | {vocabulary.anatomy[p].laterality for p in places}
    )
    if sides:
        tally.add("laterality", _expand_sides(str(u.laterality) for u in units) == sides)
    stated = {up for u in units for place in _structures_of(vocabulary, u) for up in vocabulary.ancestors(place)}
    for major in majors:
        coded = _most_specific_structures(vocabulary, major)
        if coded:
            tally.add("anatomy", bool(coded & stated))
    severities = {_MESH_SEVERITY[q] for q in qualifiers if q in _MESH_SEVERITY}
    if severities:
        tally.add("severity", bool({str(u.severity) for u in units} & severities))


def _expand_sides(values: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for value in values:
        if value == "bilateral":
            found |= _BOTH
        elif value in _BOTH:
            found.add(value)
    return frozenset(found)


def _most_specific_structures(vocabulary: Vocabulary, major: str) -> set[str]:
    """The structures that a coding names, without those that only hold the others ("lung/hilum" is the hilum)."""
    codes = (vocabulary.anatomy_from_code("openi_mesh", q.strip()) for q in major.split("/")[1:])
    places = {place for place in codes if place is not None}
    holders = {"chest", "lung"} if places - {"chest", "lung"} else {"chest"} if "lung" in places else set()
    return {p for p in places - holders if not any(p != q and p in vocabulary.ancestors(q) for q in places)}


def _structures_of(vocabulary: Vocabulary, unit: Any) -> set[str]:
    """A unit's structure without its side, or its finding's default; a lung zone also as the coding writes it."""
    anatomy = unit.anatomy if isinstance(unit.anatomy, str) else vocabulary.findings[unit.finding].default_anatomy
    if anatomy is None:
        return set()
    whole = str(anatomy).removeprefix("left_").removeprefix("right_")
    return {whole, *_CODED_AS.get(whole, ())}
