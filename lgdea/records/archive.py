"""An archive on disk: five validated tables, extra tables of one dataset, and where its images stand."""

from __future__ import annotations

import copy
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd
import pyarrow.parquet as pq

from lgdea.errors import DataError, UsageError
from lgdea.manifests import check_file, read_manifest, seal
from lgdea.reading import read_json
from lgdea.records import tables as t
from lgdea.records.schema import SCHEMA_VERSION, TABLES, Split
from lgdea.runs import MANIFEST, SUCCESS, environment, now, require_finished, write_json, write_text, writing
from lgdea.version import __version__

if TYPE_CHECKING:
    from lgdea.imaging.read import PixelImage

log = logging.getLogger(__name__)

ARCHIVE = "archive.json"
IMAGE_BITS = "image_bits"
"""Extra table of image_id and bits."""


class Archive:
    """A finished archive; its tables are read on first use and are plain data frames (null is NaN).

    Attributes:
        folder: Where it stands.
        name: The dataset's name, or the merged names joined by ``+``.
        image_root: Absolute folder to which image and mask paths are relative.
        is_part: Whether tables were replaced in memory (:meth:`with_tables`).
        patient_keys: By dataset, the fingerprint of the key of which patients' ids are keyed hashes; others are plain.
        info: What the adapter wants to be known: source, counts of what was left out, notes.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.name = str(manifest["name"])
        root = Path(manifest["image_root"])
        self.image_root = root if root.is_absolute() else (folder / root).resolve()
        self.info: dict[str, Any] = dict(manifest.get("info", {}))
        self.extra_names = tuple(manifest.get("extra_tables", {}))
        self._listed: dict[str, int] = {name: int(manifest["tables"][name]) for name in TABLES}
        self.patient_keys: dict[str, str] = dict(manifest.get("patient_keys", {}))
        self._manifest = manifest
        self.is_part = False

    @classmethod
    def open(cls, folder: str | Path) -> Archive:
        """Open the archive in ``folder``.

        Raises:
            UsageError: There is none, or it is unfinished.
            DataError: Its ``archive.json`` cannot be understood.
        """
        folder = require_finished(folder, what="archive", made_by="lgdea data build")
        file = folder / ARCHIVE
        if not file.is_file():
            raise UsageError("holds no archive (archive.json is missing)", file=folder, remedy="check the path")
        try:
            manifest = read_manifest(file, what="archive's description")
            version = str(manifest["schema_version"])
            archive = cls(folder.resolve(), manifest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"is not an archive description ({error})", file=file, remedy="build it again") from None
        if version != SCHEMA_VERSION:
            raise DataError(
                f"has schema version {version}, this lgdea reads {SCHEMA_VERSION}", file=file, remedy="build it again"
            )
        return archive

    @cached_property
    def studies(self) -> pd.DataFrame:
        """Rows of :class:`~lgdea.records.schema.Study`."""
        return self._table("studies")

    @cached_property
    def images(self) -> pd.DataFrame:
        """Rows of :class:`~lgdea.records.schema.Image`."""
        return self._table("images")

    @cached_property
    def reports(self) -> pd.DataFrame:
        """Rows of :class:`~lgdea.records.schema.Report`."""
        return self._table("reports")

    @cached_property
    def boxes(self) -> pd.DataFrame:
        """Rows of :class:`~lgdea.records.schema.Box`."""
        return self._table("boxes")

    @cached_property
    def labels(self) -> pd.DataFrame:
        """Rows of :class:`~lgdea.records.schema.Label`."""
        return self._table("labels")

    def extra(self, name: str) -> pd.DataFrame | None:
        """Read a table beyond the five.

        Args:
            name: Its name, such as ``mesh`` of Open-I; ``extra_names`` lists them.

        Returns:
            The table, None when this archive has none of that name.
        """
        return t.read_frame(self.table_file(name)) if name in self.extra_names else None

    def table_file(self, name: str) -> Path:
        """The file of a table, compared with the hash that it was written with.

        Raises:
            DataError: It is not as it was written.
        """
        file = self.folder / f"{name}.parquet"
        check_file(file, self._manifest, self.folder)
        return file

    def with_tables(self, **tables: pd.DataFrame) -> Archive:
        """Copy the archive with some of its five tables replaced in memory; what is on disk stays.

        Args:
            **tables: By name (``images=...``); the columns stay those of the table that is replaced.
        """
        part = copy.copy(self)
        part.is_part = True
        part.__dict__.pop("_paths", None)  # read from the table that may be replaced
        part.__dict__.update(tables)  # where the cached properties keep what they have read
        return part

    def image_path(self, image: str | Mapping[str, Any] | pd.Series) -> Path:
        """The file of an image.

        Args:
            image: Image id, or a row of ``images``.

        Raises:
            DataError: No image has this id.
        """
        if isinstance(image, str):
            try:
                path = self._paths[image]
            except KeyError:
                raise DataError(
                    f"has no image {image!r}", file=self.folder / "images.parquet", remedy="check the id"
                ) from None
        else:
            path = str(image["path"])
        return self.image_root / path

    def read_image(self, image_id: str) -> PixelImage:
        """Read an image, 16-bit pictures by the depth that the archive says.

        Raises:
            DataError: No image has this id, or it cannot be read.
        """
        from lgdea.imaging.read import read_image

        return read_image(self.image_path(image_id), bits=self.image_bits.get(image_id))

    @cached_property
    def image_bits(self) -> dict[str, int]:
        """Bit depth of 16-bit pictures by image id, as far as whoever built the archive said it."""
        table = self.extra(IMAGE_BITS)
        return {} if table is None else dict(zip(table["image_id"], table["bits"].astype(int).tolist(), strict=True))

    def mask_path(self, box: Mapping[str, Any] | pd.Series) -> Path | None:
        """The mask file of a row of ``boxes``, None when it has none."""
        path = box["mask_path"]
        return self.image_root / path if isinstance(path, str) else None

    @cached_property
    def _paths(self) -> dict[str, str]:
        return dict(zip(self.images["image_id"], self.images["path"], strict=True))

    def _table(self, name: str) -> pd.DataFrame:
        return t.read_table(self.table_file(name), TABLES[name])

    def _counts(self) -> dict[str, int]:
        """Rows of each table; from the manifest where the table has not been read or replaced."""
        return {name: len(self.__dict__[name]) if name in self.__dict__ else self._listed[name] for name in TABLES}

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self._counts().items())
        return f"Archive {self.name!r}: {counts}"

    def _repr_html_(self) -> str:
        """Studies, patients, images and reports by split, for a notebook."""
        head = f"<b>{escape(self.name)}</b> <code>{escape(str(self.folder))}</code>"
        counts = self._counts()
        tail = f"{counts['labels']:,} labels, {counts['boxes']:,} boxes"
        return f"<div>{head}{self.by_split().to_html(border=0)}{tail}</div>"

    def by_split(self) -> pd.DataFrame:
        """Count studies, patients, images and reports by split (rows: train, val, test, those that have studies)."""
        studies = self.studies.assign(split=self.studies["split"].fillna("no split"))
        split_of = studies.set_index("study_id")["split"]
        counts = {
            "studies": studies["split"].value_counts(),
            "patients": studies.groupby("split")["patient_id"].nunique(),
            "images": self.images["study_id"].map(split_of).value_counts(),
            "reports": self.reports["study_id"].map(split_of).value_counts(),
        }
        order = [split for split in (*get_args(Split), "no split") if split in set(studies["split"])]
        return pd.DataFrame(counts).reindex(order).fillna(0).astype(int).rename_axis(None)


def write_archive(
    folder: str | Path,
    name: str,
    tables: Mapping[str, t.Rows],
    image_root: str | Path,
    info: Mapping[str, Any] | None = None,
    extra_tables: Mapping[str, pd.DataFrame] | None = None,
    patient_keys: Mapping[str, str] | None = None,
) -> Archive:
    """Validate and write an archive; the folder holds either all of it or nothing new.

    Every row is validated first; then the tables are written to a staging folder inside ``folder`` and moved when
    all are whole; ``_SUCCESS`` comes last. An archive of the same name that is there already is replaced, one of
    another name is refused. ``archive.json`` holds no times, so that the same source gives the same fingerprint.

    Args:
        folder: Where the archive goes; files of other kinds in it (a phantom's pictures) stay.
        name: The dataset's name.
        tables: By name of :data:`~lgdea.records.schema.TABLES`; an absent one is written empty.
        image_root: Folder to which ``path`` and ``mask_path`` are relative; kept relative when it is in ``folder``.
        info: Facts for ``archive.json``, plain JSON data.
        extra_tables: Tables of this dataset alone, without a row model.
        patient_keys: By dataset, the fingerprint of the key by which patients' ids were hashed.

    Raises:
        UsageError: The folder holds another archive, or a table's name is unknown or taken.
        DataError: A row is invalid, or the disk is full.
    """
    folder, extra = Path(folder), dict(extra_tables or {})
    unknown = (set(tables) - set(TABLES)) | (set(extra) & set(TABLES))
    if unknown:
        raise UsageError(f"table name {min(unknown)!r} is not one of {list(TABLES)}, or is taken", file=folder)
    old = require_free(folder, name)
    if old and old.get("patient_keys", {}) != dict(patient_keys or {}):
        log.warning("%s: patients' ids were stored otherwise before (by another key, or by none)", folder)
    whole = {n: t.to_arrow(tables.get(n, []), model, file=folder / f"{n}.parquet") for n, model in TABLES.items()}
    more = {n: t.frame_to_arrow(frame, file=folder / f"{n}.parquet") for n, frame in extra.items()}
    manifest = {
        "name": name,
        "schema_version": SCHEMA_VERSION,
        "lgdea_version": __version__,
        "image_root": _portable(Path(image_root), folder),
        "tables": {n: table.num_rows for n, table in whole.items()},
        "extra_tables": {n: table.num_rows for n, table in more.items()},
        "info": dict(info or {}),
    }
    if patient_keys:
        manifest["patient_keys"] = dict(patient_keys)
    with writing(folder), _staging(folder) as staging:
        for n, table in {**whole, **more}.items():
            pq.write_table(table, staging / f"{n}.parquet", compression="zstd", write_page_checksum=True)
        files = [f"{n}.parquet" for n in (*whole, *more)]
        write_json(staging / ARCHIVE, seal(manifest, staging, files))
        write_json(staging / MANIFEST, seal({"stage": "data build", "finished": now(), "environment": environment()}))
        (folder / SUCCESS).unlink(missing_ok=True)
        for stale in set(old.get("extra_tables", {})) - set(extra):
            (folder / f"{stale}.parquet").unlink(missing_ok=True)
        for file in staging.iterdir():
            file.replace(folder / file.name)
        write_text(folder / SUCCESS, "")
    return Archive.open(folder)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A temporary folder inside ``folder``; neither it nor a folder made for it outlives a failure."""
    made_here = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in folder.glob(".staging.*"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging.", dir=folder))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made_here and not any(folder.iterdir()):
            folder.rmdir()


def require_free(folder: str | Path, name: str) -> dict[str, Any]:
    """Check that a build of the archive ``name`` may write into ``folder``.

    Returns:
        The ``archive.json`` of an earlier build, finished or not, of the same name; empty when there is none.

    Raises:
        UsageError: ``folder`` is a file, or holds another archive.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file, not a folder", file=folder, remedy="choose another --out")
    if not (folder / ARCHIVE).exists():
        return {}
    try:
        old = read_json(folder / ARCHIVE)
    except DataError:
        return {}
    if not isinstance(old, dict):
        return {}
    if old.get("name") != name:
        raise UsageError(
            f"holds the archive {old.get('name')!r} already", file=folder, remedy="choose another --out or remove it"
        )
    return old


def _portable(image_root: Path, folder: Path) -> str:
    """``image_root`` relative to ``folder`` when it lies inside, so that the folder can be moved; else absolute."""
    image_root, folder = image_root.resolve(), folder.resolve()
    return str(image_root.relative_to(folder)) if image_root.is_relative_to(folder) else str(image_root)
