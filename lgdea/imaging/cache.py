"""Build an image cache (:mod:`lgdea.imaging.frames`) by several processes, resumable at any point."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from filelock import FileLock

from lgdea.errors import DataError, ImageError, LgdeaError, UsageError
from lgdea.imaging.frames import (
    HEADER,
    INDEX,
    LOG,
    PIXELS,
    RECIPE,
    REJECTS,
    ImageCache,
    npy_header,
    read_lines,
    read_recipe,
)  # fmt: skip
from lgdea.imaging.geometry import Mode, fit
from lgdea.imaging.read import read_image
from lgdea.manifests import FILES, SEAL, seal, seal_line
from lgdea.outputs import is_leftover
from lgdea.processes import make_pool
from lgdea.runs import SUCCESS, atomic, write_json, write_text, writing

_FLUSH = 256  # images between two writes to the log
Item = tuple[str, str, int | None]
"""Image id, path and, where it is said, bit depth."""


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
    done = _read_log(folder)
    changed = any(_changed(done[i], *item) for i, item in wanted.items() if i in done)
    if not _trim_to_whole(folder, len(done), size) or changed:
        _discard(folder)
        done = {}
    waiting = [(i, str(path), depth) for i, (path, depth) in wanted.items() if i not in done]
    if not waiting and (folder / SUCCESS).exists() and (folder / INDEX).exists() and not _rejects(folder):
        return ImageCache(folder)
    (folder / SUCCESS).unlink(missing_ok=True)
    with writing(folder, resumable=True):
        rejected = _append(folder, waiting, size, mode, workers, progress)
        _close(folder, size, rejected)
    return ImageCache(folder)


def _read_log(folder: Path) -> dict[str, dict[str, Any]]:
    """What is done, by image id; nothing where the log is damaged, so that all is read anew."""
    try:
        return {entry["image_id"]: entry for entry in read_lines(folder / LOG)}
    except (DataError, KeyError, TypeError):
        _discard(folder)
        return {}


def _rejects(folder: Path) -> list[dict[str, Any]]:
    """Images to be tried again; a damaged list is written anew."""
    try:
        return read_lines(folder / REJECTS)
    except DataError:
        return [{}]


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
    with (folder / PIXELS).open("ab") as pixels, (folder / LOG).open("ab") as log:
        if pixels.tell() == 0:
            pixels.write(npy_header(0, size))
        lines: list[bytes] = []
        for count, ((image_id, path, _), outcome) in enumerate(_frames(waiting, size, mode, workers), start=1):
            if isinstance(outcome, str):
                rejected.append({"image_id": image_id, "path": path, "reason": outcome})
            else:
                frame, entry = outcome
                pixels.write(frame.tobytes())
                lines.append(seal_line({"image_id": image_id, "path": path, **entry}, "line_crc"))
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
        with make_pool(workers) as pool:
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
        crc = {"crc": zlib.crc32(frame.tobytes())}
        return frame, {"width": image.width, "height": image.height, **crc, **_stamp(Path(path)), **depth}
    except (ImageError, OSError) as error:
        return str(error)


def _close(folder: Path, size: int, rejected: list[dict[str, str]]) -> None:
    entries = read_lines(folder / LOG)
    with (folder / PIXELS).open("r+b") as pixels:
        pixels.write(npy_header(len(entries), size))
    columns = ["image_id", "path", "width", "height", "bytes", "mtime_ns", "depth"]
    columns += ["crc"] if all("crc" in entry for entry in entries) else []  # the log may be of an earlier version
    with atomic(folder / INDEX) as temporary:
        pd.DataFrame(entries, columns=columns).to_parquet(temporary, index=False)
    recipe = {name: value for name, value in read_recipe(folder).items() if name not in {FILES, SEAL}}
    write_json(folder / RECIPE, seal(recipe, folder, [INDEX]))
    write_text(folder / REJECTS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rejected))
    write_text(folder / SUCCESS, "")


def _open_folder(folder: Path, recipe: dict[str, Any]) -> None:
    if folder.is_file():
        raise UsageError("is a file, not a folder", file=folder, remedy="choose another folder")
    if (folder / RECIPE).exists():
        old = read_recipe(folder)
        if any(old.get(name) != value for name, value in recipe.items()):
            raise UsageError(
                f"holds frames of size {old.get('size')} ({old.get('mode')}), asked for are "
                f"{recipe['size']} ({recipe['mode']})",
                file=folder,
                remedy="choose another folder",
            )
        return
    if folder.exists() and not all(is_leftover(file) for file in folder.iterdir()):
        raise UsageError("is not empty and holds no image cache", file=folder, remedy="choose another folder")
    with writing(folder, resumable=True):
        write_json(folder / RECIPE, recipe)


def _trim_to_whole(folder: Path, logged: int, size: int) -> bool:
    """Cut off what a crash left: a broken line of the log, frames without a line. False when frames are missing."""
    log, pixels = folder / LOG, folder / PIXELS
    expected = HEADER + logged * size * size if logged else 0
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
