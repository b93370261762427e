"""Columns of labels and of boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.records.adapters.table.findings import match_finding
from lgdea.records.adapters.table.header import list_names, shorten
from lgdea.records.adapters.table.mapping import VALUES, BoxMapping, LabelMapping, label_word
from lgdea.records.adapters.table.names import BOX_NAMES, LABEL_WORDS, NAMES, find_column, find_columns
from lgdea.records.adapters.table.reading import PARQUET, TEXT
from lgdea.records.adapters.table.samples import look_like_findings, sample_cells

_MARKS = {"x", "✓", "✔", "✗", "☒", "☑", "+"}


def find_labels(labels: LabelMapping | None, frame: pd.DataFrame, taken: set[str], notes: list[str]) -> dict[str, Any]:
    """Columns whose name is a finding and whose cells are label values, and a column of finding words."""
    allowed = {*VALUES, *(labels.values if labels else ()), "", "nan"}
    columns, unread, marked, unnamed = [], [], [], []
    for column in map(str, frame.columns):
        if column in taken or (labels is not None and column in labels.findings and labels.findings[column] is None):
            continue
        sample = {label_word(cell) for cell in sample_cells(frame[column])}
        if match_finding(column, labels.findings if labels else None) is None:
            unnamed += [column] if len(sample) > 1 and sample <= allowed else []
            continue
        # Most of them: an odd cell is to be noticed, not to hide the column.
        if sample and len(sample & allowed) * 2 >= len(sample):
            columns.append(column)
            marked += [column] if sample <= _MARKS else []
        elif sample and not look_like_findings(frame[column]):
            unread.append(column)
    words = next((c for c in find_columns(frame.columns, LABEL_WORDS, taken) if look_like_findings(frame[c])), None)
    taken.update(columns)
    if unread:
        notes.append(
            f"{', '.join(unread[:8])}{' ...' if len(unread) > 8 else ''}: named like findings, but their cells are no "
            "label values and are not used; say what they mean, such as --option 'labels.values={\"2\": 1}'"
        )
    if marked:
        notes.append(
            f"{', '.join(marked[:8])}: cells without a mark have no value; --option 'labels.values={{\"\": 0}}' makes "
            "them 0"
        )
    if unnamed:
        notes.append(
            f"{list_names(unnamed, 8)}: cells are label values, but the name is no known finding and they are not "
            "used; say which, such as --option 'labels.findings={\"" + shorten(unnamed[0]) + "\": pleural_effusion}'"
        )
    if not columns and words is None:
        return {}
    # `words` may also be the boxes' finding, so it is not taken.
    return {"labels": LabelMapping(columns=columns or None, words=words).model_dump(exclude_defaults=True)}


def find_boxes(frame: pd.DataFrame, file: Path, taken: set[str]) -> dict[str, Any]:
    """Corner columns of the table itself, or a file ``boxes.*`` beside it, whose columns are recognised later."""
    beside = next((f.name for f in sorted(file.parent.glob("boxes.*")) if f.name.endswith((*TEXT, *PARQUET))), None)
    if beside is not None and beside != file.name:
        return {"boxes": BoxMapping(table=beside).model_dump(exclude_unset=True)}
    columns = box_fields(BoxMapping(), frame.drop(columns=list(taken & set(frame.columns))))
    far = {"x_max", "y_max"} <= set(columns) or {"width", "height"} <= set(columns)
    return {"boxes": columns} if {"x_min", "y_min", "finding"} <= set(columns) and far else {}


def box_fields(boxes: BoxMapping, frame: pd.DataFrame) -> dict[str, str]:
    """Columns of a box table that the mapping leaves open and that are known by their names."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    names = {**BOX_NAMES, "image": (*NAMES["image"], *NAMES["image_id"])}
    for field, usual in names.items():
        if field not in boxes.model_fields_set:
            column = find_column(frame.columns, usual, taken)
            if column is not None:
                taken.add(column)
                found[field] = column
    if "x_max" in found or boxes.x_max:
        found.pop("width", None)  # widths of the image, then
        found.pop("height", None)
    return found
