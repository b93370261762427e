"""Bit depth of 16-bit greyscale pictures: what value is white. PNG says how wide its numbers are, not how far they go.

Detectors deliver 10 to 16 bits, and 16-bit files mostly hold fewer. The largest value does not tell how many:
resampling overshoots at sharp edges, and a single defective pixel may have any value.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
"""Bit depths that pictures have."""
_ROUNDED = 1.02  # how far above white a wide white area may be: 4096 for 4095, or the noise of a compression
_OVERSHOOT = 1.25  # how far above white a resampled edge goes
_RESAMPLED, _DEFECTIVE = 0.02, 0.001  # of the pixels that are not black at most so many overshoot, are further off
_SAMPLE, _THREADS = 64, 4  # pictures that are decoded to see the depths of an archive


def bits_used(values: np.ndarray) -> int:
    """The smallest usual bit depth that holds the values of a picture but for a few overshooting or defective pixels.

    Args:
        values: Integers, any shape; negative ones count as black.

    Returns:
        One of :data:`DEPTHS`.

    >>> bits_used(np.append(np.arange(4000), 65535))
    12
    """
    largest = values.max(initial=0)
    fits = next((bits for bits in DEPTHS if largest < 2**bits), DEPTHS[-1])
    filled = values[values > 0]
    for bits in DEPTHS[: DEPTHS.index(fits)]:
        white = 2**bits - 1
        above = filled[filled > _ROUNDED * white]
        if len(above) <= _RESAMPLED * len(filled) and (above > _OVERSHOOT * white).sum() <= _DEFECTIVE * len(filled):
            return bits
    return fits


def depth_of(values: np.ndarray, significant: int | None) -> int:
    """Bit depth of a picture's values, with what the file says (:func:`significant_bits`), which may be nothing.

    PNG wants the values of ``significant`` bits moved up to fill 16; many writers leave them where they are. What does
    not fit into the significant bits was moved.
    """
    used = bits_used(values)
    if significant is None:
        return used
    return significant if used <= significant else 16


def significant_bits(path: Path) -> int | None:
    """The ``sBIT`` chunk of a greyscale PNG file; None without one."""
    with path.open("rb") as stream:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"sBIT" and length:
                bits = stream.read(1)[0]
                return bits if 1 <= bits <= 16 else None
            if name in (b"IDAT", b"IEND"):
                break
            stream.seek(length + 4, 1)
    return None


def sample_depths(files: Sequence[Path]) -> Counter[int]:
    """Bit depths of the 16-bit greyscale files among some of ``files``, evenly drawn; others are not counted."""
    step = max(1, len(files) // _SAMPLE)
    with ThreadPoolExecutor(_THREADS) as pool:
        return Counter(depth for depth in pool.map(_depth_of_file, files[::step]) if depth is not None)


def _depth_of_file(file: Path) -> int | None:
    try:
        with Image.open(file, formats=("PNG",)) as image:
            if not image.mode.startswith("I"):
                return None
            return depth_of(np.asarray(image), significant_bits(file))
    except (OSError, SyntaxError, ValueError, IndexError, Image.DecompressionBombError):
        return None  # whoever reads it says why it cannot be
