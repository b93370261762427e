"""Two tables joined by a key that both have: images in one, reports in the other."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pandas as pd

from lgdea.errors import UsageError
from lgdea.records.adapters.table.header import list_columns
from lgdea.records.adapters.table.ids import join_keys
from lgdea.records.adapters.table.mapping import JoinMapping
from lgdea.records.adapters.table.names import find_id_columns, spellings
from lgdea.records.adapters.table.problems import RowProblems, shown
from lgdea.records.adapters.table.reading import SourceTable

_SAMPLE = 1000
_AS_NUMBERS = "; where they are numbers written in two ways (007 and 7), say --option ids=numbers"


def join_tables(
    one: SourceTable, other: SourceTable, join: JoinMapping, problems: RowProblems, *, numbers: bool = False
) -> SourceTable:
    """The rows of one table with the columns of the other.

    The rows are those of the table in which a key stands several times, and after them those of the other table whose
    key the first one lacks; nothing is lost. A column of both tables is filled from either.

    Args:
        one: The first table.
        other: The second.
        join: Says the key.
        problems: Where rows are noted that differ or have no partner.
        numbers: Whether ids written in two forms of one number are one, ``ids=numbers``.

    Raises:
        UsageError: No column can be the key, its cells never agree, or it stands several times in both tables.
    """
    left, right = _key_columns(one, other, join, numbers)
    mine, theirs = join_keys(one.frame[left], numbers=numbers), join_keys(other.frame[right], numbers=numbers)
    twice = [_repeats(mine), _repeats(theirs)]
    if all(twice):
        raise UsageError(
            f"the key {left!r} stands several times in both tables, such as {shown(twice[0][0])}", file=one.file,
            remedy=f"name another key, --option join.on=COLUMN, or remove the repeated rows of {other.file.name}",
        )  # fmt: skip
    if twice[1]:
        one, other, left, right, mine, theirs = other, one, right, left, theirs, mine
    if not set(mine) & set(theirs) - {""}:
        raise UsageError(
            f"no {left} is a {right} of {other.file.name}", file=one.file,
            remedy="name the key, --option join.on=COLUMN --option join.key=COLUMN of the second table"
            + ("" if numbers else _AS_NUMBERS),
        )  # fmt: skip
    values = other.frame.drop(columns=right).set_axis(theirs)
    values = values[values.index != ""]
    added = values.reindex(mine).fillna("").set_axis(one.frame.index)
    frame = _laid_together(one, added, other.file, problems)
    alone = other.frame[~theirs.isin(set(mine)) | (theirs == "")].rename(columns={right: left})
    last = int(frame.index.max()) if len(frame) else 0
    alone = alone.reindex(columns=frame.columns, fill_value="").set_axis(range(last + 1, last + 1 + len(alone)))
    notes = [f"{other.file.name} is joined by {left}, {int(mine.isin(set(theirs)).sum()):,} rows have a partner"]
    without = mine[~mine.isin(set(theirs) - {""})]
    if len(without):
        notes.append(f"{len(without):,} rows of {one.file.name} have none, such as {shown(without.iloc[0])}")
    if len(alone):
        notes.append(f"{len(alone):,} rows of {other.file.name} have none and follow as rows {last + 1:,} to "
                     f"{last + len(alone):,}, such as {left} {shown(alone[left].iloc[0])}")  # fmt: skip
    problems.add(
        "half-without-partner", one.file, without.index if len(without) * 2 > len(mine) else [],
        f"{left} {shown(without.iloc[0])} is in no row of {other.file.name}, as of most rows" if len(without) else "",
        consequence="the row has none of its columns",
        remedy="check that both tables write the key in one way, or name another key, --option join.on=COLUMN",
    )  # fmt: skip
    file = one.file.with_name(f"{one.file.name} + {other.file.name}")
    whole = pd.concat([frame, alone])
    problems.move(one.file, file)
    return SourceTable(file, whole, one.other | other.other, [*one.notes, *other.notes, *notes])


def _key_columns(one: SourceTable, other: SourceTable, join: JoinMapping, numbers: bool) -> tuple[str, str]:
    """The key's column in each table: as it was said, or the first id of both whose cells agree."""
    for table, name in ((one, join.on), (other, join.key or join.on)):
        if name is not None and name not in table.frame:
            raise UsageError(
                f"has no column {name!r} (join)", file=table.file, remedy=f"there are {list_columns(table.frame)}"
            )
    if join.on is not None:
        return join.on, join.key or join.on
    pairs = [pair for field in ("study", "patient")
             for pair in product(find_id_columns(field, one.frame), find_id_columns(field, other.frame))]  # fmt: skip
    pairs += [
        (a, b) for a, b in product(map(str, one.frame), map(str, other.frame)) if set(spellings(a)) & set(spellings(b))
    ]
    for mine, yours in pairs:
        left, right = (join_keys(cells, numbers=numbers) for cells in (one.frame[mine], other.frame[yours]))
        repeated = bool(_repeats(left)) and bool(_repeats(right))
        if join.key in (None, yours) and not repeated and set(left.head(_SAMPLE)) & set(right) - {""}:
            return mine, yours
    raise UsageError(
        f"no column of it is a key of {other.file.name}", file=one.file,
        remedy=f"name it, --option join.on=COLUMN --option join.key=COLUMN; there are {list_columns(one.frame)} and "
        f"{list_columns(other.frame)}" + ("" if numbers else _AS_NUMBERS),
    )  # fmt: skip


def _repeats(keys: pd.Series) -> list[str]:
    return list(keys[(keys != "") & keys.duplicated()].iloc[:1])


def _laid_together(one: SourceTable, added: pd.DataFrame, file: Path, problems: RowProblems) -> pd.DataFrame:
    """Both tables' columns; of one that both have, the first table's cell where it says something."""
    frame = one.frame.copy()
    for column in added.columns:
        if column not in frame:
            frame[column] = added[column]
            continue
        differs = (
            (frame[column] != "") & (added[column] != "") & (frame[column].str.strip() != added[column].str.strip())
        )
        problems.add(
            "join-differs", one.file, frame.index[differs],
            f"{column} is another one than in {file.name}",
            consequence=f"the cell of {one.file.name} is kept",
            remedy="correct one of the cells, or rename one of the columns when they mean different things",
        )  # fmt: skip
        frame[column] = frame[column].where(frame[column] != "", added[column])
    return frame
