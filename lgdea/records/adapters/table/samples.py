"""A look at some of a column's cells."""

from __future__ import annotations

import re

import pandas as pd

from lgdea.records.adapters.table.finder import split_list
from lgdea.records.adapters.table.findings import match_finding
from lgdea.records.adapters.table.mapping import EMPTY

_SAMPLE = 300  # distinct cells that are looked at


def sample_cells(cells: pd.Series) -> list[str]:
    """Some of the distinct cells that say something; ``NA`` and the like do not."""
    unique = cells.iloc[:100_000].drop_duplicates().str.strip()
    return list(unique[(unique != "") & ~unique.str.lower().isin(EMPTY)].iloc[:_SAMPLE])


def split_words(cell: str, marks: str = "|;,/") -> list[str]:
    """The words of a cell, which may be a Python or JSON list of them."""
    listed = split_list(cell)
    parts = listed if listed is not None else re.split(f"[{re.escape(marks)}]", cell)
    return [word.strip() for word in parts if word.strip()]


def look_like_findings(cells: pd.Series) -> bool:
    """Check that at least half of the words in the cells are findings of the vocabulary."""
    words = {word for cell in sample_cells(cells) for word in split_words(cell)}
    return bool(words) and sum(match_finding(word) is not None for word in words) >= len(words) / 2
