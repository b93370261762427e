"""CT and MR volumes as archives of axial slices (``data_cards/nifti-slices.md``)."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lgdea.config import Config, validate
from lgdea.errors import ImageError, UsageError
from lgdea.imaging import nifti
from lgdea.progress import track
from lgdea.records.adapters.table.fields import Cells
from lgdea.records.adapters.table.images import COLUMNS, ImageCounts, located_images
from lgdea.records.adapters.table.mapping import TableMapping
from lgdea.records.adapters.table.parse import ParsedTable, load_mapping, parse_table, plain_mapping, read_table
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.adapters.table.reading import SourceTable
from lgdea.records.archive import ARCHIVE, Archive, write_archive
from lgdea.records.patient_key import PatientKey
from lgdea.runs import SUCCESS, write_text

_log = logging.getLogger(__name__)

NAME = "nifti-slices"
SLICES = "slices"
VOLUME, REPORT = "volume", "report_file"  # columns of the table that a folder without one stands for


class SliceOptions(Config):
    """Choice of slices and window; see :func:`lgdea.imaging.nifti.read_slices`."""

    slices: int = 8
    """Slices per volume."""
    choose: nifti.Choice = "even"
    """``even`` spacing along the volume, or in each part of it the slice with the most ``tissue``."""
    window: str | tuple[float, float] = "mediastinum"
    """Window: lung, mediastinum, bone, brain, (lowest, highest), or ``percentiles`` where values have no unit."""


class NiftiSlices:
    """A study per volume (or as a table says), its images some axial slices as 8-bit PNG files in the archive.

    Extra table ``slices`` (image_id, volume, slice, depth, row_mm, column_mm, slice_mm, low, high): where each picture
    comes from and the values that are black and white in it.
    """

    name = NAME
    card = NAME
    takes_patient_key = True

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`.

        Args:
            source: A folder of ``.nii`` and ``.nii.gz`` files, each with its report as ``NAME.txt`` beside it if it has
                one; or a table, or a folder with one, read as the ``table`` adapter does with volumes for images.
            out: Archive folder; the pictures are written to ``slices`` in it.
            options: ``slices``, ``choose``, ``window``, and the ``table`` adapter's.
        """
        source, out = Path(source), Path(out)
        key: PatientKey | None = options.pop("patient_key", None)
        own, rest = _options(options)
        mapping, table, problems = _source(source, rest)
        with _staging(out) as staging:
            writer = _Writer(staging / SLICES, own)
            parsed = parse_table(mapping, table, problems, source, writer.images, key)
            parsed.stop_at_problems()
            with _in_place(staging, out):
                return _write(out, source, own, parsed, writer)


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder in ``out`` for new pictures; those of an earlier build stay whole until all new ones are there."""
    if (out / SLICES).exists() and not (out / ARCHIVE).exists():
        raise UsageError(
            f"holds a folder {SLICES} and no archive", file=out, remedy="choose another --out or remove it"
        )
    made_here = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in out.glob(f".{SLICES}.*"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{SLICES}.", dir=out))
    (staging / SLICES).mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made_here and not any(out.iterdir()):
            out.rmdir()


@contextmanager
def _in_place(staging: Path, out: Path) -> Iterator[None]:
    """The new pictures in the place of an earlier build's, which come back if the tables cannot be written."""
    folder, success, earlier = out / SLICES, out / SUCCESS, staging / "earlier"
    finished, rebuilt = success.exists(), folder.exists()
    success.unlink(missing_ok=True)  # killed from here on, the archive is unfinished and says so
    if rebuilt:
        folder.replace(earlier)
    (staging / SLICES).replace(folder)
    try:
        yield
    except BaseException:
        folder.replace(staging / SLICES)
        if rebuilt:
            earlier.replace(folder)
        if finished:
            write_text(success, "")
        raise


def folder_names(volumes: Sequence[str]) -> list[str]:
    """A folder name for each volume, safe on every file system and unlike any other's.

    An id that is a safe name is its own; others get a digest of the whole id, so that a name does not depend on the
    volumes beside it. Only names that differ in case alone, which some file systems do not tell apart, get it too.

    >>> folder_names(["case_1", "case 1"])
    ['case_1', 'case_1-c60f415da240']
    """
    lower = Counter(volume.lower() for volume in volumes)
    names = []
    for volume in volumes:
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", volume)[:80].strip(".") or "_"
        if name != volume or lower[volume.lower()] > 1:
            name = f"{name}-{hashlib.sha256(volume.encode()).hexdigest()[:12]}"
        names.append(name)
    return names


