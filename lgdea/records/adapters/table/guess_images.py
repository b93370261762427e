"""Columns of images: by their names, by cells that end as pictures do, and folders of images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.records.adapters.table.finder import PICTURES, bare_name, slashes, split_paths, without_ending
from lgdea.records.adapters.table.names import NAMES, find_columns, name_words
from lgdea.records.adapters.table.samples import sample_cells

_VIEWS = {
    "frontal": "frontal", "pa": "PA", "ap": "AP", "lateral": "lateral", "lat": "lateral", "ll": "lateral",
    "seitlich": "lateral", "profil": "lateral", "profile": "lateral", "perfil": "lateral",
}  # fmt: skip


def find_images(frame: pd.DataFrame, root: Path, taken: set[str], notes: list[str]) -> dict[str, Any]:
    """The column of images, and others beside it that name other ones; of the same picture in two forms the first."""
    named = [c for c in find_columns(frame.columns, NAMES["image"], taken) if _are_paths(sample_cells(frame[c]))]
    pictures = [str(c) for c in frame.columns if str(c) not in taken and _are_pictures(sample_cells(frame[c]))]
    columns = list(dict.fromkeys([*named[:1], *pictures]))
    if not columns:
        return {}
    # Of one picture in several forms, the form that is there.
    alike = [column for column in columns if column == columns[0] or _same_pictures(frame[columns[0]], frame[column])]
    first = next((column for column in alike if _exist(frame[column], root)), columns[0])
    others: list[str] = []
    for column in columns:
        if column == first:
            continue
        if _same_pictures(frame[first], frame[column]):
            notes.append(f"{column} names the pictures of {first} in another form and is not used")
        else:
            others.append(column)
    columns = [first, *others]
    taken.update(columns)
    views = {column: next((_VIEWS[w] for w in name_words(column) if w in _VIEWS), None) for column in columns}
    return {"image": views if any(views.values()) and len(columns) > 1 else columns}


def find_folders(frame: pd.DataFrame, root: Path, taken: set[str]) -> dict[str, Any]:
    """A column whose cells are folders below the images' root."""
    named = find_columns(frame.columns, NAMES["folder"], taken)
    nested = [str(c) for c in frame.columns if str(c) not in taken and any("/" in x for x in sample_cells(frame[c]))]
    for column in dict.fromkeys((*named, *nested)):
        sample = [slashes(cell) for cell in sample_cells(frame[column])[:20]]
        if sample and sum(len(cell) < 200 and (root / cell).is_dir() for cell in sample) >= len(sample) / 2:
            taken.add(column)
            return {"image": [column]}
    return {}


def _are_paths(sample: list[str]) -> bool:
    """Check that most cells can be paths, not numbers or words."""
    parts = [split_paths(cell)[0] for cell in sample]
    good = sum(
        without_ending(part, PICTURES) != part or not (re.search(r"\s", part) or re.fullmatch(r"-?\d+(\.\d+)?", part))
        for part in parts
        if part
    )
    return bool(sample) and good >= len(sample) / 2


def _are_pictures(sample: list[str]) -> bool:
    """Check that all cells end as the names of pictures do."""
    return bool(sample) and all(
        without_ending(part, PICTURES) != part for cell in sample for part in (split_paths(cell) or [""])
    )


def _exist(cells: pd.Series, root: Path) -> bool:
    """Check that some of the column's first files are where the cells say."""
    paths = [slashes(path) for cell in sample_cells(cells)[:20] for path in split_paths(cell)]
    return any(len(path) < 1000 and (root / path).is_file() for path in paths)


def _same_pictures(one: pd.Series, other: pd.Series) -> bool:
    """Check that two columns name files of the same names, but for their folders and endings."""
    both = (one.str.strip() != "") & (other.str.strip() != "")
    pairs = list(zip(one[both].iloc[:50], other[both].iloc[:50], strict=True))
    return bool(pairs) and all(bare_name(slashes(a.strip())) == bare_name(slashes(b.strip())) for a, b in pairs)
