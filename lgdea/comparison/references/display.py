"""A query shown as the pictures that a model knows: the display curve of its site undone, as its references tell it.

Devices and archives turn the same density into other grey values. The grey values of healthy people of the query's site
say how, without the query's own findings; histograms are matched by landmarks as in Nyul & Udupa 1999. Letters: Q
quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LEVELS = np.linspace(0, 1, 33)
_PIXELS = 65_536  # of a picture, that its quantiles are taken of


def grey_quantiles(pixels: ArrayLike) -> Floats:
    """Quantiles (Q,) of a picture's grey values, at :data:`LEVELS`.

    Args:
        pixels: (H, W).
    """
    flat = np.asarray(pixels).ravel()
    return np.asarray(np.quantile(flat[:: max(1, len(flat) // _PIXELS)], LEVELS), np.float64)


def mean_quantiles(references: Sequence[Floats]) -> Floats:
    """Mean quantile function (Q,) of pictures: each counts alike, whatever its size.

    Args:
        references: Quantiles (Q,) of each.
    """
    return np.asarray(np.mean(references, axis=0))


def standardise(pixels: ArrayLike, seen: Floats, known: Floats) -> NDArray[np.float32]:
    """Map grey values so that the quantiles ``seen`` become those ``known``; linear between them, monotone.

    Args:
        pixels: (H, W) the query.
        seen: (Q,) quantiles of its references, or of the query itself.
        known: (Q,) quantiles of healthy people of the archive on which the thresholds were chosen.

    Example:
        >>> known = np.linspace(0.0, 0.5, len(LEVELS))
        >>> standardise([[0.2, 1.0]], np.linspace(0.0, 1.0, len(LEVELS)), known).round(3).tolist()
        [[0.10000000149011612, 0.5]]
    """
    # equal quantiles, as of a black border, would be one value with several images
    rising = np.maximum.accumulate(seen + 1e-6 * np.arange(len(seen)))
    return np.asarray(np.interp(np.asarray(pixels, np.float64), rising, known), np.float32)
