"""Reviewed evidence as a gold standard: reviewers' files in, a folder of corrections out, later runs scored against it.

A folder of corrections is an evidence folder whose units are the true ones of the reviewed reports;
``reviewed.parquet`` says which reports these are, so that a report without evidence counts as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from lgdea.annotation.compare_runs import compare_report, describe
from lgdea.annotation.export_review import report_texts
from lgdea.annotation.gold_standards import GoldCounts, compare_units
from lgdea.annotation.parse_review import Review, read_review
from lgdea.errors import DataError, UsageError
from lgdea.evidence.io import EVIDENCE, REVIEWED, read_evidence, written_files
from lgdea.evidence.schema import SCHEMA_VERSION, Unit
from lgdea.records.archive import Archive
from lgdea.records.csv_io import write_spreadsheet
from lgdea.records.tables import read_table, write_table
from lgdea.runs import check_output, finish, start

CONFLICTS = "conflicts.csv"


class ReviewedReport(BaseModel):
    """A report that a person has read in full; all its true units are in the corrections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    report_id: str
    reviewers: str
    """Names, joined by ``+``."""
    units: int = Field(ge=0)
    text_sha256: str
    """Of the text that was reviewed: corrections of another text are no gold."""


@dataclass(frozen=True)
class Conflict:
    """One piece of evidence on which two reviewers of a report differ; an empty reading means that it is not there."""

    report_id: str
    finding: str
    differs: str
    first: str
    first_reading: str
    second: str
    second_reading: str


class InvalidReviewError(DataError):
    """Rows of the review files cannot be understood; ``problems`` names each with its remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = f" (and {len(problems) - 1} more rows)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}", remedy="nothing was written; correct the rows and import again")
        self.problems = tuple(problems)


@dataclass(frozen=True)
class ImportResult:
    """Result of an import of review files: reports and units in the gold, reports left out and why."""

    reports: int
    units: int
    unfinished: tuple[str, ...]
    conflicts: tuple[Conflict, ...]


def import_corrections(files: Sequence[str | Path], archive: Archive, out: str | Path) -> ImportResult:
    """Turn filled-in review files into a folder of corrections.

    A report is taken when its ``report`` row says ``complete`` or ``others_correct``. Of a report that several
    reviewers have read, the units are taken when all agree; otherwise the report is left out and its disagreements
    are listed in ``conflicts.csv``.

    Args:
        files: Review files, one or more per reviewer.
        archive: The archive that was reviewed.
        out: Folder to write: ``evidence.parquet``, ``reviewed.parquet``, ``conflicts.csv``, ``run.json``.

    Raises:
        UsageError: A file is missing, or ``out`` holds something else.
        InvalidReviewError: Rows are invalid; nothing is written.
        DataError: A file is no review file.
    """
    texts = report_texts(archive)
    reviews = [read_review(file, texts) for file in files]
    problems = [line for review in reviews for line in review.problems]
    if problems:
        raise InvalidReviewError(problems)
    if not any(review.units for review in reviews):
        raise DataError(
            "no report has a verdict", file=files[0], remedy="write complete or others_correct into the report rows"
        )
    units, reviewed, conflicts = _merge(reviews, texts)
    out = Path(out)
    inputs: dict[str, str | Path] = {"reports": archive.folder / "reports.parquet"}
    inputs |= {f"review_{n}": file for n, file in enumerate(files, start=1)}
    start(out, stage="corrections", config={"schema_version": SCHEMA_VERSION}, inputs=inputs)
    write_table(out / EVIDENCE, units, Unit)
    write_table(out / REVIEWED, reviewed, ReviewedReport)
    write_spreadsheet(out / CONFLICTS, list(Conflict.__annotations__), [vars(c) for c in conflicts])
    unfinished = sorted({r for review in reviews for r in review.unfinished} - {r.report_id for r in reviewed})
    left_out = len({c.report_id for c in conflicts})
    counts = {"reports": len(reviewed), "units": len(units), "unfinished": len(unfinished), "in_conflict": left_out}
    finish(out, written_files(out), summary=counts)
    return ImportResult(len(reviewed), len(units), tuple(unfinished), tuple(conflicts))


def is_corrections(folder: str | Path) -> bool:
    """Return whether ``folder`` is a folder of corrections."""
    return (Path(folder) / REVIEWED).is_file()


def compare_corrections(units: pd.DataFrame, archive: Archive, folder: str | Path) -> GoldCounts:
    """Count units against the corrected ones, over exactly the reviewed reports, as :func:`compare_units` does.

    Raises:
        UsageError: No report was reviewed, or ``folder`` holds no corrections.
        DataError: The archive lacks a reviewed report, or has another text for it.
    """
    reports = check_reviewed_texts(folder, archive)
    definition = "corrections/v1: unit level, same finding and assertion, overlapping quotes, reviewed reports only"
    return compare_units(units, read_evidence(folder), reports, definition)


def check_reviewed_texts(folder: str | Path, archive: Archive) -> list[str]:
    """List the reviewed reports of a folder of corrections.

    Args:
        folder: The folder.
        archive: Archive of the reports.

    Raises:
        UsageError: No report was reviewed.
        DataError: The archive lacks a reviewed report, or has another text for it.
    """
    reviewed = read_table(check_output(Path(folder) / REVIEWED), ReviewedReport)
    if reviewed.empty:
        raise UsageError("holds no completely reviewed report", file=folder, remedy="give report rows a verdict")
    texts = report_texts(archive)
    for report, sha in zip(reviewed["report_id"], reviewed["text_sha256"], strict=True):
        if report not in texts or _hash_text(texts[report]) != sha:
            problem = f"{'lacks' if report not in texts else 'has another text for'} the reviewed report {report!r}"
            raise DataError(problem, file=archive.folder, remedy="give the archive that was reviewed")
    return [str(r) for r in reviewed["report_id"]]


def _merge(reviews: Sequence[Review], texts: dict[str, str]) -> tuple[list[Unit], list[ReviewedReport], list[Conflict]]:
    units: list[Unit] = []
    reviewed: list[ReviewedReport] = []
    conflicts: list[Conflict] = []
    for report in dict.fromkeys(report for review in reviews for report in review.units):
        versions = [(review.reviewers[report], review.units[report]) for review in reviews if report in review.units]
        name, first = versions[0]
        found = [c for other, second in versions[1:] for c in _find_conflicts(report, name, first, other, second)]
        conflicts += found
        if not found:
            names = "+".join(dict.fromkeys(name for name, _ in versions))
            units += sorted(first, key=lambda u: (u.start, u.end))
            reviewed.append(
                ReviewedReport(
                    report_id=report, reviewers=names, units=len(first), text_sha256=_hash_text(texts[report])
                )
            )
    return units, reviewed, conflicts


def _find_conflicts(report: str, name: str, first: list[Unit], other: str, second: list[Unit]) -> list[Conflict]:
    return [
        Conflict(report, p.finding, " ".join(p.differs) or "only one has it", name, describe(p.a), other, describe(p.b))
        for p in compare_report(report, first, second)
        if p.kind != "same"
    ]


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
