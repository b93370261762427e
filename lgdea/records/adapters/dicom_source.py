"""Rows of the tables for DICOM files, from the few facts of a header that an archive may know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lgdea.errors import UsageError
from lgdea.imaging.dicom import DicomFacts, read_dicom_facts
from lgdea.records.adapters.source import age_in_years
from lgdea.records.patient_key import PatientKey


def facts_of(files: Mapping[str, Path], key: PatientKey | None = None) -> dict[str, DicomFacts]:
    """Facts of the headers by image id.

    Args:
        files: Files by image id.
        key: Hashes the PatientIDs; by default one that is forgotten, whose hashes say no more than who is the same.

    Raises:
        ImageError: A file is damaged or holds several frames.
    """
    return {image: read_dicom_facts(file, key.hash_id if key else None) for image, file in files.items()}


def study_row(study: str, patient: str, dataset: str, facts: DicomFacts) -> dict[str, Any]:
    """A row of ``studies`` without split; sex and age are the header's."""
    return {
        "study_id": study,
        "patient_id": patient,
        "dataset": dataset,
        "sex": facts.sex,
        "age": age_in_years(facts.age),
    }


def image_row(image: str, study: str, path: Path, facts: DicomFacts) -> dict[str, Any]:
    """A row of ``images``; ``path`` is relative to the archive's image root, size and view are the header's."""
    return {
        "image_id": image,
        "study_id": study,
        "path": str(path),
        "width": facts.width,
        "height": facts.height,
        "view": facts.view,
        "modality": facts.modality or "CR",
    }


def require_images(files: Mapping[str, Path], source: Path, expected: str) -> None:
    """Say so where a folder has tables and no images.

    Raises:
        UsageError: ``files`` is empty.
    """
    if not files:
        raise UsageError("holds no images", file=source, remedy=f"expected are {expected}")
