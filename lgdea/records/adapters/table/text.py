"""A text table as cells: its encoding, its separator, its header row, and every row checked against its quotes."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd
import pyarrow as pa

from lgdea.errors import DataError, UsageError
from lgdea.reading import require_file
from lgdea.records.adapters.table.header import find_header, looks_like_data, unique_names
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.adapters.table.swallowed import find_swallowed
from lgdea.records.csv_io import SEPARATORS, find_undecodable_row, skip_bom

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
# By how they begin, small letters.
_OTHERS = {
    b"pk\x03\x04": ("a spreadsheet or a zip archive", "save the table as CSV (UTF-8), or unpack it"),
    b"\xd0\xcf\x11\xe0": ("an Excel file", "save it as CSV (UTF-8)"),
    b"bzh91ay&sy": ("packed by bzip2", "unpack it"),
    b"\xfd7zxz": ("packed by xz", "unpack it"),
    b"par1\x15": ("a Parquet file", "name it .parquet"),
    **dict.fromkeys((b'{"', b'[{', b'{\n', b'[\n'), ("JSON", "write it as CSV or Parquet, a row for each entry")),
    **dict.fromkeys((b"<html", b"<table", b"<?xml", b"<!doctype"), ("a web page or XML", "save it as CSV (UTF-8)")),
}  # fmt: skip
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?[;,\t]*\s*', re.IGNORECASE)
_RULE = re.compile(r":?[-=]+:?")
_HEAD, _RECORDS = 1 << 20, 200  # characters and records that are looked at to understand a table
_CHUNK = 50_000  # rows that exist as Python objects at a time
_LONGEST_CELL = 1 << 30


@dataclass(frozen=True)
class TextFormat:
    """How a text table is written.

    Attributes:
        encoding: Of the file, unless it begins with a byte-order mark.
        separator: Between cells; None is found.
        quoted: True when quotation marks surround cells and are right; None when they have to be checked; False when
            they are ordinary characters.
        escape: A character that takes the next one's meaning away.
        header: Number of the header's row, blank rows not counted, or ``none``; None is found.
    """

    encoding: str = "utf-8"
    separator: str | None = None
    quoted: bool | None = None
    escape: str | None = None
    header: int | Literal["none"] | None = None


@dataclass(frozen=True)
class Layout:
    """What was found in a table's first rows: its separator, column names, and how many rows stand above the first."""

    separator: str
    names: list[str]
    above: int
    sep_line: bool
    titles: int


def read_text(file: Path, form: TextFormat, problems: RowProblems) -> tuple[pd.DataFrame, list[str]]:
    """The table's cells, and notes on how it was read; a row with too few or too many cells is a problem, not padded.

    Raises:
        DataError: It is empty, of another encoding, its first row is no header, or a quotation mark is not closed.
    """
    try:
        with _open(file, form.encoding) as stream:
            head = "".join(_refuse_nul([stream.read(_HEAD)], file))
        layout = _find_layout(head, form, file)
        notes = [f"{layout.titles:,} rows above the header are passed over"] if layout.titles else []
        return _read_rows(file, form, layout, problems, notes), notes
    except (UnicodeError, LookupError, OSError, EOFError, zlib.error) as error:
        raise _damaged(file, form.encoding, error) from None


def _open(file: Path, encoding: str) -> IO[str]:
    """The file as text with its line ends as they are; a byte-order mark says more than ``encoding``."""
    with require_file(file, what="table").open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    with gzip.open(file) if packed else file.open("rb") as stream:
        first = stream.read(64)
    for start, (what, remedy) in _OTHERS.items():
        if first.lstrip(codecs.BOM_UTF8).lstrip().lower().startswith(start):
            raise DataError(f"is no text table but {what}", file=file, remedy=remedy)
    nul = [place for place, byte in enumerate(first[:4]) if not byte]
    unmarked = "utf-16-be" if nul == [0, 2] else "utf-16-le" if nul == [1, 3] else None
    encoding = next((name for mark, name in _BOMS if first.startswith(mark)), unmarked or skip_bom(encoding))
    codecs.lookup(encoding)
    return io.TextIOWrapper(gzip.open(file) if packed else file.open("rb"), encoding=encoding, newline="")  # type: ignore[arg-type]


