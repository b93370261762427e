"""Reviewers' files: one each, in the format of ``lgdea extract review``, written at every verdict.

``lgdea extract corrections reviews/*.csv`` makes a gold standard of them and lists what reviewers differ in. Nobody
writes another's file; two windows of one reviewer are told apart by what each has last seen of a report.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lgdea.annotation.export_review import COLUMNS, CORRECTED, SHOWN, name_runs, report_rows, report_texts
from lgdea.annotation.parse_review import REPORT_VERDICTS, UNIT_VERDICTS, parse_rows
from lgdea.annotation.unit_matching import units_by_report
from lgdea.errors import DataError, UsageError
from lgdea.evidence.io import read_evidence
from lgdea.records.archive import Archive
from lgdea.records.csv_io import read_spreadsheet, write_spreadsheet

Row = dict[str, str]
LINKS = "links"
"""Folder of verdicts on links."""
LINK_COLUMNS = ("rank", "study_id", "image_id", "report_id", "p_wrong", "reason", "wrong", "verdict", "reviewer")
_NAME = re.compile(r"[^\W_][\w .-]{0,39}")
_WAIT = 10  # seconds for another window's save


@dataclass(frozen=True)
class Block:
    """The rows of one report in a reviewer's file; ``version`` is what the reviewer has seen of it."""

    report_id: str
    rows: tuple[Row, ...]
    version: str

    @property
    def units(self) -> list[int]:
        """Positions of the rows that a verdict can be given: units, and what was added."""
        return [i for i, row in enumerate(self.rows) if row["row"] == "unit" or is_added(row)]

    @property
    def status(self) -> str:
        """``complete``, ``others_correct``, ``begun`` or empty."""
        verdict = self.rows[0]["verdict"]
        begun = any(row["verdict"] or is_added(row) for row in self.rows)
        return verdict or ("begun" if begun else "")


