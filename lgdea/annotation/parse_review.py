"""Parsing of a filled-in review file, row by row: checked, explained where it is wrong, and turned into units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from lgdea.annotation.export_review import COLUMNS, CORRECTED, SHOWN
from lgdea.evidence.alignment.aligner import Aligned, Aligner
from lgdea.evidence.layout import split_sections
from lgdea.evidence.response import UNSPECIFIED
from lgdea.evidence.schema import Assertion, Change, Severity, Unit, UnitRow
from lgdea.records.csv_io import read_spreadsheet
from lgdea.records.schema import Laterality
from lgdea.vocabulary import load_vocabulary

UNIT_VERDICTS = ("correct", "wrong", "fixed")
REPORT_VERDICTS = ("complete", "others_correct")
"""``complete``: every unit row has a verdict and what was missed is added. ``others_correct``: the same, and unit rows
without a verdict are correct."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "assertion": get_args(Assertion),
    "laterality": get_args(Laterality),
    "severity": get_args(Severity),
    "change": get_args(Change),
}
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

_Cells = Mapping[str, str]


class RowError(ValueError):  # one of many findings about a file, not a failure of lgdea
    """Fault of one row, with what to do about it."""


@dataclass(frozen=True)
class Review:
    """The content of one file.

    ``units`` holds the true units of every completely reviewed report; ``reviewers`` says by whom. ``unfinished`` are
    reports with some verdict but without one on the whole. ``problems`` are lines for the user.
    """

    file: Path
    units: dict[str, list[Unit]] = field(default_factory=dict)
    reviewers: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_review(file: str | Path, texts: Mapping[str, str]) -> Review:
    """Read a review file.

    Args:
        file: A CSV file made by :func:`~lgdea.annotation.export_review.write_review` and filled in.
        texts: Raw text per report of the archive.

    Raises:
        UsageError: There is no such file.
        DataError: It is no review file.
    """
    needed = [name for name in COLUMNS if name not in ("pair", "run", "differs", "context", "section", "comment")]
    return parse_rows(file, read_spreadsheet(file, needed), texts)


def parse_rows(file: str | Path, rows: Iterable[tuple[int, Mapping[str, str]]], texts: Mapping[str, str]) -> Review:
    """Parse the rows of a review file.

    Args:
        file: Name of the file in messages.
        rows: Number and cells of each row.
        texts: Raw text per report of the archive.
    """
    review = Review(Path(file))
    by_report: dict[str, list[tuple[int, _Cells]]] = defaultdict(list)
    for number, row in rows:
        report = row["report_id"].strip()
        if report in texts:
            by_report[report].append((number, row))
        else:
            review.problems.append(
                _format_line(review.file, number, f"the archive has no report {report!r}; do not change report_id")
            )
    for report, block in by_report.items():
        _read_report(review, report, texts[report], block)
    return review


def _read_report(review: Review, report: str, text: str, rows: Sequence[tuple[int, _Cells]]) -> None:
    heads = [(n, row) for n, row in rows if row["row"].strip().lower() == "report"]
    if len(heads) > 1:
        review.problems.append(
            _format_line(review.file, heads[1][0], f"{report} has two rows of the kind report; keep one block of it")
        )
        return
    problems = len(review.problems)
    number, head = heads[0] if heads else (rows[0][0], {"verdict": "", "reviewer": ""})
    status = ""
    try:
        status = _parse_choice("verdict", head["verdict"], REPORT_VERDICTS) if head["verdict"].strip() else ""
    except RowError as problem:
        review.problems.append(_format_line(review.file, number, str(problem)))
    reader = _ReportRowParser(report, text, status)
    for number, row in rows:
        try:
            reader.read(number, row)
        except RowError as problem:
            review.problems.append(_format_line(review.file, number, str(problem)))
    if len(review.problems) > problems:
        return
    if status:
        review.units[report] = reader.units
        review.reviewers[report] = head.get("reviewer", "").strip() or review.file.stem
    elif reader.verdicts:
        review.unfinished.append(report)


