"""covid-chestxray-dataset: X-rays from publications with case notes (``data_cards/covid-chestxray.md``)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.imaging.read import read_size
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.hannover_covid import patient_of
from lgdea.records.adapters.source import number, require_folder, required_number, rows_of, sex, whole
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv
from lgdea.records.split import split_by_patient
from lgdea.records.tables import Rows

NAME = "covid-chestxray"
METADATA, BOXES, REGIONS, PAIRS = "metadata.csv", "pathology_boxes.csv", "regions.csv", "pairs.csv"
LABELLER = "covid-chestxray"

PNEUMONIAS = (
    "Pneumocystis", "Streptococcus", "Varicella", "Legionella", "Lipoid", "Influenza", "Klebsiella", "SARS", "MERS-CoV",
    "E.Coli", "Mycoplasma", "Nocardia", "Chlamydophila", "Aspergillosis", "Herpes", "H1N1", "MRSA",
)  # fmt: skip
# The collection's own words. Newer versions write the whole path, "Pneumonia/Viral/COVID-19".
LABELS = {
    "COVID-19": "covid19",
    "ARDS": "ards",
    "Pneumonia": "pneumonia",
    "Tuberculosis": "tuberculosis",
    "No Finding": "no_finding",
} | dict.fromkeys(PNEUMONIAS, "pneumonia")
FINDINGS = {
    "Ground Glass Opacities": "ground_glass_opacity",
    "Consolidation": "consolidation",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural_effusion",
}
ANATOMY = {
    "Right Lung": ("right_lung", "right"),
    "Left Lung": ("left_lung", "left"),
    "Airways": ("trachea", "midline"),
    "Cardiomediastinum": ("mediastinum", "midline"),
}


class CovidChestXray:
    """X-rays (CT is left out) with their clinical notes as reports, and boxes where the annotation files are.

    Images of one patient, one known day and one note form a study; an image of unknown day is a study of its own.
    ``split_key`` names the patient where the column is there. Extra table ``pairs``: consecutive images of a patient,
    with ``image_prior``, ``image_current``, ``study_prior``, ``study_current`` beside the source's columns.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds ``metadata.csv`` and images."""
        refuse_options(self.name, options)
        source = require_folder(source)
        columns = ["patientid", "offset", "sex", "age", "finding", "view", "modality", "folder", "filename",
                   "clinical_notes"]  # fmt: skip
        metadata = read_csv(source / METADATA, columns, card=self.card)
        if "split_key" not in metadata:
            metadata["split_key"] = "covid_" + metadata["patientid"].astype(str)
        metadata["path"] = metadata["folder"].fillna("images") + "/" + metadata["filename"]
        metadata["present"] = [(source / path).is_file() for path in metadata["path"]]
        is_xray = metadata["modality"].str.startswith("X-ray", na=False)
        absent = metadata.loc[is_xray & ~metadata["present"], "path"].tolist()
        used = metadata[is_xray & metadata["present"]].reset_index(drop=True)
        if used.empty:
            raise UsageError(f"holds none of the X-rays that {METADATA} lists", file=source, remedy="check images/")
        used["study_id"] = study_ids(used)
        used["image_id"] = NAME + ":" + used["filename"]
        images = dict(zip(used["path"], used["image_id"], strict=True))
        labels, unmapped = _labels(used)
        pairs = _pairs(source / PAIRS, used) if (source / PAIRS).is_file() else None
        tables: dict[str, Rows] = {
            "studies": split_by_patient(_studies(used)),
            "images": [_image(row, source) for row in rows_of(used)],
            "reports": _reports(used),
            "boxes": [
                *(read_findings(source / BOXES, images) if (source / BOXES).is_file() else []),
                *(read_anatomy(source / REGIONS, images) if (source / REGIONS).is_file() else []),
            ],
            "labels": labels,
        }
        info = {"source": str(source), "absent_images": absent, "labels_without_finding": unmapped}
        return write_archive(out, self.name, tables, source, info, {} if pairs is None else {"pairs": pairs})


def study_ids(used: pd.DataFrame) -> list[str]:
    """Study of each image, named by patient and day; letters tell notes of one day apart."""
    names: dict[tuple[Any, ...], str] = {}
    per_day: Counter[str] = Counter()
    result = []
    for position, row in enumerate(rows_of(used)):
        day = whole(row["offset"])
        key = (row["patientid"], day, row["clinical_notes"]) if day is not None else (position,)
        if key not in names:
            name = f"{NAME}:{row['patientid']}-" + ("undated" if day is None else f"day{day}")
            names[key] = name + (f"-{per_day[name] + 1}" if per_day[name] else "")
            per_day[name] += 1
        result.append(names[key])
    return result


