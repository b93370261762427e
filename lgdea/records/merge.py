"""Joining archives into one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive, write_archive
from lgdea.records.schema import TABLES
from lgdea.records.split import split_by_patient
from lgdea.records.tables import Rows
from lgdea.records.verify import KEYS


def merge(
    archives: Sequence[Archive],
    out: str | Path,
    *,
    name: str | None = None,
    seed: int | None = None,
    hold_out_boxes: bool = False,
) -> Archive:
    """Write one archive with the rows of all ``archives``; image files stay where they are.

    A patient whom several archives share keeps one side: the archives must agree on it, as those split by the same
    seed do. A study that stands in two archives, in one with its images and in the other with its reports (two exports
    of one hospital, built under one dataset name), is joined: that is its link.

    Args:
        archives: Two or more; no id may stand in two of them, but for studies whose images are in one alone and whose
            reports are in one alone.
        out: Folder of the new archive.
        name: Its name; None joins the names by ``+``.
        seed: Split all patients anew with this seed; None keeps the splits as they are.
        hold_out_boxes: Move patients who have boxes of findings to the test side, so that grounding is scored on all
            of them and no other.

    Raises:
        UsageError: Fewer than two archives.
        DataError: An id stands in two archives, they put one patient on different sides, or patients of one dataset
            were hashed by different keys.
    """
    if len(archives) < 2:
        raise UsageError("merging needs two or more archives", file=out)
    patient_keys = _join_keys(archives)
    tables: dict[str, Rows] = {}
    for table in TABLES:
        parts = [getattr(archive, table) for archive in archives]
        if table == "studies":
            parts = _join_studies(parts, archives)
        _refuse_clashes(table, parts, archives)
        tables[table] = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    studies = pd.DataFrame(tables["studies"])
    if seed is not None:
        studies = split_by_patient(studies, seed)
    if hold_out_boxes:
        studies = studies.assign(
            split=studies["split"].where(~studies["patient_id"].isin(_patients_with_boxes(archives)), "test")
        )
    _refuse_disagreement(studies, archives)
    root = Path(os.path.commonpath([archive.image_root for archive in archives]))
    tables |= {
        "studies": studies,
        "images": _rebase("images", "path", archives, root),
        "boxes": _rebase("boxes", "mask_path", archives, root),
    }
    extra_names = dict.fromkeys(extra for archive in archives for extra in archive.extra_names)
    extras = {extra: _joined_extra(extra, archives) for extra in extra_names}
    info = {
        "merged": {archive.name: str(archive.folder) for archive in archives},
        "split_seed": seed,
        "hold_out_boxes": hold_out_boxes,
    }
    if all(archive.info.get("scrubbed") for archive in archives):
        info["scrubbed"] = {archive.name: archive.info["scrubbed"] for archive in archives}
    return write_archive(out, name or "+".join(a.name for a in archives), tables, root, info, extras, patient_keys)


def _join_keys(archives: Sequence[Archive]) -> dict[str, str]:
    """The keys of all datasets; the same patient of one dataset has the same id only where the key is the same."""
    keys: dict[str, str | None] = {}
    for archive in archives:
        for dataset in archive.studies["dataset"].unique():
            mine = archive.patient_keys.get(dataset)
            if keys.setdefault(dataset, mine) != mine:
                ours, theirs = (f"by the key {key}" if key else "not" for key in (mine, keys[dataset]))
                raise DataError(
                    f"the patients of {dataset} are hashed {ours} here and {theirs} in another archive, "
                    "so that nobody can tell who is who",
                    file=archive.folder,
                    remedy="build both with the same --patient-key",
                )
    return {dataset: key for dataset, key in keys.items() if key}


def _join_studies(parts: list[pd.DataFrame], archives: Sequence[Archive]) -> list[pd.DataFrame]:
    """The studies of each archive, without those that an earlier one has and that complete each other.

    What only the later one knows of a study (age, view, day) is added to the earlier one's row.
    """
    joined: list[pd.DataFrame] = []
    for archive, whole in zip(archives, parts, strict=True):
        part = whole
        for place, earlier in enumerate(joined):
            both = part["study_id"][part["study_id"].isin(earlier["study_id"])]
            before = archives[place]
            sides = [set(a.images["study_id"]) & set(both) for a in (before, archive)]
            texts = [set(a.reports["study_id"]) & set(both) for a in (before, archive)]
            if both.empty or sides[0] & sides[1] or texts[0] & texts[1]:
                continue
            _refuse_other_patient(earlier, part, both, archive)
            known = earlier.set_index("study_id")
            joined[place] = known.combine_first(part.set_index("study_id").loc[list(both)]).loc[known.index]
            joined[place] = joined[place].reset_index()[list(earlier.columns)].astype(earlier.dtypes)
            part = part[~part["study_id"].isin(both)]
        joined.append(part)
    return joined


def _refuse_other_patient(earlier: pd.DataFrame, later: pd.DataFrame, both: pd.Series, archive: Archive) -> None:
    patients = [frame.set_index("study_id").loc[list(both), "patient_id"] for frame in (earlier, later)]
    apart = patients[0] != patients[1]
    if apart.any():
        first = patients[0].index[apart][0]
        raise DataError(
            f"is of patient {patients[1][first]!r} here and of {patients[0][first]!r} in another archive",
            file=archive.folder / "studies.parquet",
            row=first,
            remedy="correct one of the exports",
        )


def _refuse_clashes(table: str, parts: list[pd.DataFrame], archives: Sequence[Archive]) -> None:
    if table not in KEYS:
        return
    owner: dict[str, str] = {}
    for archive, part in zip(archives, parts, strict=True):
        ids = part[KEYS[table]]
        clash = ids[ids.isin(list(owner))]
        if len(clash):
            raise DataError(
                f"{len(clash)} ids stand in {owner[clash.iloc[0]]!r} too",
                file=archive.folder / f"{table}.parquet",
                row=clash.iloc[0],
                remedy="build it under another dataset name (--option dataset=NAME), or merge it only once",
            )
        owner |= dict.fromkeys(ids, archive.name)


def _refuse_disagreement(studies: pd.DataFrame, archives: Sequence[Archive]) -> None:
    sides = studies.dropna(subset="split").groupby("patient_id")["split"].unique()
    torn = sides[sides.map(len) > 1]
    if len(torn):
        raise DataError(
            f"patient {torn.index[0]!r} is in {' and '.join(sorted(torn.iloc[0]))} ({len(torn)} such patients)",
            file=archives[0].folder.parent,
            remedy="give merge a seed to split all patients anew",
        )


def _patients_with_boxes(archives: Sequence[Archive]) -> set[str]:
    """Patients with at least one box of a finding."""
    patients: set[str] = set()
    for archive in archives:
        images = archive.boxes.loc[archive.boxes["kind"] == "finding", "image_id"]
        studies = archive.images.loc[archive.images["image_id"].isin(images), "study_id"]
        patients |= set(archive.studies.loc[archive.studies["study_id"].isin(studies), "patient_id"])
    return patients


def _rebase(table: str, column: str, archives: Sequence[Archive], root: Path) -> pd.DataFrame:
    """A table whose paths are relative to ``root`` instead of to each archive's own root."""
    parts = []
    for archive in archives:
        part: pd.DataFrame = getattr(archive, table)
        paths = [
            os.path.relpath(archive.image_root / path, root) if isinstance(path, str) else None for path in part[column]
        ]
        if len(part):
            parts.append(part.assign(**{column: pd.Series(paths, index=part.index, dtype=object)}))
    return pd.concat(parts, ignore_index=True) if parts else getattr(archives[0], table)


def _joined_extra(name: str, archives: Sequence[Archive]) -> pd.DataFrame:
    parts = [part for archive in archives if (part := archive.extra(name)) is not None]
    return pd.concat(parts, ignore_index=True)
