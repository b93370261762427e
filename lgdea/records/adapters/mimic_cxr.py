"""MIMIC-CXR and MIMIC-CXR-JPG: images, reports and labels of one hospital (``data_cards/mimic-cxr.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.columns import (
    chexpert_classes,
    dates_of,
    days_since_first,
    label_rows,
    on_disk,
    require,
    with_listed_sizes,
)
from lgdea.records.adapters.source import find_plain_or_gzipped, require_folder
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv, read_utf8
from lgdea.records.split import split_by_patient

NAME = "mimic-cxr"
METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-split.csv"
LABELS = {"chexpert": "mimic-cxr-2.0.0-chexpert.csv", "negbio": "mimic-cxr-2.0.0-negbio.csv"}
RADIOLOGIST = "mimic-cxr-2.1.0-test-set-labeled.csv"
REPORTS = "mimic-cxr-reports"  # where mimic-cxr-reports.zip unpacks to, unless it is unpacked in place
SPLITS = {"train": "train", "validate": "val", "test": "test"}


class MimicCxr:
    """Images (``.jpg``, else ``.dcm``) and reports that ``metadata`` lists, with the labels of each labeller.

    ``Rows`` and ``Columns`` of the metadata are those of the DICOM files, and of the JPG files made from them; see
    :func:`~lgdea.records.adapters.columns.with_listed_sizes` for how this is checked. Nothing is searched for: every
    path follows from the table. Extra table ``study_time`` (study_id, seconds since midnight), which orders the studies
    of one day.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the CSV files and ``files/``.

        Options:
            reports: Folder that holds the ``files/`` of the reports, when they are not in ``source``.
            hold_out: CSV files, parted by commas, with a column ``subject_id`` (as ``subjects.csv`` of an archive of
                MS-CXR-T, or its table) or ``dicom_id`` (that of MS-CXR); these patients go to the test side, so that a
                model pretrained here has not seen them.
        """
        reports_at, hold_out = options.pop("reports", None), options.pop("hold_out", None)
        refuse_options(self.name, options)
        source = require_folder(source)
        metadata = read_metadata(source)
        images, absent = _present_images(metadata, source)
        roots = [source, source / REPORTS] if reports_at is None else [require_folder(reports_at)]
        reports = _reports(metadata, roots)
        studies = _studies(metadata)
        used = studies["study_id"].isin(images["study_id"]) | studies["study_id"].isin(reports["study_id"])
        if not used.any():
            remedy = "expected are files/p10/p10000000/s50000000/*.jpg and files/p10/p10000000/s50000000.txt"
            raise UsageError(f"holds no image and no report that {METADATA} lists", file=source, remedy=remedy)
        studies, unused = studies[used].reset_index(drop=True), int((~used).sum())
        studies = _held_out(_split(studies, source), metadata, hold_out)
        images, unreadable, believed = with_listed_sizes(images, source) if len(images) else (images, [], True)
        labels, contradictions = _labels(source, set(studies["study_id"]))
        info = {
            "source": str(source),
            "listed_images_that_are_absent": absent,
            "unreadable_images": unreadable,
            "sizes_from": "metadata" if believed else "files",
            "studies_without_report": int((~studies["study_id"].isin(reports["study_id"])).sum()),
            "studies_with_neither_side": unused,
            "split": "official" if find_plain_or_gzipped(source, SPLIT).is_file() else "by hash of the patient",
            "held_out": None if hold_out is None else ", ".join(file.name for file in _files(hold_out)),
            "contradicting_labels_left_out": contradictions,
        }
        tables = {
            "studies": studies,
            "images": images[["image_id", "study_id", "path", "width", "height", "view"]],
            "reports": reports,
            "labels": labels,
        }
        return write_archive(out, self.name, tables, source, info, {"study_time": _study_time(metadata, studies)})


def read_metadata(source: Path) -> pd.DataFrame:
    """The metadata table with the archive's ids, the images' ``folder``, and ``width``, ``height``, ``view``, ``date``.

    Width and height are null where the table has none.

    Raises:
        UsageError: The table is not there.
        DataError: A column is missing or an id, a number or a date is none.
    """
    file = find_plain_or_gzipped(source, METADATA)
    required = ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate"]
    frame = read_csv(file, required, card=NAME, optional=["Rows", "Columns", "StudyTime"])
    for column, pattern in [("dicom_id", r"[\w-]+"), ("subject_id", r"\d+"), ("study_id", r"\d+")]:
        require(frame[column].astype("string").str.fullmatch(pattern).fillna(False), frame[column], "not an id", file)
    patient, study = frame["subject_id"], frame["study_id"]
    frame = frame.assign(
        folder="files/p" + patient.str[:2] + "/p" + patient + "/s" + study,
        image_id=NAME + ":" + frame["dicom_id"],
        study_id=NAME + ":s" + study,
        patient_id=NAME + ":p" + patient,
        view=frame["ViewPosition"],
        date=dates_of(frame["StudyDate"], file=file),
    )
    for size, column in (("width", "Columns"), ("height", "Rows")):
        cells = frame[column] if column in frame else pd.Series(None, index=frame.index, dtype=object, name=column)
        numbers = pd.to_numeric(cells, errors="coerce")
        require(cells.isna() | (numbers > 0), cells, "not a number of pixels", file)
        frame[size] = numbers
    return frame


def image_paths(metadata: pd.DataFrame, root: Path) -> pd.Series:
    """Path of each image below ``root``: the JPG, else the DICOM file, null when neither is there."""
    stem = metadata["folder"] + "/" + metadata["dicom_id"]
    paths = (stem + ".jpg").where(on_disk(root, stem + ".jpg"))
    rest = stem[paths.isna()] + ".dcm"
    paths[rest.index] = rest.where(on_disk(root, rest))
    return paths


def _present_images(metadata: pd.DataFrame, source: Path) -> tuple[pd.DataFrame, int]:
    images = metadata.assign(path=image_paths(metadata, source))
    return images[images["path"].notna()], int(images["path"].isna().sum())


def _reports(metadata: pd.DataFrame, roots: list[Path]) -> pd.DataFrame:
    studies = metadata.drop_duplicates("study_id")
    ids, texts = [], []
    for study, folder in zip(studies["study_id"], studies["folder"], strict=True):
        file = next((f for root in roots if (f := root / f"{folder}.txt").is_file()), None)
        if file is not None:
            ids.append(study)
            texts.append(read_utf8(file))
    return pd.DataFrame({"report_id": ids, "study_id": ids, "text": texts}, dtype=object)


def _studies(metadata: pd.DataFrame) -> pd.DataFrame:
    """One row per study; its day is that of its earliest image, counted from the patient's first study."""
    days = metadata.assign(day=days_since_first(metadata["date"], metadata["patient_id"]))
    studies = days.groupby("study_id", sort=False).agg(patient_id=("patient_id", "first"), day=("day", "min"))
    return studies.reset_index().assign(dataset=NAME)


