"""From the stored values of a DICOM picture to densities in [0, 1] (DICOM PS3.3, C.7.6.3 and C.11)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lgdea.errors import ImageError
from lgdea.imaging.dicom_file import AGAIN, PIXELS, has_comma, is_empty, number, numbers, refuse_others, require
from lgdea.imaging.syntaxes import EXPORT, GDCM, decoders, syntax_name

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_LAYOUT = ("SamplesPerPixel", "BitsAllocated")
_KNOWN = {"SamplesPerPixel": (1, 3), "BitsAllocated": (1, 8, 16, 32, 64), "PixelRepresentation": (0, 1)}
_INTEGERS = ("BitsStored", "PixelRepresentation")  # floating-point pixels have none
_END = b"\xff\xd9"  # of a JPEG, JPEG-LS or JPEG 2000 stream; never within one
_TRAILING = 512  # bytes at the end in which it is looked for, as writers fill up
_WRITTEN_AS_TEXT = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")


def decode(dataset: FileDataset, path: Path) -> np.ndarray:
    """The stored values, (H, W) or (H, W, 3); of YBR, pydicom makes RGB.

    Raises:
        ImageError: An element is missing or contradicts another, pixels are missing, or they cannot be decoded.
    """
    keyword = next((keyword for keyword in PIXELS if dataset.get(keyword)), None)
    if keyword is None:
        raise ImageError("has no pixel data", file=path, remedy=AGAIN)
    _check_layout(dataset, keyword, path)
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        _check_length(dataset, keyword, path)
        return _lower_bits(_array(dataset), dataset, path)
    _check_end(dataset, path)
    try:
        return _array(dataset)
    except Exception:  # as many kinds as there are decoders
        raise _not_decoded(dataset, path) from None


def _lower_bits(stored: np.ndarray, dataset: FileDataset, path: Path) -> np.ndarray:
    """Densities that stand in the upper bits, as older devices wrote 12 bits with HighBit 15, moved down.

    Many files have a wrong HighBit, so that bits are moved only where those below are all 0 and those above are not.
    """
    high, bits = (number(dataset, key, path) for key in ("HighBit", "BitsStored"))
    size = 8 * stored.dtype.itemsize
    if stored.ndim != 2 or stored.dtype.kind == "f" or high is None or bits is None or not bits <= high < size:
        return stored
    whole = _array(dataset, correct_unused_bits=False)
    plain = whole.view(f"u{whole.dtype.itemsize}")
    if (plain & (2 ** int(high + 1 - bits) - 1)).any() or (plain < 2**bits).all():
        return stored
    return np.asarray((whole << int(size - 1 - high)) >> int(size - bits))


def find_padding(stored: np.ndarray, dataset: FileDataset, path: Path) -> np.ndarray:
    """Find the pixels that are filled up with a value, or a range of values, that is not a density.

    The value has the type of the pixels (PS3.3, C.7.5.1.1.2); some devices write -2000 of signed pixels as US 63536,
    or the other way round, which is the same 16 bits.
    """
    float_key = {"f4": "FloatPixelPadding", "f8": "DoubleFloatPixelPadding"}.get(stored.dtype.str[1:])
    name = float_key or "PixelPadding"
    value, limit = number(dataset, f"{name}Value", path), number(dataset, f"{name}RangeLimit", path)
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    ends = [value, value if limit is None else limit]
    if float_key is None:
        bits, size = int(number(dataset, "BitsStored", path) or 0), 8 * stored.dtype.itemsize
        signed = stored.dtype.kind == "i"
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        ends = [_wrap(end, size, signed=signed) for end in ends]
        if signed:  # a positive number that only fits into all stored bits without a sign
            ends = [_wrap(end, bits, signed=True) if high < end < 2**bits else end for end in ends]
        if min(ends) < low or max(ends) > high:  # in bits beside those of the densities, which decoding cuts off
            stored = _array(dataset, correct_unused_bits=False)
    return np.asarray((stored >= min(ends)) & (stored <= max(ends)))


def scale(
    stored: np.ndarray, dataset: Dataset, padded: np.ndarray, path: Path, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Modality rescaling, then the first window, the VOI table, or the range of the values.

    Args:
        stored: (H, W).
        dataset: Has the header.
        padded: (H, W), True where there is no density.
        path: Named in errors.
        notes: What had to be assumed is added to it.

    Returns:
        (H, W) float32 in [0, 1]; where it means anything; and how it was scaled.

    Raises:
        ImageError: No value is finite, or an element is no number.
    """
    notes += [f"{key} has a decimal comma, read as a point" for key in _WRITTEN_AS_TEXT if has_comma(dataset, key)]
    values = _rescale(stored, dataset, path, notes)
    known = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, dtype=bool)
    if not known.any():
        raise ImageError("has no pixel whose value is finite", file=path, remedy=AGAIN)
    if not known.all():
        notes.append(f"{int((~known).sum()):,} of {known.size:,} pixels are NaN or infinite and are shown black")
    window_of = _window(dataset, path)
    if window_of is not None:
        function = str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR")
        pixels, how = window(values.astype(np.float32), *window_of, function), "window"
    elif _has_table(dataset, path):
        with _named("VOILUTSequence", path):
            pixels, how = _apply_table(np.where(known, values, 0), dataset.VOILUTSequence[0]), "voi table"
    else:
        inside = values[known & ~padded]
        low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
        pixels, how = ((values - low) / max(high - low, 1e-6)).clip(0, 1), "range"
    return np.asarray(pixels, dtype=np.float32), known & ~padded, how


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