def read_findings(file: Path, images: dict[str, str]) -> list[dict[str, Any]]:
    """Boxes around the components of the radiologists' masks, for the images (path -> id) that are there."""
    columns = ["file", "region", "mask_file", "x", "y", "w", "h", "patient_side"]
    rows = []
    for position, entry in enumerate(rows_of(read_csv(file, columns, card=NAME)), start=1):
        if entry["file"] in images:
            finding = _look_up(FINDINGS, entry["region"], file, position)
            box = {"finding": finding, "kind": "finding", "laterality": entry["patient_side"] or "unspecified"}
            rows.append(_box(entry, images[entry["file"]], f"box{position}", file, position) | box)
    return rows


def read_anatomy(file: Path, images: dict[str, str]) -> list[dict[str, Any]]:
    """Boxes of lungs, airways and mediastinum; the pathology regions are in the other file, component by component."""
    columns = ["file", "region", "kind", "mask_file", "x", "y", "w", "h"]
    rows = []
    for position, entry in enumerate(rows_of(read_csv(file, columns, card=NAME)), start=1):
        if entry["file"] in images and entry["kind"] == "anatomy":
            structure, laterality = _look_up(ANATOMY, entry["region"], file, position)
            box = {"finding": structure, "kind": "anatomy", "laterality": laterality}
            rows.append(_box(entry, images[entry["file"]], f"region{position}", file, position) | box)
    return rows


def _box(entry: dict[str, Any], image: str, suffix: str, file: Path, row: int) -> dict[str, Any]:
    x, y, w, h = (required_number(entry[c], file=file, row=row, column=c) for c in ("x", "y", "w", "h"))
    corners = {"x_min": x, "y_min": y, "x_max": x + w, "y_max": y + h}
    label = {"label": entry["region"], "mask_path": entry["mask_file"]}
    return {"box_id": f"{image}:{suffix}", "image_id": image, **label, **corners}


def _look_up(table: dict[str, Any], word: Any, file: Path, row: int) -> Any:
    if word not in table:
        raise DataError(f"the region {word!r} is not known", file=file, row=row, remedy=f"known are {list(table)}")
    return table[word]


def _studies(used: pd.DataFrame) -> pd.DataFrame:
    first = used.drop_duplicates("study_id")
    return pd.DataFrame(
        {
            "study_id": first["study_id"],
            "patient_id": [patient_of(key, NAME) for key in first["split_key"]],
            "dataset": NAME,
            "day": [whole(text) for text in first["offset"]],
            "sex": [sex(text) for text in first["sex"]],
            "age": [number(text) for text in first["age"]],
        }
    ).reset_index(drop=True)


def _image(row: dict[str, Any], source: Path) -> dict[str, Any]:
    width, height = read_size(source / row["path"])
    view = row["view"] if row["view"] != "?" else None
    return {key: row[key] for key in ("image_id", "study_id", "path")} | {
        "width": width,
        "height": height,
        "view": view,
    }


def _reports(used: pd.DataFrame) -> list[dict[str, Any]]:
    noted = used[used["clinical_notes"].notna()].drop_duplicates("study_id")
    return [
        {"report_id": study, "study_id": study, "text": text}
        for study, text in zip(noted["study_id"], noted["clinical_notes"], strict=True)
    ]


def _labels(used: pd.DataFrame) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Diagnoses that the source states, and the words that stand for none, with their counts."""
    rows, unmapped = [], Counter[str]()
    for row in rows_of(used):
        words = {word.strip() for word in re.split(r"[,/]", row["finding"] or "") if word.strip()}
        unmapped.update(words - set(LABELS))
        shared = {"study_id": row["study_id"], "image_id": row["image_id"], "value": 1.0, "labeller": LABELLER}
        rows += [shared | {"finding": finding} for finding in sorted({LABELS[w] for w in words & set(LABELS)})]
    return rows, dict(unmapped)


def _pairs(file: Path, used: pd.DataFrame) -> pd.DataFrame:
    pairs = read_csv(file, ["file_prior", "file_current", "day_prior", "day_current"], card=NAME)
    by_path = used.set_index("path")
    pairs = pairs[pairs["file_prior"].isin(by_path.index) & pairs["file_current"].isin(by_path.index)]
    for side in ("prior", "current"):
        for column in ("image", "study"):
            pairs[f"{column}_{side}"] = by_path.loc[pairs[f"file_{side}"], f"{column}_id"].to_numpy()
        for column in (f"day_{side}", f"brixia_{side}"):
            if column in pairs:
                pairs[column] = pd.to_numeric(pairs[column])
    return pairs.drop(columns=["file_prior", "file_current"]).reset_index(drop=True)


ADAPTER = CovidChestXray()
