"""MS-CXR: phrases of MIMIC-CXR reports with their boxes (``data_cards/ms-cxr.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.reading import parse_json
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.columns import CHEXPERT, dates_of, days_since_first, require, with_sizes
from lgdea.records.adapters.mimic_cxr import METADATA
from lgdea.records.adapters.mimic_cxr import NAME as MIMIC
from lgdea.records.adapters.source import find_plain_or_gzipped, require_folder, required_number, rows_of
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv, read_utf8
from lgdea.records.tables import Rows
from lgdea.vocabulary import load_vocabulary

NAME = "ms-cxr"
TABLES = "MS_CXR_Local_Alignment_v*"
COLUMNS = ["dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height"]
SIDES = ("train", "val", "test")
PATH = r"(?P<folder>files/p\d{2}/(?P<patient>p\d+)/(?P<study>s\d+))/[\w-]+\.\w+"


class MsCxr:
    """The images that have phrases, with one box row per box; a phrase of several boxes has several rows.

    Boxes are given in pixels of the published image and scaled when the stored one has another size. Patient ids are
    those of ``mimic-cxr``, study and image ids are its own, so that the two archives can be merged.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the CSV (or the COCO JSON).

        Options:
            images: Folder of MIMIC-CXR-JPG or MIMIC-CXR, which holds ``files/``; default: ``source``.
        """
        image_root = options.pop("images", None)
        refuse_options(self.name, options)
        source = require_folder(source)
        root = source if image_root is None else require_folder(image_root)
        file, phrases = _read_phrases(source)
        listed = phrases.drop_duplicates("image_id")
        stored = listed.assign(path=listed["path"].map(lambda path: _stored_path(root, path)))
        images, unreadable = with_sizes(stored[stored["path"].notna()], root)
        if images.empty:
            remedy = "name the folder that holds files/ with --option images=FOLDER"
            raise UsageError(f"holds none of the images that {file.name} lists", file=root, remedy=remedy)
        views, days = _from_metadata(root)
        images = images.assign(view=images["dicom_id"].map(views))
        studies, torn = _studies(phrases[phrases["study_id"].isin(images["study_id"])], days)
        boxes = _boxes(phrases, images, file)
        info = {
            "source": str(source),
            "table": file.name,
            "absent_images": int(stored["path"].isna().sum()),
            "unreadable_images": unreadable,
            "boxes_of_such_images": len(phrases) - len(boxes),
            "split": "official" if "split" in phrases else "all images are test",
            "patients_on_two_sides_moved_to_test": torn,
        }
        tables: dict[str, Rows] = {
            "studies": studies,
            "images": images[["image_id", "study_id", "path", "width", "height", "view"]],
            "boxes": boxes,
        }
        return write_archive(out, self.name, tables, root, info)


def _read_phrases(source: Path) -> tuple[Path, pd.DataFrame]:
    """The newest table, CSV before JSON, with ``image_id``, ``study_id``, ``patient_id`` and ``folder``."""
    found = sorted(source.glob(f"{TABLES}.csv"))[-1:] or sorted(source.glob(f"{TABLES}.json"))[-1:]
    if not found:
        remedy = f"`lgdea data card {NAME}` shows the expected layout"
        raise UsageError(f"no such file: {TABLES}.csv or .json", file=source, remedy=remedy)
    file = found[0]
    frame = read_csv(file, COLUMNS, card=NAME) if file.suffix == ".csv" else read_coco(file)
    parts = frame["path"].astype("string").str.extract(f"^{PATH}$")
    require(parts["patient"].notna(), frame["path"], "not like files/p10/p10000000/s50000000/image.jpg", file)
    if "split" in frame:
        require(frame["split"].isin(SIDES), frame["split"], f"none of {', '.join(SIDES)}", file)
    return file, frame.assign(
        image_id=NAME + ":" + frame["dicom_id"],
        study_id=NAME + ":" + parts["study"].astype(object),
        patient_id=MIMIC + ":" + parts["patient"].astype(object),
    )


def read_coco(file: Path) -> pd.DataFrame:
    """The annotations of the COCO file as rows with the columns of the CSV file, every cell as text.

    Raises:
        DataError: It is no such JSON; the row is the number of the annotation.
    """
    try:
        content = parse_json(read_utf8(file))
        categories = {entry["id"]: entry["name"] for entry in content["categories"]}
        images = {entry["id"]: entry for entry in content["images"]}
        annotations = content["annotations"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"is no COCO file ({type(error).__name__}: {error})", file=file, remedy="fetch it again"
        ) from None
    rows = []
    for position, entry in enumerate(annotations, start=1):
        try:
            image, (x, y, w, h) = images[entry["image_id"]], entry["bbox"]
            numbers = {"x": x, "y": y, "w": w, "h": h, "image_width": image["width"], "image_height": image["height"]}
            row = {
                "dicom_id": Path(image["file_name"]).stem,
                "category_name": categories[entry["category_id"]],
                "label_text": entry["label_text"],
                "path": image["path"],
                **{key: str(value) for key, value in numbers.items()},
            }
        except (ValueError, KeyError, TypeError) as error:
            problem = f"is no annotation of a box and a phrase ({type(error).__name__}: {error})"
            raise DataError(problem, file=file, row=position, remedy="fetch it again") from None
        rows.append(row | ({"split": entry["split"]} if "split" in entry else {}))
    if not rows:
        raise DataError("holds no annotations", file=file, remedy="fetch it again")
    return pd.DataFrame(rows, dtype=object)


def _stored_path(root: Path, path: str) -> str | None:
    """The JPG, or the DICOM file in its place; None when neither is there."""
    options = (path, str(Path(path).with_suffix(".dcm")))
    return next((option for option in options if (root / option).is_file()), None)


def _from_metadata(root: Path) -> tuple[dict[str, str], dict[str, int]]:
    """View of each image and day of each study, when MIMIC-CXR's metadata are beside the images."""
    file = find_plain_or_gzipped(root, METADATA)
    if not file.is_file():
        return {}, {}
    table = read_csv(file, ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate"], card=MIMIC, optional=[])
    days = table.assign(day=days_since_first(dates_of(table["StudyDate"], file=file), table["subject_id"]))
    first = days.groupby(NAME + ":s" + days["study_id"].astype(str))["day"].min()
    views = dict(zip(table["dicom_id"], table["ViewPosition"], strict=True))
    return views, {str(study): day for study, day in first.items()}


def _studies(phrases: pd.DataFrame, days: dict[str, int]) -> tuple[pd.DataFrame, int]:
    """The studies with their side; a patient on several sides is test, so that nothing of theirs is trained on."""
    studies = phrases.drop_duplicates("study_id")[["study_id", "patient_id"]].reset_index(drop=True)
    studies = studies.assign(dataset=NAME, day=studies["study_id"].map(days).astype("Int64"), split="test")
    if "split" not in phrases:
        return studies, 0
    sides = phrases.groupby("patient_id")["split"].unique()
    side = sides.map(lambda found: found[0] if len(found) == 1 else "test")
    return studies.assign(split=studies["patient_id"].map(side)), int((sides.map(len) > 1).sum())


def _boxes(phrases: pd.DataFrame, images: pd.DataFrame, file: Path) -> list[dict[str, Any]]:
    sizes = {i: (w, h) for i, w, h in images[["image_id", "width", "height"]].itertuples(index=False)}
    rows = []
    for position, entry in enumerate(rows_of(phrases), start=1):
        finding = load_vocabulary().from_code(CHEXPERT, str(entry["category_name"]))
        if finding is None:
            problem = f"the category {entry['category_name']!r} is no CheXpert class"
            raise DataError(problem, file=file, row=position, remedy="correct the cell")
        numbers = {c: required_number(entry[c], file=file, row=position, column=c) for c in COLUMNS[4:]}
        x, y, w, h, width, height = numbers.values()
        if min(w, h, width, height) <= 0:
            raise DataError("a width or height is not above 0", file=file, row=position, remedy="correct the cell")
        if entry["image_id"] not in sizes:
            continue
        scale_x, scale_y = sizes[entry["image_id"]][0] / width, sizes[entry["image_id"]][1] / height
        rows.append(
            {
                "box_id": f"{entry['image_id']}:box{position}",
                "image_id": entry["image_id"],
                "finding": finding,
                "label": entry["category_name"],
                "phrase": entry["label_text"],
                "x_min": x * scale_x,
                "y_min": y * scale_y,
                "x_max": (x + w) * scale_x,
                "y_max": (y + h) * scale_y,
            }
        )
    return rows


ADAPTER = MsCxr()
