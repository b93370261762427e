"""Recognising columns by the names that people give them, and by what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.records.adapters.table.findings import match_finding
from lgdea.records.adapters.table.images import ENDINGS
from lgdea.records.adapters.table.mapping import VALUES, BoxMapping, LabelMapping, TableMapping
from lgdea.records.adapters.table.reading import PARQUET, TEXT

# In order of preference; compared without case, blanks and punctuation.
NAMES: Mapping[str, tuple[str, ...]] = {
    "study": (
        "study_id", "study", "study_uid", "study_instance_uid", "accession_number", "accession", "acc_no", "acc",
        "exam_id", "exam", "case_id", "case", "visit_id", "encounter_id", "report_id", "uid",
    ),
    "patient": (
        "patient_id", "patient", "subject_id", "subject", "pid", "pat_id", "patientid", "mrn", "person_id",
        "patient_number", "case_patient",
    ),
    "image": (
        "image_path", "path", "file_path", "filepath", "image_file", "file", "filename", "file_name", "image",
        "image_filename", "image_name", "img", "img_path", "png_path", "jpg_path", "dicom_path", "path_to_image",
        "image_index", "dcm_path", "dicom_file", "volume", "volume_path", "nifti", "nii", "scan",
    ),
    "image_id": ("image_id", "dicom_id", "sop_instance_uid", "instance_id", "img_id"),
    "report": (
        "report", "report_text", "text", "full_text", "radiology_report", "narrative", "caption", "clinical_notes",
        "note", "notes", "body",
    ),
    "report_file": ("report_file", "report_path", "path_to_report", "text_file", "txt", "txt_path"),
    "view": ("view_position", "view", "projection", "proj", "viewposition", "ap_pa", "frontal_lateral"),
    "sex": ("sex", "gender", "patient_sex", "patient_gender", "geschlecht"),
    "age": ("age", "patient_age", "age_years", "age_at_study", "anchor_age", "alter"),
    "date": ("study_date", "date", "exam_date", "acquisition_date", "datetime", "study_datetime", "report_date"),
    "day": ("day", "days", "study_day", "days_from_first", "offset", "offset_days", "day_offset"),
    "split": ("split", "fold_name", "subset", "partition", "set", "dataset_split"),
    "site": ("site", "hospital", "institution", "center", "centre", "institution_name", "location"),
    "language": ("language", "lang"),
    "modality": ("modality",),
}  # fmt: skip
SECTIONS = (
    "examination", "indication", "history", "clinical_history", "clinical_information", "technique", "comparison",
    "findings", "befund", "impression", "beurteilung", "conclusion", "recommendation",
)  # fmt: skip
TEXT_SECTIONS = (
    "findings",
    "befund",
    "impression",
    "beurteilung",
    "conclusion",
)  # one of these must be there to make a report
LABEL_WORDS = (
    "finding_labels", "labels", "label", "finding_label", "findings", "finding", "diagnosis", "diagnoses", "class",
    "class_name", "pathology", "disease",
)  # fmt: skip
BOX_NAMES: Mapping[str, tuple[str, ...]] = {
    "x_min": ("x_min", "xmin", "x1", "left", "x"),
    "y_min": ("y_min", "ymin", "y1", "top", "y"),
    "x_max": ("x_max", "xmax", "x2", "right"),
    "y_max": ("y_max", "ymax", "y2", "bottom"),
    "width": ("width", "w", "box_width", "bbox_width"),
    "height": ("height", "h", "box_height", "bbox_height"),
    "finding": ("finding", "label", "class_name", "class", "region", "finding_label", "pathology", "category"),
    "laterality": ("laterality", "side", "patient_side"),
    "phrase": ("phrase", "sentence", "label_text"),
}
PICTURES = (*ENDINGS, ".nii", ".nii.gz")
_SAMPLE = 300  # distinct cells that are looked at


def complete(mapping: TableMapping, frame: pd.DataFrame, file: Path, source: Path) -> tuple[TableMapping, list[str]]:
    """Fill what the mapping leaves open.

    Args:
        mapping: As the user gave it; what is given there, null too, stays.
        frame: The table's cells.
        file: The table.
        source: The file or folder that the user named; its name is the dataset's default.

    Returns:
        The mapping, and the names of the fields that were guessed.
    """
    given = mapping.model_fields_set
    values: dict[str, Any] = {}
    if mapping.dataset is None:
        values["dataset"] = (
            re.sub(
                r"[^a-z0-9_.-]+", "-", (source if source.is_dir() else file).resolve().name.split(".")[0].lower()
            ).strip("-._")
            or "table"
        )
    if mapping.guess:
        # What names a study may name its patient, its image or its day as well.
        named = {name: columns for name, columns in mapping.named_columns().items() if name not in ("study", "patient")}
        taken = {column for columns in named.values() for column in columns}
        values |= _find_fields(given, frame, taken, set(mapping.constants))
        if not given & {"report", "report_file", "sections"}:
            values |= _find_text(frame, taken)
        if not {"image", "image_id"} & given and "image" not in values and values.get("image_id"):
            values["image"] = [values["image_id"]]  # ids of files that are found by their names
        # What is said about labels or boxes as such (their level, their frame) does not yet say where they are.
        if "labels" not in given or _is_given(mapping.labels, {"columns", "words"}):
            values |= _lay_over(mapping.labels, _find_labels(frame, taken | set(values.get("sections", ()))), "labels")
        if "boxes" not in given or _is_given(mapping.boxes, {"table", "x_min"}):
            values |= _lay_over(mapping.boxes, _find_boxes(frame, file, taken), "boxes")
    changes = {name: value for name, value in values.items() if value is not None}
    whole = TableMapping.model_validate(mapping.model_dump(exclude_unset=True) | changes)
    return whole, sorted(changes)


def _is_given(part: LabelMapping | BoxMapping | None, where: set[str]) -> bool:
    """Check that a part of the mapping is given but for the columns that are in ``where``."""
    return part is not None and not part.model_fields_set & where


def _lay_over(part: LabelMapping | BoxMapping | None, found: dict[str, Any], name: str) -> dict[str, Any]:
    """Lay what the user gave over what was found."""
    return {name: found[name] | (part.model_dump(exclude_unset=True) if part else {})} if found else {}


def _find_fields(given: set[str], frame: pd.DataFrame, taken: set[str], constants: set[str]) -> dict[str, Any]:
    """Fields whose column is known by its name; each column serves once."""
    found: dict[str, Any] = {}
    for field, names in NAMES.items():
        if field in given | constants | {"report", "report_file"}:
            continue
        if field in ("date", "day") and ({"date", "day"} & given or "date" in found):
            continue
        column = _named(frame, names, taken)
        if field == "image" and (column is None or not _cells_fit(field, frame[column])):
            column = _find_pictures(frame, taken)
        if column is not None and _cells_fit(field, frame[column]):
            taken.add(column)
            found[field] = [column] if field in ("study", "patient", "image") else column
    return found


def _find_pictures(frame: pd.DataFrame, taken: set[str]) -> str | None:
    """The first column whose cells all end as the names of pictures do, whatever it is called."""
    for column in frame.columns:
        sample = [] if column in taken else _sample_cells(frame[column])
        if sample and all(cell.lower().endswith(PICTURES) for cell in sample):
            return str(column)
    return None


def _cells_fit(field: str, cells: pd.Series) -> bool:
    """Check that the cells can be what the column's name says; ``offset`` or ``set`` may mean other things."""
    sample = _sample_cells(cells)
    if not sample:
        return False
    if field == "image":
        return not all(re.fullmatch(r"-?\d+(\.\d+)?", cell) for cell in sample)
    if field == "date":
        from lgdea.records.adapters.table.fields import date_formats

        return bool(date_formats(sample))
    if field == "day":
        return sum(bool(re.fullmatch(r"-?\d+(\.0+)?", cell)) for cell in sample) >= len(sample) / 2
    if field == "split":
        from lgdea.records.adapters.table.fields import SPLITS

        return all(cell.lower() in SPLITS for cell in sample)
    return True


