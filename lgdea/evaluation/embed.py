"""All embeddings of an archive as memory-mapped arrays beside their ids.

``images.npy`` (N, D) float32 with ``images.parquet`` (``image_id, error``) and ``reports.npy`` with ``reports.parquet``
(``report_id, error``); row ``i`` of one belongs to row ``i`` of the other. An item that cannot be embedded has a row of
NaN and the reason in ``error``. An encoder without a text side leaves no report files.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea import runs
from lgdea.errors import DataError, RejectedShareError, UsageError, first_line
from lgdea.evaluation.encoders.protocol import (
    EvaluableModel,
    ImageEncoder,
    as_image_encoder,
    frame_of,
    l2_normalize,
    model_name,
    notes_of,
)
from lgdea.evaluation.images import ImageSource
from lgdea.locks import locked
from lgdea.manifests import REMEDY, read_manifest, seal
from lgdea.progress import track
from lgdea.records.tables import read_frame

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

Vectors = NDArray[np.float32]
_ENDS = ("parquet", "progress.json", "npy")
_log = logging.getLogger(__name__)

Block = tuple[Vectors, dict[int, str]]
"""Vectors of a block and, by row, why one is missing."""


def embed_archive(
    model: ImageEncoder | LgdeaModel,
    archive: Archive,
    out: str | Path,
    *,
    batch_size: int = 64,
    workers: int = 4,
    max_unreadable: float = 0.05,
    model_folder: str | Path | None = None,
) -> Path:
    """Embed every image, and every report when the model reads; run again, it goes on where it stopped.

    Args:
        model: The model.
        archive: Its images and reports, all splits.
        out: New folder, or one that an interrupted call with the same inputs left behind.
        batch_size: Items embedded, and saved, at a time.
        workers: Threads that read images.
        max_unreadable: Allowed share of images that cannot be read; their rows are NaN.
        model_folder: Where the model came from; hashed, so that two models' embeddings never mix.

    Returns:
        ``out``.

    Raises:
        DataError: The archive has neither images nor reports, none of its images can be read, or an embedding is not
            finite.
        RejectedShareError: Finished and written, but more images than allowed cannot be read.
        UsageError: ``out`` holds something else.
    """
    out, name, encoder = Path(out), model_name(model), as_image_encoder(model)
    if not len(archive.images) and not len(archive.reports):
        raise DataError("has neither images nor reports", file=archive.folder, remedy="choose another archive")
    with locked(out):
        _embed(encoder, name, archive, out, batch_size, workers, model_folder)
        _check_share(out, max_unreadable)
    return out


def _embed(
    encoder: ImageEncoder,
    name: str,
    archive: Archive,
    out: Path,
    batch_size: int,
    workers: int,
    model_folder: str | Path | None,
) -> None:
    inputs = {"archive": archive.folder} | ({} if model_folder is None else {"model": model_folder})
    runs.start(out, stage="embed", config={"model": name, "pictures": _stamp_pictures(archive)}, inputs=inputs)
    if runs.is_finished(out):
        return
    reader = encoder if isinstance(encoder, EvaluableModel) else None
    black = np.zeros((64, 64), np.float32)
    dim = np.shape(encoder.encode_images([black]) if reader is None else reader.encode_texts(["normal chest"]))[1]
    source = ImageSource(archive, workers=workers, frame=frame_of(encoder))
    texts = dict(zip(archive.reports["report_id"], archive.reports["text"], strict=True))

    def embed_images(ids: list[str]) -> Iterator[Block]:
        outcomes = source.read_ahead(ids, 2 * batch_size)
        while block := list(islice(outcomes, batch_size)):
            vectors = np.full((len(block), dim), np.nan, np.float32)
            pixels = {row: outcome for row, outcome in enumerate(block) if not isinstance(outcome, str)}
            if pixels:
                vectors[list(pixels)] = l2_normalize(encoder.encode_images(list(pixels.values())), "image embeddings")
            yield vectors, {row: outcome for row, outcome in enumerate(block) if isinstance(outcome, str)}

    counts = {"images": _fill(out, "image", archive.images["image_id"].tolist(), dim, batch_size, embed_images)}
    if counts["images"] == len(archive.images) > 0:
        reason = missing_images(out)["error"].iloc[0]
        for left in (*(f"images.{end}" for end in _ENDS), runs.MANIFEST):  # the next run begins anew, mended or not
            (out / left).unlink(missing_ok=True)
        problem = f"none of {len(archive.images):,} images can be read ({reason})"
        remedy = "`lgdea data verify` names all"
        raise DataError(problem, file=archive.folder, remedy=remedy)
    if reader is not None:

        def embed_reports(ids: list[str]) -> Iterator[Block]:
            for start in range(0, len(ids), batch_size):
                block = [texts[i] for i in ids[start : start + batch_size]]
                yield l2_normalize(reader.encode_texts(block), "report embeddings"), {}

        counts["reports"] = _fill(out, "report", list(texts), dim, batch_size, embed_reports)
    files = [f"{side}.{end}" for side in counts for end in ("npy", "parquet")]
    runs.finish(out, files, not_embedded=counts, notes=notes_of(encoder))


def missing_images(folder: str | Path) -> pd.DataFrame:
    """Rows of ``images.parquet`` (``image_id, error``) of the images that could not be read."""
    rows = read_frame(runs.check_output(Path(folder) / "images.parquet"))
    return rows[rows["error"].notna()].reset_index(drop=True)


def read_embeddings(folder: str | Path, side: str) -> tuple[Vectors, pd.DataFrame]:
    """The vectors (N, D), memory-mapped, and the ids of one side (``image`` or ``report``).

    Rows of items that could not be embedded are NaN and have an ``error``; that there are some is logged.

    Raises:
        UsageError: The folder is not a finished one of ``lgdea embed``, or its encoder has no text side.
    """
    folder = runs.require_finished(folder, what="embeddings folder", made_by="lgdea embed")
    if not (folder / f"{side}s.npy").exists():
        raise UsageError(f"holds no {side} embeddings", file=folder, remedy="its encoder has no text side")
    ids = read_frame(runs.check_output(folder / f"{side}s.parquet"))
    missing = int(ids["error"].notna().sum())
    if missing:
        _log.warning("%d of %d %s embeddings are NaN; the column error says why", missing, len(ids), side)
    file = runs.check_output(folder / f"{side}s.npy")
    try:
        return np.load(file, mmap_mode="r"), ids
    except Exception as error:  # numpy raises whatever Python's tokenizer does on a damaged header
        raise DataError(f"cannot be read ({first_line(error)})", file=file, remedy=REMEDY) from None


def _allocate(file: Path, shape: tuple[int, int]) -> None:
    """Make the array with all its disk blocks: writing into a hole of a full disk would kill the process (SIGBUS)."""
    np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):
        with runs.writing(file), file.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)


def _stamp_pictures(archive: Archive) -> str:
    """Hash the size and time of every picture: whoever replaces some and resumes is not to get stale rows."""
    digest = hashlib.sha256()
    for image_id, path in zip(archive.images["image_id"], archive.images["path"], strict=True):
        try:
            state = (archive.image_root / path).stat()
            digest.update(f"{image_id} {state.st_size} {state.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{image_id} missing\n".encode())
    return digest.hexdigest()


def _check_share(out: Path, allowed: float) -> None:
    total, missing = len(pd.read_parquet(out / "images.parquet", columns=["image_id"])), len(missing_images(out))
    if missing > allowed * total:
        raise RejectedShareError(
            f"{missing:,} of {total:,} images could not be read ({missing / total:.1%}, allowed are {allowed:.1%})",
            file=out / "images.parquet",
            remedy="its column error says why; mend them and embed into another folder, or allow more with "
            "--max-unreadable",
        )


def _resume(progress_file: Path, array_file: Path, shape: tuple[int, int]) -> tuple[int, dict[str, str], int]:
    """Rows that an interrupted run has written, its errors, and the checksum of the rows; none where they changed."""
    try:
        progress = read_manifest(progress_file)
        done, errors, crc = int(progress["done"]), dict(progress["errors"]), int(progress["crc"])
        rows = np.load(array_file, mmap_mode="r")
        if rows.shape == shape and rows.dtype == np.float32 and zlib.crc32(rows[:done]) == crc:
            return done, errors, crc
    except Exception as error:  # numpy raises whatever Python's tokenizer does on a damaged header
        _log.debug("embedding anew: %s", error)
    return 0, {}, 0


def _fill(
    out: Path, side: str, ids: list[str], dim: int, batch_size: int, embed: Callable[[list[str]], Iterator[Block]]
) -> int:
    """Write ``<side>s.npy`` block by block and the ids last; returns how many items were not embedded."""
    table, progress_file, array_file = (out / f"{side}s.{end}" for end in _ENDS)
    if table.exists() and array_file.exists():
        return int(pd.read_parquet(table)["error"].notna().sum())
    done, errors, crc = _resume(progress_file, array_file, (len(ids), dim))
    if not ids:
        np.save(array_file, np.zeros((0, dim), np.float32))  # an empty file cannot be mapped
    elif not done:
        _allocate(array_file, (len(ids), dim))
    starts = range(done, len(ids), batch_size)
    blocks = zip(starts, embed(ids[done:]), strict=True)
    for start, (vectors, wrong) in track(blocks, f"embedding {side}s", len(starts)):
        memory = np.lib.format.open_memmap(array_file, mode="r+")
        memory[start : start + len(vectors)] = vectors
        memory.flush()
        errors |= {str(start + row): reason for row, reason in wrong.items()}
        crc = zlib.crc32(np.ascontiguousarray(vectors, np.float32).data, crc)
        progress = {"done": start + len(vectors), "errors": errors, "crc": crc}
        runs.write_json(progress_file, seal(progress))
    reasons = [errors.get(str(row)) for row in range(len(ids))]
    with runs.atomic(table) as temporary:
        pd.DataFrame({f"{side}_id": ids, "error": pd.array(reasons, dtype="str")}).to_parquet(temporary, index=False)
    progress_file.unlink(missing_ok=True)
    return len(errors)
