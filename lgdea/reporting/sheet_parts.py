"""What a page needs of sheets of cases: every photograph once, however many pictures show it, and layers over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lgdea.reporting.cases import Box, CaseSheet
from lgdea.reporting.overlays import data_uri, heat_layer, photo


@dataclass(frozen=True)
class PagePicture:
    """One picture of a column: a photograph of the page's store, and what lies over it."""

    photo: str
    width: int
    height: int
    layer: str | None
    boxes: tuple[Box, ...]
    caption: str


@dataclass(frozen=True)
class PageColumn:
    """Lines of text, the first of them a title, and pictures one below the other."""

    lines: tuple[str, ...]
    pictures: tuple[PagePicture, ...]


class PhotoStore:
    """Photographs of a page, each once."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, int, int], str] = {}

    def add(self, pixels: np.ndarray) -> str:
        """Key of a photograph in the page.

        Args:
            pixels: (H, W) in [0, 1].
        """
        height, width = pixels.shape
        return self._keys.setdefault((data_uri(photo(pixels)), width, height), f"photo-{len(self._keys)}")

    @property
    def photos(self) -> list[tuple[str, str, int, int]]:
        """Key, ``data:`` address, width and height of each."""
        return [(key, *of) for of, key in self._keys.items()]


def page_columns(sheet: CaseSheet, store: PhotoStore) -> tuple[PageColumn, ...]:
    """The columns of a sheet, their photographs put into the page's store."""
    columns = []
    for column in sheet.columns:
        pictures = []
        for picture in column.pictures:
            height, width = picture.pixels.shape
            layer = None if picture.heat is None else data_uri(heat_layer(picture.heat))
            key = store.add(picture.pixels)
            pictures.append(PagePicture(key, width, height, layer, picture.boxes, picture.caption))
        columns.append(PageColumn(column.lines, tuple(pictures)))
    return tuple(columns)
