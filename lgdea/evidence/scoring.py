"""How good the evidence is: precision, recall and F1 with bootstrap intervals against a gold standard.

Per class the counts are over reports (``openi-14``, ``openi-mesh``) or over units (``phantom``, corrections); see
:mod:`lgdea.evidence.golds` for what each gold counts. Intervals are 95% percentile intervals over resampled reports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.errors import UsageError
from lgdea.evidence import golds
from lgdea.evidence.corrections import compare_corrections, is_corrections
from lgdea.evidence.io import read_evidence
from lgdea.evidence.sections import split_sentences
from lgdea.records.archive import Archive

_GOLDS: dict[str, Callable[[pd.DataFrame, Archive], golds.Comparison]] = {
    "openi-14": golds.compare_openi14,
    "openi-mesh": golds.compare_mesh,
    "phantom": golds.compare_phantom,
}
_RESAMPLES = 1000
_WORST = 50


@dataclass(frozen=True)
class Row:
    """Scores of one class, or of all (``micro``); ``low`` and ``high`` bound F1."""

    name: str
    precision: float
    recall: float
    f1: float
    low: float
    high: float
    positives: int
    """True positives and misses: how many the gold has."""

    def f1_text(self) -> str:
        """F1 with its interval."""
        return f"{self.f1:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Disagreement:
    """A wrong or missed class of one report, with the sentence that explains it best."""

    report_id: str
    name: str
    kind: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.report_id} {self.kind} {self.name}: {self.sentence}"


@dataclass(frozen=True)
class Result:
    """All scores of one evidence folder against one gold."""

    gold: str
    definition: str
    reports: int
    micro: Row
    macro_f1: float
    macro_low: float
    macro_high: float
    rows: list[Row]
    attributes: dict[str, float | int | None] = field(default_factory=dict)
    worst: list[Disagreement] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


def score(evidence: str | Path | pd.DataFrame, gold: str, archive: Archive | str | Path, *, seed: int = 0) -> Result:
    """Score evidence against a gold standard that the archive holds.

    Args:
        evidence: An evidence folder, or its units.
        gold: ``openi-14`` (labels of the Open-I archive), ``openi-mesh`` (its extra table ``mesh``), ``phantom``
            (its extra table ``evidence_truth``), or a folder of corrections (see :mod:`lgdea.evidence.corrections`).
        archive: The archive that the evidence was extracted from.
        seed: Of the bootstrap.

    Raises:
        UsageError: An unknown gold, or the archive does not hold it.
    """
    archive = archive if isinstance(archive, Archive) else Archive.open(archive)
    units = evidence if isinstance(evidence, pd.DataFrame) else read_evidence(evidence)
    comparison = compare(units, gold, archive)
    counts = comparison.counts  # (R, C, 3): true positives, false positives, misses
    weights = _resamples(len(counts), seed)
    sampled = np.einsum("sr,rck->sck", weights, counts, optimize=True)
    total = counts.sum(axis=0)
    rows = [_row(name, total[c], sampled[:, c]) for c, name in enumerate(comparison.classes)]
    scored = [c for c, name in enumerate(comparison.classes) if name not in comparison.apart and _positives(total[c])]
    macro = float(_f1(total[scored]).mean()) if scored else 0.0
    macro_samples = _f1(sampled[:, scored]).mean(axis=1) if scored else np.zeros(1)
    inner = [c for c, name in enumerate(comparison.classes) if name not in comparison.apart]
    attributes = dict(comparison.attributes)
    if comparison.apart:
        attributes[f"micro_f1_with_{'_'.join(comparison.apart)}"] = float(_f1(total.sum(axis=0)))
    found = len(units)
    attributes["share_aligned"] = float((units["alignment"] != "none").mean()) if found else None
    attributes["share_exact"] = float((units["alignment"] == "exact").mean()) if found else None
    low, high = np.quantile(macro_samples, [0.025, 0.975])
    return Result(
        gold=gold,
        definition=comparison.definition,
        reports=len(counts),
        micro=_row("micro", total[inner].sum(axis=0), sampled[:, inner].sum(axis=1)),
        macro_f1=macro,
        macro_low=float(low),
        macro_high=float(high),
        rows=sorted(rows, key=lambda row: -row.positives),
        attributes=attributes,
        worst=_worst(comparison, units, archive),
    )


def compare(units: pd.DataFrame, gold: str, archive: Archive) -> golds.Comparison:
    """Counts per report and class of ``gold``, named as in :func:`score`.

    Raises:
        UsageError: An unknown gold, or the archive does not hold it.
    """
    if gold in _GOLDS:
        return _GOLDS[gold](units, archive)
    if is_corrections(gold):
        return compare_corrections(units, archive, gold)
    raise UsageError(f"no gold {gold!r}", remedy=f"known: {', '.join(_GOLDS)}, or a folder of corrections")


def _resamples(reports: int, seed: int) -> np.ndarray:
    """Bootstrap weights (S, R): how often each report is drawn in each resample."""
    rng = np.random.default_rng(seed)
    if reports == 0:
        return np.zeros((1, 0))
    weights: np.ndarray = rng.multinomial(reports, np.full(reports, 1 / reports), size=_RESAMPLES).astype(np.float32)
    return weights


def _f1(counts: np.ndarray) -> np.ndarray:
    """F1 over the last axis (true positives, false positives, misses); 0 where nothing is there."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    f1: np.ndarray = np.divide(2 * tp, 2 * tp + fp + fn, out=np.zeros_like(tp), where=(2 * tp + fp + fn) > 0)
    return f1


def _positives(counts: np.ndarray) -> int:
    return int(counts[0] + counts[2])


def _row(name: str, counts: np.ndarray, sampled: np.ndarray) -> Row:
    tp, fp, fn = (float(x) for x in counts)
    low, high = np.quantile(_f1(sampled), [0.025, 0.975])
    return Row(
        name=name,
        precision=tp / (tp + fp) if tp + fp else 0.0,
        recall=tp / (tp + fn) if tp + fn else 0.0,
        f1=float(_f1(counts)),
        low=float(low),
        high=float(high),
        positives=_positives(counts),
    )


def _worst(comparison: golds.Comparison, units: pd.DataFrame, archive: Archive) -> list[Disagreement]:
    """The reports with most disagreements first."""
    errors = comparison.counts[:, :, 1:].sum(axis=(1, 2))
    order = np.argsort(-errors, kind="stable")
    texts = dict(zip(archive.reports["report_id"], archive.reports["text"], strict=True))
    by_report = dict(tuple(units.groupby("report_id", sort=False)))
    result: list[Disagreement] = []
    for r in order:
        if errors[r] == 0 or len(result) >= _WORST:
            break
        report_id = comparison.reports[r]
        for c in np.flatnonzero(comparison.counts[r, :, 1:].sum(axis=1)):
            kind = "false" if comparison.counts[r, c, 1] else "missed"
            sentence = _sentence(texts[report_id], by_report.get(report_id), comparison.members[c])
            result.append(Disagreement(report_id, comparison.classes[c], kind, sentence))
    return result[:_WORST]


def _sentence(text: str, units: pd.DataFrame | None, findings: frozenset[str]) -> str:
    """The sentence of the first unit of these findings, else the report's beginning."""
    if units is not None:
        mine = units[units["finding"].isin(findings)]
        if len(mine):
            unit = mine.iloc[(mine["assertion"] == "absent").argsort(kind="stable")].iloc[0]
            for start, end in split_sentences(text):
                if start <= unit["start"] < end:
                    return f"{' '.join(text[start:end].split())} [{unit['assertion']}]"
    return " ".join(text.split())[:160] + " [no unit]"
