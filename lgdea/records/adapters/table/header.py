"""The row of a text table that names its columns, and whether it does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lgdea.errors import DataError
from lgdea.records.adapters.table.finder import PICTURES
from lgdea.records.adapters.table.findings import match_finding
from lgdea.records.adapters.table.names import is_known

_LONG = 8  # words beyond which a name is a sentence
_SHOWN, _LONGEST_SHOWN = 30, 40
MOST_COLUMNS = 10_000
_ROWS_ABOVE = 30  # among which the header is looked for
_LOOKED_AT = 100  # columns of a row, rows of a column
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?")
_SENTENCE = re.compile(r"\S+\s+\S.*[.!?]")


def find_header(records: Sequence[Sequence[str]], width: int) -> int:
    """Place of the header among the first rows: the first, unless titles or comments stand above one that has names.

    A title fills fewer cells than a row, or has fewer known names than the header. Below a full row, whose names may
    be unknown ones, one may be a word of the data ("12, mass"), so there all must be known, one of them as a column's.
    """
    named = _row_of_names(records)
    if named is not None:
        return named
    first = 0 if records[0][0].lstrip().startswith("# ") else sum(bool(cell.strip()) for cell in records[0])
    for place, record in enumerate(records[:_ROWS_ABOVE]):
        filled = [cell for cell in record if cell.strip()]
        if filled[0].lstrip().startswith("# ") or len(filled) < max(2, 0.6 * width):
            continue
        names = sum(_is_name(cell) for cell in filled)
        needed = 1 if place == 0 else len(filled) if first >= len(filled) else len(filled) / 2
        if names >= needed and (place == 0 or first < len(filled) or any(is_known(cell) for cell in filled)):
            # A title in the first row may itself be a column's name, of a table that has one column.
            return 0 if place and any(is_known(cell) for cell in records[0]) else place
    return next((n for n, record in enumerate(records) if not record[0].lstrip().startswith("# ")), 0)


def _row_of_names(records: Sequence[Sequence[str]]) -> int | None:
    """The row with the most known names of columns, if they are most of its cells.

    Below the first row a word that stands in another row's place too is data; a whole header may be there again.
    """
    best, most = None, 1
    for place, record in enumerate(records[:_ROWS_ABOVE]):
        filled = [(column, cell) for column, cell in enumerate(record[:_LOOKED_AT]) if cell.strip()]
        names = [(column, cell) for column, cell in filled if is_known(cell)]
        if len(names) <= most or len(names) * 2 < len(filled):
            continue
        if place == 0 and len(names) == len(record):
            return 0
        others = [row for row in records[1:] if row != record] if place else []
        if not any(row[column] == cell for column, cell in names for row in others if column < len(row)):
            best, most = place, len(names)
    return best


def looks_like_data(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Check whether the first row holds data: pictures, numbers, dates, sentences, or what also stands below it."""
    numbered = [[str(n) for n in range(start, start + len(header))] for start in (0, 1)]
    if list(header) in numbered:
        return False
    rows = [row for row in rows if [cell.strip() for cell in row if cell.strip()] != [cell for cell in header if cell]]
    below = [[row[place].strip() for row in rows if place < len(row)] for place in range(len(header))]
    data = [cell for cell, cells in zip(header, below, strict=True) if cell and _is_data(cell, cells)]
    names = [cell for cell in header if cell and cell not in data and _is_name(cell)]
    long = [cell for cell in header if len(cell.split()) > _LONG]
    pictures = any(cell.lower().endswith(PICTURES) for cell in header)  # no column is called a.png
    return pictures or len(data) > len(names) or (bool(data or long) and not names)


def _is_name(cell: str) -> bool:
    return is_known(cell) or match_finding(cell.strip()) is not None


def _is_data(cell: str, below: Sequence[str]) -> bool:
    if cell.lower().endswith(PICTURES) or _NUMBER.fullmatch(cell) or _DATE.fullmatch(cell) or "^" in cell:
        return True
    if _SENTENCE.fullmatch(cell) and len(cell.split()) > 2:
        return True
    filled = [value for value in below if value]
    if cell in filled:
        return True
    if match_finding(cell) is not None and not is_known(cell) and filled:
        # Below the name of a label column stand values, not other findings.
        return 2 * sum(match_finding(value) is not None for value in filled[:_LOOKED_AT]) >= len(filled[:_LOOKED_AT])
    alike = sum(_shape(value) == _shape(cell) for value in filled)
    return any(c.isdigit() for c in cell) and bool(filled) and alike >= 0.8 * len(filled)


def _shape(cell: str) -> str:
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", cell))


def unique_names(names: Sequence[str], file: Path) -> list[str]:
    """The names, blank ones by their position.

    Raises:
        DataError: Two columns have one name, so that they cannot be told apart; or there are more than a table of
            studies ever has, which takes hours to look through.
    """
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"has {len(names):,} columns, more than {MOST_COLUMNS:,}",
            file=file,
            remedy="keep those of ids, texts and labels; check the separator (--option separator=...)",
        )
    named = [name or f"(column {place})" for place, name in enumerate(names, start=1)]
    count = Counter(named)
    twice = next((name for name in named if count[name] > 1), None)
    if twice is not None:
        raise DataError(
            f"has two columns {shorten(twice)!r}",
            file=file,
            remedy="rename one of them, or say in which row the names stand, --option header=2",
        )
    return named


def shorten(name: str) -> str:
    """A name as it may be shown: a long one may be somebody's report."""
    return name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "…"


def list_columns(names: Iterable[object]) -> str:
    """Column names for a message; where none is known they may be somebody's data, and are not shown."""
    shown = [str(name) for name in names]
    if not any(_is_name(name) or re.fullmatch(r"column\d+", name) for name in shown):
        return f"{len(shown)} columns, of whose names none is known (--option header=none where the first row is data)"
    return list_names(shown)


def list_names(names: Iterable[str], most: int = _SHOWN) -> str:
    """Names for a message, each shortened."""
    shown = [shorten(name) for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
