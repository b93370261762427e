"""A table file as text cells, with the number of each row: CSV, TSV (also gzipped) or Parquet."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.csv_io import find_separator, find_undecodable_row, skip_bom

TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
PARQUET = (".parquet", ".pq")
_SPREADSHEETS = (".xlsx", ".xls", ".ods")


@dataclass(frozen=True)
class SourceTable:
    """A table as it was read.

    Attributes:
        file: Where it stands.
        frame: Text cells, empty where there is nothing; the index is the row number, 1-based, header not counted.
        separator: Between cells; None for Parquet.
    """

    file: Path
    frame: pd.DataFrame
    separator: str | None


def is_table(file: Path) -> bool:
    """Check that the file's name is that of a table."""
    return file.is_file() and file.name.lower().endswith((*TEXT, *PARQUET))


def find_table(source: Path, name: str | None) -> Path:
    """The table in ``source``, which is the file itself or a folder.

    Raises:
        UsageError: There is none, or several and no ``name``.
    """
    if not source.exists():
        raise UsageError("no such file or folder", file=source, remedy="check the path of the table")
    if source.is_file():
        if source.suffix.lower() in _SPREADSHEETS:
            raise UsageError("is a spreadsheet", file=source, remedy="save it as CSV (UTF-8)")
        if not is_table(source):
            raise UsageError("is no table", file=source, remedy=f"known endings: {', '.join(TEXT + PARQUET)}")
        return source
    if name is not None:
        if not (source / name).is_file():
            raise UsageError("no such table", file=source / name, remedy="correct `table` in the mapping")
        return source / name
    found = [f for f in sorted(source.iterdir()) if is_table(f) and not f.name.lower().startswith(("boxes.", "bbox"))]
    if len(found) != 1:
        names = ", ".join(f.name for f in found[:8])
        what = f"holds {len(found)} tables ({names})" if found else f"holds no table ({', '.join(TEXT + PARQUET)})"
        remedy = "name one with --option table=FILE" if found else "name the file or its folder"
        raise UsageError(what, file=source, remedy=remedy)
    return found[0]


def read_source(
    file: Path, problems: RowProblems, *, encoding: str = "utf-8", separator: str | None = None
) -> SourceTable:
    """Read a table; a text row with too few or too many cells is a problem, not padded.

    Raises:
        DataError: It is empty, damaged, of another encoding, or two columns have one name.
    """
    if file.name.lower().endswith(PARQUET):
        return SourceTable(file, _read_parquet(file), None)
    names, lines, separator = _header(file, encoding, separator)
    bad: list[pa.csv.InvalidRow] = []

    def refuse(row: pa.csv.InvalidRow) -> str:
        bad.append(row)
        return "skip"

    try:
        with pa.input_stream(str(file), compression="detect") as stream:
            table = pa.csv.read_csv(
                stream,
                # One thread: only then do refused rows know their number.
                pa.csv.ReadOptions(
                    use_threads=False, column_names=names, skip_rows=lines, encoding=encoding, block_size=1 << 24
                ),
                pa.csv.ParseOptions(
                    delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse, ignore_empty_lines=True
                ),
                pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            )
    except (pa.ArrowException, UnicodeDecodeError, LookupError, OSError) as error:
        raise _damaged(file, encoding, error) from None
    numbers = [int(row.number) - lines for row in bad]  # Arrow counts records, the skipped lines among them
    if bad:
        first = bad[0]
        problems.add(
            "ragged-row",
            file,
            numbers,
            f"has {first.actual_columns} cells where the header has {first.expected_columns}",
            consequence="the row is left out",
            remedy="put text that holds the separator or a line break into double quotes",
        )
    refused = set(numbers)
    rows = [n for n in range(1, table.num_rows + len(bad) + 1) if n not in refused] if bad else None
    index = pd.RangeIndex(1, table.num_rows + 1) if rows is None else pd.Index(rows)
    return SourceTable(file, table.to_pandas().set_axis(index), separator)


def _header(file: Path, encoding: str, separator: str | None) -> tuple[list[str], int, str]:
    """Column names, the lines that they take, and the separator."""
    try:
        with pa.input_stream(str(file), compression="detect") as stream:
            head = stream.read(1 << 20)
        text = codecs.getincrementaldecoder(skip_bom(encoding))().decode(head)
    except (UnicodeDecodeError, LookupError, OSError, pa.ArrowException) as error:
        raise _damaged(file, encoding, error) from None
    if not text.strip():
        raise DataError("is empty", file=file, remedy="give a table with a header row")
    separator = {"tab": "\t", "\\t": "\t"}.get(separator or "", separator)
    chosen = separator or find_separator(text)
    if len(chosen) != 1:
        raise UsageError(f"separator {chosen!r} is not one character", file=file, remedy="write `tab` for a tab")
    reader = csv.reader(io.StringIO(text), delimiter=chosen)
    names: list[str] = []
    while not any(name.strip() for name in names):
        names = next(reader)
    return _unique([name.strip() for name in names], file), reader.line_num, chosen


def _unique(names: list[str], file: Path) -> list[str]:
    """The names, blank ones by their position; two columns of one name cannot be told apart."""
    named = [name or f"(column {place})" for place, name in enumerate(names, start=1)]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"has two columns {twice!r}", file=file, remedy="rename one of them")
    return named


def _read_parquet(file: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read ({_first_line(error)})", file=file, remedy="write it again") from None
    _unique(table.column_names, file)
    cells = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            cells[name] = pc.fill_null(_as_text(column), "")
        except pa.ArrowException as error:
            problem = f"the column {name!r} cannot be read as text ({_first_line(error)})"
            raise DataError(problem, file=file, remedy="write it as text, numbers, dates or lists of text") from None
    frame: pd.DataFrame = pa.table(cells).to_pandas()
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1))


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells as a CSV file would hold them; whole numbers that pandas keeps as floats lose their ``.0``."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.cast(kind.value_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pc.binary_join(column.cast(pa.list_(pa.string())), "|")
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        whole = pc.all(pc.equal(pc.floor(column), column)).as_py()
        if whole in (True, None):
            column = column.cast(pa.int64())
    return column.cast(pa.string())


def _damaged(file: Path, encoding: str, error: BaseException) -> DataError:
    if isinstance(error, LookupError):
        return UsageError(f"no encoding {encoding!r}", file=file, remedy="try utf-8 or cp1252")  # type: ignore[return-value]
    row = None if file.suffix == ".gz" else find_undecodable_row(file, encoding)
    if row is not None:
        remedy = "save it as UTF-8, or say --option encoding=cp1252 when it comes from Excel on Windows"
        return DataError(f"is not {encoding.upper()}", file=file, row=row, remedy=remedy)
    # Arrow's message may hold a row, and with it somebody's report.
    return DataError(f"is no text table that can be read ({type(error).__name__})", file=file, remedy="check the file")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