def luminance(raw: np.ndarray, bits: int) -> np.ndarray:
    """Colour (H, W, 3) of ``bits`` per channel to grey."""
    channels = raw[..., :3].astype(np.float32) / np.float32(2**bits - 1)
    return np.asarray((channels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).clip(0, 1), dtype=np.float32)


def _array(dataset: FileDataset, **options: Any) -> np.ndarray:
    from pydicom.pixels import pixel_array

    return np.asarray(pixel_array(dataset, **options))


def _wrap(value: float, bits: int, *, signed: bool) -> int:
    """The number of the same lowest ``bits``, with or without a sign."""
    unsigned = int(value) & (2**bits - 1)
    return unsigned - 2**bits if signed and unsigned >= 2 ** (bits - 1) else unsigned


def _check_layout(dataset: FileDataset, keyword: str, path: Path) -> None:
    if "SamplesPerPixel" not in dataset:  # ACR-NEMA knows one only
        dataset.SamplesPerPixel = 1
    require(dataset, _LAYOUT + (_INTEGERS if keyword == "PixelData" else ()), path)
    for key, known in _KNOWN.items():
        refuse_others(dataset, key, known, path)
    samples, allocated = (int(number(dataset, key, path) or 0) for key in _LAYOUT)
    if samples > 1 and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        require(dataset, ("PlanarConfiguration",), path)
        refuse_others(dataset, "PlanarConfiguration", (0, 1), path)
    stored = number(dataset, "BitsStored", path)
    if stored is not None and not 1 <= stored <= allocated:
        problem = f"says BitsStored {stored:g} and BitsAllocated {allocated}, which cannot be"
        raise ImageError(problem, file=path, remedy=AGAIN)


def _check_length(dataset: FileDataset, keyword: str, path: Path) -> None:
    keys = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    expected = math.ceil(math.prod(int(number(dataset, key, path) or 0) for key in keys) / 8)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        expected = math.ceil(expected / 3) * 2
    actual = len(dataset[keyword].value)
    if actual < expected:
        raise ImageError(f"its pixel data is {actual:,} of {expected:,} bytes", file=path, remedy=AGAIN)


