"""Coverage of an archive by a run: the reports that it was asked to read. Evidence of other reports is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lgdea.errors import UsageError
from lgdea.evidence.io import MADE_BY, REVIEWED
from lgdea.evidence.report_reader import Reports
from lgdea.manifests import read_manifest
from lgdea.records.archive import Archive
from lgdea.records.tables import read_frame
from lgdea.runs import MANIFEST, check_output, fingerprint, require_finished


def reports_asked(folder: str | Path, archive: Archive) -> list[str]:
    """List the archive's reports that a run was asked to read, in order; in a folder of corrections the reviewed ones.

    Raises:
        UsageError: The folder is missing or unfinished, or its run has read other reports than this archive's.
    """
    folder = require_finished(folder, what="evidence", made_by=MADE_BY)
    file = folder / MANIFEST
    manifest = read_manifest(file) if file.is_file() else {}
    if not _is_of(manifest, archive):
        raise UsageError(
            "was extracted from other reports than this archive's",
            file=folder,
            remedy="give the archive that was extracted, or extract this one",
        )
    ids = [str(i) for i in archive.reports["report_id"]]
    limit = manifest.get("config", {}).get("limit")
    if (folder / REVIEWED).is_file():
        asked = set(read_frame(check_output(folder / REVIEWED))["report_id"])
    elif limit is not None:
        asked = {report.report_id for report in Reports(Archive.open(archive.folder), limit)}
    else:
        return ids
    return [i for i in ids if i in asked]


def require_all_reports(folder: str | Path, archive: Archive) -> None:
    """Refuse evidence that does not cover the archive: a report that nobody read looks like one that states nothing.

    Raises:
        UsageError: As :func:`reports_asked`, or the run was asked to read a part of the archive's reports only.
    """
    asked, whole = len(reports_asked(folder, archive)), len(archive.reports)
    if asked < whole:
        raise UsageError(
            f"covers {asked:,} of the archive's {whole:,} reports",
            file=folder,
            remedy=f"extract all of them into a new folder: `{MADE_BY}` without --limit",
        )


def _is_of(manifest: Mapping[str, Any], archive: Archive) -> bool:
    """Tell whether the run's record says that it read this archive's reports, from their file or as a table."""
    file = archive.folder / "reports.parquet"
    recorded = manifest.get("input_hashes", {}).get("reports")
    if recorded is not None:
        return bool(recorded == fingerprint(file))
    config = manifest.get("config", {})
    if "reports_sha256" not in config:
        return False
    return bool(config["reports_sha256"] == Reports(read_frame(file), config.get("limit")).describe()["reports_sha256"])
