"""Run-length masks of the SIIM-ACR challenge, and the boxes around their components."""

from __future__ import annotations

import numpy as np


def decode(text: str, width: int, height: int) -> np.ndarray:
    """The mask that a relative run-length code stands for.

    The code is pairs of numbers, blank between them: how many pixels to skip since the end of the run before (since
    the first pixel for the first), and how long the run is. Pixels count from 0 down the columns, left to right.

    Args:
        text: The code; empty is an empty mask.
        width: Columns of the image.
        height: Rows of the image.

    Returns:
        (height, width) bool.

    Raises:
        ValueError: It is no pairs of whole numbers, one is negative, or a run leaves the image.
    """
    words = text.split()
    if not all(word.isdecimal() and len(word) < 19 for word in words):
        wrong = next(word for word in words if not (word.isdecimal() and len(word) < 19))
        raise ValueError(f"{wrong[:20]!r} is no whole number")
    if len(words) % 2:
        raise ValueError(f"there are {len(words)} numbers, not pairs")
    skips, lengths = np.array(words, dtype=np.int64).reshape(-1, 2).T
    size = width * height
    if (skips > size).any() or (lengths > size).any() or (ends := np.cumsum(skips + lengths))[-1:].sum() > size:
        raise ValueError(f"it leaves the image of {width}x{height} pixels")
    changes = np.zeros(size + 1, dtype=np.int32)
    np.add.at(changes, ends - lengths, 1)
    np.add.at(changes, ends, -1)
    return np.asarray(np.cumsum(changes[:-1]).reshape(width, height).T > 0)


def component_boxes(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Half-open boxes (x_min, y_min, x_max, y_max) of the components of a mask (H, W), neighbours by side or corner.

    In the order of their first pixel, top to bottom.
    """
    from scipy import ndimage

    components, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    return [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(components)]
