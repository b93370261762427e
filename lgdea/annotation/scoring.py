"""Scores of evidence: precision, recall and F1 with bootstrap intervals against a gold standard.

Per class the counts are over reports (``openi-14``, ``openi-mesh``) or over units (``phantom``, corrections); see
:mod:`lgdea.annotation.gold_standards` for what each gold counts. Intervals are 95% percentile bootstraps over patients:
a patient's reports are worded alike, and drawn one by one they would give intervals that are far too narrow. Micro
sums the counts of all classes; macro is the mean over the classes with at least 10 positives, or over all that have any
where no class has so many.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.annotation import gold_standards
from lgdea.annotation.corrections import compare_corrections, is_corrections
from lgdea.annotation.export_review import report_texts
from lgdea.annotation.gold_standards import compare_units
from lgdea.errors import UsageError
from lgdea.evidence.coverage import reports_asked
from lgdea.evidence.io import read_evidence
from lgdea.evidence.layout import sentence_line
from lgdea.records.archive import Archive
from lgdea.statistics.bootstrap import Interval, cluster_bootstrap
from lgdea.statistics.format import INTERVAL_KIND, format_interval
from lgdea.statistics.roc import divide_or_nan
from lgdea.vocabulary.extension import using_vocabulary_of

_GOLDS: dict[str, Callable[[pd.DataFrame, Archive], gold_standards.GoldCounts]] = {
    "openi-14": gold_standards.compare_openi14,
    "openi-mesh": gold_standards.compare_mesh,
    "phantom": gold_standards.compare_phantom,
}
_REPLICATES = 1000
_WORST = 50
_ENOUGH = 10  # positives that a class needs to count in the macro mean


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class, or of all (``micro``); ``low`` and ``high`` bound F1, NaN where there is no interval."""

    name: str
    precision: float
    recall: float
    f1: float
    low: float
    high: float
    positives: int
    """True positives and misses: how many the gold has."""

    def f1_text(self) -> str:
        """Format F1 with its interval."""
        return format_interval(self.f1, self.low, self.high)


@dataclass(frozen=True)
class Disagreement:
    """A wrong or missed class of one report, with the sentence that explains it best."""

    report_id: str
    name: str
    kind: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.report_id} {self.kind} {self.name}: {self.sentence}"