class ReviewFolder:
    """The files of all reviewers of an archive's evidence.

    Args:
        folder: Where they lie; made at the first verdict.
        archive: The archive.
        evidence: Evidence folder that is reviewed.
        against: Another reader's, whose other readings are reviewed too.
    """

    def __init__(self, folder: str | Path, archive: Archive, evidence: Path, against: Path | None = None) -> None:
        self.folder = Path(folder)
        self.texts = report_texts(archive)
        self.mine = units_by_report(read_evidence(evidence))
        self.theirs = None if against is None else units_by_report(read_evidence(against))
        self.names = name_runs(evidence, against)

    def open(self, reviewer: str, report: str) -> Block:
        """The rows of a report: from the reviewer's file, or as the evidence gives them.

        Args:
            reviewer: Who reviews.
            report: Id of the report.

        Raises:
            UsageError: The name cannot be a file's, or there is no such report.
        """
        rows = self._read(reviewer).get(report)
        if rows is not None:
            return Block(report, tuple(rows), _version(rows))
        if report not in self.texts:
            raise UsageError(f"the archive has no report {report!r}", remedy="choose one of the list")
        made = report_rows(report, self.texts[report], self.mine.get(report, []), self.theirs, self.names)
        return Block(report, tuple(_as_row(row) for row in made), "")

    def judge(self, reviewer: str, block: Block, position: int, verdict: str, fixed: Mapping[str, str]) -> Block:
        """Give a unit a verdict; another reading of the same evidence that has none becomes wrong with it.

        Args:
            reviewer: Who reviews.
            block: The report as the reviewer saw it.
            position: Row of the unit.
            verdict: ``correct``, ``wrong`` or ``fixed``.
            fixed: With ``fixed``, the true values by name of :data:`~lgdea.annotation.export_review.SHOWN`; those that
                are as they were are no correction.

        Raises:
            UsageError: No unit is chosen, nothing is fixed, or the report was changed in another window.
            DataError: A value is not one of the vocabulary, or the words do not stand in the report.
        """
        if position not in block.units:
            raise UsageError("no piece of evidence is chosen", remedy="choose one of the list")
        if verdict not in UNIT_VERDICTS:
            raise UsageError(f"no verdict {verdict!r}", remedy=f"one of {', '.join(UNIT_VERDICTS)}")
        rows = [dict(row) for row in block.rows]
        row = rows[position]
        if is_added(row):
            if verdict == "correct":  # as it was added
                return block
            rows[position] = _as_row({"report_id": block.report_id, "row": "missed"})
            if verdict == "fixed":
                rows[position] |= {f"correct_{name}": fixed.get(name, "").strip() for name in SHOWN}
        else:
            row |= dict.fromkeys(CORRECTED, "") | {"verdict": verdict}
            if verdict == "fixed":
                row |= _corrections(row, fixed)
            for other in rows if verdict != "wrong" and row["pair"] else ():
                if other is not row and other["pair"] == row["pair"]:
                    other["verdict"] = other["verdict"] or "wrong"
        return self._save(reviewer, block, rows)

    def add(self, reviewer: str, block: Block, values: Mapping[str, str]) -> Block:
        """Add a piece of evidence that was missed.

        Args:
            reviewer: Who reviews.
            block: The report as the reviewer saw it.
            values: By name of :data:`~lgdea.annotation.export_review.SHOWN`; the words have to stand in the report.

        Raises:
            UsageError: The report was changed in another window.
            DataError: Something is missing or no value of the vocabulary.
        """
        for name in ("quote", "finding", "assertion"):
            if not values.get(name, "").strip():
                raise UsageError(f"the {'words' if name == 'quote' else name} are missing", remedy="fill them in")
        empty = _as_row({"report_id": block.report_id, "row": "missed"})
        added = empty | {f"correct_{name}": values.get(name, "").strip() for name in SHOWN}
        kept = [dict(row) for row in block.rows if row["row"] != "missed" or is_added(row)]
        return self._save(reviewer, block, [*kept, added, empty])

    def finish(self, reviewer: str, block: Block, verdict: str) -> Block:
        """Give the whole report its verdict.

        Args:
            reviewer: Who reviews.
            block: The report as the reviewer saw it.
            verdict: ``complete``: all of it has verdicts; ``others_correct``: what has none is right; empty: not yet.

        Raises:
            UsageError: The report was changed in another window.
            DataError: A unit has no verdict although the report is to be complete.
        """
        if verdict not in ("", *REPORT_VERDICTS):
            raise UsageError(f"no verdict {verdict!r}", remedy=f"one of {', '.join(REPORT_VERDICTS)}")
        rows = [dict(row) for row in block.rows]
        rows[0]["verdict"] = verdict
        return self._save(reviewer, block, rows)

    def statuses(self, reviewer: str) -> dict[str, str]:
        """Status of each report in a reviewer's file.

        Args:
            reviewer: Who reviews.
        """
        return {key: Block(key, tuple(rows), "").status for key, rows in self._read(reviewer).items()}

    def others(self, reviewer: str, report: str) -> list[str]:
        """Names of the other reviewers whose files hold a report.

        Args:
            reviewer: Who asks.
            report: Id of the report.
        """
        mine = self.file(reviewer)
        files = sorted(self.folder.glob("*.csv")) if self.folder.is_dir() else []
        return [file.stem for file in files if file != mine and report in self._read_file(file)]

    def file(self, reviewer: str) -> Path:
        """The file of a reviewer; names that differ in case alone have the same.

        Args:
            reviewer: Name of letters, digits, blanks, dots and hyphens.

        Raises:
            UsageError: The name is empty or has other characters.
        """
        return self.folder / f"{reviewer_name(reviewer).casefold()}.csv"

    def judge_link(self, reviewer: str, link: Mapping[str, Any], is_wrong: bool) -> Path:
        """Write what a reviewer says of a doubted link; `lgdea data pair --except` reads the file.

        Args:
            reviewer: Who reviews.
            link: Row of the spreadsheet of doubts.
            is_wrong: Whether image and report belong to different studies.
        """
        name = reviewer_name(reviewer)
        file = self.folder / LINKS / f"{name.casefold()}.csv"
        verdict = {"wrong": "yes" if is_wrong else "", "verdict": "wrong" if is_wrong else "right", "reviewer": name}
        with self._locked():
            rows = {row["study_id"]: row for _, row in read_spreadsheet(file, LINK_COLUMNS)} if file.is_file() else {}
            rows[str(link["study_id"])] = {**{key: str(link.get(key, "")) for key in LINK_COLUMNS}, **verdict}
            write_spreadsheet(file, LINK_COLUMNS, rows.values())
        return file

    def link_verdicts(self, reviewer: str) -> dict[str, str]:
        """What a reviewer has said of links: ``wrong`` or ``right`` by study.

        Args:
            reviewer: Who reviews.
        """
        file = self.folder / LINKS / f"{reviewer_name(reviewer).casefold()}.csv"
        rows = read_spreadsheet(file, LINK_COLUMNS) if file.is_file() else []
        return {row["study_id"]: row["verdict"] for _, row in rows}

    # -- files -----------------------------------------------------------------------------------------------------

    def _save(self, reviewer: str, block: Block, rows: list[Row]) -> Block:
        name = reviewer_name(reviewer)
        for row in rows:
            row["reviewer"] = name if row["verdict"] or is_added(row) or row["row"] == "report" else ""
        parsed = parse_rows("review", enumerate(rows, start=1), self.texts)
        if parsed.problems:
            raise DataError(parsed.problems[0].partition(": ")[2])
        with self._locked():
            every = self._read(reviewer)
            now = every.get(block.report_id)
            if (_version(now) if now is not None else "") != block.version:
                raise UsageError(
                    f"{block.report_id} was changed in another window of {name} meanwhile; nothing was written",
                    remedy="open it again",
                )
            every[block.report_id] = rows
            write_spreadsheet(self.file(reviewer), COLUMNS, [row for held in every.values() for row in held])
        return self.open(reviewer, block.report_id)

    def _read(self, reviewer: str) -> dict[str, list[Row]]:
        return self._read_file(self.file(reviewer))

    def _read_file(self, file: Path) -> dict[str, list[Row]]:
        blocks: dict[str, list[Row]] = {}
        for _, row in read_spreadsheet(file, COLUMNS) if file.is_file() else ():
            blocks.setdefault(row["report_id"].strip(), []).append(_as_row(row))
        return {key: rows for key, rows in blocks.items() if rows[0]["row"] == "report"}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=_WAIT):
                yield
        except Timeout:
            raise UsageError("another window is saving", file=self.folder, remedy="try again") from None
        except OSError as error:
            remedy = "start the app with another --reviews"
            raise DataError(f"cannot be written ({error.strerror})", file=self.folder, remedy=remedy) from None


