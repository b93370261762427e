"""A finished image cache: model frames of many images in one memory-mapped array.

The folder holds ``pixels.npy`` (N, size, size) uint8, ``index.parquet`` (what each row is, and the checksum of its
frame), ``index.jsonl`` (the same, append-only: the log by which an interrupted build goes on), ``rejects.jsonl`` and
``cache.json``. :func:`lgdea.imaging.cache.build_cache` makes it.
"""

from __future__ import annotations

import hashlib
import logging
import math
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.errors import DataError, UsageError, first_line
from lgdea.imaging.geometry import Geometry, Mode, geometry
from lgdea.manifests import check_file, read_line, read_manifest
from lgdea.reading import read_bytes, require_file
from lgdea.runs import require_finished

_log = logging.getLogger(__name__)

PIXELS, INDEX, LOG, REJECTS, RECIPE = "pixels.npy", "index.parquet", "index.jsonl", "rejects.jsonl", "cache.json"
HEADER = 128
"""Bytes of the pixel file before its first frame, whatever N is."""
REMEDY = "remove the folder; it is made again from the images"


class ImageCache:
    """A finished cache.

    ``cache[i]`` is row(s) ``i`` of a read-only memory map, (size, size) or (B, size, size) uint8.

    Attributes:
        folder: Where it stands.
        size: Side of the frames.
        mode: ``letterbox`` or ``center_crop``.
        ids: The image id of each row.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = require_finished(folder, what="image cache", made_by="build_cache")
        recipe = read_recipe(self.folder)
        self.size: int = recipe["size"]
        self.mode: Mode = recipe["mode"]
        index = _read_index(self.folder)
        self._crc = index["crc"].to_numpy(np.uint32) if "crc" in index else None  # caches of earlier versions have none
        self._checked = np.zeros(len(index), dtype=bool)
        self.ids: list[str] = index["image_id"].tolist()
        self._stamps = index.reindex(columns=["image_id", "bytes", "mtime_ns", "depth"])
        self._shapes = index[["width", "height"]].to_numpy()
        self._rows = {image_id: row for row, image_id in enumerate(self.ids)}
        self.pixels: np.ndarray = self._map() if self.ids else self._none()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        self._check(row)
        return self.pixels[row]

    def _check(self, row: int | slice | Sequence[int] | np.ndarray) -> None:
        """Compare the checksum of each row once, when it is first read."""
        if self._crc is None:
            return
        rows = np.arange(*row.indices(len(self))) if isinstance(row, slice) else np.atleast_1d(row)
        for new in rows[~self._checked[rows]]:
            if zlib.crc32(self.pixels[new]) != self._crc[new]:
                raise DataError(
                    f"the frame of image {self.ids[new]!r} is not as it was written",
                    file=self.folder / PIXELS,
                    remedy="remove the folder; it is made again from the images",
                )
            self._checked[new] = True

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._rows

    def index(self, ids: Iterable[str]) -> np.ndarray:
        """Rows (int64) of image ids.

        Raises:
            DataError: An id is not there; it was rejected, or never asked for.
        """
        try:
            return np.array([self._rows[image_id] for image_id in ids], dtype=np.int64)
        except KeyError as error:
            raise DataError(
                f"has no image {error.args[0]!r}", file=self.folder, remedy=f"see its {REJECTS}, or build it again"
            ) from None

    def frames(self, ids: Iterable[str]) -> Frames:
        """The frames of image ids, in their order, read from disk when they are asked for.

        Raises:
            DataError: As :meth:`index`.
        """
        return Frames(self, self.index(ids))

    def geometry(self, row: int) -> Geometry:
        """Geometry by which the source image of a row was brought into its frame."""
        width, height = self._shapes[row]
        return geometry(int(width), int(height), self.size, self.mode)

    def rejects(self) -> list[dict[str, str]]:
        """``image_id``, ``path`` and ``reason`` of each image that could not be read."""
        return read_lines(self.folder / REJECTS)

    def warn_of_missing(self, ids: Sequence[str]) -> None:
        """Log how many of ``ids`` the cache lacks because they cannot be read, and where the reasons stand."""
        missing = [image_id for image_id in ids if image_id not in self]
        if missing:
            reasons = self.folder / REJECTS
            message = "%d of %d images cannot be read and are left out, such as %s; %s says why"
            _log.warning(message, len(missing), len(ids), missing[0], reasons)

    def _map(self) -> np.ndarray:
        """The pixel file as an array; its header is compared, not parsed."""
        file, shape = self.folder / PIXELS, (len(self.ids), self.size, self.size)
        header = npy_header(len(self.ids), self.size)
        try:
            with require_file(file).open("rb") as stream:
                same = stream.read(len(header)) == header and file.stat().st_size == len(header) + math.prod(shape)
            if not same:
                raise DataError("is not as it was written", file=file, remedy=REMEDY)
            return np.memmap(file, np.uint8, "r", len(header), shape)
        except (OSError, UsageError) as error:
            raise DataError(f"cannot be read ({first_line(error)})", file=file, remedy=REMEDY) from None

    def _none(self) -> np.ndarray:
        return np.zeros((0, self.size, self.size), dtype=np.uint8)


class Frames:
    """A choice of a cache's frames; ``frames[rows]`` is ``(len(rows), size, size)`` uint8. Nothing else is in memory.

    Args:
        cache: The cache.
        rows: The cache's row of each frame.
    """

    def __init__(self, cache: ImageCache, rows: np.ndarray) -> None:
        self._cache = cache
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self._cache[self._rows[rows]]

    def fingerprint(self) -> str:
        """Hash of what the frames are of: ids, size, date and bit depth of the files, frame size and mode."""
        digest = hashlib.sha256(f"{self._cache.size} {self._cache.mode}".encode())
        digest.update(
            pd.util.hash_pandas_object(self._cache._stamps.iloc[self._rows], index=False).to_numpy().tobytes()
        )
        return digest.hexdigest()


def npy_header(rows: int, size: int) -> bytes:
    """A version 1.0 ``.npy`` header of fixed length, so that the number of rows can be written at the end."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({rows}, {size}, {size}), }}"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11).encode() + b"\n"


def read_recipe(folder: Path) -> dict[str, Any]:
    """Size and mode of a cache's frames, from ``cache.json``."""
    return read_manifest(folder / RECIPE, what="image cache's description", remedy=REMEDY)


def _read_index(folder: Path) -> pd.DataFrame:
    check_file(folder / INDEX, read_recipe(folder), folder)
    try:
        return pd.read_parquet(folder / INDEX)
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        raise DataError(f"cannot be read ({error})", file=folder / INDEX, remedy=REMEDY) from None


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSONL file.

    Raises:
        DataError: One is not as it was written.
    """
    if not file.exists():
        return []
    text = read_bytes(file)
    try:
        return [read_line(line) for line in text[: text.rfind(b"\n") + 1].split(b"\n")[:-1]]
    except ValueError as error:
        raise DataError(f"is not as it was written ({first_line(error)})", file=file, remedy=REMEDY) from None
