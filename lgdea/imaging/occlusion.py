"""Occlusion attribution: how much a score falls when a cell of the query is replaced, its references held fixed.

Alone, a cell is filled with the picture's mean; beside references with their mean picture, what a healthy person has
there. Letters: G x G cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Pixels = NDArray[np.float32]


def filling(pixels: Pixels, references: Sequence[Pixels] = ()) -> Pixels:
    """What stands in for a hidden cell, (H, W).

    Args:
        pixels: (H, W) the query, in [0, 1].
        references: Pictures of its references, of any size; none for the query alone.
    """
    if not references:
        return np.full_like(pixels, pixels.mean())
    height, width = pixels.shape
    resized = [
        np.asarray(Image.fromarray(np.asarray(r, np.float32)).resize((width, height), Image.Resampling.BILINEAR))
        for r in references
    ]
    return np.asarray(np.mean(resized, axis=0), np.float32)


def occluded(pixels: Pixels, fill: Pixels, grid: int) -> Iterator[Pixels]:
    """Yield the picture with one cell after the other replaced, row by row: G * G pictures (H, W).

    Args:
        pixels: (H, W).
        fill: (H, W) what stands in, from :func:`filling`.
        grid: G.
    """
    rows, columns = (np.linspace(0, size, grid + 1).round().astype(int) for size in pixels.shape)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            picture = pixels.copy()
            picture[top:bottom, left:right] = fill[top:bottom, left:right]
            yield picture


def attribution_map(score: float, scores: ArrayLike, height: int, width: int) -> NDArray[np.float32]:
    """Fall of the score at every pixel, (H, W): that of the pixel's cell.

    Args:
        score: Score of the whole picture.
        scores: (G * G,) scores of the pictures of :func:`occluded`.
        height: H.
        width: W.
    """
    scores = np.asarray(scores, np.float64)
    grid = round(len(scores) ** 0.5)
    falls = (score - scores).reshape(grid, grid).astype(np.float32)
    rows, columns = (np.linspace(0, size, grid + 1).round().astype(int) for size in (height, width))
    return np.repeat(np.repeat(falls, np.diff(rows), axis=0), np.diff(columns), axis=1)


def inside_mass(heat: ArrayLike, mask: ArrayLike) -> float:
    """Share of a map's positive part that lies in a mask; NaN where nothing is positive.

    Args:
        heat: (H, W).
        mask: (H, W) True inside.

    Example:
        >>> inside_mass([[3.0, -1.0], [1.0, 0.0]], [[True, True], [False, False]])
        0.75
    """
    positive = np.clip(np.nan_to_num(np.asarray(heat, np.float64)), 0, None)
    total = positive.sum()
    return float(positive[np.asarray(mask, bool)].sum() / total) if total > 0 else float("nan")


def to_png(pixels: Pixels, side: int | None = None) -> bytes:
    """A picture in [0, 1] as an 8-bit PNG file.

    Args:
        pixels: (H, W).
        side: Longest side in pixels, to which a larger picture is reduced; None for its own.
    """
    image = Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    if side is not None and max(image.size) > side:
        scale = side / max(image.size)
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    out = BytesIO()
    image.save(out, format="PNG", compress_level=1)
    return out.getvalue()