def _study_time(metadata: pd.DataFrame, studies: pd.DataFrame) -> pd.DataFrame:
    if "StudyTime" not in metadata:
        return pd.DataFrame({"study_id": pd.Series(dtype=str), "seconds": pd.Series(dtype=float)})
    clock = pd.to_numeric(metadata["StudyTime"], errors="coerce")  # hhmmss.fff, its leading zeros lost
    seconds = clock // 10_000 * 3600 + clock // 100 % 100 * 60 + clock % 100
    first = metadata.assign(seconds=seconds).sort_values(["date", "seconds"]).drop_duplicates("study_id")
    return studies[["study_id"]].merge(first[["study_id", "seconds"]], on="study_id")


def _split(studies: pd.DataFrame, source: Path) -> pd.DataFrame:
    """The official side of each study; by the hash of the patient when there is no split table."""
    file = find_plain_or_gzipped(source, SPLIT)
    if not file.is_file():
        return split_by_patient(studies)
    table = read_csv(file, ["study_id", "split"], card=NAME, optional=[])
    require(table["split"].isin(list(SPLITS)), table["split"], f"none of {', '.join(SPLITS)}", file)
    sides = dict(zip(NAME + ":s" + table["study_id"].astype(str), table["split"].map(SPLITS), strict=True))
    split = studies["study_id"].map(sides)
    if split.isna().any():
        study = studies.loc[split.isna(), "study_id"].iloc[0].removeprefix(f"{NAME}:")
        raise DataError("has no row for this study of the metadata", file=file, row=study, remedy="fetch it again")
    return studies.assign(split=split)


def _held_out(studies: pd.DataFrame, metadata: pd.DataFrame, hold_out: str | Path | None) -> pd.DataFrame:
    if hold_out is None:
        return studies
    patients: set[str] = set()
    for file in _files(hold_out):
        listed = read_csv(file, [], card="ms-cxr", optional=["subject_id", "dicom_id"])
        if "subject_id" in listed:
            patients |= set(NAME + ":p" + listed["subject_id"].dropna().astype(str))
        elif "dicom_id" in listed:
            patients |= set(metadata.loc[metadata["dicom_id"].isin(listed["dicom_id"]), "patient_id"])
        else:
            raise DataError("has neither subject_id nor dicom_id", file=file, remedy="give a CSV with one of them")
    return studies.assign(split=studies["split"].where(~studies["patient_id"].isin(patients), "test"))


def _files(hold_out: str | Path) -> list[Path]:
    """Files of ``hold_out``; a name that holds a comma itself is one file."""
    return [Path(hold_out)] if Path(hold_out).is_file() else [Path(part.strip()) for part in str(hold_out).split(",")]


def _labels(source: Path, studies: set[str]) -> tuple[pd.DataFrame, int]:
    """Labels of the studies that are there, from each label file that is there."""
    files = {labeller: find_plain_or_gzipped(source, name) for labeller, name in LABELS.items()}
    files["radiologist"] = find_plain_or_gzipped(source, RADIOLOGIST)
    parts, contradictions = [pd.DataFrame(columns=["study_id", "finding", "value", "labeller"])], 0
    for labeller, file in files.items():
        if not file.is_file():
            continue
        expected = [] if labeller == "radiologist" else chexpert_classes()
        table = read_csv(file, ["study_id", *expected], card=NAME)
        classes = [column for column in table.columns if column not in ("study_id", "subject_id")]
        table = table.assign(study_id=NAME + ":s" + table["study_id"].astype(str))
        rows, torn = label_rows(table[table["study_id"].isin(studies)], classes, file=file, labeller=labeller)
        parts.append(rows)
        contradictions += torn
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True), contradictions


ADAPTER = MimicCxr()