def _records(lines: Any, separator: str, form: TextFormat, *, strict: bool) -> Any:
    """A ``csv.reader``; without quoting, a quotation mark is a character."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if form.quoted is False else csv.QUOTE_MINIMAL
    return csv.reader(
        lines, delimiter=separator, quoting=quoting, escapechar=form.escape, strict=strict and form.quoted is not False
    )


def _find_layout(head: str, form: TextFormat, file: Path) -> Layout:
    if not head.strip():
        raise DataError("is empty", file=file, remedy="give a table with a header row")
    mark = _EXCEL_SEPARATOR.fullmatch(head.splitlines()[0]) if head.lower().lstrip('"').startswith("sep=") else None
    if mark is not None:
        head = head[len(head.splitlines(keepends=True)[0]) :]
    separator = {"tab": "\t", "\\t": "\t"}.get(form.separator or "", form.separator) or (mark and mark[1])
    if separator and len(separator) != 1:
        raise UsageError(f"separator {separator!r} is not one character", file=file, remedy="write `tab` for a tab")
    best: tuple[float, str, int, list[list[str]]] | None = None
    for candidate in [separator] if separator else SEPARATORS:
        records = _first_records(head, candidate, form)
        if not records:
            raise DataError("is empty", file=file, remedy="give a table with a header row")
        width = _usual_width(records)
        place = form.header - 1 if isinstance(form.header, int) else find_header(records, width)
        if place >= len(records):
            raise UsageError(f"has no row {form.header} for a header", file=file, remedy="correct `header`")
        filled = sum(bool(cell.strip()) for cell in records[place])
        fits = filled >= max(2, 0.6 * width)
        # The separator that cuts the most rows, the header among them, into the same number of many cells.
        share = sum(len(record) == width for record in records) / len(records)
        score = share * (width - 1) / (1 + place) if fits else 0.0
        if best is None or score > best[0]:
            best = (score, candidate, place, records)
    assert best is not None
    _, separator, place, records = best
    if form.header == "none":
        names = [f"column{number}" for number in range(1, _usual_width(records) + 1)]
        return Layout(separator, names, 0, mark is not None, 0)
    header, rows = [name.strip() for name in records[place]], records[place + 1 :]
    if form.header is None and looks_like_data(header, rows):
        marks = ", ".join(map(repr, SEPARATORS))
        other = f"; where none of {marks} parts its cells, say --option separator=..." if len(header) == 1 else ""
        raise DataError(
            "its first row looks like data, not like the names of columns", file=file,
            remedy="put a row of names above it, or say --option header=none, which names the columns column1, column2 "
            "...; --option header=1 takes it for names all the same, header=2 the row below" + other,
        )  # fmt: skip
    return Layout(separator, unique_names(_named_cells(header, rows), file), place + 1, mark is not None, place)


def _first_records(head: str, separator: str, form: TextFormat) -> list[list[str]]:
    """The first rows that are not blank, read with patience for wrong quotes."""
    found: list[list[str]] = []
    with _long_cells():
        for record in _records(io.StringIO(head, newline=""), separator, form, strict=False):
            if any(cell.strip() for cell in record):
                found.append(record)
            if len(found) == _RECORDS:
                return found
    # The last one may be cut where the head ends.
    return found[:-1] if len(head) >= _HEAD and len(found) > 1 else found


def _usual_width(records: Sequence[Sequence[str]]) -> int:
    counts = Counter(len(record) for record in records)
    return max(counts, key=lambda width: (counts[width], width))


def _named_cells(header: list[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The header without the blank names that a separator at its end leaves, unless cells stand below them."""
    width = next((n for n in range(len(header), 0, -1) if header[n - 1]), 1)
    below = max((n for row in rows for n in range(width, min(len(row), len(header))) if row[n].strip()), default=-1)
    return header[: max(width, below + 1)]


def _read_rows(file: Path, form: TextFormat, layout: Layout, problems: RowProblems, notes: list[str]) -> pd.DataFrame:
    """All rows below the header but those that repeat it, as where exports were put together."""
    width = len(layout.names)
    chunks: list[pa.Table] = []
    kept: list[list[str]] = []
    numbers: list[int] = []
    ragged: list[tuple[int, int]] = []
    broken: list[int] = []  # rows with line breaks in a cell
    again, names = 0, [name.casefold() for name in layout.names]
    for number, cells, lines in _numbered(file, form, layout):
        # Separators at the end of a row are no cells.
        row = cells if any(cell.strip() for cell in cells[width:]) else cells[:width]
        if _is_no_row(row, names):
            again += 1
            continue
        if len(row) != width:
            ragged.append((number, len(row)))
            continue
        if lines > 1:
            broken.append(number)
        kept.append(row)
        numbers.append(number)
        if len(kept) == _CHUNK:
            chunks.append(_as_columns(kept, layout.names))
            kept = []
    chunks.append(_as_columns(kept, layout.names))
    if again:
        notes.append(f"{again:,} rows repeat the header or rule a line and are passed over")
    if ragged:
        problems.add(
            "ragged-row", file, [number for number, _ in ragged],
            f"has {ragged[0][1]} cells where the header has {width}",
            consequence="the row is left out",
            remedy="put text that holds the separator or a line break into double quotes",
        )  # fmt: skip
    frame: pd.DataFrame = pa.concat_tables(chunks).to_pandas().set_axis(pd.Index(numbers, dtype="int64"))
    if form.quoted is None and broken:
        frame = frame.drop(index=_note_swallowed(frame, broken, layout.separator, file, problems))
    whole = len(frame) == (numbers[-1] if numbers else 0)
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1)) if whole else frame


