"""Outputs of frozen towers, computed once: rows of float16 in one memory-mapped file that several processes fill.

A cache is a folder named by a fingerprint of all that its rows depend on, so that another tower, image, size or
augmentation finds another folder. It holds ``features.npy`` (N, F) float16, ``recipe.json`` (what the fingerprint is
of) and, until it is whole, ``done.bin``: one byte per chunk of rows that is written. A killed computation goes on with
the chunks that are not.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError
from lgdea.runs import SUCCESS, write_text, writing

FEATURES, RECIPE, DONE = "features.npy", "recipe.json", "done.bin"
DTYPE = np.dtype("<f2")


class FeatureCache:
    """A cache, whole or still to be filled.

    Args:
        root: Folder of caches; this one is ``root/FINGERPRINT``.
        recipe: All that the rows depend on, as plain data.
        rows: N.
        width: F.
        chunk: Rows that are computed and written at once.
    """

    def __init__(self, root: str | Path, recipe: Mapping[str, Any], *, rows: int, width: int, chunk: int) -> None:
        self.recipe = {**recipe, "rows": rows, "width": width, "chunk": chunk}
        text = json.dumps(self.recipe, sort_keys=True, default=str)
        self.folder = Path(root) / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.rows, self.width, self.chunk = rows, width, chunk
        self._array: NDArray[np.float16] | None = None

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return self.rows * self.width * DTYPE.itemsize

    @property
    def size(self) -> str:
        """:attr:`bytes` for people."""
        return _size(self.bytes)

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.rows // self.chunk)

    @property
    def finished(self) -> bool:
        """True if all rows are there."""
        return (self.folder / SUCCESS).exists()

    def require_space(self, what: str, remedy: str) -> None:
        """Refuse a cache that would not fit on its disk, before any of it is computed.

        Raises:
            UsageError: There is less free space than it needs.
        """
        if self.finished:
            return
        place = self.folder
        while not place.exists():
            place = place.parent
        file = self.folder / FEATURES
        written = file.stat().st_blocks * 512 if file.exists() else 0
        free = shutil.disk_usage(place).free
        if self.bytes - written > free:
            raise UsageError(
                f"{what} need {_size(self.bytes - written)}, the disk has {_size(free)} free",
                file=self.folder.parent,
                remedy=remedy,
            )

    def open(self) -> None:
        """Make the folder where it is not yet there; what a killed computation left stays."""
        if self.finished:
            return
        with writing(self.folder, resumable=True):
            self.folder.mkdir(parents=True, exist_ok=True)
            expected = self._header() + self.bytes
            whole = [(FEATURES, expected), (DONE, self.chunks)]
            if any(not _has_size(self.folder / name, size) for name, size in whole):
                for name, _ in whole:
                    (self.folder / name).unlink(missing_ok=True)
                write_text(self.folder / RECIPE, json.dumps(self.recipe, indent=1, default=str) + "\n")
                with (self.folder / FEATURES).open("wb") as stream:
                    _write_header(stream, self.rows, self.width)
                    stream.truncate(expected)
                (self.folder / DONE).write_bytes(bytes(self.chunks))

    def waiting(self, rank: int = 0, processes: int = 1) -> Iterator[tuple[int, slice]]:
        """Number and rows of each chunk of this process that is not written."""
        if self.finished:
            return
        done = (self.folder / DONE).read_bytes()
        for number in range(rank, self.chunks, processes):
            if not done[number]:
                yield number, slice(number * self.chunk, min(self.rows, (number + 1) * self.chunk))

    def write(self, number: int, values: NDArray[np.float16]) -> None:
        """Write the rows of a chunk; only then is it marked as done."""
        offset = self._header() + number * self.chunk * self.width * DTYPE.itemsize
        with writing(self.folder, resumable=True):
            # Not through the memory map: a full disk would then end the process instead of raising an error.
            for name, start, content in (
                (FEATURES, offset, np.ascontiguousarray(values, DTYPE).tobytes()),
                (DONE, number, b"\x01"),
            ):
                with (self.folder / name).open("r+b") as stream:
                    stream.seek(start)
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())  # a mark must never be there before its rows

    def finish(self) -> None:
        """Mark the cache as whole.

        Raises:
            DataError: Chunks are missing.
        """
        if self.finished:
            return
        missing = (self.folder / DONE).read_bytes().count(0)
        if missing:
            raise DataError(
                f"{missing} of {self.chunks} parts are missing", file=self.folder, remedy="repeat the command"
            )
        write_text(self.folder / SUCCESS, "")
        (self.folder / DONE).unlink(missing_ok=True)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float16]:
        """Rows of the finished cache, read from disk when they are asked for."""
        if self._array is None:
            try:
                self._array = np.load(
                    self.folder / FEATURES, mmap_mode="c"
                )  # torch wants writable arrays; nothing reaches the file
            except (OSError, ValueError) as error:
                raise DataError(
                    f"cannot be read ({error})", file=self.folder, remedy="remove the folder; it is made anew"
                ) from None
        return self._array[rows]

    def _header(self) -> int:
        stream = io.BytesIO()
        _write_header(stream, self.rows, self.width)
        return stream.tell()


def _write_header(stream: BinaryIO, rows: int, width: int) -> None:
    header = {"descr": DTYPE.str, "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(stream, header)


def _has_size(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size == size


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