def reviewer_name(reviewer: str) -> str:
    """A reviewer's name as it stands in files.

    Args:
        reviewer: What was typed.

    Raises:
        UsageError: It is empty or has characters that a file's name should not have.
    """
    name = unicodedata.normalize("NFC", " ".join((reviewer or "").split()))
    if not name:
        raise UsageError("who reviews is not said", remedy="write your name")
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(f"the name {name[:60]!r} cannot be a file's", remedy="use letters, digits, blanks, . and -")
    return name


def is_added(row: Mapping[str, str]) -> bool:
    """Whether a row holds evidence that a reviewer has added.

    Args:
        row: A row of a block.
    """
    return row["row"] == "missed" and any(row[name] for name in CORRECTED)


def values_of(row: Mapping[str, str]) -> Row:
    """What a row says now: the corrections where there are some, else what the evidence said.

    Args:
        row: A row of a block.
    """
    return {name: row[f"correct_{name}"] or row[name] for name in SHOWN}


def _corrections(row: Mapping[str, str], fixed: Mapping[str, str]) -> Row:
    """Cells of the values that differ from what the evidence says."""
    changed = {name: value.strip() for name, value in fixed.items() if value.strip() != row[name]}
    cells = {f"correct_{name}": value or ("none" if name == "anatomy" else "") for name, value in changed.items()}
    if not any(cells.values()):
        raise UsageError("nothing is changed", remedy="change a value, or call it right or wrong")
    return cells


def _as_row(cells: Mapping[str, object]) -> Row:
    return {name: "" if cells.get(name) is None else str(cells.get(name, "")) for name in COLUMNS}


def _version(rows: Sequence[Row]) -> str:
    return hashlib.sha256(json.dumps(list(rows), sort_keys=True).encode()).hexdigest()
