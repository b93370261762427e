"""Image preprocessing of other libraries, and the inverse map from their crop to source pixels.

timm, open_clip and transformers all do the same in other words: resize, cut or pad around the centre, normalise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lgdea.evaluation.encoders.protocol import Pixels
from lgdea.imaging.geometry import Axis, spread

if TYPE_CHECKING:
    from torch import Tensor

Resize = Literal["shortest", "longest", "squash"]


@dataclass(frozen=True)
class CropGeometry:
    """Position and scale of a source image in the model's input frame; the two axes may have different scales."""

    rows: Axis
    columns: Axis

    def map_to_source(self, heat_map: NDArray[np.floating], cell: tuple[int, int] | None = None) -> Pixels:
        """Spread a map (h, w) over the source image.

        Args:
            heat_map: A grid of patches.
            cell: Height and width of a patch in pixels of the frame: what lies beyond the last whole patch was not
                seen. None: the grid covers the whole frame.

        Returns:
            (H, W) float32 in source pixels, NaN where the model did not look.
        """
        rows, columns = self.rows, self.columns
        if cell is not None:
            rows = replace(rows, model=heat_map.shape[0] * cell[0])
            columns = replace(columns, model=heat_map.shape[1] * cell[1])
        return np.asarray(spread(heat_map, rows, columns))


@dataclass(frozen=True)
class Preprocessing:
    """Resize, cut or pad around the centre, normalise.

    Args:
        size: Height and width of the frame that the model takes.
        resize: ``shortest`` keeps the aspect and fills ``edges``, ``longest`` keeps it and fits into them, ``squash``
            gives the image exactly these edges.
        edges: Height and width that ``resize`` aims at; the frame is cut from the result.
        interpolation: Pillow's name of the filter: ``bicubic``, ``bilinear`` ...
        mean: Subtracted from grey values in [0, 1], one per channel.
        std: Divisor after that.
        fill: Grey value of bars, 0 to 255, one per channel; black by default.
        floor: If true, an odd margin is halved downwards (transformers), else to the nearest even pixel (torchvision).
    """

    size: tuple[int, int]
    resize: Resize
    edges: tuple[int, int]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: tuple[int, ...] | None = None
    floor: bool = False

    def crop_geometry(self, height: int, width: int) -> CropGeometry:
        """Geometry of a source image (height, width) in the model's input frame."""
        axes = []
        for source, resized, size in zip((height, width), self._resized(height, width), self.size, strict=True):
            axes.append(Axis(source, size, resized / source, self._offset(resized, size)))
        return CropGeometry(*axes)

    def prepare(self, pixels: Pixels) -> NDArray[np.uint8]:
        """One image (H, W) in [0, 1] as the frame (C, h, w), not yet normalised.

        Eight bits and Pillow's filter, as the libraries do it with a grey PNG; one channel is resized instead of three.
        """
        grey = np.rint(pixels * np.float32(255)).astype(np.uint8)
        height, width = self._resized(*grey.shape)
        filter_ = Image.Resampling[self.interpolation.upper()]
        resized = np.asarray(Image.fromarray(grey).resize((width, height), filter_))
        fill = np.array(self.fill or (0,) * len(self.mean), np.uint8)
        frame = np.empty((len(self.mean), *self.size), np.uint8)
        if height < self.size[0] or width < self.size[1]:
            frame[:] = fill[:, None, None]
        top, left = self._offset(height, self.size[0]), self._offset(width, self.size[1])
        part = resized[max(-top, 0) : self.size[0] - top, max(-left, 0) : self.size[1] - left]
        frame[:, max(top, 0) : max(top, 0) + part.shape[0], max(left, 0) : max(left, 0) + part.shape[1]] = part
        return frame

    def normalise(self, frames: Tensor) -> Tensor:
        """Frames (B, C, h, w) uint8 as float32, on the same device."""
        import torch

        mean, std = (torch.tensor(v, device=frames.device)[:, None, None] * 255 for v in (self.mean, self.std))
        return frames.float().sub_(mean).div_(std)

    def batch(self, images: Sequence[Pixels]) -> Tensor:
        """Images as what the model takes: (B, C, h, w) float32, on the CPU."""
        import torch

        return self.normalise(torch.from_numpy(np.stack([self.prepare(image) for image in images])))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        aim_h, aim_w = self.edges
        if self.resize == "squash":
            return aim_h, aim_w
        if self.resize == "shortest" and aim_h == aim_w:  # all three libraries cut the fraction of the longer edge
            return (aim_h, int(aim_h * width / height)) if height <= width else (int(aim_h * height / width), aim_h)
        ratio = (max if self.resize == "longest" else min)(height / aim_h, width / aim_w)
        return max(round(height / ratio), 1), max(round(width / ratio), 1)

    def _offset(self, resized: int, size: int) -> int:
        """First pixel of the resized image in the frame, negative where it is cut."""
        if resized < size:
            return (size - resized) // 2
        return -((resized - size) // 2) if self.floor else -round((resized - size) / 2)
