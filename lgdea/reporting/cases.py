"""Cases side by side: each picture, the same with its heat map below, and what is to be said of it above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lgdea.reporting.overlays import overlay

GAP, LINE, NARROWEST = 12, 18, 150
GROUND, INK, MUTED = "white", "black", "#555555"


@dataclass(frozen=True)
class CaseColumn:
    """One case: (H, W) pixels in [0, 1], its map in source pixels, and lines of text, the first of them its title."""

    pixels: np.ndarray
    heat: np.ndarray
    lines: tuple[str, ...]


def draw_cases(title: str, columns: Sequence[CaseColumn], *, side: int = 256) -> Image.Image:
    """Draw cases side by side; the first, which the others are compared with, is set apart by a line.

    Args:
        title: What stands above all.
        columns: The cases.
        side: Longer side of each picture in pixels.

    Returns:
        RGB picture.
    """
    plain = [overlay(column.pixels, max_side=side) for column in columns]
    mapped = [overlay(column.pixels, heat=column.heat, max_side=side) for column in columns]
    widths = [max(picture.width, NARROWEST) for picture in plain]
    height = max(picture.height for picture in plain)
    top = GAP + LINE * (1 + max(len(column.lines) for column in columns))
    canvas = Image.new("RGB", (sum(widths) + GAP * (len(columns) + 2), top + 2 * height + 2 * GAP), GROUND)
    pen, font, small = ImageDraw.Draw(canvas), ImageFont.load_default(14), ImageFont.load_default(12)
    pen.text((GAP, GAP - 6), title, INK, font=font)
    x = GAP
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        for line, text in enumerate(column.lines, start=1):
            colour, face = (INK, font) if line == 1 else (MUTED, small)
            pen.text((x, GAP - 6 + line * LINE), _fit(text, width, face), colour, font=face)
        canvas.paste(plain[number], (x, top))
        canvas.paste(mapped[number], (x, top + height + GAP))
        x += width + GAP
        if number == 0:
            pen.line((x, top, x, canvas.height - GAP), fill=MUTED)
            x += GAP
    return canvas


def _fit(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a text that is too long for its column: ids differ there."""
    if font.getlength(text) <= width:
        return text
    while font.getlength("…" + text) > width and len(text) > 1:
        text = text[1:]
    return "…" + text