@dataclass(frozen=True, repr=False)
class EvidenceScores:
    """All scores of some evidence against one gold standard."""

    gold: str
    definition: str
    reports: int
    micro: ClassScore
    macro_f1: float
    macro_low: float
    macro_high: float
    rows: list[ClassScore]
    macro_classes: int
    """Number of classes that the macro mean is over."""
    attributes: dict[str, float | int | None] = field(default_factory=dict)
    worst: list[Disagreement] = field(default_factory=list)
    interval: str = INTERVAL_KIND
    """Kind of the intervals, in words for tables."""
    not_asked: int = 0
    """Number of further reports of the gold, which the run was not asked to read: they do not count."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain JSON data; a bound that is not defined is null."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)), parse_constant=lambda _: None)
        return content

    def to_frame(self) -> pd.DataFrame:
        """Return one row per class, ``micro`` first: precision, recall, F1 with its interval, positives."""
        return pd.DataFrame([asdict(row) for row in (self.micro, *self.rows)]).set_index("name")

    def macro_text(self) -> str:
        """Format macro F1 with its interval."""
        return format_interval(self.macro_f1, self.macro_low, self.macro_high)

    def __repr__(self) -> str:
        return (
            f"EvidenceScores({self.gold}, {self.reports:,} reports; F1 [{self.interval}]: "
            f"micro {self.micro.f1_text()}, macro {self.macro_text()} over {self.macro_classes} classes)"
        )


def score(
    evidence: str | Path | pd.DataFrame,
    gold: str,
    archive: Archive | str | Path,
    *,
    asked: Sequence[str] | None = None,
    seed: int = 0,
) -> EvidenceScores:
    """Score evidence against a gold standard that the archive holds.

    Args:
        evidence: An evidence folder, or its units. Of a folder only those reports count that its run was asked to read.
        gold: ``openi-14`` (labels of the Open-I archive), ``openi-mesh`` (its extra table ``mesh``), ``phantom``
            (its extra table ``evidence_truth``), or a folder of corrections (see :mod:`lgdea.annotation.corrections`).
        archive: The archive that the evidence was extracted from.
        asked: Where units are given, ids of the reports that were to be read; None counts all.
        seed: Of the bootstrap.

    Raises:
        UsageError: As :func:`count_against_gold`, or the folder's run has read other reports than the archive's.
    """
    archive = archive if isinstance(archive, Archive) else Archive.open(archive)
    if isinstance(evidence, pd.DataFrame):
        units = evidence
        comparison = count_against_gold(units, gold, archive, asked)
    else:
        units, asked = read_evidence(evidence), reports_asked(evidence, archive)
        with using_vocabulary_of(evidence):
            comparison = count_against_gold(units, gold, archive, asked)
    return _score(gold, comparison, units, report_texts(archive), _patients_of(comparison.reports, archive), seed)


def score_against_units(
    units: pd.DataFrame, gold: pd.DataFrame, reports: Sequence[str], texts: Mapping[str, str], *, seed: int = 0
) -> EvidenceScores:
    """Score evidence against other evidence of the same reports, unit by unit.

    Intervals are over reports, as if each were of another patient: whose they are is not known here.

    Args:
        units: The evidence.
        gold: The units that are taken for true.
        reports: Ids of the reports that both have read.
        texts: Raw text per report, as far as it is known: for the sentences of the disagreements.
        seed: Of the bootstrap.
    """
    units = units[units["report_id"].isin(set(reports))]
    definition = "evidence/v1: unit level, same finding and assertion, overlapping quotes"
    comparison = compare_units(units, gold, reports, definition)
    scores = _score("evidence", comparison, units, texts, np.array(comparison.reports, object), seed)
    return replace(scores, interval=INTERVAL_KIND.replace("patients", "reports"))


def _score(
    gold: str,
    comparison: gold_standards.GoldCounts,
    units: pd.DataFrame,
    texts: Mapping[str, str],
    patients: NDArray[np.object_],
    seed: int,
) -> EvidenceScores:
    counts = comparison.counts  # (R, C, 3): true positives, false positives, misses
    total = counts.sum(axis=0)
    inner = [c for c, name in enumerate(comparison.classes) if name not in comparison.excluded_from_averages]
    scored = _macro_classes(total, inner)
    by_class = _bootstrap(counts, patients, f1, seed)
    micro = _bootstrap(counts, patients, lambda x: f1(x[:, inner].sum(axis=1, keepdims=True)), seed)
    macro = _bootstrap(counts, patients, lambda x: _macro(x[:, scored], total[scored]), seed)
    attributes = dict(comparison.attributes)
    if comparison.excluded_from_averages:
        attributes[f"micro_f1_with_{'_'.join(comparison.excluded_from_averages)}"] = float(
            np.nan_to_num(f1(total.sum(axis=0)))
        )
    found = len(units)
    attributes["share_aligned"] = float((units["alignment"] != "none").mean()) if found else None
    attributes["share_exact"] = float((units["alignment"] == "exact").mean()) if found else None
    rows = [_make_row(name, total[c], by_class, c) for c, name in enumerate(comparison.classes)]
    return EvidenceScores(
        gold=gold,
        definition=comparison.definition,
        reports=len(counts),
        not_asked=comparison.not_asked,
        micro=_make_row("micro", total[inner].sum(axis=0), micro, 0),
        macro_f1=float(macro[0][0]),
        macro_low=float(macro[1][0]),
        macro_high=float(macro[2][0]),
        macro_classes=len(scored),
        rows=sorted(rows, key=lambda row: -row.positives),
        attributes=attributes,
        worst=_list_worst(comparison, units, texts),
    )


def count_against_gold(
    units: pd.DataFrame, gold: str, archive: Archive, asked: Sequence[str] | None = None
) -> gold_standards.GoldCounts:
    """Count hits and errors per report and class of ``gold``, named as in :func:`score`.

    Args:
        units: The evidence.
        gold: As in :func:`score`.
        archive: As in :func:`score`.
        asked: The reports that were to be read; those of the gold that are not among them are left out, for there is
            nothing that could have been missed. None counts all.

    Raises:
        UsageError: An unknown gold, the archive does not hold it, or none of its reports was to be read.
    """
    if gold in _GOLDS:
        comparison = _GOLDS[gold](units, archive)
    elif is_corrections(gold):
        comparison = compare_corrections(units, archive, gold)
    else:
        raise UsageError(f"no gold {gold!r}", remedy=f"known: {', '.join(_GOLDS)}, or a folder of corrections")
    return comparison if asked is None else comparison.among(asked)


def f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 over the last axis (true positives, false positives, misses); NaN where all three are 0."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    return divide_or_nan(2 * tp, 2 * tp + fp + fn)


def _bootstrap(
    counts: NDArray[np.float64],
    patients: NDArray[np.object_],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int,
) -> Interval:
    """A statistic of summed counts with its interval.

    Args:
        counts: (R, C, 3) of each report and class.
        patients: (R,) patient of each report.
        statistic: Summed counts (S, C, 3) of S samples to (S, K).
        seed: Seed of the draws.

    Returns:
        Value, lower and upper bound, each (K,); a value that is not defined is 0 without bounds.
    """
    flat = counts.reshape(len(counts), -1)

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return statistic((weights @ flat).reshape(len(weights), *counts.shape[1:]))

    value, low, high = cluster_bootstrap(weighted, patients, replicates=_REPLICATES, seed=seed)
    return Interval(np.nan_to_num(value), low, high)


def _patients_of(reports: Sequence[str], archive: Archive) -> NDArray[np.object_]:
    """Patient of each report."""
    known = archive.reports[["report_id", "study_id"]].merge(archive.studies[["study_id", "patient_id"]], on="study_id")
    return known.set_index("report_id")["patient_id"].reindex(list(reports)).to_numpy()


def _macro_classes(total: np.ndarray, inner: list[int]) -> list[int]:
    for least in (_ENOUGH, 1):
        scored = [c for c in inner if _positives(total[c]) >= least]
        if scored:
            return scored
    return []


def _macro(counts: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Mean F1 (N, 1) of samples (N, C, 3); a class that a sample does not hold counts as in ``total`` (C, 3)."""
    values = f1(counts)
    if not values.shape[1]:
        return np.zeros((len(values), 1))
    mean: np.ndarray = np.where(np.isnan(values), f1(total), values).mean(axis=1, keepdims=True)
    return mean