def _is_no_row(row: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a row is the header again, in whatever case, or a line of dashes as below a header."""
    first = row[0].strip().casefold() if row else ""
    if first == names[0]:
        return [cell.strip().casefold() for cell in row] == list(names)
    return first[:2] in ("--", "==", ":-") and all(_RULE.fullmatch(cell.strip()) for cell in row)


def _note_swallowed(
    frame: pd.DataFrame, broken: Sequence[int], separator: str, file: Path, problems: RowProblems
) -> list[int]:
    """Rows with a cell that holds other rows."""
    swallowed = find_swallowed(frame, broken, separator)
    problems.add(
        "rows-in-a-cell", file, swallowed,
        f"a cell of row {swallowed[0] if swallowed else 0} goes on over a line that looks like another row: a "
        "quotation mark was not closed",
        consequence="",
        remedy="close the quotation mark, or say --option quoted=false when quotation marks are ordinary characters, "
        "--option quoted=true when they are right",
        decision=True,
    )  # fmt: skip
    return swallowed


def _numbered(file: Path, form: TextFormat, layout: Layout) -> Iterator[tuple[int, list[str], int]]:
    """Number (blank rows not counted), cells and line count of each row below the header.

    Raises:
        DataError: A quotation mark is not closed, or text follows a closing one.
    """
    number = -layout.above
    with _open(file, form.encoding) as stream, _long_cells():
        first = 1
        if layout.sep_line:
            stream.readline()
            first = 2
        reader = _records(_refuse_nul(stream, file), layout.separator, form, strict=True)
        start = 0
        try:
            for row in reader:
                lines = reader.line_num - start
                start = reader.line_num
                if not row or (len(row) == 1 and not row[0].strip()):
                    continue
                number += 1
                if number > 0:
                    yield number, row, lines
        except csv.Error as error:
            raise _quote_error(file, number + 1, first + start, first + reader.line_num - 1, error) from None


def _quote_error(file: Path, row: int, begin: int, end: int, error: csv.Error) -> DataError:
    if "expected after" in str(error):
        where = f"line {end}" if begin == end else f"line {end} of a row that begins in line {begin}"
        problem = f"text follows a closing quotation mark in {where}"
    elif "end of data" in str(error):
        problem = f"a quotation mark opened in the row of line {begin} is never closed"
    else:
        problem = f"line {end} is not CSV ({error})"
    return DataError(
        problem, file=file, row=max(row, 0),
        remedy='close the quotation mark and write one inside a cell twice (""), or say --option quoted=false when '
        "quotation marks are ordinary characters, --option escape=\\ when a backslash stands before them",
    )  # fmt: skip


class _long_cells:  # noqa: N801 - a context manager, used as a function
    """Let cells of any length be read; the limit of the ``csv`` module is one for the whole process."""

    def __enter__(self) -> None:
        self._limit = csv.field_size_limit(_LONGEST_CELL)

    def __exit__(self, *_: object) -> None:
        csv.field_size_limit(self._limit)


def _as_columns(rows: list[list[str]], names: list[str]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pa.table([pa.array(column, pa.large_string()) for column in columns], names)


def _refuse_nul(lines: Iterable[str], file: Path) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            raise DataError(
                "holds NUL characters, as UTF-16 or a damaged file does", file=file,
                remedy="say --option encoding=utf-16-le, or utf-16-be, or export it again",
            )  # fmt: skip
        yield line


def _damaged(file: Path, encoding: str, error: BaseException) -> DataError:
    if isinstance(error, LookupError):
        return UsageError(f"no encoding {encoding!r}", file=file, remedy="try utf-8 or cp1252")  # type: ignore[return-value]
    if isinstance(error, EOFError | zlib.error):
        return DataError("is packed by gzip and cut short or damaged", file=file, remedy="fetch it again")
    row = None if file.suffix == ".gz" else find_undecodable_row(file, encoding)
    if row is not None or isinstance(error, UnicodeError):
        remedy = "save it as UTF-8, or say --option encoding=cp1252 when it comes from Excel on Windows"
        return DataError(f"is not {encoding.upper()}", file=file, row=row, remedy=remedy)
    # The message may hold a row, and with it somebody's report.
    return DataError(f"is no text table that can be read ({type(error).__name__})", file=file, remedy="check the file")