class _Writer:
    """Image reader that writes the slices of volumes, in the place of the ``table`` adapter's image reader."""

    def __init__(self, folder: Path, options: SliceOptions) -> None:
        self._folder, self._options = folder, options
        self.rows: list[dict[str, Any]] = []
        self.blank: list[str] = []

    def images(
        self, cells: Cells, mapping: TableMapping, rows: pd.DataFrame, root: Path, problems: RowProblems
    ) -> tuple[pd.DataFrame, ImageCounts]:
        """Rows of ``Image``, one per slice."""
        volumes, counts = located_images(cells, mapping, rows, root, problems, endings=nifti.ENDINGS)
        modality = "MR" if self._options.window == nifti.PERCENTILES else "CT"
        if not mapping.modality and "modality" not in mapping.constants:
            volumes = volumes.assign(modality=modality)
        images: list[dict[str, Any]] = []
        folders = folder_names([str(image).partition(":")[2] for image in volumes.get("image_id", ())])
        named = zip(volumes.to_dict("records"), folders, strict=True)
        for volume, folder in track(named, "slicing volumes", len(volumes)):
            try:
                images += self._slices({str(key): value for key, value in volume.items()}, root, folder)
            except ImageError as error:
                counts.unreadable += 1
                problems.add(
                    "unreadable-volume",
                    cells.file,
                    [volume["row"]],
                    f"the volume {error.file}: {error.problem}",
                    consequence="the volume is left out",
                    remedy=error.remedy or "fetch it again",
                )
        counts.found = len(volumes) - counts.unreadable
        return pd.DataFrame(images, columns=COLUMNS), counts

    def _slices(self, volume: dict[str, Any], root: Path, name: str) -> list[dict[str, Any]]:
        options = self._options
        read = nifti.read_slices(
            root / volume["path"], slices=options.slices, choose=options.choose, window=options.window
        )
        digits = len(str(read.depth - 1))
        folder = self._folder / name
        folder.mkdir()  # never that of another volume
        result = []
        for pixels, index in zip(read.pixels, read.indices, strict=True):
            label = f"z{index:0{digits}d}"
            grey = np.rint(pixels * 255).astype(np.uint8)
            if grey.min() == grey.max():
                self.blank.append(f"{volume['image_id']}:{label}")
            Image.fromarray(grey).save(folder / f"{label}.png")
            image = f"{volume['image_id']}:{label}"
            height, width = pixels.shape
            result.append(
                {**volume, "image_id": image, "path": f"{SLICES}/{name}/{label}.png", "width": width, "height": height,
                 "view": volume["view"] if isinstance(volume["view"], str) else "axial"}
            )  # fmt: skip
            self.rows.append(
                {"image_id": image, "volume": volume["path"], "slice": index, "depth": read.depth,
                 "row_mm": read.spacing[0], "column_mm": read.spacing[1], "slice_mm": read.spacing[2],
                 "low": read.window[0], "high": read.window[1]}
            )  # fmt: skip
        return result


def _options(options: dict[str, Any]) -> tuple[SliceOptions, dict[str, Any]]:
    """The adapter's own options, and those of the table."""
    own = {key: value for key, value in options.items() if key in SliceOptions.model_fields}
    rest = {key: value for key, value in options.items() if key not in own}
    return validate(SliceOptions, own, remedy=f"`lgdea data card {NAME}` lists the options"), rest


def _source(source: Path, options: dict[str, Any]) -> tuple[TableMapping, SourceTable, RowProblems]:
    """The table of volumes, or one made from a folder of them."""
    mapping, problems = load_mapping(options), RowProblems()
    if source.is_file() or mapping.table is not None or not source.is_dir():
        return mapping, read_table(source, mapping, problems), problems
    files = sorted(f for f in source.rglob("*") if f.name.lower().endswith(nifti.ENDINGS) and f.is_file())
    if not files:
        raise UsageError("holds no .nii or .nii.gz files", file=source, remedy="name their folder, or their table")
    tables = [f.name for f in source.iterdir() if f.name.endswith((".csv", ".tsv", ".parquet"))]
    if tables:
        names = ", ".join(sorted(tables)[:5])
        raise UsageError(
            f"holds volumes and tables ({names})", file=source, remedy="name the table, --option table=FILE, or move it"
        )
    rows = []
    for file in files:
        text = file.with_name(stem(file.name) + ".txt")
        rows.append(
            (file.relative_to(source).as_posix(), text.relative_to(source).as_posix() if text.is_file() else "")
        )
    frame = pd.DataFrame(rows, columns=[VOLUME, REPORT], index=pd.RangeIndex(1, len(rows) + 1), dtype="str")
    given = mapping.model_dump(exclude_unset=True)
    mapping = TableMapping.model_validate(
        {"image": [VOLUME], "report_file": REPORT, "patient": None, "guess": False} | given
    )
    # The table stands for the folder, so that relative paths are the folder's.
    return mapping, SourceTable(source / "(folder)", frame), problems


def stem(name: str) -> str:
    """A file's name without ``.nii`` or ``.nii.gz``."""
    return re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)


def _write(out: Path, source: Path, own: SliceOptions, parsed: ParsedTable, writer: _Writer) -> Archive:
    blank = []
    if writer.blank:
        low, high = writer.rows[0]["low"], writer.rows[0]["high"]
        other = "" if own.window == nifti.PERCENTILES else "; another window may show more, --option window=percentiles"
        blank = [
            f"{len(writer.blank)} of {len(writer.rows)} pictures are of one grey, such as {writer.blank[0]}: without a "
            f"value between {low:g} and {high:g}, or empty{other}"
        ]
        _log.warning(blank[0])
    info = {
        "source": str(source),
        **own.model_dump(mode="json"),
        "mapping": plain_mapping(parsed.mapping),
        "guessed": parsed.guessed,
        "left_out": parsed.problems.facts(),
        "notes": [*parsed.notes, *blank],
    }
    info |= parsed.patient_facts()
    kept = set(parsed.tables["images"]["image_id"])
    slices = pd.DataFrame([row for row in writer.rows if row["image_id"] in kept])
    extra = {"slices": slices, **parsed.left_out()}
    name, keys = str(parsed.mapping.dataset), parsed.patient_keys()
    return write_archive(out, name, parsed.tables, out, info, extra, keys)


ADAPTER = NiftiSlices()
