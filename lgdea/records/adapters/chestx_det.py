"""ChestX-Det10 and ChestX-Det: boxes and outlines on NIH chest X-rays (``data_cards/chestx-det.md``)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.imaging.read import read_size
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.source import coded_finding, has_extent, nih_patient, read_json_list, require_folder
from lgdea.records.archive import Archive, write_archive
from lgdea.records.split import split_around_test
from lgdea.vocabulary import load_vocabulary

NAME = "chestx-det"
SIDES = ("train", "test")
FILES = {"ChestX-Det": "ChestX_Det_{}.json", "ChestX-Det10": "{}.json"}
CODES = "chestx_det"
LABELLER = "chestx-det-readers"
BOX_FRAME = 1024  # side of the published images, on which boxes and outlines were drawn
ONLY_IN_CHESTX_DET = ("Cardiomegaly", "Pleural Thickening", "Diffuse Nodule")
PHRASES = {"Diffuse Nodule": "diffuse pulmonary nodules"}  # its finding is a nodule's, its box is most of a lung


class ChestXDet:
    """One study per image; listed categories are 1 and the other annotated ones 0.

    The extra table ``polygons`` (box_id, x, y) has the outlines of ChestX-Det, in pixels of the stored image.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds JSON files and image folders."""
        refuse_options(self.name, options)
        source = require_folder(source)
        edition, entries = read_entries(source)
        present = [entry for entry in entries if entry["path"] is not None]
        if not present:
            raise UsageError("holds none of the listed images", file=source, remedy="expected are train_data/*.png")
        images = [_image(entry, source) for entry in present]
        scales = [(image["width"] / BOX_FRAME, image["height"] / BOX_FRAME) for image in images]
        studies = pd.DataFrame([_study(entry) for entry in present])
        studies = split_around_test(studies, pd.Series([e["side"] == "test" for e in present]))
        marked = [box for e, scale in zip(present, scales, strict=True) for box in _boxes(e, scale)]
        boxes = [box for box in marked if has_extent(box)]
        polygons = [p for e, scale in zip(present, scales, strict=True) for p in _polygons(e, scale)]
        info = {
            "source": str(source),
            "edition": edition,
            "listed_images_that_are_absent": len(entries) - len(present),
            "images_moved_to_test_with_their_patient": sum(
                split == "test" and e["side"] != "test" for e, split in zip(present, studies["split"], strict=True)
            ),
            "boxes_without_extent": len(marked) - len(boxes),
            "images_of_unknown_patient": sum(nih_patient(e["file_name"]) is None for e in present),
        }
        return write_archive(
            out,
            self.name,
            {
                "studies": studies,
                "images": images,
                "boxes": boxes,
                "labels": [label for e in present for label in _labels(e, edition)],
            },
            source,
            info,
            {"polygons": pd.DataFrame(polygons)} if polygons else {},
        )


def read_entries(source: Path) -> tuple[str, list[dict[str, Any]]]:
    """The edition, and the entries of the sides that are there, each with its image's ``path`` (or None) and ``side``.

    Raises:
        UsageError: None of the files is there.
        DataError: A file or an entry is damaged.
    """
    there = [(e, side) for e, name in FILES.items() for side in SIDES if (source / name.format(side)).is_file()]
    edition = there[0][0] if there else "ChestX-Det"
    entries: list[dict[str, Any]] = []
    for side in [side for e, side in there if e == edition] or ["train"]:
        file = source / FILES[edition].format(side)
        for row, entry in enumerate(read_json_list(file, card=NAME), start=1):
            checked = check_entry(entry, file, row)
            entries.append(checked | {"path": find_image(source, side, entry["file_name"]), "side": side})
    return edition, entries


def check_entry(entry: dict[str, Any], file: Path, row: int) -> dict[str, Any]:
    """The entry with ``findings`` beside ``syms``, once its fields are what they have to be.

    Raises:
        DataError: A field is missing, the lists differ in length, a label is not known, or a corner is no number.
    """

    def wrong(problem: str) -> DataError:
        return DataError(problem, file=file, row=row, remedy=f"`lgdea data card {NAME}` shows the layout")

    name = entry.get("file_name")
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise wrong(f"file_name is {name!r}, not a file's name")
    syms, boxes, polygons = (entry.get(key) for key in ("syms", "boxes", "polygons"))
    if not isinstance(syms, list) or not isinstance(boxes, list):
        raise wrong(f"lacks the field {'boxes' if isinstance(syms, list) else 'syms'!r}, or it is no list")
    if len(syms) != len(boxes) or (
        polygons is not None and (not isinstance(polygons, list) or len(polygons) != len(syms))
    ):
        raise wrong("syms, boxes and polygons differ in length")
    for box in boxes:
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise wrong(f"the box {str(box)[:60]} is not four numbers")
        if box[2] < box[0] or box[3] < box[1]:
            raise wrong(f"the box {box} ends before it begins")
    for polygon in polygons or []:
        if not isinstance(polygon, list) or not all(
            isinstance(point, list) and len(point) == 2 and all(map(_is_number, point)) for point in polygon
        ):
            raise wrong(f"the polygon {str(polygon)[:60]} is not a list of points")
    return entry | {"findings": [coded_finding(CODES, word, file=file, row=row) for word in syms]}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def find_image(source: Path, side: str, name: str) -> Path | None:
    """An image file of a side, from ``train_data/``, ``train_data/train/`` or ``train/``; None when it is not there."""
    folders = (f"{side}_data", f"{side}_data/{side}", side)
    return next((source / f / name for f in folders if (source / f / name).is_file()), None)


def _id(entry: dict[str, Any]) -> str:
    return f"{NAME}:{Path(entry['file_name']).stem}"


def _study(entry: dict[str, Any]) -> dict[str, Any]:
    study = _id(entry)
    return {"study_id": study, "patient_id": nih_patient(entry["file_name"]) or study, "dataset": NAME}


def _image(entry: dict[str, Any], source: Path) -> dict[str, Any]:
    width, height = read_size(entry["path"])
    path = str(entry["path"].relative_to(source))
    return {"image_id": _id(entry), "study_id": _id(entry), "path": path, "width": width, "height": height}


def _boxes(entry: dict[str, Any], scale: tuple[float, float]) -> list[dict[str, Any]]:
    image = _id(entry)
    rows = zip(entry["syms"], entry["findings"], entry["boxes"], strict=True)
    return [
        {
            "box_id": f"{image}:box{number}",
            "image_id": image,
            "finding": finding,
            "label": word,
            "phrase": PHRASES.get(word),
            "x_min": x_min * scale[0],
            "y_min": y_min * scale[1],
            "x_max": x_max * scale[0],
            "y_max": y_max * scale[1],
        }
        for number, (word, finding, (x_min, y_min, x_max, y_max)) in enumerate(rows, start=1)
    ]


def _polygons(entry: dict[str, Any], scale: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        {
            "box_id": f"{_id(entry)}:box{number}",
            "x": [float(x * scale[0]) for x, _ in polygon],
            "y": [float(y * scale[1]) for _, y in polygon],
        }
        for number, polygon in enumerate(entry.get("polygons") or [], start=1)
    ]


def _labels(entry: dict[str, Any], edition: str) -> list[dict[str, Any]]:
    image, known = _id(entry), load_vocabulary()
    words = [c.name for c in known.classes(CODES) if edition == "ChestX-Det" or c.name not in ONLY_IN_CHESTX_DET]
    return [
        {
            "study_id": image,
            "image_id": image,
            "finding": finding,
            "value": float(finding in entry["findings"]),
            "labeller": LABELLER,
        }
        for finding in (known.from_code(CODES, word) for word in words)
    ]


ADAPTER = ChestXDet()
