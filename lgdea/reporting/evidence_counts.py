"""Counts of an extraction: units, refusals, evidence per finding, agreement with a gold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.annotation.compare_runs import is_actionable
from lgdea.annotation.gold_standards import GoldCounts
from lgdea.evidence.io import QUALITY, REJECTS, Reject, iter_rejects
from lgdea.manifests import read_manifest
from lgdea.reading import read_json
from lgdea.runs import MANIFEST

_EXAMPLES = 3
REASONS: Mapping[str, str] = {
    "empty_report": "the report has no text",
    "quote_not_in_report": "the quoted words are not in the report",
    "repeated_unit": "the same evidence was stated twice",
    "contradicted_normal": "called normal, but another sentence states a finding",
    "not_supported": "the second reading found the sentence not to support it",
    "not_verified": "the second reading gave no valid answer",
    "invalid_response": "the answer was not valid, however often it was asked for",
    "length": "the answer did not fit into its token budget",
    "too_long": "the report does not fit into the model's window",
    "refused": "the model refused",
    "language": "the report is in a language that the backend does not read",
    "backend_error": "the backend failed",
}


@dataclass(frozen=True)
class ExtractionSummary:
    """One extraction: its units, what it refused, and its head counts as (name, value) pairs."""

    name: str
    units: pd.DataFrame
    rejects: tuple[Reject, ...]
    facts: tuple[tuple[str, str], ...]
    """Backend, model and prompt."""
    counts: tuple[tuple[str, int], ...]
    aligned: float | None
    """Share of stated units whose quote was found in the report."""
    exact: float | None
    """Share of units whose quote stands there word for word."""
    text_read: float | None
    """Share of the reports' text that was read."""
    speed: float | None
    """Reports per second."""
    started: str


@dataclass(frozen=True)
class Reason:
    """Reason of a refusal, its number, and examples as (report id, what was refused)."""

    reason: str
    meaning: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class GoldError:
    """A class of one report that the run states and the gold does not (``false``), or the reverse (``missed``)."""

    report_id: str
    name: str
    kind: str


@dataclass(frozen=True)
class GoldRow:
    """Counts of one class."""

    name: str
    right: int
    false: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Share of the stated that is right."""
        return self.right / (self.right + self.false) if self.right + self.false else None

    @property
    def recall(self) -> float | None:
        """Share of the true that is stated."""
        return self.right / (self.right + self.missed) if self.right + self.missed else None

    @property
    def f1(self) -> float | None:
        """Their harmonic mean."""
        total = 2 * self.right + self.false + self.missed
        return 2 * self.right / total if total else None


def reads_by_layout(folder: Path) -> bool:
    """Return whether the run passed over the sections that are not about the study, as its counts tell."""
    file = folder / QUALITY
    return file.is_file() and read_json(file).get("headings") is not None


def count_run(name: str, folder: Path, units: pd.DataFrame, reports: int) -> ExtractionSummary:
    """Counts of an evidence folder.

    Args:
        name: How the page calls it.
        folder: The evidence folder.
        units: Its units.
        reports: How many reports the archive has.
    """
    # A folder of corrections has refused nothing.
    rejects = tuple(iter_rejects(folder)) if (folder / REJECTS).is_file() else ()
    manifest = read_manifest(folder / MANIFEST)
    summary = dict(manifest.get("summary") or {})
    counts = (
        ("reports", int(summary.get("reports", reports))),
        ("with evidence", int(units["report_id"].nunique())),
        ("units", len(units)),
        ("refused reports", int(summary.get("rejected", 0))),
        ("incomplete reports", int(summary.get("incomplete", 0))),
        ("refused units", sum(r.unit is not None for r in rejects)),
    )
    aligned = summary.get("share_aligned")
    return ExtractionSummary(
        name=name,
        units=units,
        rejects=rejects,
        facts=tuple(_facts(dict(manifest.get("config") or {}), summary)),
        counts=tuple((what, n) for what, n in counts if n or what != "incomplete reports"),
        aligned=None if aligned is None else float(aligned),
        exact=float((units["alignment"] == "exact").mean()) if len(units) else None,
        text_read=summary.get("share_read"),
        speed=float(summary["reports_per_second"]) if summary.get("reports_per_second") else None,
        started=str(manifest.get("started", ""))[:16].replace("T", " "),
    )


def count_reasons(rejects: Sequence[Reject]) -> list[Reason]:
    """The reasons for refusals, most frequent first, each with a few examples of different reports."""
    by_reason: dict[str, list[Reject]] = defaultdict(list)
    for reject in rejects:
        by_reason[reject.reason].append(reject)
    result = []
    for reason, found in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        examples = {r.report_id: refused_text(r) for r in reversed(found)}
        shown = tuple(reversed(examples.items()))[:_EXAMPLES]
        result.append(Reason(reason, REASONS.get(reason, ""), len(found), shown))
    return result


def refused_text(reject: Reject) -> str:
    """Refused unit in one line: assertion, finding and quote of a unit, and the detail."""
    detail = reject.detail[:200]
    if reject.unit is None:
        return detail
    finding = str(reject.unit.get("finding", "")).replace("_", " ")
    stated = f"{reject.unit.get('assertion', '')} {finding}: “{str(reject.unit.get('quote', ''))[:160]}”"
    return f"{stated} ({detail})" if detail else stated


def gold_rows(comparison: GoldCounts) -> list[GoldRow]:
    """Counts per class, most errors first."""
    totals = comparison.counts.sum(axis=0).astype(int)
    rows = [GoldRow(name, *(int(n) for n in totals[c])) for c, name in enumerate(comparison.classes)]
    return sorted(rows, key=lambda row: (-(row.false + row.missed), row.name))


def gold_errors(comparison: GoldCounts) -> list[GoldError]:
    """All disagreements: classes that may call for action first, then those that the gold has least, then by report."""
    positives = comparison.counts[:, :, [0, 2]].sum(axis=(0, 2))
    found = []
    for r, c, kind in np.argwhere(comparison.counts[:, :, 1:] > 0):
        urgent = any(is_actionable(f) for f in comparison.members[c])
        excluded = comparison.classes[c] in comparison.excluded_from_averages
        error = GoldError(comparison.reports[r], comparison.classes[c], ("false", "missed")[kind])
        found.append((excluded, not urgent, float(positives[c]), int(c), int(r), error))
    return [item[-1] for item in sorted(found, key=lambda item: item[:-1])]


def _facts(config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = list(_flat(config))
    facts += [(k, str(summary[k])) for k in ("tokens", "seconds") if summary.get(k)]
    return [(name.replace("_", " "), value) for name, value in facts]


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{key} " if key != "backend" else "")
        elif value is not None and value != "":
            rows.append((f"{prefix}{key}", str(value)))
    return rows
