"""Text burnt into the corners of a radiograph, as machines and technicians leave it there.

The letters of the patient's side, the projection and a date tell nothing of a disease, yet an encoder may see them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lgdea.config import Config

Pixels = NDArray[np.float32]
Corner = Literal["top left", "top right", "bottom left", "bottom right"]
MARGIN = 0.03  # of the shorter side, between the text and the picture's edge
WIDEST = 0.45  # of the picture's width; a longer text is set smaller
SMALLEST_PIXELS = 6


class Marker(Config):
    """One text, where it stands and how tall its capitals are."""

    text: str = Field(min_length=1)
    """Letters and digits to burn in."""
    corner: Corner
    """Corner of the picture that it stands in."""
    height: float = Field(gt=0, le=0.5)
    """Height of the capitals, as a share of the picture's height."""


MARKERS = (
    Marker(text="L", corner="top right", height=0.05),
    Marker(text="R", corner="top left", height=0.05),
    Marker(text="PORTABLE", corner="top left", height=0.025),
    Marker(text="AP SUPINE", corner="top right", height=0.025),
    Marker(text="12-03-2009 07:41", corner="bottom right", height=0.02),
)
"""Usual ones. The patient's left is at the picture's right. Lead letters are 4 to 6% of the height of the stored
picture, overlaid lines 2 to 3%; the date is made up."""


def burn(pixels: Pixels, marker: Marker) -> Pixels:
    """Draw the marker in white on ``pixels`` (H, W) in [0, 1]; the input stays as it is."""
    height, width = pixels.shape
    size = max(SMALLEST_PIXELS, round(marker.height * height))
    stencil = _stencil(marker.text, size)
    widest = max(1, round(WIDEST * width))
    if stencil.shape[1] > widest and len(marker.text) > 1:
        stencil = _stencil(marker.text, max(1, int(size * widest / stencil.shape[1])))
    stencil = stencil[:height, :width]
    margin = round(MARGIN * min(height, width))
    rows, columns = stencil.shape
    vertical, horizontal = marker.corner.split()
    top = margin if vertical == "top" else height - margin - rows
    left = margin if horizontal == "left" else width - margin - columns
    top, left = max(0, min(top, height - rows)), max(0, min(left, width - columns))
    result = np.array(pixels, np.float32)
    window = result[top : top + rows, left : left + columns]
    result[top : top + rows, left : left + columns] = np.maximum(window, stencil)
    return result


@lru_cache(maxsize=64)
def _stencil(text: str, capitals: int) -> Pixels:
    """The text in [0, 1], cropped to its ink, its capitals ``capitals`` pixels tall.

    The font is the one inside Pillow: the same letters on every machine.
    """
    from PIL import Image, ImageDraw, ImageFont

    probe = ImageFont.load_default(size=100)
    tall = probe.getbbox("H")[3] - probe.getbbox("H")[1]
    font = ImageFont.load_default(size=max(1.0, 100 * capitals / tall))
    left, top, right, bottom = (round(x) for x in font.getbbox(text))
    picture = Image.new("L", (max(1, right - left + 2), max(1, bottom - top + 2)))
    ImageDraw.Draw(picture).text((1 - left, 1 - top), text, fill=255, font=font)
    ink = np.asarray(picture, np.float32) / 255
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return np.zeros((1, 1), np.float32)
    return np.asarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