class _ReportRowParser:
    """Turns the rows of one report into its true units."""

    def __init__(self, report: str, text: str, status: str) -> None:
        self.units: list[Unit] = []
        self.verdicts = 0
        self._report, self._text, self._status = report, text, status
        self._sections = split_sections(text)
        # Repeated quotes get their occurrences in order.
        self._stated, self._missed = Aligner(text), Aligner(text)
        self._accepted: dict[str, int] = {}

    def read(self, number: int, row: _Cells) -> None:
        kind = row["row"].strip().lower()
        if kind == "report":
            return
        if kind == "missed":
            self._add_missed(row)
        elif kind == "unit":
            self._parse_unit_row(number, row)
        else:
            raise RowError(f"row is {row['row']!r}; it must be report, unit or missed")

    def _parse_unit_row(self, number: int, row: _Cells) -> None:
        verdict = self._parse_verdict(row)
        self.verdicts += bool(row["verdict"].strip())
        if verdict in ("", "wrong"):
            return
        pair = row.get("pair", "").strip()
        if pair and pair in self._accepted:
            raise RowError(
                f"and row {self._accepted[pair]} are two readings of one piece of evidence (pair {pair}), both "
                "accepted; call one of them wrong"
            )
        self._accepted[pair] = number
        place = self._find_stated_place(row)
        if row["correct_quote"].strip():
            place = self._find(Aligner(self._text), row["correct_quote"])
        self._add_unit(place, {name: row[f"correct_{name}"].strip() or row[name].strip() for name in SHOWN})

    def _parse_verdict(self, row: _Cells) -> str:
        filled = [name for name in CORRECTED if row[name].strip()]
        if not row["verdict"].strip():
            if filled:
                return "fixed"
            if self._status == "complete":
                raise RowError(
                    "has no verdict although its report is complete; write correct, wrong or fixed, "
                    "or give the report others_correct"
                )
            return "correct" if self._status else ""
        verdict = _parse_choice("verdict", row["verdict"], UNIT_VERDICTS)
        if verdict == "fixed" and not filled:
            raise RowError("is fixed but no correct_ column is filled; fill one, or write correct or wrong")
        if verdict != "fixed" and filled:
            raise RowError(f"is {verdict} but {filled[0]} is filled; write fixed, or empty that cell")
        return verdict

    def _add_missed(self, row: _Cells) -> None:
        if not any(row[name].strip() for name in CORRECTED):
            return
        self.verdicts += 1
        for name in ("quote", "finding", "assertion"):
            if not row[f"correct_{name}"].strip():
                raise RowError(f"adds a unit without correct_{name}; fill correct_quote, _finding and _assertion")
        place = self._find(self._missed, row["correct_quote"])
        self._add_unit(place, {name: row[f"correct_{name}"].strip() for name in SHOWN})

    def _find_stated_place(self, row: _Cells) -> Aligned:
        """Find where the row's unit stands; the quote is found again when the spreadsheet has lost the numbers."""
        quote = row["quote"]
        try:
            start, end = int(float(row["start"])), int(float(row["end"]))
        except ValueError:
            start = end = -1
        if 0 <= start < end <= len(self._text) and self._text[start:end].split() == quote.split():
            return Aligned(start, end, "exact")
        return self._find(self._stated, quote)

    def _find(self, aligner: Aligner, quote: str) -> Aligned:
        found = aligner.align(quote)
        if found is None:
            raise RowError(f"the report does not hold the words {quote[:60]!r}; copy them from the report's own text")
        return found

    def _add_unit(self, place: Aligned, cells: Mapping[str, str]) -> None:
        start, end, alignment = place
        finding = _find_id("finding", cells["finding"])
        anatomy = _find_id("anatomy", cells["anatomy"]) if _is_named(cells["anatomy"]) else None
        values: dict[str, Any] = {
            name: _parse_choice(name, cells[name], choices) if cells[name] else UNSPECIFIED
            for name, choices in _CHOICES.items()
        }
        unit = UnitRow.from_span(
            self._text,
            start,
            end,
            alignment,
            report_id=self._report,
            sections=self._sections,
            finding=finding,
            finding_text=self._text[start:end],
            anatomy=anatomy,
            refers_to_prior=_parse_yes_no("refers_to_prior", cells["refers_to_prior"]),
            run_id="corrections",
            **values,
        ).check()
        for other in self.units:
            if other.unit_id != unit.unit_id:
                continue
            if other == unit:
                return
            raise RowError(
                f"contradicts another accepted row: {finding} is {other.assertion} there and {unit.assertion} here; "
                "call one of them wrong"
            )
        self.units.append(unit)


def _is_named(value: str) -> bool:
    return value.lower() not in ("", UNSPECIFIED, "none")


def _parse_choice(name: str, value: str, choices: Sequence[str]) -> str:
    plain = value.strip().lower().replace(" ", "_")
    if plain in choices:
        return plain
    raise RowError(
        f"{name} is {value.strip()[:40]!r}{_suggest_choice(plain, choices)}; it must be one of {', '.join(choices)}"
    )


def _parse_yes_no(name: str, value: str) -> bool:
    plain = value.strip().lower() or "no"
    if plain not in _YES_NO:
        raise RowError(f"{name} is {value.strip()[:40]!r}; it must be yes or no")
    return _YES_NO[plain]


def _find_id(kind: str, value: str) -> str:
    """Return the vocabulary id for an id, a name, a synonym or a dataset's code."""
    vocabulary = load_vocabulary()
    words = vocabulary.finding_words if kind == "finding" else vocabulary.anatomy_words
    found = words.find(value)
    if found is not None:
        return found
    ids = words.suggest(value)
    hint = f"did you mean {' or '.join(ids)}?" if ids else f"see lgdea/vocabulary/{_TABLES[kind]}"
    raise RowError(f"{kind} {value.strip()[:40]!r} is not in the vocabulary; {hint}")


_TABLES = {"finding": "findings.yaml", "anatomy": "anatomy.yaml"}


def _suggest_choice(value: str, choices: Sequence[str]) -> str:
    near = get_close_matches(value, choices, n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""


def _format_line(file: Path, number: int, problem: str) -> str:
    return f"{file} row {number}: {problem}"
