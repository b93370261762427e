"""Geometry between the source image and the square frame that a model sees, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

Mode = Literal["letterbox", "center_crop"]


@dataclass(frozen=True)
class Axis:
    """One axis of a frame: ``model = source * scale + offset``, continuous pixel coordinates.

    Attributes:
        source: Pixels of the source along the axis.
        model: Pixels of the frame along it that a map covers.
        scale: Model pixels per source pixel.
        offset: Where the source begins in the frame; negative when it is cropped.
    """

    source: int
    model: float
    scale: float
    offset: float

    def samples(self, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Per source pixel centre: the two of ``cells`` around it, the second's weight, and whether it is inside."""
        position = (np.arange(self.source) + 0.5) * self.scale + self.offset
        inside = (position >= 0) & (position <= self.model)
        cell = np.clip(position * cells / self.model - 0.5, 0, cells - 1)
        low = np.floor(cell).astype(np.int64)
        high = np.minimum(low + 1, cells - 1)
        return low, high, (cell - low).astype(np.float32), inside


def spread(heat_map: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Spread a map over the source image.

    Args:
        heat_map: (h, w), any grid that covers ``rows.model`` by ``columns.model`` pixels of the frame.
        rows: The vertical axis.
        columns: The horizontal one.

    Returns:
        (H, W) float32 in source pixels, bilinear between cell centres; NaN for pixels whose centre lies outside.
    """
    grid = np.asarray(heat_map, dtype=np.float32)
    y_low, y_high, y_part, y_in = rows.samples(grid.shape[0])
    x_low, x_high, x_part, x_in = columns.samples(grid.shape[1])
    lines = grid[y_low] * (1 - y_part[:, None]) + grid[y_high] * y_part[:, None]
    result = lines[:, x_low] * (1 - x_part) + lines[:, x_high] * x_part
    result[~y_in] = np.nan
    result[:, ~x_in] = np.nan
    return np.asarray(result, dtype=np.float32)


@dataclass(frozen=True)
class Geometry:
    """A scale and a shift: ``model = source * scale + offset``, in both axes, continuous pixel coordinates.

    Pixel ``i`` covers ``[i, i + 1)``. Offsets are whole source pixels times ``scale``, so the mapping is exact.

    Attributes:
        source_width: Columns of the source image.
        source_height: Rows of the source image.
        size: Side of the model's square frame.
        scale: Model pixels per source pixel.
        offset_x: Model column of the source's left edge; negative when it is cropped.
        offset_y: Model row of the source's upper edge; negative when it is cropped.
    """

    source_width: int
    source_height: int
    size: int
    scale: float
    offset_x: float
    offset_y: float

    def to_model_box(self, box: Sequence[float] | np.ndarray) -> np.ndarray:
        """Boxes (..., 4) as (x_min, y_min, x_max, y_max) from source pixels to the model's frame, not clipped."""
        return np.asarray(np.asarray(box, dtype=np.float64) * self.scale + self._shift)

    def to_source_box(self, box: Sequence[float] | np.ndarray) -> np.ndarray:
        """The inverse of :meth:`to_model_box`."""
        return np.asarray((np.asarray(box, dtype=np.float64) - self._shift) / self.scale)

    def map_to_source(self, heat_map: np.ndarray) -> np.ndarray:
        """Spread a map over the source image.

        Args:
            heat_map: (h, w), any grid that covers the model's whole frame (patches, for example).

        Returns:
            (H, W) float32 in source pixels, bilinear between cell centres; NaN for pixels whose centre lies outside
            the model's frame.
        """
        rows = Axis(self.source_height, self.size, self.scale, self.offset_y)
        columns = Axis(self.source_width, self.size, self.scale, self.offset_x)
        return spread(heat_map, rows, columns)

    @property
    def _shift(self) -> np.ndarray:
        return np.array([self.offset_x, self.offset_y, self.offset_x, self.offset_y])


def letterbox(width: int, height: int, size: int) -> Geometry:
    """Geometry that keeps the whole source, with black bars along the shorter side.

    Args:
        width: Columns of the source image.
        height: Rows of the source image.
        size: Side of the frame in pixels.
    """
    side = max(width, height)
    return _place_in_frame(width, height, size, side)


def center_crop(width: int, height: int, size: int) -> Geometry:
    """Geometry in which the largest centred square of the source fills the frame.

    Args:
        width: Columns of the source image.
        height: Rows of the source image.
        size: Side of the frame in pixels.
    """
    side = min(width, height)
    return _place_in_frame(width, height, size, side)


def geometry(width: int, height: int, size: int, mode: Mode) -> Geometry:
    """Geometry of a framing.

    Args:
        width: Columns of the source image.
        height: Rows of the source image.
        size: Side of the frame in pixels.
        mode: ``letterbox`` or ``center_crop``.
    """
    return letterbox(width, height, size) if mode == "letterbox" else center_crop(width, height, size)


def fit(pixels: np.ndarray, size: int, mode: Mode) -> tuple[np.ndarray, Geometry]:
    """Bring a picture into the model's frame.

    The cache and :class:`~lgdea.imaging.transforms.Preprocess` both call this, so cached and fresh pixels agree.

    Args:
        pixels: (H, W), float in [0, 1] or uint8.
        size: Side of the frame.
        mode: ``letterbox`` or ``center_crop``.

    Returns:
        (size, size) uint8, antialiased, and its geometry.
    """
    height, width = pixels.shape
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * np.float32(255)).astype(np.uint8)
    frame = geometry(width, height, size, mode)
    # The frame's edges in whole source pixels; they may lie outside the source (letterbox) or inside (crop).
    left, top = round(-frame.offset_x / frame.scale), round(-frame.offset_y / frame.scale)
    side = round(size / frame.scale)
    if mode == "letterbox" and width != height:
        canvas = np.zeros((side, side), dtype=np.uint8)
        canvas[-top : height - top, -left : width - left] = pixels
        square = canvas
    else:
        square = pixels[top : top + side, left : left + side]
    resized = Image.fromarray(np.ascontiguousarray(square)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized), frame


def _place_in_frame(width: int, height: int, size: int, side: int) -> Geometry:
    scale = size / side
    return Geometry(width, height, size, scale, ((side - width) // 2) * scale, ((side - height) // 2) * scale)
