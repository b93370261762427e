"""The training images of an archive whose studies have a report, in the frame of the model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lgdea.comparison.config import ComparisonData
from lgdea.errors import DataError
from lgdea.evidence.coverage import require_all_reports
from lgdea.evidence.io import read_evidence
from lgdea.imaging.cache import build_cache
from lgdea.imaging.frames import ImageCache
from lgdea.imaging.transforms import Preprocess
from lgdea.records.archive import Archive
from lgdea.records.pairing import read_pairing


def linked_images(archive: Archive, pairing: Path | None, split: str) -> pd.DataFrame:
    """Images of a split whose study has a report, and in training keeps its link.

    Returns:
        ``image_id, study_id, patient_id, modality, site``.

    Raises:
        DataError: There are none.
    """
    studies = archive.studies[archive.studies["split"] == split]
    studies = studies[studies["study_id"].isin(archive.reports["study_id"])]
    if pairing is not None and split == "train":
        states = read_pairing(pairing).set_index("study_id")["state"]
        studies = studies[studies["study_id"].map(states) == "paired"]
    columns = ["image_id", "study_id", "modality"]
    images = archive.images[columns].merge(studies[["study_id", "patient_id", "site"]], on="study_id")
    if images.empty:
        raise DataError(
            f"the {split} split has no image with a report", file=archive.folder, remedy="check the split and pairing"
        )
    return images


def read_units(archive: Archive, evidence: Path) -> pd.DataFrame:
    """The units of all the archive's reports, with their ``study_id``.

    Raises:
        UsageError: The evidence is of other reports, or of a part of them.
    """
    require_all_reports(evidence, archive)
    return read_evidence(evidence).merge(archive.reports[["report_id", "study_id"]], on="report_id")


def cache_images(
    archive: Archive, images: pd.DataFrame, data: ComparisonData, preprocess: Preprocess, out: Path
) -> tuple[pd.DataFrame, ImageCache]:
    """Bring images to the model's frame, cached on disk; images that cannot be read are left out of the table.

    Raises:
        DataError: None of them can be read.
    """
    items = [(image, archive.image_path(image)) for image in images["image_id"]]
    folder = data.image_cache or out / "image_cache"
    cache = build_cache(items, folder, preprocess.size, data.cache_workers, mode=preprocess.mode)
    readable = images[[image in cache for image in images["image_id"]]].reset_index(drop=True)
    if readable.empty:
        first = (cache.rejects() or [{"reason": "no images"}])[0]["reason"]
        raise DataError(f"no image can be read ({first})", file=archive.folder, remedy="check image_root")
    return readable, cache
