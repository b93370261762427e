"""MS-CXR-T: pairs of MIMIC-CXR images with experts' labels of progression (``data_cards/ms-cxr-t.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.columns import dates_of, days_since_first, require, with_sizes
from lgdea.records.adapters.mimic_cxr import METADATA
from lgdea.records.adapters.mimic_cxr import NAME as MIMIC
from lgdea.records.adapters.source import find_plain_or_gzipped, require_folder
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv

NAME = "ms-cxr-t"
TABLE = "MS_CXR_T_temporal_image_classification_v*.csv"
FINDINGS = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
STATES = {"improving": "better", "stable": "stable", "worsening": "worse"}
QUALITIES = ("one_expert", "multiple_experts", "disagreement")
PATH = r"(?P<folder>p\d{2}/(?P<patient>p\d+)/(?P<study>s\d+))/(?P<image>[\w-]+)"
PAIRS, LABELS = 1045, 1326
"""Rows and labels of version 1.0.0."""
SUBJECTS = "subjects.csv"
"""In the archive folder: the subjects to be kept out of any training on MIMIC-CXR."""


class MsCxrT:
    """Both images of every pair, with the extra tables ``pairs`` and ``changes``; all studies are test.

    Ids of patients, studies and images are those of ``mimic-cxr``. Which image is the earlier one is the table's word;
    where MIMIC-CXR's metadata are beside the images, days are filled in and must not contradict it.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the CSV.

        Options:
            images: Folder of MIMIC-CXR-JPG, which holds ``files/``; default: ``source``.
        """
        image_root = options.pop("images", None)
        refuse_options(self.name, options)
        source = require_folder(source)
        root = source if image_root is None else require_folder(image_root)
        file, table = _read(source)
        changes = _changes(table, file)
        images = _images(table)
        stored = [
            next((p for p in (f"files/{i}.jpg", f"files/{i}.dcm") if (root / p).is_file()), None) for i in images["at"]
        ]
        images = images.assign(path=pd.Series(stored, index=images.index, dtype=object))
        present, unreadable = with_sizes(images[images["path"].notna()], root)
        if present.empty:
            remedy = "name the folder that holds files/ with --option images=FOLDER"
            raise UsageError(f"holds none of the images that {file.name} lists", file=root, remedy=remedy)
        views, days = _metadata(root)
        there = set(present["image_id"])
        used = table["image_prior"].isin(there) & table["image_current"].isin(there)
        pairs = table.loc[used, ["image_prior", "image_current", "study_prior", "study_current"]].reset_index(drop=True)
        studies = present.drop_duplicates("study_id")[["study_id", "patient_id"]]
        studies = studies.assign(dataset=NAME, day=studies["study_id"].map(days).astype("Int64"), split="test")
        info = {
            "source": str(source),
            "table": file.name,
            "pairs": len(table),
            "labels": len(changes),
            "whole": len(table) == PAIRS and len(changes) == LABELS,
            "pairs_without_both_images": int((~used).sum()),
            "unreadable_images": unreadable,
        }
        columns = ["image_id", "study_id", "path", "width", "height", "view"]
        tables = {"studies": studies, "images": present.assign(view=present["image_id"].map(views))[columns]}
        made = changes[changes["image_prior"].isin(there) & changes["image_current"].isin(there)]
        archive = write_archive(
            out, self.name, tables, root, info, {"pairs": pairs, "changes": made.reset_index(drop=True)}
        )
        subjects = sorted(table["subject_id"].unique())
        (archive.folder / SUBJECTS).write_text("subject_id\n" + "".join(f"{s}\n" for s in subjects), encoding="utf-8")
        return archive


def _read(source: Path) -> tuple[Path, pd.DataFrame]:
    """The newest table with the archive's ids of both images and studies."""
    found = sorted(source.glob(TABLE))[-1:]
    if not found:
        raise UsageError(f"no such file: {TABLE}", file=source, remedy=f"`lgdea data card {NAME}` shows the layout")
    file = found[0]
    per_finding = [f"{finding}_{what}" for finding in FINDINGS for what in ("progression", "label_quality")]
    ids = ["subject_id", "study_id", "dicom_id", "previous_study_id", "previous_dicom_id"]
    table = read_csv(file, [*ids, *per_finding], card=NAME)
    made: dict[str, pd.Series] = {}
    for side, column in (("current", "dicom_id"), ("prior", "previous_dicom_id")):
        parts = (
            table[column].astype("string").str.removesuffix(".jpg").str.removeprefix("files/").str.extract(f"^{PATH}$")
        )
        require(parts["image"].notna(), table[column], "not like p10/p10000000/s50000000/<image>", file)
        named = table["subject_id"].astype(str).radd("p")
        require(parts["patient"].astype(object) == named, table[column], "not an image of this row's subject", file)
        made |= {
            f"at_{side}": (parts["folder"] + "/" + parts["image"]).astype(object),
            f"image_{side}": MIMIC + ":" + parts["image"].astype(object),
            f"study_{side}": MIMIC + ":" + parts["study"].astype(object),
        }
    table = table.assign(**made, patient_id=MIMIC + ":p" + table["subject_id"].astype(str))
    same = table["study_prior"] == table["study_current"]
    require(~same, table["previous_dicom_id"], "an image of the current study itself", file)
    twice = table.duplicated(["image_prior", "image_current"])
    require(~twice, table["dicom_id"], "listed with the same previous image before", file)
    return file, table


def _changes(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """One row per label: ``image_prior, image_current, finding, state, quality``."""
    parts = []
    for finding in FINDINGS:
        column, quality = table[f"{finding}_progression"], table[f"{finding}_label_quality"]
        require(column.isin(list(STATES)) | column.isna(), column, f"none of {', '.join(STATES)}", file)
        require(quality.isin(QUALITIES) | quality.isna(), quality, f"none of {', '.join(QUALITIES)}", file)
        given = table[column.notna()]
        rows = given[["image_prior", "image_current"]].assign(finding=finding)
        parts.append(rows.assign(state=given[column.name].map(STATES), quality=given[quality.name]))
    changes = pd.concat(parts, ignore_index=True)
    if changes.empty:
        raise DataError("holds no labels", file=file, remedy="fetch it again")
    return changes


def _images(table: pd.DataFrame) -> pd.DataFrame:
    sides = [
        table[["patient_id", f"image_{side}", f"study_{side}", f"at_{side}"]].set_axis(
            ["patient_id", "image_id", "study_id", "at"], axis=1
        )
        for side in ("prior", "current")
    ]
    return pd.concat(sides).drop_duplicates("image_id").reset_index(drop=True)


def _metadata(root: Path) -> tuple[dict[str, str], dict[str, int]]:
    """View of each image and day of each study, when MIMIC-CXR's metadata are beside the images."""
    file = find_plain_or_gzipped(root, METADATA)
    if not file.is_file():
        return {}, {}
    table = read_csv(file, ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate"], card=MIMIC, optional=[])
    days = table.assign(day=days_since_first(dates_of(table["StudyDate"], file=file), table["subject_id"]))
    first = days.groupby(MIMIC + ":s" + days["study_id"].astype(str))["day"].min()
    views = dict(zip(MIMIC + ":" + table["dicom_id"], table["ViewPosition"], strict=True))
    return views, {str(study): day for study, day in first.items()}


ADAPTER = MsCxrT()
