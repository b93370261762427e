"""Recognising columns by the names that people give them, and by what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.records.adapters.table.fields import EXCEL, SPLITS, TWO_DIGIT_YEARS, date_formats, excel_date
from lgdea.records.adapters.table.guess_images import find_folders, find_images
from lgdea.records.adapters.table.guess_labels import find_boxes, find_labels
from lgdea.records.adapters.table.guess_text import find_text
from lgdea.records.adapters.table.mapping import BoxMapping, LabelMapping, TableMapping
from lgdea.records.adapters.table.names import NAMES, find_columns, find_id_columns, name_words, plain
from lgdea.records.adapters.table.samples import sample_cells

_SHARED = ("study", "patient", "image_path")  # whose columns may be others' too
_FIELDS = ("study", "patient", "image", "image_id", "view", "sex", "age", "date", "day", "split", "site", "language",
           "modality")  # fmt: skip
# What may be the kind of an examination as well as its number.
_KINDS = frozenset(map(plain, ("exam", "examination", "examen", "exame", "esame", "untersuchung", "onderzoek")))


def complete(
    mapping: TableMapping, frame: pd.DataFrame, file: Path, source: Path
) -> tuple[TableMapping, list[str], list[str]]:
    """Fill what the mapping leaves open.

    Args:
        mapping: As the user gave it; what is given there, null too, stays.
        frame: The table's cells.
        file: The table.
        source: The file or folder that the user named; its name is the dataset's default.

    Returns:
        The mapping, the names of the fields that were guessed, and what was seen but not taken.
    """
    given = mapping.model_fields_set
    values: dict[str, Any] = {}
    notes: list[str] = []
    if mapping.dataset is None:
        values["dataset"] = _dataset_name(source if source.is_dir() else file)
    if mapping.guess:
        # What names a study may name its patient, its image or its day as well.
        named = {name: columns for name, columns in mapping.named_columns().items() if name not in _SHARED}
        taken = {column for columns in named.values() for column in columns}
        values |= _find_fields(mapping, frame, file.parent, taken, notes)
        if not given & {"report", "report_file", "sections"}:
            values |= find_text(frame, taken, notes)
        if not {"image", "image_id", "image_path"} & given and "image" not in values and values.get("image_id"):
            values["image"] = [values["image_id"]]  # ids of files that are found by their names
        # What is said about labels or boxes as such (their level, their frame) does not yet say where they are.
        if "labels" not in given or _is_given(mapping.labels, {"columns", "words"}):
            own = taken | set(values.get("sections", ()))
            values |= _lay_over(mapping.labels, find_labels(mapping.labels, frame, own, notes), "labels")
            taken |= own
        if "boxes" not in given or _is_given(mapping.boxes, {"table", "x_min"}):
            values |= _lay_over(mapping.boxes, find_boxes(frame, file, taken), "boxes")
    changes = {name: value for name, value in values.items() if value is not None}
    whole = TableMapping.model_validate(mapping.model_dump(exclude_unset=True) | changes)
    return whole, sorted(changes), notes


def _dataset_name(named: Path) -> str:
    name = re.sub(r"[^a-z0-9_.-]+", "-", named.resolve().name.split(".")[0].lower())
    return name.strip("-._") or "table"


def _is_given(part: LabelMapping | BoxMapping | None, where: set[str]) -> bool:
    """Check that a part of the mapping is given but for the columns that are in ``where``."""
    return part is not None and not part.model_fields_set & where


def _lay_over(part: LabelMapping | BoxMapping | None, found: dict[str, Any], name: str) -> dict[str, Any]:
    """Lay what the user gave over what was found."""
    return {name: found[name] | (part.model_dump(exclude_unset=True) if part else {})} if found else {}


def _find_fields(
    mapping: TableMapping, frame: pd.DataFrame, folder: Path, taken: set[str], notes: list[str]
) -> dict[str, Any]:
    """Fields whose column is known by its name; each column serves once."""
    given = mapping.model_fields_set | set(mapping.constants)
    found: dict[str, Any] = {}
    for field in _FIELDS:
        if field in given or (field == "image" and "image_path" in given):
            continue
        if field in ("date", "day") and ({"date", "day"} & given or "date" in found):
            continue
        if field == "image":
            found |= find_images(frame, folder / (mapping.image_root or ""), taken, notes)
            continue
        columns = [column for column in _candidates(field, frame, taken) if _cells_fit(field, column, frame, mapping)]
        if field == "date" and not columns:
            _note_dates(frame, taken, notes)
        if not columns:
            continue
        if field == "view":
            # The projection and whether it is lateral often stand in two columns, each filled where the other is not.
            columns = columns[:1] + [c for c in columns[1:] if (frame[columns[0]].str.strip() == "").any()]
            found[field] = columns if len(columns) > 1 else columns[0]
            taken.update(columns)
            continue
        taken.add(columns[0])
        found[field] = [columns[0]] if field in ("study", "patient") else columns[0]
    if not {"image", "image_id", "image_path"} & (given | set(found)):
        found |= find_folders(frame, folder / (mapping.image_root or ""), taken)
    return found


def _candidates(field: str, frame: pd.DataFrame, taken: set[str]) -> list[str]:
    if field in ("study", "patient"):
        return find_id_columns(field, frame.columns, taken)
    return find_columns(frame.columns, NAMES[field], taken)


def _cells_fit(field: str, column: str, frame: pd.DataFrame, mapping: TableMapping) -> bool:
    """Check that the cells can be what the column's name says; ``offset`` or ``set`` may mean other things."""
    sample = sample_cells(frame[column])
    if not sample:
        return False
    if field == "study" and plain(column) in _KINDS:
        return sum(any(c.isdigit() for c in cell) for cell in sample) >= len(sample) / 2
    if field == "date":
        return mapping.date_format is not None or bool(date_formats(sample))
    if field == "day":
        return sum(bool(re.fullmatch(r"-?\d+(\.0+)?", cell)) for cell in sample) >= len(sample) / 2
    if field == "split":
        return all(cell.lower() in SPLITS for cell in sample)
    return True


def _note_dates(frame: pd.DataFrame, taken: set[str], notes: list[str]) -> None:
    """Note a column that is called a date and whose cells are numbers of days or have years of two digits."""
    for column in find_columns(frame.columns, NAMES["date"], taken):
        sample = sample_cells(frame[column])
        for form in _other_dates(sample):
            notes.append(
                f"{column} is not used: its dates look like {form[0]}; --option date_format={form[1]} reads them"
            )
            return
        if sample and any("date" in word or "datum" in word for word in name_words(column)):
            notes.append(
                f"{column} is not used: its cells are no dates of a usual form; --option date_format=... says it"
            )


def _other_dates(sample: list[str]) -> Iterator[tuple[str, str]]:
    if sample and all(re.fullmatch(r"[1-6]\d{4}(\.\d+)?", cell) for cell in sample):
        assert excel_date(sample[0])
        yield "a spreadsheet's numbers of days", EXCEL
    for form in date_formats(sample, TWO_DIGIT_YEARS):
        yield "days with a year of two digits", form
