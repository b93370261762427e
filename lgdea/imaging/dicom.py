"""Single-frame DICOM pictures: rescale, window, photometric interpretation (DICOM PS3.3, C.7.6.3 and C.11.2).

A header may hold names, comments and ids, and pydicom quotes values in its warnings and errors. Nothing of that leaves
this module: messages name the kind of an error alone, and :class:`DicomFacts` holds closed vocabularies, sizes, an age
and a digest.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lgdea.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
VIEWS = ("PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LATERAL")
MODALITIES = ("CR", "DX", "RG")
_SHAPE = ["Rows", "Columns", "NumberOfFrames", "SpecificCharacterSet"]
_FACTS = ["PatientID", "PatientSex", "PatientAge", "ViewPosition", "Modality"]


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
        patient: A digest of the PatientID, which tells patients apart and does not show it; None without one.
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
    with _silence_pydicom(path):
        dataset = _open(path, tags=None)
        photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
        if photometric not in MONOCHROME + COLOUR:
            remedy = "export it as a grey or RGB image"
            raise ImageError("has a photometric interpretation that is not read", file=path, remedy=remedy)
        raw = _decode(dataset, path)
        bits = int(dataset.get("BitsStored", 8))
        if raw.ndim == 3:
            pixels, scaling = _luminance(raw, bits), "colour"
        else:
            padded = _find_padding(raw, dataset)
            pixels, scaling = _scale(raw, dataset, padded)
            if photometric == "MONOCHROME1":
                pixels = 1 - pixels
            if padded is not None:
                pixels = np.where(padded, np.float32(0), pixels)
    info = {
        "format": "DICOM",
        "mode": "RGB" if raw.ndim == 3 else "L",
        "bits": bits,
        "photometric": photometric,
        "scaling": scaling,
    }
    return np.ascontiguousarray(pixels, dtype=np.float32), info


def read_dicom_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header.

    Raises:
        ImageError: No picture, several frames or a damaged file.
    """
    with _silence_pydicom(path):
        dataset = _open(path, tags=_SHAPE)
        return int(dataset.Columns), int(dataset.Rows)


def read_dicom_facts(path: Path) -> DicomFacts:
    """Size and the few facts that an archive may know, from the header alone; the rest of it is not even parsed.

    Raises:
        ImageError: No such file, no picture, several frames or a damaged file.
    """
    with _silence_pydicom(path):
        dataset = _open(path, tags=_SHAPE + _FACTS)
        age, patient = (str(dataset.get(name) or "").strip() for name in ("PatientAge", "PatientID"))
        return DicomFacts(
            width=int(dataset.Columns),
            height=int(dataset.Rows),
            sex=_one_of(("F", "M"), dataset.get("PatientSex")),
            age=age if re.fullmatch(r"\d{1,3}[YMWD]?", age) else None,
            view=_one_of(VIEWS, dataset.get("ViewPosition")),
            modality=_one_of(MODALITIES, dataset.get("Modality")),
            patient=hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else None,
        )


@contextmanager
def _silence_pydicom(path: Path) -> Iterator[None]:
    """No warning and no text of pydicom gets out, for both quote the header."""
    import pydicom.config

    pydicom.config.logger.setLevel(logging.CRITICAL)  # it logs what it warns of
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ImageError:
            raise
        except FileNotFoundError:
            raise ImageError("no such image", file=path, remedy="check the path") from None
        except Exception as error:  # pydicom and its decoders raise many kinds, in whatever element is damaged
            reason = type(error).__name__
            raise ImageError(f"is damaged ({reason})", file=path, remedy="fetch it again or leave it out") from None


def _open(path: Path, *, tags: list[str] | None) -> FileDataset:
    """The dataset, or only its header's ``tags``; one picture of one frame is in it."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=tags is not None, specific_tags=tags)
    except InvalidDicomError:
        raise ImageError("is no DICOM file", file=path, remedy="fetch it again or correct its name") from None
    if "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError("is a DICOM file without an image", file=path, remedy="leave it out")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(
            f"holds {frames} frames, one is expected", file=path, remedy="export the frame that you want as an image"
        )
    return dataset


def _decode(dataset: FileDataset, path: Path) -> np.ndarray:
    """The stored values, (H, W) or (H, W, 3); of YBR, pydicom makes RGB."""
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = not syntax.is_compressed or get_decoder(syntax).is_available
    except (NotImplementedError, ValueError):  # a private or unknown syntax
        available = False
    if not available:
        known = "" if syntax.is_private or syntax.name == str(syntax) else f" ({syntax.name})"
        remedy = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        raise ImageError(f"its compression cannot be decoded{known}", file=path, remedy=remedy)
    return dataset.pixel_array


def _find_padding(raw: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Find the pixels that are filled up with a value, or a range of values, that is not a density."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value is None:
        return None
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return np.asarray((raw >= low) & (raw <= high))


def _scale(raw: np.ndarray, dataset: Dataset, padded: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Modality rescaling, then the first window, the VOI table, or the range of the values."""
    from pydicom.pixels.processing import apply_modality_lut

    values = np.asarray(apply_modality_lut(raw, dataset))
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if width > 0 and math.isfinite(centre):
        function = str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR")
        return window(values.astype(np.float32), centre, width, function), "window"
    if dataset.get("VOILUTSequence"):
        return _apply_table(values, dataset.VOILUTSequence[0]), "voi table"
    values = values.astype(np.float32)
    inside = values if padded is None else values[~padded]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    return ((values - low) / max(high - low, 1e-6)).clip(0, 1), "range"


def window(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Map ``values`` through a VOI window to [0, 1] (DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: Any shape, after the modality's rescaling.
        centre: Window centre in the unit of ``values``.
        width: Window width.
        function: ``VOILUTFunction`` of the header: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.

    Returns:
        float32 of the same shape.
    """
    if function == "SIGMOID":
        result = 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-80, 80)))
    elif function == "LINEAR_EXACT" or width <= 1:
        result = (values - centre) / width + 0.5
    else:
        # The standard's half-pixel shifts: values are the middles of steps of width 1.
        result = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.asarray(result.clip(0, 1), dtype=np.float32)


def _apply_table(values: np.ndarray, item: Dataset) -> np.ndarray:
    """Values through a VOI table to [0, 1] (DICOM PS3.3, C.11.2.1.1).

    Not pydicom's ``apply_voi``: it wraps around for rescaled (negative or fractional) values and for tables of more
    than 256 entries of 8 bits.
    """
    entries, first, bits = (int(part) for part in item.LUTDescriptor)
    entries = entries or 2**16
    data = item.LUTData
    if isinstance(data, bytes):  # OW, of a little-endian file
        data = np.frombuffer(data, dtype=np.uint8 if len(data) < 2 * entries else "<u2")
    table = np.asarray(data)[:entries].astype(np.float32) / np.float32(2**bits - 1)
    place = (np.rint(values).astype(np.int64) - first).clip(0, len(table) - 1)
    return np.asarray(table[place].clip(0, 1), dtype=np.float32)


def _luminance(raw: np.ndarray, bits: int) -> np.ndarray:
    """Colour (H, W, 3) of ``bits`` per channel to grey."""
    channels = raw[..., :3].astype(np.float32) / np.float32(2**bits - 1)
    return np.asarray((channels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).clip(0, 1), dtype=np.float32)


def _first(value: Any) -> float:
    """The number, the first of several, or NaN where there is none."""
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except TypeError:
        return float(value[0]) if len(value) else math.nan


def _one_of(known: tuple[str, ...], value: Any) -> str | None:
    text = str(value or "").strip().upper()
    return text if text in known else None