def _check_end(dataset: FileDataset, path: Path) -> None:
    """Refuse a compressed picture that is cut short: some decoders fill up what is missing, and say nothing."""
    from pydicom.encaps import get_frame

    syntax = dataset.file_meta.TransferSyntaxUID
    name = syntax_name(str(syntax))
    try:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    except Exception:  # whatever a wrong length makes pydicom raise
        raise ImageError(f"its pixel data ({name}) is damaged", file=path, remedy=AGAIN) from None
    if "JPEG" in syntax.name and _END not in frame[-_TRAILING:]:
        raise ImageError(f"its pixel data ({name}) is cut short", file=path, remedy=AGAIN)


def _not_decoded(dataset: FileDataset, path: Path) -> ImageError:
    """What can be said of compressed pixels that no installed decoder took."""
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    tried = decoders(str(syntax), *(int(number(dataset, key, path) or 1) for key in ("BitsStored", "SamplesPerPixel")))
    more = any("gdcm" in missing for missing in get_decoder(syntax).missing_dependencies)
    problem = f"its pixel data ({syntax_name(str(syntax))}) cannot be decoded by {', '.join(tried)}"
    remedy = f"{GDCM} may read it; else {EXPORT}" if more else EXPORT
    return ImageError(problem, file=path, remedy=remedy)


def _rescale(stored: np.ndarray, dataset: Dataset, path: Path, notes: list[str]) -> np.ndarray:
    """Stored values in the unit of the modality; an empty slope is 1, an empty intercept 0."""
    from pydicom.pixels.processing import apply_modality_lut

    with _named("ModalityLUTSequence", path):
        if dataset.get("ModalityLUTSequence"):
            return np.asarray(apply_modality_lut(stored, dataset))
    slope, intercept = (number(dataset, key, path) for key in ("RescaleSlope", "RescaleIntercept"))
    for key, standing in (("RescaleSlope", 1), ("RescaleIntercept", 0)):
        if is_empty(dataset, key, path):
            notes.append(f"{key} is empty, {standing} is taken")
    if slope == 0:
        notes.append("RescaleSlope is 0, 1 is taken")
        slope = 1.0
    if not all(value is None or math.isfinite(value) for value in (slope, intercept)):
        raise ImageError("its RescaleSlope or RescaleIntercept is not finite", file=path, remedy=AGAIN)
    if slope is None and intercept is None:
        return stored
    return stored.astype(np.float64) * (1.0 if slope is None else slope) + (intercept or 0.0)


def _has_table(dataset: Dataset, path: Path) -> bool:
    with _named("VOILUTSequence", path):
        return bool(dataset.get("VOILUTSequence"))


@contextmanager
def _named(keyword: str, path: Path) -> Iterator[None]:
    """Whatever goes wrong here, the element is to blame."""
    try:
        yield
    except Exception:
        raise ImageError(f"its {keyword} cannot be applied", file=path, remedy=AGAIN) from None


def _window(dataset: Dataset, path: Path) -> tuple[float, float] | None:
    """Centre and width of the first window, None without one that shows anything."""
    centres, widths = numbers(dataset, "WindowCenter", path), numbers(dataset, "WindowWidth", path)
    if not centres or not widths or not (math.isfinite(centres[0]) and math.isfinite(widths[0])) or widths[0] <= 0:
        return None
    return centres[0], widths[0]


def _apply_table(values: np.ndarray, item: Dataset) -> np.ndarray:
    """Values through a VOI table to [0, 1] (DICOM PS3.3, C.11.2.1.1).

    Not pydicom's ``apply_voi``: it wraps around for rescaled (negative or fractional) values and for tables of more
    than 256 entries of 8 bits.
    """
    entries, first, bits = (int(part) for part in item.LUTDescriptor)
    entries = entries or 2**16
    if first >= 2**15 and values.min() < 0:  # written without its sign, as padding values are
        first -= 2**16
    data = item.LUTData
    if isinstance(data, bytes):  # OW, of a little-endian file
        data = np.frombuffer(data, dtype=np.uint8 if len(data) < 2 * entries else "<u2")
    table = np.asarray(data)[:entries].astype(np.float32) / np.float32(2**bits - 1)
    place = (np.rint(values).astype(np.int64) - first).clip(0, len(table) - 1)
    return np.asarray(table[place].clip(0, 1), dtype=np.float32)
