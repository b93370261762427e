"""Phrase grounding: contrast-to-noise ratio, mean IoU over thresholds, pointing game and its references.

A map is (H, W) in source pixels, higher where the phrase is seen, NaN outside the model's crop. Boxes are (M, 4)
``x_min, y_min, x_max, y_max``, half-open, source pixels; several boxes of one phrase count as their union.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bools = NDArray[np.bool_]

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
PRIOR_CELLS = 64
"""Side of the grid of places from which a fixed one is chosen."""


def box_mask(boxes: ArrayLike, height: int, width: int) -> Bools:
    """Union of boxes as pixels: (M, 4) to (H, W).

    Edges go to the nearest pixel border and are clipped to the image; a box inside it keeps at least one pixel.

    Args:
        boxes: (M, 4) ``(x_min, y_min, x_max, y_max)`` in pixels, half-open.
        height: H, pixels.
        width: W, pixels.

    Raises:
        ValueError: ``boxes`` is not (M, 4), or no box touches the image.

    Example:
        >>> int(box_mask([[0, 0, 2, 1]], 3, 3).sum())
        2
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be (M, 4), not {boxes.shape}")
    mask = np.zeros((height, width), bool)
    for left, top, right, bottom in _pixel_edges(boxes, height, width):
        mask[top:bottom, left:right] = True
    if not mask.any():
        raise ValueError(f"no box lies inside the image of {width} x {height} pixels")
    return mask


def cnr(heat: ArrayLike, mask: ArrayLike) -> float:
    """Contrast-to-noise ratio |m_in - m_out| / sqrt(v_in + v_out) of the map clamped at 0.

    Definition ``grounding/cnr-v1`` (Boecking et al. 2022, BioViL; population variances).

    Args:
        heat: (H, W) map, NaN left out.
        mask: (H, W) union of the boxes.

    Returns:
        0 for a constant map, so also for one that is nowhere positive; infinity for a map that is exactly two-valued
        along the boxes; NaN when the crop holds no pixel of the boxes or nothing else.

    Example:
        >>> round(cnr([[1.0, 0.8, 0.1, 0.3]], [[True, True, False, False]]), 6)
        4.949747
    """
    heat, mask = _checked(heat, mask)
    seen = ~np.isnan(heat)
    inside, outside = np.maximum(heat[mask & seen], 0.0), np.maximum(heat[~mask & seen], 0.0)
    if inside.size == 0 or outside.size == 0:
        return float("nan")
    contrast = abs(inside.mean() - outside.mean())
    noise = np.sqrt(inside.var() + outside.var())
    if noise == 0:
        return float("inf") if contrast > 0 else 0.0
    return float(contrast / noise)


def miou(heat: ArrayLike, mask: ArrayLike, thresholds: Sequence[float] = THRESHOLDS) -> float:
    """Mean over thresholds of IoU(map > threshold, union of the boxes).

    Definition ``grounding/miou-v1`` (Boecking et al. 2022). A box part outside the crop cannot be found and counts as
    missed.

    Args:
        heat: (H, W) map; NaN is never above a threshold.
        mask: (H, W) union of the boxes.
        thresholds: On the map's own scale (cosines).

    Returns:
        A value in [0, 1]; NaN when the whole map is NaN.

    Example:
        >>> round(miou([[0.9, 0.0], [0.0, 0.0]], [[True, True], [False, False]]), 3)
        0.5
    """
    heat, mask = _checked(heat, mask)
    if np.isnan(heat).all():
        return float("nan")
    values = []
    for threshold in thresholds:
        found = heat > threshold
        values.append(np.sum(found & mask) / np.sum(found | mask))
    return float(np.mean(values))


def pointing(heat: ArrayLike, boxes: ArrayLike, tolerance: float = 0.0) -> float:
    """Pointing game: 1 if the map's highest pixel lies in a box, else 0; of tied maxima the share that does.

    Definition ``grounding/pointing-v1`` (Zhang et al. 2018, who allow 15 pixels; here none by default).

    Args:
        heat: (H, W) map of any sign, NaN left out.
        boxes: (M, 4) boxes.
        tolerance: Allowed distance from the pixel's centre to a box, in source pixels.

    Returns:
        A value in [0, 1]; NaN when the whole map is NaN.

    Example:
        >>> pointing([[0.1, 0.9], [0.9, 0.2]], [[1, 0, 2, 1]])
        0.5
    """
    heat = np.asarray(heat, np.float64)
    if np.isnan(heat).all():
        return float("nan")
    mask = box_mask(boxes, *heat.shape)
    rows, columns = np.nonzero(heat == np.nanmax(heat))
    hit = mask[rows, columns]
    if tolerance > 0:
        hit = hit | (_distances(columns + 0.5, rows + 0.5, boxes) <= tolerance)
    return float(hit.mean())