def _find_text(frame: pd.DataFrame, taken: set[str]) -> dict[str, Any]:
    """A column of texts or of their files, or the section columns."""
    files = _named(frame, NAMES["report_file"], taken)
    text = _named(frame, NAMES["report"], taken)
    if files is None and text is not None and all(c.lower().endswith(".txt") for c in _sample_cells(frame[text])):
        files, text = text, None
    if text is not None and _sample_cells(frame[text]):
        taken.add(text)
        return {"report": text}
    if files is not None:
        taken.add(files)
        return {"report_file": files}
    sections = [column for column in (_named(frame, [name], taken) for name in SECTIONS) if column is not None]
    prose = [c for c in sections if _plain(c) in map(_plain, TEXT_SECTIONS) and not _look_like_findings(frame[c])]
    if not prose:
        return {}
    taken.update(sections)
    return {"sections": sections}


def _find_labels(frame: pd.DataFrame, taken: set[str]) -> dict[str, Any]:
    """Columns whose name is a finding and whose cells are label values, and a column of finding words."""
    allowed = set(VALUES) | {"", "nan"}
    columns = []
    for column in frame.columns:
        if column not in taken and match_finding(str(column)) is not None:
            sample = {cell.lower() for cell in _sample_cells(frame[column])}
            # Most of them: an odd cell is to be noticed, not to hide the column.
            if sample and len(sample & allowed) * 2 >= len(sample):
                columns.append(str(column))
    words = next(
        (c for c in (_named(frame, [name], taken) for name in LABEL_WORDS) if c and _look_like_findings(frame[c])), None
    )
    taken.update(columns)
    if not columns and words is None:
        return {}
    # `words` may also be the boxes' finding, so it is not taken.
    return {"labels": LabelMapping(columns=columns or None, words=words).model_dump(exclude_defaults=True)}


def _find_boxes(frame: pd.DataFrame, file: Path, taken: set[str]) -> dict[str, Any]:
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
            column = _named(frame, usual, taken)
            if column is not None:
                taken.add(column)
                found[field] = column
    if "x_max" in found or boxes.x_max:
        found.pop("width", None)  # widths of the image, then
        found.pop("height", None)
    return found


def _named(frame: pd.DataFrame, names: Iterable[str], taken: set[str]) -> str | None:
    columns = {_plain(str(column)): str(column) for column in reversed(frame.columns) if column not in taken}
    return next((columns[_plain(name)] for name in names if _plain(name) in columns), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _sample_cells(cells: pd.Series) -> list[str]:
    """Some of the cells that say something."""
    unique = cells.iloc[:100_000].drop_duplicates().str.strip()
    return list(unique[unique != ""].iloc[:_SAMPLE])


def _look_like_findings(cells: pd.Series) -> bool:
    """Check that at least half of the words in the cells are findings of the vocabulary."""
    words = {word.strip() for cell in _sample_cells(cells) for word in re.split(r"[|;,/]", cell) if word.strip()}
    return bool(words) and sum(match_finding(word) is not None for word in words) >= len(words) / 2
