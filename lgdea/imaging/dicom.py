"""Single-frame DICOM pictures: rescale, window, photometric interpretation (DICOM PS3.3, C.7.6.3 and C.11.2).

A header may hold names, comments and ids. Nothing of that gets out: :class:`DicomFacts` holds closed vocabularies,
sizes, an age and a keyed hash, and messages name elements, not what they hold.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lgdea.errors import ImageError
from lgdea.imaging.dicom_file import SHAPE, number, open_image, silence_pydicom
from lgdea.imaging.dicom_pixels import decode, find_padding, luminance, scale

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
NOT_READ = ("PALETTE COLOR", "HSV", "ARGB", "CMYK", "XYB")  # by their names in the standard
VIEWS = ("PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LATERAL")
MODALITIES = ("CR", "DX", "RG")
_SECRET = secrets.token_bytes(32)
_FACTS = ("PatientID", "PatientSex", "PatientAge", "ViewPosition", "Modality")


@dataclass(frozen=True)
class DicomFacts:
    """Facts of a header that an archive may keep.

    Attributes:
        width: Columns.
        height: Rows.
        sex: ``F``, ``M`` or None.
        age: A number with an optional unit, as ``58`` or ``058Y``; None when it is anything else.
        view: One of :data:`VIEWS`, None when it is anything else.
        modality: One of :data:`MODALITIES`, None when it is anything else.
        patient: A keyed hash of the PatientID, which tells patients apart and does not show it; None without one.
    """

    width: int
    height: int
    sex: str | None = None
    age: str | None = None
    view: str | None = None
    modality: str | None = None
    patient: str | None = None


def read_dicom(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels (H, W) float32 in [0, 1] with bright = dense, and what was found.

    Raises:
        ImageError: No pixels, several frames, a compression that is not installed, colours by palette, or a damaged
            file.
    """
    notes: list[str] = []
    with silence_pydicom(path):
        dataset = open_image(path)
        photometric = str(dataset.get("PhotometricInterpretation") or "")
        if photometric not in MONOCHROME + COLOUR:
            named = f" ({photometric})" if photometric in NOT_READ else "" if photometric else " (none is given)"
            remedy = "export it as a grey or RGB image"
            raise ImageError(f"has a photometric interpretation that is not read{named}", file=path, remedy=remedy)
        stored = decode(dataset, path)
        bits = int(number(dataset, "BitsStored", path) or 8 * stored.dtype.itemsize)
        if stored.ndim == 3:
            pixels, scaling = luminance(stored, bits), "colour"
        else:
            pixels, known, scaling = scale(stored, dataset, find_padding(stored, dataset, path), path, notes)
            pixels = np.where(known, 1 - pixels if photometric == "MONOCHROME1" else pixels, np.float32(0))
    info: dict[str, Any] = {
        "format": "DICOM",
        "mode": "RGB" if stored.ndim == 3 else "L",
        "bits": bits,
        "photometric": photometric,
        "scaling": scaling,
    }
    if notes:
        info["notes"] = notes
    return np.ascontiguousarray(pixels, dtype=np.float32), info


def read_dicom_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header.

    Raises:
        ImageError: No picture, several frames or a damaged file.
    """
    with silence_pydicom(path):
        return _size(open_image(path, tags=[*SHAPE]), path)


def read_dicom_facts(path: Path, hash_patient: Callable[[str], str] | None = None) -> DicomFacts:
    """Size and the few facts that an archive may know, from the header alone; the rest of it is not even parsed.

    Args:
        path: The file.
        hash_patient: Hashes the PatientID by a key; None takes one that this process made up and forgets.

    Raises:
        ImageError: No such file, no picture, several frames or a damaged file.
    """
    with silence_pydicom(path):
        dataset = open_image(path, tags=[*SHAPE, *_FACTS])
        age, patient = (str(dataset.get(name) or "").strip() for name in ("PatientAge", "PatientID"))
        width, height = _size(dataset, path)
        return DicomFacts(
            width=width,
            height=height,
            sex=_one_of(("F", "M"), dataset.get("PatientSex")),
            age=age if re.fullmatch(r"\d{1,3}[YMWD]?", age) else None,
            view=_one_of(VIEWS, dataset.get("ViewPosition")),
            modality=_one_of(MODALITIES, dataset.get("Modality")),
            patient=(hash_patient or _hash_here)(patient) if patient else None,
        )


def _hash_here(patient: str) -> str:
    return hmac.new(_SECRET, patient.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:24]


def _size(dataset: FileDataset, path: Path) -> tuple[int, int]:
    return int(number(dataset, "Columns", path) or 0), int(number(dataset, "Rows", path) or 0)


def _one_of(known: tuple[str, ...], value: Any) -> str | None:
    text = str(value or "").strip().upper()
    return text if text in known else None
