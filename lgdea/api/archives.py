"""Archives for Python users: open one, build one from files or data frames, and choose which links are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import UsageError
from lgdea.locks import locked
from lgdea.records import pairing as pairings
from lgdea.records.adapters.base import get_adapter, list_adapters, require_patients
from lgdea.records.archive import Archive
from lgdea.records.from_frames import write_frames
from lgdea.records.patient_key import load_patient_key


def open_archive(folder: str | Path) -> Archive:
    """Open an archive.

    Args:
        folder: Folder that `lgdea data build` or :func:`build_archive` wrote.

    Returns:
        The archive; its tables ``studies``, ``images``, ``reports``, ``boxes`` and ``labels`` are data frames, read on
        first use (columns: :mod:`lgdea.records.schema`).

    Raises:
        UsageError: There is no archive, or it is unfinished.
        DataError: It was written by another version.

    Example:
        >>> tables = lgdea.open_archive(archive.folder)
        >>> len(tables.studies), sorted(tables.studies["split"].unique())
        (60, ['test', 'train', 'val'])
    """
    return Archive.open(folder)


def build_archive(
    name: str,
    source: str | Path | None = None,
    out: str | Path | None = None,
    *,
    studies: pd.DataFrame | int | None = None,
    images: pd.DataFrame | str | Path | None = None,
    reports: pd.DataFrame | str | Path | None = None,
    labels: pd.DataFrame | Mapping[str, Any] | None = None,
    boxes: pd.DataFrame | Mapping[str, Any] | None = None,
    image_root: str | Path | None = None,
    patient_key: str | Path | None = None,
    **options: Any,
) -> Archive:
    """Build an archive from the files of a known dataset, or from data frames.

    Args:
        name: Dataset (:func:`list_datasets`); of data frames the archive's name and the prefix of its ids.
        source: The dataset's folder, the table of the dataset ``table``, or ``default`` for the phantom; not with data
            frames.
        out: Archive folder to write. Required: an archive is a folder that later steps read, never in memory.
        studies: One row per study: ``study_id``; optional ``patient_id``, ``split`` (train, val, test), ``sex``,
            ``age``, ``day``, ``site``. Without it studies are made of the other frames; without ``split`` the patients
            are split 70/10/20 by a hash. What is no data frame, here and in the next four, is the dataset's option of
            this name: the phantom's number of studies, the folder of the images of MS-CXR.
        images: One row per image: ``study_id`` and ``path``; optional ``image_id`` (default: the file's name),
            ``patient_id``, ``view``, ``modality``, ``width``, ``height`` (default: read from the file).
        reports: One row per report: ``study_id`` and ``text``; optional ``report_id``, ``patient_id``, ``language``.
        labels: ``study_id`` or ``image_id``, ``finding`` (id, name or synonym of the vocabulary) and ``value`` (1
            present, 0 absent, -1 uncertain, NaN no information), or a column per finding; optional ``labeller``.
        boxes: ``image_id``, ``finding``, ``x_min``, ``y_min``, ``x_max``, ``y_max`` in pixels of the stored image,
            half-open; optional ``phrase``, ``laterality``, ``kind``, ``mask_path``.
        image_root: Folder to which the paths of ``images`` are relative, by default the current one; without data
            frames the dataset's option of this name.
        patient_key: File of a secret, outside ``out``, by which patients' ids are hashed; made where there is none. Of
            data frames, `table` and DICOM headers that name patients; None keeps ids as they are given.
        options: Options of the dataset (`lgdea data card NAME`), such as ``studies=500`` for the phantom.

    Returns:
        The archive. Ids, which may be numbers in the frames, are text with the prefix ``name:``.

    Raises:
        UsageError: The dataset is unknown, ``out`` is missing or holds another archive, an option is unknown, or the
            patient key cannot be trusted.
        DataError: A file or a row is wrong; the message names file (or table) and row.

    Example:
        >>> import pandas as pd
        >>> reports = pd.DataFrame({"study_id": [1, 2], "text": ["Small left effusion.", "Clear lungs."]})
        >>> mine = lgdea.build_archive("mine", reports=reports, out=folder / "mine")
        >>> list(mine.reports["report_id"])
        ['mine:1', 'mine:2']
        >>> lgdea.build_archive("phantom", "default", folder / "phantom", studies=3, size=64)
        Archive 'phantom': 3 studies, ... images, 3 reports, ... boxes, ... labels
    """
    given = {"studies": studies, "images": images, "reports": reports, "labels": labels, "boxes": boxes}
    frames: dict[str, Any] = {}
    for table, value in given.items():
        if isinstance(value, int | str | Path) or (source is not None and not isinstance(value, pd.DataFrame | None)):
            options[table] = value
        elif value is not None:  # a list is no option without a source, and refused with the frames
            frames[table] = value
    if out is None:
        raise UsageError("an archive is a folder", remedy="name it: out=FOLDER")
    if not frames:
        if source is None:
            raise UsageError(
                f"the dataset {name!r} has no source", remedy="give its folder, or data frames: images=, reports= ..."
            )
        if image_root is not None:
            options["image_root"] = image_root
        return build_dataset(name, source, out, options, patient_key=patient_key)
    if source is not None or options:
        extra = "source" if source is not None else min(options)
        raise UsageError(f"{extra!r} does not go with data frames", remedy="leave it out, or leave out the frames")
    key = None if patient_key is None else load_patient_key(patient_key, outside=out)
    with locked(out):
        return write_frames(frames, out, name=name, image_root=image_root or ".", patient_key=key)


def build_dataset(
    name: str,
    source: str | Path,
    out: str | Path,
    options: Mapping[str, Any],
    *,
    patient_key: str | Path | None = None,
) -> Archive:
    """Build an archive from the files of a known dataset; arguments and errors as of :func:`build_archive`.

    Args:
        name: Dataset.
        source: Its folder or table.
        out: Archive folder to write.
        options: Options of the dataset, whatever their names.
        patient_key: File of a secret.
    """
    adapter, options = get_adapter(name), dict(options)
    if patient_key is not None:
        require_patients(adapter)
        options["patient_key"] = load_patient_key(patient_key, outside=out)
    with locked(out):
        return adapter.build(Path(source), Path(out), **options)


def make_pairing(
    archive: Archive | str | Path, fraction: float, seed: int = 0, out: str | Path | None = None
) -> pd.DataFrame:
    """Choose which studies keep their image-report link, as if few were linked: by patient, 1% inside 5% inside 20%.

    Args:
        archive: Archive or its folder.
        fraction: Share, in [0, 1], of the training patients with both sides whose links are kept.
        seed: Seed of the patients' order; the fractions of one seed are nested.
        out: Parquet file to write, which `lgdea pretrain` takes; None writes nothing.

    Returns:
        One row per study with an image or a report: ``study_id``, ``patient_id``, ``state`` (paired, unlinked,
        image_only, text_only); ``attrs`` holds ``archive``, ``fraction`` and ``seed``.

    Raises:
        UsageError: ``fraction`` is outside [0, 1], or there is no archive.
        DataError: The studies have no split.

    Example:
        >>> pairing = lgdea.make_pairing(archive, fraction=0.2)
        >>> pairing["state"].value_counts().index.tolist(), pairing.attrs["fraction"]
        (['unlinked', 'paired'], 0.2)
    """
    opened = archive if isinstance(archive, Archive) else Archive.open(archive)
    pairing = pairings.make_pairing(opened, fraction=fraction, seed=seed)
    if out is not None:
        pairings.write_pairing(pairing, out)
    return pairing


def scrub_archive(
    archive: Archive | str | Path,
    out: str | Path,
    *,
    known: str | Path | Iterable[str] | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Archive:
    """Mask likely identifiers in an archive's reports; what a remote backend may read. No guarantee.

    Needs ``lgdea[scrub]``. Masks are ``[NAME]``, ``[DATE]``, ``[AGE]`` (over 89), ``[PHONE]``, ``[EMAIL]``, ``[URL]``,
    ``[ADDRESS]``, ``[HOSPITAL]`` and ``[ID]``; years alone, times of day and relative dates stay.

    Args:
        archive: Archive or its folder.
        out: Folder of the new archive; evidence of it points into the masked texts.
        known: Names to mask wherever they stand, such as a hospital's staff, or a text file with one a line.
        workers: Processes that share the reports.
        progress: Called with done and all reports.

    Returns:
        The new archive; its extra table ``scrubbed`` counts masks by report and type.

    Raises:
        UsageError: philter-lite is not installed, or ``out`` holds another archive.

    Example:
        >>> import pandas as pd
        >>> reports = pd.DataFrame({"study_id": [1], "text": ["Seen by Dr. Young on 3/4/2019. Clear lungs."]})
        >>> letters = lgdea.build_archive("letters", reports=reports, out=folder / "letters")
        >>> lgdea.scrub_archive(letters, folder / "scrubbed").reports["text"].item()
        'Seen by Dr. [NAME] on [DATE]. Clear lungs.'
    """
    from lgdea.deidentification import scrub

    opened = archive if isinstance(archive, Archive) else Archive.open(archive)
    names = scrub.read_known(known) if isinstance(known, str | Path) else list(known or ())
    with locked(out):
        return scrub.scrub_archive(opened, out, known=names, workers=workers, progress=progress)


def list_datasets() -> list[str]:
    """List the datasets that :func:`build_archive` knows; `lgdea data card NAME` describes one.

    Returns:
        Names, sorted; those of installed packages that declare an adapter among them.

    Example:
        >>> lgdea.list_datasets()
        ['chestx-det', 'chexpert', ..., 'vindr-cxr']
    """
    return list_adapters()
