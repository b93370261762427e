"""Counts of data: archive, split, pairing and evidence in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from lgdea.reporting.run_folder import PretrainingRun

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

ASSERTIONS = ("present", "uncertain", "absent")
STATES = ("paired", "unlinked", "image_only", "text_only")
STATE_MEANING = {
    "paired": "image and report linked",
    "unlinked": "has both, link hidden",
    "image_only": "image without report",
    "text_only": "report without image",
}


@dataclass(frozen=True)
class ArchiveCounts:
    """Rows per table, and per split (``splits``: name, then counts in the order of ``columns``)."""

    name: str
    totals: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    splits: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class PairingCounts:
    """Studies and patients per pairing state, and the runs that used this pairing."""

    labels: tuple[str, ...]
    states: tuple[tuple[str, str, int, int], ...]
    """(state, meaning, studies, patients)"""

    @property
    def studies(self) -> int:
        """Studies over all states."""
        return sum(s[2] for s in self.states)

    @property
    def linked(self) -> int:
        """Studies whose image and report were linked in training."""
        return sum(s[2] for s in self.states if s[0] == "paired")


@dataclass(frozen=True)
class FindingCount:
    """Number of units of one finding; ``parts`` in the order of :data:`ASSERTIONS`."""

    name: str
    parts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Number of all its units."""
        return sum(self.parts)


@dataclass(frozen=True)
class EvidenceCounts:
    """Units of an evidence folder by number, assertion and location in their reports."""

    units: int
    reports: int
    assertions: tuple[tuple[str, int], ...]
    located: float
    """Share of units whose quote stands verbatim in the report, in [0, 1]."""
    findings: tuple[FindingCount, ...]


def count_archive(archive: Archive) -> ArchiveCounts:
    """Count studies, patients, images, reports, boxes and labels, in all and per split."""
    studies = archive.studies
    tables = {"images": archive.images, "reports": archive.reports}
    totals = [("studies", len(studies)), ("patients", int(studies["patient_id"].nunique()))]
    totals += [(name, len(table)) for name, table in tables.items()]
    totals += [("boxes", len(archive.boxes)), ("labels", len(archive.labels))]
    splits = []
    named = studies["split"].astype(object).where(studies["split"].notna(), "no split")
    for split in ("train", "val", "test", "no split"):
        part = studies[named == split]
        if len(part):
            inside = [int(t["study_id"].isin(part["study_id"]).sum()) for t in tables.values()]
            splits.append((split, (len(part), int(part["patient_id"].nunique()), *inside)))
    return ArchiveCounts(archive.name, tuple(totals), ("studies", "patients", *tables), tuple(splits))


def count_pairings(runs: Sequence[PretrainingRun]) -> list[PairingCounts]:
    """Count the states of the pairings that the runs were trained with; equal pairings are counted once."""
    found: dict[tuple[tuple[str, str, int, int], ...], list[str]] = {}
    for run in runs:
        file = _pairing_file(run)
        if file is not None:
            found.setdefault(_states(pd.read_parquet(file)), []).append(run.label)
    return [PairingCounts(tuple(labels), states) for states, labels in found.items()]


def count_evidence(units: pd.DataFrame, *, top: int = 12) -> EvidenceCounts:
    """Count units per assertion, and per assertion of the ``top`` most frequent findings.

    Args:
        units: Rows of :class:`lgdea.evidence.schema.Unit`.
        top: How many findings to name.
    """
    by_finding = pd.crosstab(units["finding"], units["assertion"]).reindex(columns=list(ASSERTIONS), fill_value=0)
    order = by_finding.sum(axis=1).sort_values(ascending=False, kind="stable").index[:top]
    findings = [FindingCount(str(f), tuple(int(x) for x in by_finding.loc[f])) for f in order]
    assertions = units["assertion"].value_counts()
    return EvidenceCounts(
        units=len(units),
        reports=int(units["report_id"].nunique()),
        assertions=tuple((a, int(assertions.get(a, 0))) for a in ASSERTIONS),
        located=float((units["alignment"] == "exact").mean()) if len(units) else 0.0,
        findings=tuple(findings),
    )


def _pairing_file(run: PretrainingRun) -> Path | None:
    data = run.config.get("data")
    named = [run.manifest.get("inputs", {}).get("pairing"), data.get("pairing") if isinstance(data, dict) else None]
    candidates = [Path(str(n)) for n in named if n] + [run.folder / "pairing.parquet"]
    return next((c for c in candidates if c.is_file()), None)


def _states(pairing: pd.DataFrame) -> tuple[tuple[str, str, int, int], ...]:
    rows = []
    for state in STATES:
        part = pairing[pairing["state"] == state]
        if len(part):
            rows.append((state, STATE_MEANING[state], len(part), int(part["patient_id"].nunique())))
    return tuple(rows)
