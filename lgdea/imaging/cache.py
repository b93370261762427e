"""Model frames of many images in one memory-mapped array, built by several processes and resumable at any point.

The folder holds ``pixels.npy`` (N, size, size) uint8, ``index.parquet`` (what each row is), ``index.jsonl`` (the same,
append-only: the log by which an interrupted build goes on), ``rejects.jsonl`` and ``cache.json``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from filelock import FileLock

from lgdea.errors import DataError, ImageError, LgdeaError, UsageError
from lgdea.imaging.geometry import Geometry, Mode, fit, geometry
from lgdea.imaging.read import read_image
from lgdea.runs import SUCCESS, atomic, require_finished, write_json, write_text, writing

_log = logging.getLogger(__name__)

PIXELS, INDEX, LOG, REJECTS, RECIPE = "pixels.npy", "index.parquet", "index.jsonl", "rejects.jsonl", "cache.json"
_HEADER = 128  # bytes of an .npy header of this shape and type, whatever N is
_FLUSH = 256  # images between two writes to the log
Item = tuple[str, str, int | None]
"""Image id, path and, where it is said, bit depth."""


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
        recipe = _read_recipe(self.folder)
        self.size: int = recipe["size"]
        self.mode: Mode = recipe["mode"]
        index = pd.read_parquet(self.folder / INDEX)
        self.ids: list[str] = index["image_id"].tolist()
        self._stamps = index.reindex(columns=["image_id", "bytes", "mtime_ns", "depth"])
        self._shapes = index[["width", "height"]].to_numpy()
        self._rows = {image_id: row for row, image_id in enumerate(self.ids)}
        try:
            self.pixels: np.ndarray = np.load(self.folder / PIXELS, mmap_mode="r") if self.ids else self._none()
        except (OSError, ValueError) as error:
            raise DataError(
                f"cannot be read ({error})", file=self.folder / PIXELS, remedy="build the cache again"
            ) from None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        return self.pixels[row]

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
        return _read_lines(self.folder / REJECTS)

    def warn_of_missing(self, ids: Sequence[str]) -> None:
        """Log how many of ``ids`` the cache lacks because they cannot be read, and where the reasons stand."""
        missing = [image_id for image_id in ids if image_id not in self]
        if missing:
            reasons = self.folder / REJECTS
            message = "%d of %d images cannot be read and are left out, such as %s; %s says why"
            _log.warning(message, len(missing), len(ids), missing[0], reasons)

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


def build_cache(
    items: Iterable[tuple[str, str | Path]],
    folder: str | Path,
    size: int,
    workers: int = 2,
    *,
    mode: Mode = "letterbox",
    bits: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageCache:
    """Read images, bring them into their model frames and keep these on disk.

    Run again after an interruption it goes on where it was; with further items it adds them; when a file has changed
    since, everything is read anew. Images that cannot be read are listed in ``rejects.jsonl`` and tried again next
    time. Runs that share a folder take turns, by a lock file beside it.

    Args:
        items: (image id, path) pairs.
        folder: The cache's folder.
        size: Side of the frames.
        workers: Processes; 1 works in this one.
        mode: ``letterbox`` or ``center_crop``.
        bits: Bit depth of white by image id, for 16-bit pictures; see :func:`~lgdea.imaging.read.read_image`.
        progress: Called with (done, total) now and then.

    Raises:
        UsageError: The folder holds a cache of another size or mode, or something else.
        DataError: The disk is full; what is written stays usable for the next run.
    """
    depths = bits or {}
    folder, wanted = Path(folder), {image_id: (Path(path), depths.get(image_id)) for image_id, path in items}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        return _build(wanted, folder, size, workers, mode, progress)


def _build(
    wanted: dict[str, tuple[Path, int | None]],
    folder: Path,
    size: int,
    workers: int,
    mode: Mode,
    progress: Callable[[int, int], None] | None,
) -> ImageCache:
    _open_folder(folder, {"size": size, "mode": mode})
    done = {entry["image_id"]: entry for entry in _read_lines(folder / LOG)}
    changed = any(_changed(done[i], *item) for i, item in wanted.items() if i in done)
    if not _trim_to_whole(folder, len(done), size) or changed:
        _discard(folder)
        done = {}
    waiting = [(i, str(path), depth) for i, (path, depth) in wanted.items() if i not in done]
    if not waiting and (folder / SUCCESS).exists() and not _read_lines(folder / REJECTS):
        return ImageCache(folder)
    (folder / SUCCESS).unlink(missing_ok=True)
    with writing(folder):
        rejected = _append(folder, waiting, size, mode, workers, progress)
        _close(folder, size, rejected)
    return ImageCache(folder)


def _append(
    folder: Path,
    waiting: list[Item],
    size: int,
    mode: Mode,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, str]]:
    """Add frames to the pixel file and, after each flush, their lines to the log; returns the rejects."""
    rejected: list[dict[str, str]] = []
    with (folder / PIXELS).open("ab") as pixels, (folder / LOG).open("a", encoding="utf-8") as log:
        if pixels.tell() == 0:
            pixels.write(_header(0, size))
        lines: list[str] = []
        for count, ((image_id, path, _), outcome) in enumerate(_frames(waiting, size, mode, workers), start=1):
            if isinstance(outcome, str):
                rejected.append({"image_id": image_id, "path": path, "reason": outcome})
            else:
                frame, entry = outcome
                pixels.write(frame.tobytes())
                lines.append(json.dumps({"image_id": image_id, "path": path, **entry}) + "\n")
            if count % _FLUSH == 0 or count == len(waiting):
                _flush(pixels)
                log.writelines(lines)
                log.flush()
                lines.clear()
                if progress is not None:
                    progress(count, len(waiting))
    return rejected


def _frames(waiting: list[Item], size: int, mode: Mode, workers: int) -> Iterator[tuple[Any, Any]]:
    """Pairs of item and outcome, in order: (frame, entry), or the reason why there is none."""
    if workers <= 1 or len(waiting) < 2 * workers:
        yield from zip(waiting, (_frame(item, size, mode) for item in waiting), strict=True)
        return
    try:
        with ProcessPoolExecutor(workers) as pool:
            outcomes = pool.map(partial(_frame, size=size, mode=mode), waiting, chunksize=16)
            yield from zip(waiting, outcomes, strict=True)
    except BrokenProcessPool:
        raise LgdeaError(
            "a process that reads images was killed, perhaps for want of memory",
            remedy="run again with fewer workers; what is done is kept",
        ) from None


def _frame(item: Item, size: int, mode: Mode) -> tuple[np.ndarray, dict[str, Any]] | str:
    _, path, bits = item
    try:
        image = read_image(path, bits=bits)
        frame, _ = fit(image.pixels, size, mode)
        depth = {} if bits is None else {"depth": bits}
        return frame, {"width": image.width, "height": image.height, **_stamp(Path(path)), **depth}
    except (ImageError, OSError) as error:
        return str(error)


def _close(folder: Path, size: int, rejected: list[dict[str, str]]) -> None:
    entries = _read_lines(folder / LOG)
    with (folder / PIXELS).open("r+b") as pixels:
        pixels.write(_header(len(entries), size))
    columns = ["image_id", "path", "width", "height", "bytes", "mtime_ns", "depth"]
    with atomic(folder / INDEX) as temporary:
        pd.DataFrame(entries, columns=columns).to_parquet(temporary, index=False)
    write_text(folder / REJECTS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rejected))
    write_text(folder / SUCCESS, "")


def _header(rows: int, size: int) -> bytes:
    """A version 1.0 ``.npy`` header of fixed length, so that the number of rows can be written at the end."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({rows}, {size}, {size}), }}"
    return b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + text.ljust(_HEADER - 11).encode() + b"\n"


