"""NIH ChestX-ray14: frontal X-rays with labels mined from reports and a few boxes (``data_cards/nih-cxr14.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.imaging.read import read_size
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.source import age_in_years, require_folder, required_number, rows_of, sex, whole
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv, read_utf8
from lgdea.records.split import split_around_test, split_by_patient
from lgdea.vocabulary import load_vocabulary

ENTRIES = "Data_Entry_2017.csv"
BOXES = "BBox_List_2017.csv"
TEST_LIST = "test_list.txt"
BOX_FRAME = 1024  # side of the images that the boxes were drawn on, whatever the size of those stored here
LABELLER = "nih-mined"
CODES = "nih14"
SPELLINGS = {"Infiltrate": "Infiltration"}  # the box list's word


class NihCxr14:
    """The images that are there, one study each; listed findings are 1 and the others of the fourteen 0.

    Extra table ``follow_up`` (study_id, follow_up): the source's visit number, which orders a patient's studies but
    counts no days.
    """

    name = "nih-cxr14"
    card = "nih-cxr14"

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the CSV files and the images."""
        refuse_options(self.name, options)
        source = require_folder(source)
        columns = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender",
                   "View Position"]  # fmt: skip
        entries = rows_of(read_csv(source / ENTRIES, columns, card=self.card))
        files = find_images(source)
        present = [(row, entry) for row, entry in enumerate(entries, start=1) if entry["Image Index"] in files]
        if not present:
            raise UsageError(
                f"holds none of the images that {ENTRIES} lists", file=source, remedy="expected are images/*.png"
            )
        images = pd.DataFrame([_image(e, files[e["Image Index"]], source) for _, e in present])
        sizes = {i: (w, h) for i, w, h in images[["image_id", "width", "height"]].itertuples(index=False)}
        boxes = read_boxes(source / BOXES, sizes) if (source / BOXES).is_file() else []
        studies = split_by_patient(pd.DataFrame([_study(e) for _, e in present]))
        return write_archive(
            out,
            self.name,
            {
                "studies": _apply_official_test(studies, source / TEST_LIST),
                "images": images,
                "boxes": boxes,
                "labels": [label for row, e in present for label in _labels(e, source / ENTRIES, row)],
            },
            source,
            {
                "source": str(source),
                "listed_images_that_are_absent": len(entries) - len(present),
                "official_split": (source / TEST_LIST).is_file(),
            },
            {
                "follow_up": pd.DataFrame(
                    [{"study_id": _id(e), "follow_up": whole(e["Follow-up #"])} for _, e in present]
                )
            },
        )


def find_images(source: Path) -> dict[str, Path]:
    """Image files by name, from ``images/`` or the twelve ``images_*/images/`` of the original download."""
    folders = [source / "images", *sorted(source.glob("images_*/images"))]
    return {file.name: file for folder in folders for file in sorted(folder.glob("*.png"))}


def read_boxes(file: Path, sizes: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Boxes of the images in ``sizes`` (image id -> width, height), scaled from the 1024 frame to the stored image."""
    frame = read_csv(file, ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"], card="nih-cxr14")
    rows = []
    for position, entry in enumerate(rows_of(frame), start=1):
        image = f"nih-cxr14:{Path(str(entry['Image Index'])).stem}"
        if image not in sizes:
            continue
        numbers = {c: required_number(entry[c], file=file, row=position, column=c) for c in ("Bbox [x", "y", "w", "h]")}
        x, y, w, h = numbers.values()
        scale_x, scale_y = sizes[image][0] / BOX_FRAME, sizes[image][1] / BOX_FRAME
        rows.append(
            {
                "box_id": f"{image}:box{position}",
                "image_id": image,
                "finding": _finding(str(entry["Finding Label"]), file, position),
                "label": entry["Finding Label"],
                "x_min": x * scale_x,
                "y_min": y * scale_y,
                "x_max": (x + w) * scale_x,
                "y_max": (y + h) * scale_y,
            }
        )
    return rows


def _id(entry: dict[str, Any]) -> str:
    return f"nih-cxr14:{Path(entry['Image Index']).stem}"


def _study(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "study_id": _id(entry),
        "patient_id": f"nih-cxr14:{entry['Patient ID']}",
        "dataset": "nih-cxr14",
        "sex": sex(entry["Patient Gender"]),
        "age": age_in_years(entry["Patient Age"]),
    }


def _image(entry: dict[str, Any], file: Path, source: Path) -> dict[str, Any]:
    width, height = read_size(file)
    return {
        "image_id": _id(entry),
        "study_id": _id(entry),
        "path": str(file.relative_to(source)),
        "width": width,
        "height": height,
        "view": entry["View Position"],
    }


def _labels(entry: dict[str, Any], file: Path, row: int) -> list[dict[str, Any]]:
    named = {_finding(word, file, row) for word in (entry["Finding Labels"] or "").split("|")}
    classes = [_finding(scored.name, file, row) for scored in load_vocabulary().classes(CODES)]
    study = _id(entry)
    return [
        {"study_id": study, "image_id": study, "finding": f, "value": float(f in named), "labeller": LABELLER}
        for f in classes
    ]


def _finding(word: str, file: Path, row: int) -> str:
    finding = load_vocabulary().from_code(CODES, SPELLINGS.get(word, word))
    if finding is None:
        raise DataError(f"the finding {word!r} is none of the fourteen", file=file, row=row, remedy="correct the cell")
    return finding


def _apply_official_test(studies: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Make the official list's patients the test side, where it is there; the others keep train or val by hash."""
    if not file.is_file():
        return studies
    listed = {f"nih-cxr14:{Path(line).stem}" for line in read_utf8(file).split()}
    return split_around_test(studies, studies["study_id"].isin(listed))


ADAPTER = NihCxr14()
