"""CSV files: publishers' tables as they should be, and people's spreadsheets whatever a program made of them."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from lgdea.errors import DataError, UsageError, first_line
from lgdea.reading import read_bytes
from lgdea.runs import atomic, writing

SEPARATORS = (",", ";", "\t", "|")
# A cell that begins so is a formula to some spreadsheet (OWASP, "CSV Injection"); full-width forms count in some.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LONGEST_CELL = 32_000  # Excel cuts a cell at 32,767 characters


def read_utf8(file: Path, *, first_row: int = 1) -> str:
    """Read a UTF-8 file, plain or gzipped.

    Args:
        file: The file.
        first_row: Number of its first line in messages; a table's header is row 0.

    Raises:
        UsageError: It is no file that can be read.
        DataError: It is not UTF-8, or not gzip.
    """
    content = read_bytes(file)
    try:
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"cannot be unpacked ({first_line(error)})", file=file, remedy="fetch it again") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = first_row + content[: error.start].count(b"\n")
        problem = f"is not UTF-8 (byte 0x{content[error.start]:02x})"
        raise DataError(problem, file=file, row=row, remedy="convert it to UTF-8") from None


def find_separator(text: str) -> str:
    """Find the character of :data:`SEPARATORS` that cuts the header into the most cells, quotes respected."""
    return max(SEPARATORS, key=lambda mark: len(next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])))


def skip_bom(encoding: str) -> str:
    """Name the codec of ``encoding`` that passes over a byte-order mark."""
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def find_undecodable_row(file: Path, encoding: str) -> int | None:
    """Number the first row (header 0) of a plain file that is not in ``encoding``; None when all that is read is."""
    number = 0
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream):
                line.decode(skip_bom(encoding) if number == 0 else encoding)
    except UnicodeDecodeError:
        return number
    except (LookupError, OSError):
        return None
    return None


def read_csv(file: Path, required: Iterable[str], *, card: str, optional: Iterable[str] | None = None) -> pd.DataFrame:
    """Read a CSV file, plain or gzipped, with every cell as text and an empty cell as None.

    Blanks around column names do not count.

    Args:
        file: UTF-8, with a header row.
        required: Columns that must be there.
        card: Name of the dataset's card, for the remedy.
        optional: Columns to read where they are there, and no others beyond the required ones; None reads all.

    Raises:
        UsageError: No such file.
        DataError: It is not UTF-8, no CSV, or lacks a column.
    """
    layout = f"`lgdea data card {card}` shows the expected layout"
    if not file.is_file():
        raise UsageError("no such file", file=file, remedy=f"check the folder; {layout}")
    required = list(required)
    wanted = {*required, *(optional or ())}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", pd.errors.ParserWarning)
            frame = pd.read_csv(
                file,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
                usecols=None if optional is None else lambda column: column.strip() in wanted,
            )
    except pd.errors.EmptyDataError:
        raise DataError("is empty", file=file, remedy="fetch it again") from None
    except pd.errors.ParserError as error:
        raise DataError(f"is no CSV table ({error})", file=file, remedy="fetch it again") from None
    except UnicodeDecodeError:
        read_utf8(file, first_row=0)  # says in which row
        raise
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"cannot be read ({error})", file=file, remedy="fetch it again") from None
    if any(issubclass(warning.category, pd.errors.ParserWarning) for warning in caught):
        _refuse_extra_cells(file)
    frame.columns = frame.columns.str.strip()
    missing = [column for column in required if column not in frame.columns]
    if missing:
        raise DataError(f"lacks the column {missing[0]!r}", file=file, remedy=layout)
    return frame.astype(object).where(frame != "", None)


def _refuse_extra_cells(file: Path) -> None:
    """Raise if a row has text beyond the header, which pandas drops; a trailing comma is accepted.

    Raises:
        DataError: A row has more filled cells than the header has columns.
    """
    rows = csv.reader(read_utf8(file, first_row=0).splitlines(keepends=True))
    width = len(next(rows))
    for row, cells in enumerate(rows, start=1):
        if any(cells[width:]):
            problem = f"has {len(cells)} cells where the header has {width}"
            raise DataError(problem, file=file, row=row, remedy="put quotes around cells that hold a comma")


def protect(cell: str) -> str:
    """A cell that no spreadsheet reads as a formula: a dangerous one gets an apostrophe in front.

    >>> protect("- No effusion"), unprotect(protect("- No effusion"))
    ("'- No effusion", '- No effusion')
    """
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def unprotect(cell: str) -> str:
    """The cell as it was before :func:`protect`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def write_spreadsheet(file: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows atomically as UTF-8 with a byte-order mark, so that Excel takes it for UTF-8.

    Every cell is protected; one longer than a spreadsheet takes is cut and ends in an ellipsis.
    """
    file = Path(file)
    with writing(file), atomic(file) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_format_cell(row.get(name, "")) for name in columns])


def read_spreadsheet(file: str | Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows with the numbers that a spreadsheet shows (the header is row 1); blank rows are passed over.

    Commas, semicolons and tabs, all line ends, UTF-8, UTF-16 and Windows-1252 are understood.

    Args:
        file: The CSV file.
        required: Columns that must be there.

    Raises:
        UsageError: There is no such file.
        DataError: It is no such table: a column is missing, or a row has too many cells or too few.
    """
    file = Path(file)
    if not file.is_file():
        raise UsageError("no such file", file=file, remedy="check the path")
    text = _decode_spreadsheet(read_bytes(file))
    skipped = 0
    if text.lower().startswith("sep="):  # Excel's own first line
        text, skipped = text.partition("\n")[2], 1
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=find_separator(text), strict=True))
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
        # Spreadsheets leave out empty cells at the end of a row.
        filled = [*cells, *[""] * (len(header) - len(cells))]
        row = {name: unprotect(cell) for name, cell in zip(header, filled, strict=False)}
        if len(cells) < len(header) and required and not any(row[name].strip() for name in required):
            problem = "has fewer cells than the header"
            raise DataError(problem, file=file, row=number, remedy="a line break may have cut the row in two")
        rows.append((number, row))
    return rows


def _format_cell(value: object) -> str:
    text = "" if value is None else str(value)
    return protect(text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + " …")


def _decode_spreadsheet(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")  # what Excel calls plain "CSV"