def _open_folder(folder: Path, recipe: dict[str, Any]) -> None:
    if folder.is_file():
        raise UsageError("is a file, not a folder", file=folder, remedy="choose another folder")
    if (folder / RECIPE).exists():
        old = _read_recipe(folder)
        if old != recipe:
            raise UsageError(
                f"holds frames of size {old.get('size')} ({old.get('mode')}), asked for are "
                f"{recipe['size']} ({recipe['mode']})",
                file=folder,
                remedy="choose another folder",
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise UsageError("is not empty and holds no image cache", file=folder, remedy="choose another folder")
    with writing(folder):
        write_json(folder / RECIPE, recipe)


def _read_recipe(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / RECIPE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise DataError("is no image cache", file=folder, remedy="remove the folder and build it again") from None


def _read_lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSONL file."""
    if not file.exists():
        return []
    text = file.read_bytes()
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].decode("utf-8").splitlines()]


def _trim_to_whole(folder: Path, logged: int, size: int) -> bool:
    """Cut off what a crash left: a broken line of the log, frames without a line. False when frames are missing."""
    log, pixels = folder / LOG, folder / PIXELS
    expected = _HEADER + logged * size * size if logged else 0
    if (pixels.stat().st_size if pixels.exists() else 0) < expected:
        return False
    if pixels.exists():
        os.truncate(pixels, expected)
    if log.exists():
        os.truncate(log, log.read_bytes().rfind(b"\n") + 1)
    return True


def _stamp(path: Path) -> dict[str, int]:
    state = path.stat()
    return {"bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def _changed(entry: dict[str, Any], path: Path, depth: int | None) -> bool:
    if entry.get("depth") != depth:
        return True
    try:
        stamp = _stamp(path)
    except OSError:
        return False  # gone since; its frame is still right
    return any(entry[key] != value for key, value in stamp.items())


def _discard(folder: Path) -> None:
    for name in (SUCCESS, LOG, PIXELS, INDEX):
        (folder / name).unlink(missing_ok=True)


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())  # the log must never name frames that are not there
