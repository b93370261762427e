"""Corrections applied to evidence: what a person has read replaces what was extracted, in a new folder."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.annotation.corrections import check_reviewed_texts, is_corrections
from lgdea.errors import UsageError
from lgdea.evidence.coverage import reports_asked
from lgdea.evidence.io import EVIDENCE, QUALITY, REJECTS, iter_rejects, read_evidence, rejects_writer, written_files
from lgdea.evidence.schema import Unit
from lgdea.locks import locked
from lgdea.manifests import read_manifest
from lgdea.records.archive import Archive
from lgdea.records.tables import write_table
from lgdea.runs import MANIFEST, finish, is_finished, start, write_json
from lgdea.vocabulary.extension import LEXICON

STAGE = "extract apply"
_SAME = [
    *("unit_id", "start", "end", "finding", "assertion", "anatomy"),
    *("laterality", "severity", "change", "refers_to_prior"),
]
"""Fields in which a corrected unit that is as it was agrees with the extracted one, which then stays."""


@dataclass(frozen=True)
class Applied:
    """What the corrections changed, in units of the reviewed reports."""

    reports: int
    """Reviewed reports among those that the evidence covers."""
    kept: int
    changed: int
    """Units of one quote and finding that say something else now."""
    added: int
    removed: int


def apply_corrections(
    evidence: str | Path, corrections: str | Path, out: str | Path, archive: str | Path | None = None
) -> Applied:
    """Write evidence in which the units of reviewed reports are those that the reviewers have left.

    Units that stay as they were keep their ``run_id``; those that are new or changed have ``corrections``.
    ``run.json`` names both folders by their hashes.

    Args:
        evidence: Evidence folder, an extraction's or one that corrections were applied to before.
        corrections: Folder of `lgdea extract corrections`, of the same archive.
        out: Evidence folder to write; an unfinished one is made again.
        archive: Archive of both; by default where the extraction found it.

    Returns:
        Counts of what changed.

    Raises:
        UsageError: The folders do not belong together, or ``out`` holds something else.
        DataError: The archive has another text for a reviewed report.
    """
    evidence, corrections, out = Path(evidence), Path(corrections), Path(out)
    if not is_corrections(corrections):
        raise UsageError(
            "is no folder of corrections", file=corrections,
            remedy="import the review file first: `lgdea extract corrections FILE --archive ARCHIVE --out FOLDER`",
        )  # fmt: skip
    opened = Archive.open(archive or _recorded_archive(evidence))
    order = reports_asked(evidence, opened)
    reviewed = [report for report in reports_asked(corrections, opened) if report in set(order)]
    check_reviewed_texts(corrections, opened)
    old = read_evidence(evidence)
    units, applied = _replace(old, read_evidence(corrections), reviewed)
    place = {report: position for position, report in enumerate(order)}
    units = units.sort_values("report_id", key=lambda ids: ids.map(place), kind="stable").reset_index(drop=True)
    with locked(out):
        record = read_manifest(evidence / MANIFEST)
        inputs = {"evidence": evidence, "corrections": corrections, "reports": opened.folder / "reports.parquet"}
        resumed = start(out, stage=STAGE, config=dict(record.get("config", {})), inputs=inputs)
        if not (resumed and is_finished(out)):
            _write(out, evidence, units, set(reviewed), dict(record.get("summary") or {}), applied)
    return applied


def _recorded_archive(evidence: Path) -> Path:
    record = read_manifest(evidence / MANIFEST) if (evidence / MANIFEST).is_file() else {}
    place = Path(str(record.get("inputs", {}).get("reports", "")))
    if not place.is_file():
        raise UsageError("does not say where its archive is now", file=evidence, remedy="name it: --archive ARCHIVE")
    return place.parent


def _replace(old: pd.DataFrame, true: pd.DataFrame, reviewed: list[str]) -> tuple[pd.DataFrame, Applied]:
    """Units with those of the reviewed reports replaced, and what that changed."""
    before, after = old[old["report_id"].isin(reviewed)], true[true["report_id"].isin(reviewed)]
    known = {_key(row): row["run_id"] for row in before.to_dict("records")}
    rows = after.sort_values(["report_id", "start", "end"], kind="stable").to_dict("records")
    places = Counter((row["report_id"], row["start"], row["finding"]) for row in before.to_dict("records"))
    kept = changed = 0
    for row in rows:
        same = known.get(_key(row))
        row["run_id"] = same or row["run_id"]
        kept += same is not None
        changed += same is None and places[row["report_id"], row["start"], row["finding"]] > 0
    whole = pd.concat([old[~old["report_id"].isin(reviewed)], pd.DataFrame(rows, columns=old.columns)])
    added = len(rows) - kept - changed
    return whole, Applied(len(reviewed), kept, changed, added, len(before) - kept - changed)


def _key(row: Mapping[Hashable, Any]) -> tuple[Any, ...]:
    return tuple(None if pd.isna(row[name]) else row[name] for name in _SAME)


def _write(
    out: Path, evidence: Path, units: pd.DataFrame, reviewed: set[str], summary: dict[str, Any], applied: Applied
) -> None:
    write_table(out / EVIDENCE, units, Unit)
    rejects = [reject for reject in iter_rejects(evidence) if reject.report_id not in reviewed]
    with rejects_writer(out / REJECTS) as write:
        write(rejects)
    if (evidence / LEXICON).is_file():
        shutil.copyfile(evidence / LEXICON, out / LEXICON)
    per_finding = units.groupby(["finding", "assertion"]).size().unstack(fill_value=0)
    alignment = {str(name): int(count) for name, count in units["alignment"].value_counts().items()}
    found = [str(name) for name in units["finding"].value_counts().index]
    summary |= {
        "units": len(units),
        "reports_with_units": int(units["report_id"].nunique()),
        "rejected_units": sum(reject.unit is not None for reject in rejects),
        "alignment": alignment,
        "units_per_finding": {name: {str(k): int(n) for k, n in per_finding.loc[name].items() if n} for name in found},
        "corrections": asdict(applied),
    }
    write_json(out / QUALITY, summary)
    finish(out, written_files(out), summary=summary)
