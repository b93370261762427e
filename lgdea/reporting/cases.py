"""Cases side by side: columns of pictures with their heat maps, and a table of what is to be said of them.

One sheet is drawn as a picture (``.png``) or as a page (``.html``, :mod:`lgdea.reporting.case_page`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from lgdea.reporting.fonts import font
from lgdea.reporting.overlays import overlay

GAP, LINE, NARROWEST = 12, 18, 150
GROUND, INK, MUTED, RULE = "white", "black", "#555555", "#d5dae0"
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class CasePicture:
    """One picture of a column."""

    pixels: np.ndarray
    """(H, W) in [0, 1]."""
    heat: np.ndarray | None = None
    """(H, W) in source pixels, NaN where the model saw nothing; None: the picture without a map."""
    boxes: tuple[Box, ...] = ()
    """True boxes, half-open source pixels."""
    caption: str = ""


@dataclass(frozen=True, eq=False)
class CaseColumn:
    """Pictures one below the other under lines of text, the first of them their title."""

    lines: tuple[str, ...]
    pictures: tuple[CasePicture, ...]

    @classmethod
    def with_map(
        cls, pixels: np.ndarray, heat: np.ndarray, lines: Sequence[str], boxes: Sequence[Box] = ()
    ) -> CaseColumn:
        """A picture, and the same below with its heat map.

        Args:
            pixels: (H, W) in [0, 1].
            heat: (H, W) in source pixels.
            lines: What is to be said of it, its title first.
            boxes: True boxes, half-open source pixels.
        """
        return cls(tuple(lines), (CasePicture(pixels, None, tuple(boxes)), CasePicture(pixels, heat, tuple(boxes))))


@dataclass(frozen=True, eq=False)
class CaseSheet:
    """Columns of pictures, the first of them set apart: it is what the others are compared with.

    Attributes:
        title: Heading.
        columns: The columns.
        notes: Sentences below the heading.
        head: Header of the table; empty without one.
        rows: Its rows.
    """

    title: str
    columns: tuple[CaseColumn, ...]
    notes: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    def draw(self, *, side: int = 256) -> Image.Image:
        """Draw the sheet.

        Args:
            side: Longer side of each picture in pixels.

        Returns:
            RGB picture.
        """
        drawn = [
            [overlay(p.pixels, heat=p.heat, boxes=p.boxes, max_side=side) for p in c.pictures] for c in self.columns
        ]
        widths = [max([NARROWEST, *(picture.width for picture in pictures)]) for pictures in drawn]
        depth = max(len(pictures) for pictures in drawn)
        heights = [max(p[k].height for p in drawn if len(p) > k) for k in range(depth)]
        captions = [
            any(len(c.pictures) > k and c.pictures[k].caption for c in self.columns) * LINE for k in range(depth)
        ]
        table = _table_widths(self.head, self.rows)
        above = GAP + LINE * (1 + len(self.notes)) + (LINE * (1 + len(self.rows)) + GAP if self.head else 0)
        top = above + LINE * max(len(column.lines) for column in self.columns)
        words = max(font(12).getlength(text) for text in (*self.notes, ""))
        width = max(sum(widths) + GAP * (len(widths) + 1 + (len(widths) > 1)), sum(table) + GAP * (len(table) + 1),
                    round(font(14, bold=True).getlength(self.title)) + 2 * GAP, round(words) + 2 * GAP)  # fmt: skip
        canvas = Image.new("RGB", (width, top + sum(heights) + sum(captions) + GAP * depth), GROUND)
        pen = ImageDraw.Draw(canvas)
        self._draw_words(pen, table)
        x = GAP
        for number, (column, pictures, wide) in enumerate(zip(self.columns, drawn, widths, strict=True)):
            for line, text in enumerate(column.lines):
                face, colour = (font(13), MUTED if line else INK)
                pen.text((x, above + line * LINE), fit(text, wide, face), colour, font=face)
            y = top
            for k, picture in enumerate(pictures):
                if column.pictures[k].caption:
                    pen.text((x, y), fit(column.pictures[k].caption, wide, font(12)), MUTED, font=font(12))
                y += captions[k]
                canvas.paste(picture, (x, y))
                y += heights[k] + GAP
            x += wide + GAP
            if number == 0 and len(drawn) > 1:
                pen.line((x, top, x, canvas.height - GAP), fill=MUTED)
                x += GAP
        return canvas

    def _draw_words(self, pen: ImageDraw.ImageDraw, widths: Sequence[int]) -> None:
        pen.text((GAP, GAP - 6), self.title, INK, font=font(14, bold=True))
        y = GAP - 4 + LINE
        for note in self.notes:
            pen.text((GAP, y), note, MUTED, font=font(12))
            y += LINE
        for row, cells in enumerate((self.head, *self.rows) if self.head else ()):
            x = GAP
            for cell, wide in zip(cells, widths, strict=True):
                pen.text((x, y), cell, INK if row else MUTED, font=font(12))
                x += wide + GAP
            y += LINE
            pen.line((GAP, y - 2, x - GAP, y - 2), fill=RULE)


def fit(text: str, width: float, face: object) -> str:
    """The end of a text that is too long for its column: ids differ there.

    Args:
        text: The text.
        width: Pixels that there are.
        face: Its font.
    """
    length = face.getlength  # type: ignore[attr-defined]
    if length(text) <= width:
        return text
    while length("…" + text) > width and len(text) > 1:
        text = text[1:]
    return "…" + text


def _table_widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return (
        [max(round(font(12).getlength(cell)) + 1 for cell in column) for column in zip(head, *rows, strict=True)]
        if head
        else []
    )
