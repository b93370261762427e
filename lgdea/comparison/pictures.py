"""Pictures that a model is asked about: what cannot be read is named, and stops no question about others."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from lgdea.errors import DataError
from lgdea.imaging.occlusion import Pixels, to_png
from lgdea.imaging.read import read_image


class Pictures:
    """Reads pictures when they are needed.

    Args:
        root: Their folder.
        side: Longest side of a PNG, pixels; None for the picture's own.
        cached: PNGs that are kept; one picture stands in many questions.
    """

    def __init__(self, root: Path, side: int | None, cached: int) -> None:
        self._root, self._side = root, side
        self.png = lru_cache(cached)(self._read_png)
        self.unreadable: dict[str, str] = {}
        """Why a picture cannot be read, by its path."""

    def can_read(self, paths: Iterable[str]) -> bool:
        """Whether all of some pictures can be read; those that cannot are added to ``unreadable``."""
        for path in paths:
            try:
                self.png(path)
            except (DataError, OSError) as error:
                self.unreadable[path] = str(error)
        return self.all_readable(paths)

    def all_readable(self, paths: Iterable[str]) -> bool:
        """The same of pictures that were tried before."""
        return not self.unreadable.keys() & set(paths)

    def pixels(self, path: str) -> Pixels:
        """A picture as (H, W) in [0, 1].

        Raises:
            ImageError: It cannot be read.
        """
        return np.asarray(read_image(self._root / path).pixels, np.float32)

    def nothing_readable(self) -> DataError:
        """Make the error that no question has pictures that can all be read."""
        first = next(iter(self.unreadable.values()))
        return DataError(
            f"no question has pictures that can be read ({first})", file=self._root,
            remedy="name the folder of the pictures: --image-root",
        )  # fmt: skip

    @property
    def skipped(self) -> list[dict[str, str]]:
        """``{"id", "reason"}`` of each picture that cannot be read."""
        return [{"id": path, "reason": reason} for path, reason in self.unreadable.items()]

    def _read_png(self, path: str) -> bytes:
        return to_png(self.pixels(path), self._side)
