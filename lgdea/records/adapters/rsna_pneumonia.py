"""RSNA Pneumonia Detection Challenge: boxes of lung opacities suspicious of pneumonia (``rsna-pneumonia.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.dicom_source import facts_of, image_row, require_images, study_row
from lgdea.records.adapters.source import (
    coded_finding,
    nih_patient,
    read_json_list,
    require_cells,
    require_folder,
    required_number,
    rows_of,
)
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv
from lgdea.records.split import split_by_patient
from lgdea.vocabulary import load_vocabulary

NAME = "rsna-pneumonia"
LABELS, CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
MAPPINGS = "pneumonia-challenge-dataset-mappings_2018.json"
FOLDERS = ("stage_2_train_images", "stage_2_test_images")
CODES = "rsna"
LABELLER = "rsna-readers"
OPACITY = "Lung Opacity"
PHRASE = "lung opacity suspicious of pneumonia"
CORNERS = ("x", "y", "width", "height")
# What each class says. A picture that is "Not Normal" may hold opacities of other causes: nobody said that it has none.
STATED = {
    OPACITY: {"Pneumonia": 1.0, "Lung Opacity": 1.0, "Normal": 0.0},
    "No Lung Opacity / Not Normal": {"Pneumonia": 0.0, "Normal": 0.0},
    "Normal": {"Pneumonia": 0.0, "Lung Opacity": 0.0, "Normal": 1.0},
}


class RsnaPneumonia:
    """One study per image, test images without labels included.

    With the mappings file there, a patient is the NIH's, and the extra table ``nih_images`` (image_id, nih_image_id)
    names each image of ChestX-ray14 that an image was made from.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the CSV files and images."""
        refuse_options(self.name, options)
        source = require_folder(source)
        boxes = read_boxes(source / LABELS)
        classes = read_classes(source / CLASSES, boxes)
        files = {f"{NAME}:{f.stem}": f for folder in FOLDERS for f in sorted((source / folder).glob("*.dcm"))}
        require_images(files, source, f"{FOLDERS[0]}/*.dcm")
        mapped = read_mappings(source / MAPPINGS) if (source / MAPPINGS).is_file() else {}
        facts = facts_of(files)
        studies = [study_row(i, nih_patient(mapped.get(i, "")) or i, NAME, facts[i]) for i in files]
        nih = [{"image_id": i, "nih_image_id": Path(mapped[i]).stem} for i in files if i in mapped]
        info = {
            "source": str(source),
            "listed_images_that_are_absent": len(classes.keys() - files.keys()),
            "images_without_labels": len(files.keys() - classes.keys()),
            "images_mapped_to_nih": len(nih),
        }
        return write_archive(
            out,
            self.name,
            {
                "studies": split_by_patient(pd.DataFrame(studies)),
                "images": [image_row(i, i, file.relative_to(source), facts[i]) for i, file in files.items()],
                "boxes": [box for image in files for box in boxes.get(image, [])],
                "labels": [label for image in files if image in classes for label in _labels(image, classes[image])],
            },
            source,
            info,
            {"nih_images": pd.DataFrame(nih)} if nih else {},
        )


def read_boxes(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Boxes by image id, half-open pixels of the source image; an image without opacity has an empty list.

    Raises:
        DataError: ``Target`` is not 0 or 1, a box is no number, or a row says both opacity and none.
    """
    images: dict[str, list[dict[str, Any]]] = {}
    table = read_csv(file, ["patientId", *CORNERS, "Target"], card=NAME)
    require_cells(table, "patientId", file=file)
    for position, row in enumerate(rows_of(table), start=1):
        image = f"{NAME}:{row['patientId']}"
        boxes = images.setdefault(image, [])
        if row["Target"] not in ("0", "1"):
            raise DataError(f"Target is {row['Target']!r}, not 0 or 1", file=file, row=position, remedy="correct it")
        if row["Target"] == "1":
            boxes.append(_box(row, image, file, position))
        elif any(row[column] is not None for column in CORNERS):
            raise DataError("Target is 0 and there is a box", file=file, row=position, remedy="correct the row")
    return images


def _box(row: dict[str, Any], image: str, file: Path, position: int) -> dict[str, Any]:
    x, y, width, height = (required_number(row[c], file=file, row=position, column=c) for c in CORNERS)
    if width <= 0 or height <= 0:
        raise DataError(f"the box is {width:g} x {height:g} pixels", file=file, row=position, remedy="correct the row")
    return {
        "box_id": f"{image}:box{position}",
        "image_id": image,
        "finding": coded_finding(CODES, OPACITY, file=file, row=position),
        "label": OPACITY,
        "phrase": PHRASE,
        "x_min": x,
        "y_min": y,
        "x_max": x + width,
        "y_max": y + height,
    }


def read_classes(file: Path, boxes: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """The class of each image id, checked against the boxes.

    Raises:
        DataError: A class is not known, or an image has two, or one that its boxes contradict, or none.
    """
    classes: dict[str, str] = {}
    table = read_csv(file, ["patientId", "class"], card=NAME)
    require_cells(table, "patientId", file=file)
    for position, row in enumerate(rows_of(table), start=1):
        image, word = f"{NAME}:{row['patientId']}", row["class"]
        if word not in STATED:
            remedy = f"known are {', '.join(STATED)}"
            raise DataError(f"the label {word!r} is not known", file=file, row=position, remedy=remedy)
        if classes.setdefault(image, word) != word:
            problem = f"{row['patientId']} is {word!r} here and {classes[image]!r} above"
            raise DataError(problem, file=file, row=position, remedy="keep one of them")
        if (word == OPACITY) != bool(boxes.get(image)):
            problem = f"{row['patientId']} is {word!r} and has {len(boxes.get(image, []))} boxes in {LABELS}"
            raise DataError(problem, file=file, row=position, remedy="fetch both files again")
    unclassed = boxes.keys() - classes.keys()
    if unclassed:
        problem = f"has no class for {min(unclassed).removeprefix(NAME + ':')}, which {LABELS} lists"
        raise DataError(problem, file=file, remedy="fetch both files again")
    return classes


def read_mappings(file: Path) -> dict[str, str]:
    """The NIH file name of each image id.

    Raises:
        DataError: An entry lacks a name, or has one that is not an NIH image's.
    """
    names = {}
    for row, entry in enumerate(read_json_list(file, card=NAME), start=1):
        own, nih = entry.get("subset_img_id"), entry.get("img_id")
        if not isinstance(own, str) or not isinstance(nih, str) or nih_patient(nih) is None:
            problem = f"img_id is {nih!r} and subset_img_id {own!r}, not an NIH file name and a patientId"
            raise DataError(problem, file=file, row=row, remedy="fetch it again")
        names[f"{NAME}:{own}"] = nih
    return names


def _labels(image: str, word: str) -> list[dict[str, Any]]:
    shared = {"study_id": image, "image_id": image, "labeller": LABELLER}
    known = load_vocabulary()
    return [shared | {"finding": known.from_code(CODES, code), "value": v} for code, v in STATED[word].items()]


ADAPTER = RsnaPneumonia()
