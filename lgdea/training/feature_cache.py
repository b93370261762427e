"""Outputs of frozen towers, computed once: rows of float16 in one memory-mapped file that several processes fill.

A cache is a folder named by a fingerprint of all that its rows depend on, so that another tower, image, size or
augmentation finds another folder. It holds ``features.npy`` (N, F) float16, ``recipe.json`` (what the fingerprint is
of) and ``checksums.bin``: the CRC-32 of each chunk of rows that is written, 0 for one that is not. A killed computation
goes on with the chunks that are not, or that are not as they were written; training refuses a chunk that has changed.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError, first_line
from lgdea.manifests import SEAL, read_manifest, seal
from lgdea.runs import SUCCESS, write_json, write_text, writing

FEATURES, RECIPE, CHECKSUMS = "features.npy", "recipe.json", "checksums.bin"
DTYPE, CRC = np.dtype("<f2"), np.dtype("<u4")
REMEDY = "remove the folder; it is made anew"


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
        self._expected: NDArray[np.uint32] | None = None
        self._checked = np.zeros(self.chunks, dtype=bool)

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
        return (self.folder / SUCCESS).exists() and self._has_files()

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
            if self._has_files():
                return
            (self.folder / SUCCESS).unlink(missing_ok=True)
            self._array = None
            write_json(self.folder / RECIPE, seal(self.recipe))
            with (self.folder / FEATURES).open("wb") as stream:
                stream.write(self._header())
                stream.truncate(stream.tell() + self.bytes)
            (self.folder / CHECKSUMS).write_bytes(bytes(self.chunks * CRC.itemsize))

    def waiting(self, rank: int = 0, processes: int = 1) -> Iterator[tuple[int, slice]]:
        """Number and rows of each chunk of this process that is not written, or not as it was written."""
        if self.finished:
            return
        expected = self._checksums()
        for number in range(rank, self.chunks, processes):
            if not self._is_whole(number, expected):
                yield number, self._rows(number)

    def write(self, number: int, values: NDArray[np.float16]) -> None:
        """Write the rows of a chunk; only then its checksum, which says that they are there."""
        content = np.ascontiguousarray(values, DTYPE).tobytes()
        offset = len(self._header()) + number * self.chunk * self.width * DTYPE.itemsize
        crc = np.array(_crc(content), CRC).tobytes()
        with writing(self.folder, resumable=True):
            # Not through the memory map: a full disk would then end the process instead of raising an error.
            for name, start, part in ((FEATURES, offset, content), (CHECKSUMS, number * CRC.itemsize, crc)):
                with (self.folder / name).open("r+b") as stream:
                    stream.seek(start)
                    stream.write(part)
                    stream.flush()
                    os.fsync(stream.fileno())  # a checksum must never be there before its rows

    def finish(self) -> None:
        """Mark the cache as whole.

        Raises:
            DataError: Chunks are missing.
        """
        if self.finished:
            return
        missing = int((self._checksums() == 0).sum())
        if missing:
            raise DataError(
                f"{missing} of {self.chunks} parts are missing", file=self.folder, remedy="repeat the command"
            )
        write_text(self.folder / SUCCESS, "")

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float16]:
        """Rows of the finished cache, read from disk when they are asked for; a chunk is checked when first read.

        Raises:
            DataError: The file is gone, or not as it was written.
        """
        if self._expected is None:
            self._expected = self._checksums()
        wanted = np.arange(*rows.indices(self.rows)) if isinstance(rows, slice) else np.asarray(rows)
        for number in np.unique(wanted % self.rows // self.chunk).tolist():
            if not self._checked[number]:
                if not self._is_whole(number, self._expected):
                    raise DataError("is not as it was written", file=self.folder / FEATURES, remedy=REMEDY)
                self._checked[number] = True
        return self._open()[rows]

    def _open(self) -> NDArray[np.float16]:
        if self._array is None:
            file, shape = self.folder / FEATURES, (self.rows, self.width)
            if not self._has_files():
                raise DataError("is missing, cut, or not as it was written", file=file, remedy=REMEDY)
            # Not np.load, which parses the header; torch wants writable arrays, nothing reaches the file.
            self._array = (
                np.memmap(file, DTYPE, "c", len(self._header()), shape) if self.rows else np.zeros(shape, DTYPE)
            )
        return self._array

    def _is_whole(self, number: int, expected: NDArray[np.uint32]) -> bool:
        return bool(expected[number]) and _crc(self._open()[self._rows(number)].tobytes()) == expected[number]

    def _checksums(self) -> NDArray[np.uint32]:
        try:
            expected = np.fromfile(self.folder / CHECKSUMS, CRC)
        except OSError as error:
            raise DataError(f"cannot be read ({first_line(error)})", file=self.folder, remedy=REMEDY) from None
        if len(expected) != self.chunks:
            raise DataError("was cut", file=self.folder / CHECKSUMS, remedy=REMEDY)
        return expected

    def _rows(self, number: int) -> slice:
        return slice(number * self.chunk, min(self.rows, (number + 1) * self.chunk))

    def _has_files(self) -> bool:
        header = self._header()
        sizes = ((FEATURES, len(header) + self.bytes), (CHECKSUMS, self.chunks * CRC.itemsize))
        if not all(_has_size(self.folder / name, size) for name, size in sizes):
            return False
        with (self.folder / FEATURES).open("rb") as file:
            return file.read(len(header)) == header

    def _header(self) -> builtins.bytes:
        stream = io.BytesIO()
        header = {"descr": DTYPE.str, "fortran_order": False, "shape": (self.rows, self.width)}
        np.lib.format.write_array_header_1_0(stream, header)
        return stream.getvalue()


def _crc(content: bytes) -> int:
    return zlib.crc32(content) or 1  # 0 stands for a chunk that is not written


def _has_size(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size == size


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def check_features(folder: str | Path) -> None:
    """Compare all rows of a finished cache with their checksums.

    Args:
        folder: The cache's own folder.

    Raises:
        DataError: A file is missing, cut, or not as it was written.
    """
    folder = Path(folder)
    recipe = {name: value for name, value in read_manifest(folder / RECIPE).items() if name != SEAL}
    try:
        rows, width, chunk = (int(recipe.pop(name)) for name in ("rows", "width", "chunk"))
        cache = FeatureCache(folder.parent, recipe, rows=rows, width=width, chunk=chunk)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"is no recipe of features ({first_line(error)})", file=folder / RECIPE, remedy=REMEDY
        ) from None
    cache.folder = folder
    for number in range(cache.chunks):
        cache[cache._rows(number)]
