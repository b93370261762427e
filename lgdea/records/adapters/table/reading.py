"""The table of a source: one file or the parts of one, CSV, TSV (also gzipped) or Parquet, as text cells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.table.header import list_names
from lgdea.records.adapters.table.parquet import read_parquet
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.adapters.table.text import TextFormat, read_text

TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
PARQUET = (".parquet", ".pq")
_SPREADSHEETS = (".xlsx", ".xls", ".ods")


@dataclass(frozen=True)
class SourceTable:
    """A table as it was read.

    Attributes:
        file: Where it stands; of several parts a pattern of their names.
        frame: Text cells, empty where there is nothing; the index is the row number, 1-based, header not counted, and
            goes on from part to part.
        other: Columns that hold no text, with what they hold.
        notes: What is worth knowing about how it was read.
    """

    file: Path
    frame: pd.DataFrame
    other: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def is_table(file: Path) -> bool:
    """Check that the file's name is that of a table."""
    return file.is_file() and file.name.lower().endswith((*TEXT, *PARQUET))


def find_tables(source: Path, name: str | None) -> list[Path]:
    """The table in ``source``, which is the file itself or a folder; several files when they are the parts of one.

    Args:
        source: File or folder.
        name: The file in the folder, or a pattern of several.

    Raises:
        UsageError: There is none, or several and no ``name``.
    """
    if not source.exists():
        raise UsageError("no such file or folder", file=source, remedy="check the path of the table")
    if source.is_file():
        if source.suffix.lower() in _SPREADSHEETS:
            raise UsageError("is a spreadsheet", file=source, remedy="save it as CSV (UTF-8)")
        if not is_table(source):
            raise UsageError(
                "is no table",
                file=source,
                remedy=f"write it as CSV or Parquet; known endings: {', '.join(TEXT + PARQUET)}",
            )
        return [source]
    if name is not None:
        if (source / name).is_file():
            return [source / name]
        parts = [file for file in sorted(source.glob(name)) if is_table(file)] if any(c in name for c in "*?[") else []
        if not parts:
            raise UsageError("no such table", file=source / name, remedy="correct `table` in the mapping")
        return parts
    found = [f for f in sorted(source.iterdir()) if is_table(f) and not f.name.lower().startswith(("boxes.", "bbox"))]
    if not found:
        endings = ", ".join(TEXT + PARQUET)
        raise UsageError(f"holds no table ({endings})", file=source, remedy="name the file or its folder")
    patterns = {_without_numbers(file.name) for file in found}
    if len(found) > 1 and (len(patterns) > 1 or not any(char.isdigit() for char in found[0].name)):
        names = [file.name for file in found]
        second = f"; two are joined by a key, --option table={names[0]} --option join.table={names[1]}"
        raise UsageError(
            f"holds {len(found)} tables ({list_names(names, 8)})", file=source,
            remedy=f"name one with --option table=FILE{second}",
        )  # fmt: skip
    return found


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "*", name)


def read_source(files: Path | list[Path], problems: RowProblems, form: TextFormat | None = None) -> SourceTable:
    """Read a table; a text row with too few or too many cells is a problem, not padded.

    Args:
        files: The file, or the parts of one table.
        problems: Where rows that cannot be read are noted.
        form: How a text table is written.

    Raises:
        DataError: It is empty, damaged, of another encoding, two columns have one name, or the parts differ.
    """
    if isinstance(files, Path):
        return _read_one(files, problems, form or TextFormat())
    tables = [_read_one(file, problems, form or TextFormat()) for file in files]
    if len(tables) == 1:
        return tables[0]
    first = tables[0]
    for table in tables[1:]:
        if list(table.frame) != list(first.frame):
            raise DataError(
                f"has other columns than {first.file.name}", file=table.file, remedy="name one, --option table=FILE"
            )
    start, parts = 0, []
    for table in tables:
        parts.append(table.frame.set_axis(table.frame.index + start))
        start += int(table.frame.index.max()) if len(table.frame) else 0
    file = first.file.with_name(_without_numbers(first.file.name))
    notes = [f"{len(tables):,} files are read as one table, their rows numbered through", *first.notes]
    return SourceTable(file, pd.concat(parts), first.other, notes)


def _read_one(file: Path, problems: RowProblems, form: TextFormat) -> SourceTable:
    if file.name.lower().endswith(PARQUET):
        frame, other = read_parquet(file)
        notes = [f"the column {name!r} holds {what} and is not read" for name, what in other.items()]
        return SourceTable(file, frame, other, notes)
    frame, notes = read_text(file, form, problems)
    return SourceTable(file, frame, {}, notes)
