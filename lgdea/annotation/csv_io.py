"""CSV files for people with a spreadsheet: safe to open, and read back whatever the spreadsheet made of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lgdea.errors import DataError, UsageError
from lgdea.records.tables import writing
from lgdea.runs import atomic

# A cell that begins so is a formula to some spreadsheet (OWASP, "CSV Injection"); full-width forms count in some.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LONGEST_CELL = 32_000  # Excel cuts a cell at 32,767 characters


def protect(cell: str) -> str:
    """A cell that no spreadsheet reads as a formula: a dangerous one gets an apostrophe in front.

    >>> protect("- No effusion"), unprotect(protect("- No effusion"))
    ("'- No effusion", '- No effusion')
    """
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def unprotect(cell: str) -> str:
    """The cell as it was before :func:`protect`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def write_csv(file: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows atomically as UTF-8 with a byte-order mark, so that Excel takes it for UTF-8.

    Every cell is protected; one longer than a spreadsheet takes is cut and ends in an ellipsis.
    """
    file = Path(file)
    with writing(file), atomic(file) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_format_cell(row.get(name, "")) for name in columns])


def read_csv(file: str | Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows with the numbers that a spreadsheet shows (the header is row 1); blank rows are passed over.

    Commas, semicolons and tabs, all line ends, UTF-8, UTF-16 and Windows-1252 are understood.

    Args:
        file: The CSV file.
        required: Columns that must be there.

    Raises:
        UsageError: There is no such file.
        DataError: It is no such table: a column is missing, or a row has too many cells.
    """
    file = Path(file)
    if not file.is_file():
        raise UsageError("no such file", file=file, remedy="check the path")
    text = _decode(file.read_bytes())
    skipped = 0
    if text.lower().startswith("sep="):  # Excel's own first line
        text, skipped = text.partition("\n")[2], 1
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"is not a CSV file ({error})", file=file, remedy="save it as CSV UTF-8") from None
    header = [name.strip().lower() for name in table[0]] if table else []
    missing = [name for name in required if name not in header]
    if missing:
        raise DataError(f"lacks the column {missing[0]!r}", file=file, remedy="keep the header row as it was written")
    rows = []
    for number, cells in enumerate(table[1:], start=2 + skipped):
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            raise DataError("has more cells than the header", file=file, row=number, remedy="remove what is too much")
        rows.append((number, {name: unprotect(cell) for name, cell in zip(header, cells, strict=False)}))
    return rows


def _format_cell(value: object) -> str:
    text = "" if value is None else str(value)
    return protect(text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + " …")


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")  # what Excel calls plain "CSV"
