"""Single-frame DICOM pictures: rescale, window, photometric interpretation (DICOM PS3.3, C.7.6.3 and C.11.2)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lgdea.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset


def read_dicom(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels (H, W) float32 in [0, 1] with bright = dense, and what was found.

    Raises:
        ImageError: No pixels, several frames, a compression that is not installed, or a damaged file.
    """
    dataset = _open(path, header_only=False)
    _refuse_frames(dataset, path)
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    try:
        raw = dataset.pixel_array
    except (NotImplementedError, RuntimeError) as error:
        raise ImageError(
            f"its compression cannot be decoded ({_first_line(error)})",
            file=path,
            remedy="pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg",
        ) from None
    except Exception as error:  # pydicom's decoders raise many kinds
        raise _damaged(path, error) from None
    if raw.ndim == 3:
        pixels, scaling = _luminance(raw), "colour"
    else:
        pixels, scaling = _scale(raw, dataset)
        if photometric == "MONOCHROME1":
            pixels = 1 - pixels
        padding = dataset.get("PixelPaddingValue")
        if padding is not None:
            pixels = np.where(raw == padding, np.float32(0), pixels)
    info = {
        "format": "DICOM",
        "mode": "RGB" if raw.ndim == 3 else "L",
        "bits": int(dataset.get("BitsStored", 8)),
        "photometric": photometric,
        "scaling": scaling,
    }
    return np.ascontiguousarray(pixels, dtype=np.float32), info


def read_dicom_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header."""
    dataset = _open(path, header_only=True)
    _refuse_frames(dataset, path)
    return int(dataset.Columns), int(dataset.Rows)


def _open(path: Path, *, header_only: bool) -> FileDataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=header_only)
    except InvalidDicomError:
        raise ImageError("is no DICOM file", file=path, remedy="fetch it again or correct its name") from None
    except Exception as error:  # a cut-off file fails in whatever element it was cut
        raise _damaged(path, error) from None
    if "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError("is a DICOM file without an image", file=path, remedy="leave it out")
    return dataset


def _refuse_frames(dataset: FileDataset, path: Path) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(
            f"holds {frames} frames, one is expected", file=path, remedy="export the frame that you want as an image"
        )


def _scale(raw: np.ndarray, dataset: FileDataset) -> tuple[np.ndarray, str]:
    """Modality rescaling, then the first window, the VOI table, or the range of the values."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values = apply_modality_lut(raw, dataset)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
        function = str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR")
        if width > 0 and math.isfinite(centre):
            return window(values.astype(np.float32), centre, width, function), "window"
    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        largest = 2 ** int(table.LUTDescriptor[2]) - 1
        return (apply_voi(values.astype(raw.dtype), dataset) / np.float32(largest)).astype(np.float32), "voi table"
    values = values.astype(np.float32)
    padding = dataset.get("PixelPaddingValue")
    inside = values[raw != padding] if padding is not None else values
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    return ((values - low) / max(high - low, 1e-6)).clip(0, 1), "range"


def window(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Map ``values`` through a VOI window to [0, 1] (DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        result = 1 / (1 + np.exp(-4 * (values - centre) / width))
    elif function == "LINEAR_EXACT" or width <= 1:
        result = (values - centre) / width + 0.5
    else:
        result = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.asarray(result.clip(0, 1), dtype=np.float32)


def _luminance(raw: np.ndarray) -> np.ndarray:
    """Colour (H, W, 3) to grey; of YBR, pydicom has already made RGB."""
    raw = raw.astype(np.float32) / np.iinfo(raw.dtype).max
    return np.asarray(raw[..., :3] @ np.array([0.299, 0.587, 0.114], dtype=np.float32), dtype=np.float32)


def _first(value: Any) -> float:
    try:
        return float(value)
    except TypeError:
        return float(value[0])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _damaged(path: Path, error: Exception) -> ImageError:
    return ImageError(f"is damaged ({_first_line(error)})", file=path, remedy="fetch it again or leave it out")
