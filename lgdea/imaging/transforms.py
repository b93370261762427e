"""Preprocessing stored with a model's weights, and augmentation of training images.

The one place in ``lgdea.imaging`` that needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lgdea.errors import DataError, UsageError
from lgdea.imaging.geometry import Geometry, Mode, fit
from lgdea.imaging.read import PixelImage


@dataclass(frozen=True)
class Preprocess:
    """Preprocessing of every image before the model sees it; saved as ``preprocess.json`` beside the weights.

    Args:
        size: Side of the model's square frame in pixels.
        mean: Grey value subtracted, on the scale [0, 1].
        std: Divisor after that.
        mode: ``letterbox`` keeps the whole image, ``center_crop`` its largest centred square.
    """

    size: int
    mean: float = 0.5
    std: float = 0.25
    mode: Mode = "letterbox"

    def __post_init__(self) -> None:
        if self.size < 1 or not self.std > 0 or self.mode not in ("letterbox", "center_crop"):
            raise UsageError(
                f"preprocessing makes no sense: {asdict(self)}",
                remedy="size and std must be positive, mode letterbox or center_crop",
            )

    def __call__(self, image: PixelImage | np.ndarray) -> tuple[Tensor, Geometry]:
        """Prepare one image.

        Args:
            image: A read image, or (H, W) pixels: float in [0, 1] or uint8.

        Returns:
            (1, size, size) float32 and the geometry that brings boxes and maps back.
        """
        pixels = image.pixels if isinstance(image, PixelImage) else image
        frame, geometry = fit(np.asarray(pixels), self.size, self.mode)
        return self.normalise(torch.from_numpy(frame.copy())[None]), geometry

    def normalise(self, images: Tensor) -> Tensor:
        """Model frames of any shape, uint8 or float in [0, 1], to what the model takes; keeps shape and device."""
        return (_unit(images) - self.mean) / self.std

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``preprocess.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Preprocess:
        """The inverse of :meth:`to_dict`.

        Raises:
            DataError: A key is missing or unknown.
        """
        try:
            return cls(**content)
        except TypeError as error:
            raise DataError(
                f"does not describe preprocessing ({error})", file="preprocess.json", remedy="restore the file"
            ) from None


class Augment:
    """Random views of a batch, each sample with its own parameters, on whatever device the batch is.

    There is no horizontal flip: it would make every "left" in a report wrong.

    Args:
        rotate_degrees: Largest rotation either way.
        scale: Largest relative change of size: a factor in [1 - scale, 1 + scale].
        translate: Largest shift, as a share of the side.
        brightness: Largest change of all grey values, on the scale [0, 1].
        contrast: Largest relative change of the distance from the sample's mean.
        noise: Largest standard deviation of Gaussian noise; each sample draws its own up to this.
        erase: Probability that a rectangle of 2 to 15% of the area turns to the sample's mean.
    """

    def __init__(
        self,
        *,
        rotate_degrees: float = 10.0,
        scale: float = 0.1,
        translate: float = 0.05,
        brightness: float = 0.1,
        contrast: float = 0.2,
        noise: float = 0.03,
        erase: float = 0.0,
    ) -> None:
        values = (rotate_degrees, scale, translate, brightness, contrast, noise, erase)
        if min(values) < 0 or scale >= 1 or erase > 1:
            raise UsageError(f"augmentation strengths {values} must be >= 0, scale < 1 and erase <= 1")
        self.rotate_degrees, self.scale, self.translate = rotate_degrees, scale, translate
        self.brightness, self.contrast, self.noise, self.erase = brightness, contrast, noise, erase

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment a batch.

        Args:
            images: (B, 1, H, W) uint8, or float in [0, 1].
            generator: Source of randomness on the batch's device; None takes torch's global one.

        Returns:
            (B, 1, H, W) float in [0, 1].
        """
        return self.with_affine(images, generator)[0]

    def with_affine(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Augment as :meth:`__call__` does and return the geometric part too.

        Args:
            images: As of :meth:`__call__`.
            generator: As of :meth:`__call__`.

        Returns:
            (B, 1, H, W) float in [0, 1], and the affine (B, 2, 3) of each sample, for :func:`undo_affine`.
        """
        images = _unit(images)
        affine = self._affine(len(images), images, generator)
        if self.rotate_degrees or self.scale or self.translate:
            grid = _grid(affine, images)
            images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        images = self._photometric(images, generator)
        if self.noise:
            sigma = self.noise * _uniform((len(images), 1, 1, 1), images, generator, low=0.0)
            images = images + sigma * torch.randn(images.shape, generator=generator, device=images.device)
        if self.erase:
            images = self._erase(images, generator)
        return images.clamp(0, 1), affine

    def _affine(self, count: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Sampling matrices (B, 2, 3) in normalised coordinates, from augmented to original positions."""
        draw = _uniform((4, count), like, generator)
        angle = draw[0] * math.radians(self.rotate_degrees)
        zoom = 1 / (1 + draw[1] * self.scale)  # sampling coordinates shrink where the picture grows
        shift = -2 * self.translate * draw[2:]  # the side is 2 long in normalised coordinates
        aspect = like.shape[-2] / like.shape[-1]  # rotate in pixels, not in normalised units
        cos, sin = angle.cos() * zoom, angle.sin() * zoom
        rows = [cos, -sin * aspect, shift[0], sin / aspect, cos, shift[1]]
        return torch.stack(rows, dim=1).reshape(count, 2, 3)

    def _photometric(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        if not (self.brightness or self.contrast):
            return images
        draw = _uniform((2, len(images), 1, 1, 1), images, generator)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        gain = 1 + self.contrast * draw[0]
        return images * gain + (mean * (1 - gain) + self.brightness * draw[1])

    def _erase(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        count, _, height, width = images.shape
        draw = _uniform((5, count, 1), images, generator, low=0.0)
        area, ratio = 0.02 + 0.13 * draw[0], (0.5 + draw[1]) ** 2  # ratio of sides 0.25 .. 2.25
        tall, wide = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        rows = _span(height, draw[2] * (1 - tall), tall, images)
        columns = _span(width, draw[3] * (1 - wide), wide, images)
        hit = (rows[:, :, None] & columns[:, None, :] & (draw[4] < self.erase)[:, :, None])[:, None]
        return torch.where(hit, images.mean(dim=(1, 2, 3), keepdim=True), images)


def undo_affine(maps: Tensor, affine: Tensor) -> Tensor:
    """Bring maps of augmented images back to the frame before augmentation.

    Args:
        maps: (B, C, h, w), any grid that covers the frame.
        affine: (B, 2, 3) of :meth:`Augment.with_affine`.

    Returns:
        (B, C, h, w), NaN where the augmented view did not reach.
    """
    square = torch.zeros(len(affine), 3, 3, dtype=affine.dtype, device=affine.device)
    square[:, :2], square[:, 2, 2] = affine, 1
    grid = _grid(torch.linalg.inv(square)[:, :2].to(maps.dtype), maps)
    back = F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    outside = (grid.abs() > 1).any(dim=-1)[:, None]
    return back.masked_fill(outside, math.nan)


def _grid(affine: Tensor, like: Tensor) -> Tensor:
    """``F.affine_grid(affine, like.shape, align_corners=False)``, several times faster on a CPU."""
    height, width = like.shape[-2:]
    x = (2 * torch.arange(width, device=like.device, dtype=like.dtype) + 1) / width - 1
    y = ((2 * torch.arange(height, device=like.device, dtype=like.dtype) + 1) / height - 1)[:, None]
    rows = affine[..., None, None]  # (B, 2, 3, 1, 1)
    grid = torch.empty(len(affine), height, width, 2, device=like.device, dtype=like.dtype)
    for axis in range(2):
        grid[..., axis] = rows[:, axis, 0] * x + (rows[:, axis, 1] * y + rows[:, axis, 2])
    return grid


def _unit(images: Tensor) -> Tensor:
    return images.to(torch.get_default_dtype()) / 255 if images.dtype == torch.uint8 else images


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None, low: float = -1.0) -> Tensor:
    draw = torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
    return low + (1 - low) * draw


def _span(length: int, start: Tensor, share: Tensor, like: Tensor) -> Tensor:
    """(B, length) bool: positions between ``start`` and ``start + share``, both (B, 1) shares of the length."""
    position = (torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) / length
    return (position >= start) & (position < start + share)