def _positives(counts: np.ndarray) -> int:
    return int(counts[0] + counts[2])


def _make_row(name: str, counts: np.ndarray, scores: Interval, c: int) -> ClassScore:
    tp, fp, fn = (float(x) for x in counts)
    value, low, high = (float(x[c]) for x in scores)
    return ClassScore(
        name=name,
        precision=tp / (tp + fp) if tp + fp else 0.0,
        recall=tp / (tp + fn) if tp + fn else 0.0,
        f1=value,
        low=low,
        high=high,
        positives=_positives(counts),
    )


def _list_worst(
    comparison: gold_standards.GoldCounts, units: pd.DataFrame, texts: Mapping[str, str]
) -> list[Disagreement]:
    """The reports with most disagreements first."""
    errors = comparison.counts[:, :, 1:].sum(axis=(1, 2))
    order = np.argsort(-errors, kind="stable")
    by_report = dict(tuple(units.groupby("report_id", sort=False)))
    result: list[Disagreement] = []
    for r in order:
        if errors[r] == 0 or len(result) >= _WORST:
            break
        report_id = comparison.reports[r]
        for c in np.flatnonzero(comparison.counts[r, :, 1:].sum(axis=1)):
            kind = "false" if comparison.counts[r, c, 1] else "missed"
            sentence = _explain(texts.get(report_id, ""), by_report.get(report_id), comparison.members[c])
            result.append(Disagreement(report_id, comparison.classes[c], kind, sentence))
    return result[:_WORST]


def _explain(text: str, units: pd.DataFrame | None, findings: frozenset[str]) -> str:
    """The sentence of the first unit of these findings, else the report's beginning."""
    if units is not None:
        mine = units[units["finding"].isin(findings)]
        if len(mine):
            unit = mine.iloc[(mine["assertion"] == "absent").argsort(kind="stable")].iloc[0]
            return f"{sentence_line(text, unit['start'], unit['end'])} [{unit['assertion']}]"
    return " ".join(text.split())[:160] + " [no unit]"
