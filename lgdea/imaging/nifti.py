"""Axial slices of CT and MR volumes in NIfTI files, as a radiologist sees them.

NIfTI has no manufacturer's window and no body part: the caller says whether the values are Hounsfield units. A slice is
shown in the radiological convention, seen from the patient's feet: the patient's right is at the picture's left, the
front at its top.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lgdea.errors import ImageError, UsageError, first_line
from lgdea.reading import require_file

if TYPE_CHECKING:
    from types import ModuleType

ENDINGS = (".nii", ".nii.gz")
Choice = Literal["even", "tissue"]

# (centre, width) in Hounsfield units, the usual presets.
WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
}
PERCENTILES = "percentiles"
"""The scaling for volumes without a physical unit (MR): the 1st and 99th percentile of the volume's foreground."""

_LOW, _HIGH = 1.0, 99.0
_AIR = -500.0  # Hounsfield units; between lung and fat, so that a lung does not count as tissue
_TRIM = 0.1  # share of the volume at each end that evenly spaced slices leave out: shoulders, table, pelvis


@dataclass(frozen=True)
class VolumeSlices:
    """Some slices of a volume.

    Attributes:
        pixels: (S, H, W) float32 in [0, 1], bright = high value; row 0 is the front, column 0 the patient's right.
        indices: S slice numbers, 0 at the feet.
        depth: Slices of the whole volume.
        spacing: (row, column, slice) in millimetres.
        window: The lowest and the highest value shown.
    """

    pixels: np.ndarray
    indices: tuple[int, ...]
    depth: int
    spacing: tuple[float, float, float]
    window: tuple[float, float]


def read_slices(
    path: str | Path, *, slices: int = 8, choose: Choice = "even", window: str | tuple[float, float] = "mediastinum"
) -> VolumeSlices:
    """Read axial slices of a three-dimensional NIfTI file.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        slices: How many, S; a volume of fewer slices gives all of them.
        choose: ``even`` spaces them over the inner 80% of the volume; ``tissue`` takes, in each of S equal parts of
            the volume, the slice with the most tissue (CT: above -500 HU; percentiles: above Otsu's threshold).
        window: A key of :data:`WINDOWS`, ``percentiles``, or (lowest, highest) in the volume's own unit.

    Returns:
        The slices from the feet to the head. Voxels that are not finite are shown as the lowest value.

    Raises:
        UsageError: nibabel is not installed, or an option is unknown.
        ImageError: The file is missing, damaged, or no three-dimensional volume.
    """
    if slices < 1:
        raise UsageError(f"slices={slices} is no number of slices", remedy="ask for at least 1")
    if choose not in ("even", "tissue"):
        raise UsageError(f"no choice of slices {choose!r}", remedy="known are even, tissue")
    path = Path(path)
    volume, spacing = _canonical(path)
    low, high = _limits(volume, window)
    if choose == "even":
        indices = evenly(volume.shape[2], slices)
    else:
        indices = fullest(volume, slices, otsu(volume) if window == PERCENTILES else _AIR)
    # Canonical axes run from the patient's left to the right (x), back to front (y), feet to head (z). The picture's
    # rows run from front to back, its columns from the patient's right to the left.
    chosen = np.stack([np.asarray(volume[::-1, ::-1, k]).T for k in indices])
    pixels = np.clip((chosen - low) / (high - low), 0.0, 1.0)
    pixels = np.nan_to_num(pixels, nan=0.0).astype(np.float32)
    return VolumeSlices(pixels, tuple(indices), volume.shape[2], (spacing[1], spacing[0], spacing[2]), (low, high))


def evenly(depth: int, slices: int) -> list[int]:
    """Slice numbers spread over the inner part of ``depth``, each at the middle of its share.

    Args:
        depth: Slices of the volume.
        slices: Slices wanted, S; all are taken where there are not more.

    Returns:
        At most S numbers, ascending.

    >>> evenly(100, 4)
    [20, 40, 60, 80]
    """
    if slices >= depth:
        return list(range(depth))
    start, stop = depth * _TRIM, depth * (1 - _TRIM)
    wanted = start + (np.arange(slices) + 0.5) * (stop - start) / slices
    numbers = np.unique(np.floor(wanted).astype(int))
    if len(numbers) < slices:  # a thin volume: the whole of it
        numbers = np.unique(np.floor((np.arange(slices) + 0.5) * depth / slices).astype(int))
    return [int(number) for number in numbers]


