"""Looking for what would spoil a run, before it does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lgdea.errors import ImageError
from lgdea.imaging.read import read_image
from lgdea.processes import make_pool
from lgdea.records.archive import Archive

Progress = Callable[[int, int], None]

KEYS = {"studies": "study_id", "images": "image_id", "reports": "report_id", "boxes": "box_id"}
LINKS = {
    "images": ("study_id", "studies"),
    "reports": ("study_id", "studies"),
    "boxes": ("image_id", "images"),
    "labels": ("study_id", "studies"),
}
Look = tuple[tuple[int, int], str, list[tuple[str, str, str]]]
"""Size, digest, and (kind, detail, remedy) of warnings."""
BOX_TOLERANCE = 1.0  # pixels; annotation tools round


@dataclass(frozen=True)
class Problem:
    """Something that :func:`verify` found.

    Attributes:
        kind: What it is, one word of the list in :func:`verify`.
        severity: ``error`` spoils results or stops a run; ``warning`` has to be known.
        table: The table concerned.
        row: Id of the row, or of the first of several.
        detail: What is wrong with it.
        remedy: What can be done.
    """

    kind: str
    severity: Literal["error", "warning"]
    table: str
    row: str
    detail: str
    remedy: str


def verify(archive: Archive, *, workers: int | None = None, progress: Progress | None = None) -> list[Problem]:
    """Check an archive, every image decoded.

    Errors: ``duplicate-id``, ``dangling-key``, ``split-leak`` (a patient on two sides), ``missing-image``,
    ``unreadable-image``, ``image-size`` (not the size in the table), ``box-outside``, ``pixel-leak`` (equal pixels on
    two sides of the split). Warnings: ``empty-report``, ``repeated-report`` (word for word), ``repeated-image`` (equal
    pixels), ``blank-image`` (all its pixels are equal), ``noted-image`` (read with an assumption, or with pixels that
    are no number), ``no-split``.

    Args:
        archive: What to check.
        workers: Processes that decode images; None takes one per CPU.
        progress: Called with (done, total) images.

    Returns:
        Errors first; within a kind in the order of the table.
    """
    problems = [
        *_duplicate_ids(archive),
        *_dangling_keys(archive),
        *_splits(archive),
        *_images(archive, workers or os.cpu_count() or 1, progress),
        *_boxes(archive),
        *_reports(archive),
    ]
    return sorted(problems, key=lambda problem: problem.severity)


def _duplicate_ids(archive: Archive) -> Iterator[Problem]:
    for table, key in KEYS.items():
        ids = getattr(archive, table)[key]
        for value, count in ids[ids.duplicated(keep=False)].value_counts(sort=False).items():
            detail = f"{key} {value!r} stands {count} times"
            yield Problem("duplicate-id", "error", table, str(value), detail, "give each row its own id")


def _dangling_keys(archive: Archive) -> Iterator[Problem]:
    for table, (key, target) in LINKS.items():
        rows, known = getattr(archive, table), getattr(archive, target)[KEYS[target]]
        yield from _dangling(table, rows, key, known, target)
    image_labels = archive.labels[archive.labels["image_id"].notna()]
    yield from _dangling("labels", image_labels, "image_id", archive.images["image_id"], "images")


def _dangling(table: str, rows: pd.DataFrame, key: str, known: pd.Series, target: str) -> Iterator[Problem]:
    own = KEYS.get(table, key)
    lost = rows.loc[~rows[key].isin(known)].drop_duplicates(own)
    for row, value in zip(lost[own], lost[key], strict=True):
        detail = f"{key} {value!r} is not in {target}"
        yield Problem("dangling-key", "error", table, str(row), detail, f"add the row to {target} or remove this one")


def _splits(archive: Archive) -> Iterator[Problem]:
    studies = archive.studies
    for patient, sides in studies.dropna(subset="split").groupby("patient_id", sort=False)["split"].unique().items():
        if len(sides) > 1:
            detail = f"patient {patient!r} is in {' and '.join(sorted(sides))}"
            yield Problem("split-leak", "error", "studies", str(patient), detail, "split by patient")
    missing = studies.loc[studies["split"].isna(), "study_id"]
    if len(missing):
        detail = f"{len(missing)} studies have no split"
        yield Problem("no-split", "warning", "studies", str(missing.iloc[0]), detail, "split by patient")


def _images(archive: Archive, workers: int, progress: Progress | None) -> Iterator[Problem]:
    images = archive.images.drop_duplicates("image_id")
    seen: dict[str, list[str]] = {}
    files = [(str(archive.image_path(image)), archive.image_bits.get(image)) for image in images["image_id"]]
    rows = zip(images["image_id"], images["width"], images["height"], strict=True)
    for done, ((image, width, height), outcome) in enumerate(
        zip(rows, _looked_at(files, workers), strict=True), start=1
    ):
        if isinstance(outcome, ImageError):
            missing = outcome.problem == "no such image"
            kind, remedy = "missing-image" if missing else "unreadable-image", outcome.remedy or "leave it out"
            yield Problem(kind, "error", "images", image, f"{outcome.file}: {outcome.problem}", remedy)
        else:
            size, digest, remarks = outcome
            seen.setdefault(digest, []).append(image)
            if size != (width, height):
                detail = f"is {size[0]}x{size[1]}, the table says {width}x{height}; its boxes may be off"
                yield Problem("image-size", "error", "images", image, detail, "build the archive again")
            for kind, detail, remedy in remarks:
                yield Problem(kind, "warning", "images", image, detail, remedy)
        if progress is not None and (done % 64 == 0 or done == len(files)):
            progress(done, len(files))
    yield from _equal_pixels(archive, [group for group in seen.values() if len(group) > 1])


def _looked_at(files: list[tuple[str, int | None]], workers: int) -> Iterator[Look | ImageError]:
    if workers <= 1 or len(files) < 64:
        yield from map(_look_at, files)
        return
    with make_pool(workers) as pool:
        yield from pool.map(_look_at, files, chunksize=16)


def _look_at(file: tuple[str, int | None]) -> Look | ImageError:
    """Size, a digest of the pixels, so that equal pictures in different files are found, and what is odd."""
    path, bits = file
    try:
        image = read_image(path, bits=bits)
    except ImageError as error:
        return ImageError(error.problem, file=error.file, remedy=error.remedy)
    size = (image.width, image.height)
    digest = hashlib.sha256(repr(size).encode())
    digest.update(image.pixels.data)
    remarks = [("noted-image", note, "look at the picture, or leave it out") for note in image.info.get("notes", [])]
    if image.pixels.size > 1 and image.pixels.min() == image.pixels.max():
        detail = f"all its pixels are {image.pixels.flat[0]:.3g} of white"
        remarks.append(("blank-image", detail, "check its source and its window, or leave it out"))
    return size, digest.hexdigest(), remarks


def _equal_pixels(archive: Archive, groups: list[list[str]]) -> Iterator[Problem]:
    images = archive.images.merge(archive.studies[["study_id", "split"]], on="study_id", how="left")
    split = dict(zip(images["image_id"], images["split"], strict=True))
    for group in groups:
        detail = "has the same pixels as " + _list_some(group[1:])
        if len({split[image] for image in group if isinstance(split[image], str)}) > 1:
            detail += " on another side of the split"
            yield Problem("pixel-leak", "error", "images", group[0], detail, "give them one patient_id and split again")
        else:
            yield Problem("repeated-image", "warning", "images", group[0], detail, "keep one of them")


def _boxes(archive: Archive) -> Iterator[Problem]:
    boxes = archive.boxes.merge(
        archive.images.drop_duplicates("image_id")[["image_id", "width", "height"]], on="image_id"
    )
    low = boxes[["x_min", "y_min"]].min(axis=1) < -BOX_TOLERANCE
    high = (boxes["x_max"] > boxes["width"] + BOX_TOLERANCE) | (boxes["y_max"] > boxes["height"] + BOX_TOLERANCE)
    columns = ["box_id", "x_min", "y_min", "x_max", "y_max", "width", "height"]
    for name, *corners, width, height in boxes.loc[low | high, columns].itertuples(index=False):
        detail = f"({', '.join(f'{value:g}' for value in corners)}) leaves the image of {width}x{height} pixels"
        remedy = "check in which frame the source gives its boxes"
        yield Problem("box-outside", "error", "boxes", str(name), detail, remedy)


def _reports(archive: Archive) -> Iterator[Problem]:
    reports = archive.reports
    blank = reports["text"].str.strip() == ""
    for report in reports.loc[blank, "report_id"]:
        yield Problem("empty-report", "warning", "reports", str(report), "has no text", "leave it out")
    words = reports.loc[~blank, "text"].str.split().str.join(" ")
    for _, group in reports[~blank].groupby(words, sort=False)["report_id"]:
        if len(group) > 1:
            ids = group.tolist()
            detail = f"has the same words as {_list_some(ids[1:])}"
            remedy = "none needed: retrieval counts them as ties"
            yield Problem("repeated-report", "warning", "reports", str(ids[0]), detail, remedy)


def _list_some(ids: list[str]) -> str:
    shown = ", ".join(repr(i) for i in ids[:3])
    return shown + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
