"""Cells that hold other rows, as when a quotation mark is opened in one row and closed in a later one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

_SHAPES = 20  # forms that the cells of a column may have to be told from prose
_LONGEST = 64


def find_swallowed(frame: pd.DataFrame, rows: Sequence[int], separator: str) -> list[int]:
    """Those of ``rows`` in which a line of a cell is built as the table's rows are.

    A line is a row when it has as many cells and each column of short forms (ids, dates, codes) has one of its own
    forms there, digits and letters counted alike: ``P12`` is one form with ``Q71``.

    Args:
        frame: The table's cells.
        rows: Numbers of rows with line breaks in a cell.
        separator: Between cells.
    """
    own = set(rows)
    others = frame[[number not in own for number in frame.index]] if len(own) < len(frame) else frame
    parts = [_cell_pattern(others[column]) for column in frame.columns]
    if all(part is None for part in parts) or len(parts) < 2:
        return []
    any_cell = r"[^\r\n]*?"
    whole = re.escape(separator).join(any_cell if part is None else f'"?(?:{part})"?' for part in parts)
    end = "" if parts[-1] is None else r"(?=[^\S\r\n]*(?:[\r\n]|$))"
    row = re.compile(rf"[\r\n]{whole}{end}")
    cells = frame.loc[list(rows)].itertuples(index=False, name=None)
    return [number for number, here in zip(rows, cells, strict=True) if row.search(separator.join(here))]


def _cell_pattern(cells: pd.Series) -> str | None:
    """A pattern of the column's cells, None where they have too many forms or hold blanks."""
    values = cells.iloc[:5000].str.strip().drop_duplicates()
    filled = values[values != ""]
    if filled.empty or (filled.str.len() > _LONGEST).any() or filled.str.contains(r"\s", regex=True).mean() > 0.05:
        return None
    filled = filled[~filled.str.contains(r"\s", regex=True)]
    shapes = filled.map(lambda cell: re.escape(re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", cell)))).drop_duplicates()
    exact = [_spell(shape, exact=True) for shape in shapes]
    loose = dict.fromkeys(_spell(shape, exact=False) for shape in shapes)
    chosen = exact if len(exact) <= _SHAPES else list(loose)
    if len(chosen) > _SHAPES:
        return None
    empty = [""] if len(filled) < len(values) else []
    return "|".join([*chosen, *empty])


def _spell(shape: str, *, exact: bool) -> str:
    def digits(run: re.Match[str]) -> str:
        return rf"\d{{{len(run[0])}}}" if exact else r"\d+"

    def letters(run: re.Match[str]) -> str:
        return rf"[^\W\d_]{{{len(run[0])}}}" if exact else r"[^\W\d_]+"

    return re.sub(r"9+|a+", lambda run: digits(run) if run[0][0] == "9" else letters(run), shape)