def pointing_chance(heat: ArrayLike, mask: ArrayLike) -> float:
    """:func:`pointing` of a uniformly random pixel of the crop: the share of it that the boxes cover.

    Definition ``grounding/pointing-chance-v1``. NaN when the whole map is NaN.

    Args:
        heat: (H, W) map; NaN outside the crop.
        mask: (H, W) union of the boxes.

    Example:
        >>> pointing_chance([[0.9, 0.1], [0.0, 0.0]], [[True, False], [False, False]])
        0.25
    """
    heat, mask = _checked(heat, mask)
    seen = ~np.isnan(heat)
    return float(mask[seen].mean()) if seen.any() else float("nan")


def point_hit(place: tuple[float, float], boxes: ArrayLike, height: int, width: int, tolerance: float = 0.0) -> bool:
    """:func:`pointing` of a map whose highest pixel is at ``place``.

    Args:
        place: (x, y) in shares of the image's width and height, each in [0, 1).
        boxes: (M, 4) boxes, source pixels.
        height: Of the image, pixels.
        width: Likewise.
        tolerance: As for :func:`pointing`.

    Example:
        >>> point_hit((0.5, 0.5), [[4, 4, 6, 6]], 10, 10)
        True
    """
    x, y = min(int(place[0] * width), width - 1), min(int(place[1] * height), height - 1)
    hit = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in _pixel_edges(boxes, height, width))
    near = tolerance > 0 and _distances(np.array([x + 0.5]), np.array([y + 0.5]), boxes)[0] <= tolerance
    return bool(hit or near)


def coverage(boxes: ArrayLike, height: int, width: int, cells: int = PRIOR_CELLS) -> Bools:
    """Mask of the cells of a (cells, cells) grid over the image whose centre is in a box."""
    scale = np.array([width, height, width, height]) / cells
    mask = np.zeros((cells, cells), bool)
    edges = np.clip(np.ceil(np.asarray(boxes, np.float64) / scale - 0.5), 0, cells).astype(np.int64)
    for left, top, right, bottom in edges:
        mask[top:bottom, left:right] = True
    return mask


def best_place(shares: ArrayLike) -> tuple[float, float]:
    """Place that most items have in a box: (x, y) in shares of width and height.

    Of equally good cells, the one nearest to their middle: a place at the rim of a plateau is the best only by chance.

    Args:
        shares: (cells, cells) how often each cell was covered, any scale.
    """
    shares = np.asarray(shares, np.float64)
    best = np.argwhere(shares >= shares.max() * (1 - 1e-9))
    y, x = best[np.square(best - best.mean(axis=0)).sum(axis=1).argmin()]
    return (float(x) + 0.5) / shares.shape[1], (float(y) + 0.5) / shares.shape[0]


def _pixel_edges(boxes: ArrayLike, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Boxes that touch the image, to the nearest pixel border, clipped, one pixel at least."""
    edges = []
    for x_min, y_min, x_max, y_max in np.asarray(boxes, np.float64):
        if x_max > 0 and y_max > 0 and x_min < width and y_min < height:
            left, top = min(max(round(x_min), 0), width - 1), min(max(round(y_min), 0), height - 1)
            right, bottom = max(min(round(x_max), width), left + 1), max(min(round(y_max), height), top + 1)
            edges.append((left, top, right, bottom))
    return edges


def _distances(x: NDArray[Any], y: NDArray[Any], boxes: ArrayLike) -> NDArray[np.float64]:
    """Distance of each point (N,) to the nearest of the boxes, 0 inside."""
    left, top, right, bottom = (edge[:, None] for edge in np.asarray(boxes, np.float64).T)
    away_x = np.maximum(np.maximum(left - x, x - right), 0.0)
    away_y = np.maximum(np.maximum(top - y, y - bottom), 0.0)
    return np.asarray(np.hypot(away_x, away_y).min(axis=0))


def _checked(heat: ArrayLike, mask: ArrayLike) -> tuple[NDArray[np.float64], Bools]:
    heat, mask = np.asarray(heat, np.float64), np.asarray(mask, bool)
    if heat.ndim != 2 or heat.shape != mask.shape:
        raise ValueError(f"map {heat.shape} and mask {mask.shape} must both be (H, W)")
    if not mask.any():
        raise ValueError("the mask is empty")
    return heat, mask