def fullest(volume: np.ndarray, slices: int, threshold: float) -> list[int]:
    """Choose the slice with the most tissue in each of equal parts of a volume.

    Args:
        volume: (X, Y, Z), slices along Z; NaN counts as air.
        slices: Number of parts, S.
        threshold: Values above it count as tissue.

    Returns:
        S slice numbers, ascending.
    """
    depth = volume.shape[2]
    if slices >= depth:
        return list(range(depth))
    with np.errstate(invalid="ignore"):
        tissue = np.array([np.count_nonzero(volume[:, :, k] > threshold) for k in range(depth)])
    edges = np.linspace(0, depth, slices + 1).round().astype(int)
    return [int(a + np.argmax(tissue[a:b])) for a, b in pairwise(edges)]


def otsu(volume: np.ndarray) -> float:
    """The threshold that parts the finite values into two classes best (Otsu, IEEE Trans SMC 1979, 9(1):62-66)."""
    values = volume[np.isfinite(volume)]
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[int(np.argmax(np.nan_to_num(between[:-1]))) + 1])


def _limits(volume: np.ndarray, window: str | tuple[float, float]) -> tuple[float, float]:
    if isinstance(window, str):
        if window == PERCENTILES:
            return _percentiles(volume)
        if window not in WINDOWS:
            raise UsageError(f"no window {window!r}", remedy=f"known are {', '.join([*WINDOWS, PERCENTILES])}")
        centre, width = WINDOWS[window]
        return centre - width / 2, centre + width / 2
    low, high = float(window[0]), float(window[1])
    if not low < high:
        raise UsageError(f"the window {low:g} to {high:g} is empty", remedy="give (lowest, highest)")
    return low, high


def _percentiles(volume: np.ndarray) -> tuple[float, float]:
    """Percentiles of the foreground: most of an MR volume is air, which would take the whole range."""
    values = volume[np.isfinite(volume)]
    if values.size == 0 or values.min() == values.max():
        low = float(values.min()) if values.size else 0.0
        return low, low + 1.0
    foreground = values[values > values.min()]
    low, high = (float(value) for value in np.percentile(foreground, [_LOW, _HIGH]))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def _canonical(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Values (X, Y, Z) float32 in the closest axes to left-right, back-front, feet-head; and mm per axis."""
    nibabel = _nibabel()
    try:
        require_file(path, what="volume")
    except UsageError as error:
        raise ImageError(error.problem, file=path, remedy=error.remedy) from None
    try:
        image: Any = nibabel.load(path)
        shape = tuple(image.shape)
        _refuse_values(np.dtype(image.get_data_dtype()), path)
        while len(shape) > 3 and shape[-1] == 1:
            image, shape = image.slicer[..., 0], shape[:-1]
        if len(shape) != 3 or min(shape) < 1:
            shown = " x ".join(map(str, shape))
            raise ImageError(f"is no volume but {shown}", file=path, remedy="give one three-dimensional image per file")
        image = nibabel.as_closest_canonical(image)
        volume = np.asarray(image.dataobj, dtype=np.float32)
        x, y, z = (float(value) for value in image.header.get_zooms()[:3])
    except ImageError:
        raise
    except Exception as error:  # nibabel, zlib and numpy raise many kinds on a damaged file
        reason = first_line(error, 120)
        raise ImageError(f"is damaged or no NIfTI file ({reason})", file=path, remedy="fetch it again") from None
    if not np.isfinite(volume).any():
        raise ImageError("has no voxel whose value is finite", file=path, remedy="fetch it again or leave it out")
    return volume, (x, y, z)


def _refuse_values(dtype: np.dtype, path: Path) -> None:
    """Refuse volumes whose voxels are more than one number."""
    if dtype.names:
        names = "".join(dtype.names)
        remedy = f"save one channel, np.asarray(nibabel.load(FILE).dataobj)['{dtype.names[0]}'], as a volume of its own"
        raise ImageError(f"holds colours ({names}), one number per voxel is expected", file=path, remedy=remedy)
    if dtype.kind == "c":
        remedy = "save the magnitude, abs(np.asarray(nibabel.load(FILE).dataobj)), as a volume of its own"
        raise ImageError("holds complex numbers, one real number per voxel is expected", file=path, remedy=remedy)


def _nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError:
        raise UsageError(
            "NIfTI files need nibabel, which is not installed", remedy="pip install 'lgdea[nifti]'"
        ) from None
    return nibabel  # type: ignore[no-any-return]
