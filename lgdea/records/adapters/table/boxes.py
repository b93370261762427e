"""Boxes of a table of their own, or of the main table's rows, in pixels of the stored image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, get_args

import numpy as np
import pandas as pd

from lgdea.errors import UsageError
from lgdea.records.adapters.table.fields import Cells
from lgdea.records.adapters.table.findings import check_words, match_finding
from lgdea.records.adapters.table.header import list_columns
from lgdea.records.adapters.table.mapping import BoxMapping, box_columns
from lgdea.records.adapters.table.problems import RowProblems, shown
from lgdea.records.schema import Laterality
from lgdea.records.verify import BOX_TOLERANCE
from lgdea.vocabulary import load_vocabulary

_SHOWN = 10  # unknown words that are named
CORNERS = ["x_min", "y_min", "x_max", "y_max"]
SIDES = {"l": "left", "r": "right", "both": "bilateral", "": "unspecified", **{s: s for s in get_args(Laterality)}}


@dataclass
class BoxCounts:
    """Counts of what the box rows became."""

    rows: int = 0
    without_coordinates: int = 0
    unit: str = "pixels"
    table: str = ""
    findings: dict[str, int] = field(default_factory=dict)
    source: dict[str, str | None] = field(default_factory=dict)


def box_table(
    cells: Cells, boxes: BoxMapping, images: pd.DataFrame, problems: RowProblems
) -> tuple[pd.DataFrame, BoxCounts]:
    """Rows of ``Box``.

    Args:
        cells: The table that holds the boxes.
        boxes: Its columns, complete.
        images: Rows of ``Image`` with ``row`` and ``cell``.
        problems: Where rows that cannot become a box are noted.
    """
    _check(cells, boxes)
    counts = BoxCounts(rows=len(cells.frame), table=str(cells.file))
    corners = _numbers(cells, boxes, problems)
    counts.without_coordinates = int(corners["blank"].sum())
    corners = corners.loc[~corners["blank"] & ~corners["bad"], CORNERS].astype(float)
    counts.unit = boxes.unit or _unit(corners)
    image = _images(cells, boxes, images, corners.index, problems)
    table = corners.loc[image.index].assign(image_id=image)
    sizes = images.set_index("image_id")[["width", "height"]].astype(float).loc[image].to_numpy()
    scale = sizes if counts.unit == "fractions" else sizes / np.array(boxes.frame) if boxes.frame else 1.0
    table[CORNERS] = table[CORNERS].to_numpy() * np.tile(np.broadcast_to(scale, sizes.shape), 2)
    table = _drop_outside(table, sizes, cells, problems)
    table = _add_meanings(table, cells, boxes, counts, problems)
    table = table.assign(box_id=table["image_id"] + ":box" + pd.Series(table.index.astype(str), index=table.index))
    counts.findings = {str(k): int(n) for k, n in table["finding"].value_counts().items()}
    return table.reset_index(drop=True), counts


def _check(cells: Cells, boxes: BoxMapping) -> None:
    check_words(boxes.findings, boxes.codes, anatomy=True)
    corners = boxes.x_min and boxes.y_min and ((boxes.x_max and boxes.y_max) or (boxes.width and boxes.height))
    missing = "x_min, y_min and x_max, y_max or width, height" if not corners else "" if boxes.finding else "finding"
    if not missing and not boxes.image:
        missing = "image"
    if missing:
        raise UsageError(
            f"no column is known for the boxes' {missing}",
            file=cells.file,
            remedy=f"say it, or boxes=null; there are {list_columns(cells.frame)}",
        )
    cells.require(box_columns(boxes), "boxes")


def _numbers(cells: Cells, boxes: BoxMapping, problems: RowProblems) -> pd.DataFrame:
    """The corners as numbers, and whether a row has none (``blank``) or wrong ones (``bad``)."""
    names = [boxes.x_min, boxes.y_min] + ([boxes.x_max, boxes.y_max] if boxes.x_max else [boxes.width, boxes.height])
    text = pd.DataFrame({place: cells.plain(str(name)) for place, name in enumerate(names)})
    values = text.apply(pd.to_numeric, errors="coerce").astype(float)
    values = values.where(np.isfinite(values))
    if not boxes.x_max:
        values[2], values[3] = values[0] + values[2], values[1] + values[3]
    blank = (text == "").all(axis=1)
    not_numbers = values.isna().any(axis=1) & ~blank
    cell = "" if not not_numbers.any() else ", ".join(map(shown, text[not_numbers].iloc[0]))
    problems.add(
        "box-number",
        cells.file,
        values.index[not_numbers],
        f"the coordinates {cell} ({', '.join(map(str, names))}) are not four numbers",
        consequence="the box is left out",
        remedy="correct the cells",
    )
    empty = ~blank & ~not_numbers & ~((values[2] > values[0]) & (values[3] > values[1]))
    corner = "" if not empty.any() else ", ".join(f"{v:g}" for v in values[empty].iloc[0])
    problems.add(
        "box-empty",
        cells.file,
        values.index[empty],
        f"the box ({corner}) has no area",
        consequence="the box is left out",
        remedy="correct the cells, or check which columns are corners and which are widths",
    )
    return values.set_axis(CORNERS, axis=1).assign(blank=blank, bad=not_numbers | empty)


def _unit(corners: pd.DataFrame) -> str:
    return "fractions" if len(corners) and corners[CORNERS].to_numpy().max() <= 1 else "pixels"


def _images(cells: Cells, boxes: BoxMapping, images: pd.DataFrame, rows: pd.Index, problems: RowProblems) -> pd.Series:
    """Image id of each box row whose image is known."""
    named = cells.plain(str(boxes.image)).loc[rows].str.replace("\\", "/", regex=False).str.removeprefix("./")
    found = named.map(_image_keys(images))
    lost = found.index[found.isna()]
    problems.add(
        "box-without-image",
        cells.file,
        lost,
        f"no image {shown(named.loc[lost[0]])} in the archive" if len(lost) else "",
        consequence="the box is left out",
        remedy="name the images as the main table does, by path, file name or id",
    )
    return found.dropna().astype("str")


def _image_keys(images: pd.DataFrame) -> dict[str, str]:
    """Everything that an image may be called by, where it is the name of one image alone."""
    names: dict[str, str | None] = {}
    for image, path, cell in zip(images["image_id"], images["path"], images["cell"], strict=True):
        pure = PurePosixPath(path)
        for key in {image, image.partition(":")[2], path, cell, pure.name, pure.stem, str(pure.with_suffix(""))}:
            names[key] = image if names.get(key, image) == image else None
    return {key: image for key, image in names.items() if image is not None}


def _drop_outside(table: pd.DataFrame, sizes: np.ndarray, cells: Cells, problems: RowProblems) -> pd.DataFrame:
    """Drop the boxes that leave their image by more than annotation tools round."""
    corners = table[CORNERS].to_numpy()
    out = np.asarray((corners[:, :2] < -BOX_TOLERANCE).any(axis=1)) | (corners[:, 2:] > sizes + BOX_TOLERANCE).any(
        axis=1
    )
    detail = ""
    if out.any():
        shown = ", ".join(f"{value:g}" for value in corners[out][0])
        detail = f"the box ({shown}) leaves its image of {sizes[out][0][0]:g}x{sizes[out][0][1]:g} pixels"
    problems.add(
        "box-outside",
        cells.file,
        table.index[out],
        detail,
        consequence="the box is left out",
        remedy="say boxes.frame=[width, height] when the boxes were drawn on pictures of another size",
    )
    return table.loc[~out]


def _add_meanings(
    table: pd.DataFrame, cells: Cells, boxes: BoxMapping, counts: BoxCounts, problems: RowProblems
) -> pd.DataFrame:
    """Add finding, kind, label, laterality and phrase; a word that the vocabulary lacks is a problem."""
    label = cells.frame[str(boxes.finding)].str.strip().loc[table.index]
    known: dict[str, str | None] = {w: _finding(w, boxes.findings, boxes.codes) for w in label.drop_duplicates()}
    counts.source |= known
    lacking = [word for word, finding in known.items() if finding is None and word not in boxes.findings]
    unknown = label.index[label.isin(lacking).to_numpy()]
    problems.add(
        "box-word",
        cells.file,
        unknown,
        f"the vocabulary has no finding or structure {', '.join(map(shown, lacking[:_SHOWN]))}",
        consequence="the box is left out",
        remedy="say what it is under boxes.findings, or null to leave such boxes out",
    )
    findings = label.map(known)
    table = table.assign(finding=findings, label=label)
    table = table.loc[findings.notna().to_numpy()]
    table["kind"] = np.where(table["finding"].isin(list(load_vocabulary().findings)), "finding", "anatomy")
    table["laterality"] = _sides(table, cells, boxes, problems)
    if boxes.phrase:
        phrase = cells.frame[boxes.phrase].loc[table.index]
        table["phrase"] = phrase.where(phrase.str.strip() != "", None)
    return table


def _finding(word: str, own: Mapping[str, str | None], codes: str | None) -> str | None:
    return own[word] if word in own else match_finding(word, None, codes) or load_vocabulary().find_anatomy(word)


def _sides(table: pd.DataFrame, cells: Cells, boxes: BoxMapping, problems: RowProblems) -> Any:
    """The mapping's column, else the side that the structure's own name says."""
    if boxes.laterality:
        words = cells.plain(boxes.laterality).loc[table.index].str.lower()
        wrong = words.index[~words.isin(list(SIDES))]
        problems.add(
            "box-side",
            cells.file,
            wrong,
            f"{boxes.laterality} is {shown(words.loc[wrong[0]])}, not left, right, bilateral or midline"
            if len(wrong)
            else "",
            consequence="the side is unspecified",
            remedy="write left, right, bilateral or midline",
        )
        return words.map(SIDES).fillna("unspecified")
    anatomy = load_vocabulary().anatomy
    return [anatomy[key].laterality if key in anatomy else "unspecified" for key in table["finding"]]
