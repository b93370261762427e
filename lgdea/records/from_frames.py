"""Archives from data frames: ids made, findings looked up, sizes read, and every row checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from lgdea.config_errors import did_you_mean
from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.columns import read_sizes
from lgdea.records.archive import Archive, write_archive
from lgdea.records.patient_key import KEYED, PatientKey, count_plain_ids, describe_plain_ids
from lgdea.records.schema import TABLES
from lgdea.records.split import split_by_patient
from lgdea.vocabulary import load_vocabulary

log = logging.getLogger(__name__)

NEEDED: Mapping[str, tuple[str, ...]] = {
    "studies": ("study_id",),
    "images": ("study_id", "path"),
    "reports": ("study_id", "text"),
    "labels": ("study_id or image_id", "finding", "value"),
    "boxes": ("image_id", "finding", "x_min", "y_min", "x_max", "y_max"),
}
"""Columns that each frame must have; all others are optional."""

_PATIENT = "patient_id"
_ALSO = {"images": (_PATIENT,), "reports": (_PATIENT,)}  # beside the columns of the archive's table
_REFERENCES = {"study_id": "studies", "image_id": "images"}
_LABEL_VALUES = (1.0, 0.0, -1.0)


def write_frames(
    frames: Mapping[str, pd.DataFrame],
    out: str | Path,
    *,
    name: str,
    image_root: str | Path = ".",
    patient_key: PatientKey | None = None,
) -> Archive:
    """Write an archive of data frames.

    Args:
        frames: By name of :data:`NEEDED`, which also lists the columns that each must have. Ids may be numbers; all get
            the prefix ``name:``. Beside the columns of :mod:`lgdea.records.schema`, images and reports may have
            ``patient_id``, and labels may have a column per finding in the place of ``finding`` and ``value``.
        out: Archive folder.
        name: Name of the archive.
        image_root: Folder to which the paths of images and masks are relative.
        patient_key: Hashes the patients' ids.

    Returns:
        The archive. Without ``studies`` there is one per study id of the images and reports; without ``split`` the
        patients are split 70/10/20 by a hash; without ``patient_id`` each study counts as a patient of its own, which
        is logged.

    Raises:
        UsageError: There is no frame of images or reports, or ``out`` holds another archive.
        DataError: A column is missing or unknown, or a row is invalid; the message names table and row.
    """
    if frames.get("images") is None and frames.get("reports") is None:
        raise UsageError("there are neither images nor reports", remedy="give images=, reports= or both")
    tables = {table: _check_columns(table, frame) for table, frame in frames.items()}
    plain: dict[str, str] = {}
    if patient_key is not None:
        if not any(_PATIENT in frame for frame in tables.values()):
            raise UsageError(
                "no frame has a patient_id that could be hashed", remedy="add it, or leave patient_key out"
            )
        tables = {table: _hash_patients(frame, patient_key, name, plain) for table, frame in tables.items()}
    tables = {table: _with_ids(frame, table, name) for table, frame in tables.items()}
    if "images" in tables:
        tables["images"] = _with_sizes(_with_image_ids(tables["images"], name), Path(image_root))
    if "reports" in tables and "report_id" not in tables["reports"]:
        tables["reports"] = tables["reports"].assign(report_id=_number_reports(tables["reports"]["study_id"]))
    tables["studies"], notes = _studies(tables, name)
    if patient_key is not None:
        rows = zip(tables["studies"]["study_id"], tables["studies"][_PATIENT], strict=True)
        of_study = {study: plain[patient] for study, patient in rows if patient in plain}
        notes += describe_plain_ids(count_plain_ids(of_study, tables))
    for note in notes:
        log.warning("%s: %s", name, note)
    tables = {table: frame.drop(columns=list(_ALSO.get(table, ())), errors="ignore") for table, frame in tables.items()}
    if "labels" in tables:
        tables["labels"] = _labels(tables["labels"], tables.get("images"), name)
    if "boxes" in tables:
        tables["boxes"] = _boxes(tables["boxes"])
    _check_references(tables)
    info = {"source": "data frames", "notes": notes}
    if any(_PATIENT in frame for frame in frames.values()):
        info["patient_ids"] = "as the frames have them" if patient_key is None else KEYED
    keys = None if patient_key is None else dict.fromkeys(tables["studies"]["dataset"], patient_key.fingerprint)
    try:
        return write_archive(out, name, tables, image_root, info, patient_keys=keys)
    except DataError as error:
        # What is wrong stands in the caller's frame, not in the file that was not written.
        table = Path(error.file or "").stem
        if table not in tables:
            raise
        row = int(tables[table].index[error.row - 1]) if isinstance(error.row, int) else None
        raise DataError(error.problem, file=table, row=row, remedy="correct the frame") from None


def _check_columns(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its rows numbered from 1, once its columns are known to be right."""
    if not isinstance(frame, pd.DataFrame):
        raise UsageError(f"{table} is a {type(frame).__name__}", remedy="give a pandas DataFrame")
    frame = frame.set_axis(pd.RangeIndex(1, len(frame) + 1))
    frame.columns = [str(column) for column in frame.columns]
    needed = "needed are the columns " + ", ".join(NEEDED[table])
    missing = [c for c in NEEDED[table] if not any(part in frame for part in c.split(" or "))]
    if table == "labels" and missing == ["finding", "value"]:
        return _melt(frame)
    if missing:
        problem = "is empty" if not len(frame.columns) else f"lacks the column {missing[0]!r}"
        raise DataError(problem, file=table, remedy=f"{needed}; it has {', '.join(frame.columns) or 'none'}")
    known = (*TABLES[table].model_fields, *_ALSO.get(table, ()))
    unknown = [str(column) for column in frame if column not in known]
    if unknown:
        problem = f"has the unknown column {unknown[0]!r}{did_you_mean(TABLES[table], [unknown[0]])}"
        raise DataError(problem, file=table, remedy=f"leave it out, or rename it to one of {', '.join(known)}")
    return frame


def _melt(labels: pd.DataFrame) -> pd.DataFrame:
    """A row per study (or image) and finding from a column per finding; cells without a value have none."""
    keys = [column for column in ("study_id", "image_id", "labeller") if column in labels]
    columns = [str(column) for column in labels if column not in keys]
    unknown = [column for column in columns if load_vocabulary().find(column) is None]
    if unknown or not columns:
        raise DataError(
            f"the column {unknown[0]!r} is no finding of the vocabulary" if unknown else "has no column of a finding",
            file="labels",
            remedy=f"needed are {', '.join(NEEDED['labels'])}, or a column per finding named as in findings.yaml",
        )
    long = labels.melt(id_vars=keys, value_vars=columns, var_name="finding", ignore_index=False)
    return long[long["value"].notna()]


def _hash_patients(frame: pd.DataFrame, key: PatientKey, name: str, plain: dict[str, str]) -> pd.DataFrame:
    """The frame with its patients' hashes; ``plain`` is told which id, prefix included, stands for which."""
    if _PATIENT not in frame:
        return frame
    ids = ["" if pd.isna(value) else _id_text(value).removeprefix(f"{name}:") for value in frame[_PATIENT]]
    hashes = {id_: key.hash_id(id_) for id_ in ids if id_}
    plain |= {f"{name}:{hashed}": id_ for id_, hashed in hashes.items()}
    return frame.assign(**{_PATIENT: pd.Series([hashes.get(id_) for id_ in ids], index=frame.index, dtype=object)})


def _with_ids(frame: pd.DataFrame, table: str, name: str) -> pd.DataFrame:
    """Ids as text with the archive's prefix; an empty one is an error unless a label leaves its image open."""
    columns = {}
    for column in [c for c in frame.columns if c.endswith("_id")]:
        ids = ["" if pd.isna(value) else _id_text(value) for value in frame[column]]
        if "" in ids and table != "labels" and column != _PATIENT:
            row = int(frame.index[ids.index("")])
            raise DataError(f"{column} is empty", file=table, row=row, remedy="give every row an id")
        prefixed = [(i if i.startswith(f"{name}:") else f"{name}:{i}") if i else None for i in ids]
        columns[column] = pd.Series(prefixed, index=frame.index, dtype=object)
    return frame.assign(**columns)


def _id_text(value: object) -> str:
    """``7`` of a 7.0, which pandas makes of whole numbers beside an empty cell."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _with_image_ids(images: pd.DataFrame, name: str) -> pd.DataFrame:
    """Image ids, where the frame has none: the file name without its ending, or the whole path, if several share it."""
    empty = images["path"].isna()
    if empty.any():
        raise DataError("path is empty", file="images", row=_first_row(empty), remedy="leave the row out")
    images = images.assign(path=images["path"].map(str))
    if "image_id" in images:
        return images
    stems = images["path"].map(lambda path: PurePosixPath(path.replace("\\", "/")).stem)
    return images.assign(image_id=f"{name}:" + (stems if stems.is_unique else images["path"]))


def _number_reports(study_ids: pd.Series) -> pd.Series:
    """The study's id, with a number behind it where the study has several reports."""
    if study_ids.is_unique:
        return study_ids
    return study_ids + "-" + (study_ids.groupby(study_ids).cumcount() + 1).astype(str)


def _with_sizes(images: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Width and height in pixels, read from the files' headers where the frame does not give both."""
    if {"width", "height"} <= set(images):
        return images
    sizes = read_sizes(root, images["path"].tolist())
    for row, path, size in zip(images.index, images["path"], sizes, strict=True):
        if size is None:
            there = (root / path).is_file()
            problem = f"{path!r} {'is no image that can be read' if there else 'does not exist'} below {root}"
            raise DataError(problem, file="images", row=row, remedy="correct the path, or give image_root=")
    return images.assign(width=[size[0] for size in sizes if size], height=[size[1] for size in sizes if size])


def _studies(tables: Mapping[str, pd.DataFrame], name: str) -> tuple[pd.DataFrame, list[str]]:
    """The studies with patients and split, and what had to be assumed."""
    notes = []
    patients = _patients(tables)
    studies = tables.get("studies")
    if studies is None:
        studies = pd.DataFrame({"study_id": patients.index}, index=pd.RangeIndex(1, len(patients) + 1))
    if _PATIENT not in studies:
        studies = studies.assign(**{_PATIENT: studies["study_id"].map(patients)})
    unknown = studies[_PATIENT].isna()
    if unknown.all():
        notes.append("no patient_id: each study counts as a patient, so the split may tear patients apart")
        studies = studies.assign(**{_PATIENT: studies["study_id"]})
    elif unknown.any():
        row = _first_row(unknown)
        study = studies.loc[row, "study_id"]
        remedy = "give every study a patient, or none"
        raise DataError(f"the study {study!r} has no patient_id", file="studies", row=row, remedy=remedy)
    studies = studies.assign(dataset=studies.get("dataset", name))
    if "split" not in studies or studies["split"].isna().all():
        return split_by_patient(studies), notes
    _check_split(studies)
    return studies, notes


def _patients(tables: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Study id to the patient id that images or reports give, None where none does, in order of appearance."""
    patients: dict[str, str | None] = {}
    for table in _ALSO:
        frame = tables.get(table, pd.DataFrame(columns=["study_id"])).reindex(columns=["study_id", _PATIENT])
        frame = frame.astype(object).where(frame.notna(), None)
        for row, study, patient in frame.itertuples(name=None):
            known = patients.get(study)
            if None not in (known, patient) and known != patient:
                problem = f"the study {study!r} belongs to {patient!r} here and to {known!r} elsewhere"
                raise DataError(problem, file=table, row=row, remedy="make study ids unique")
            patients[study] = patient or known
    return pd.Series(patients, dtype=object)


def _check_split(studies: pd.DataFrame) -> None:
    empty = studies["split"].isna()
    if empty.any():
        raise DataError(
            "split is empty", file="studies", row=_first_row(empty), remedy="give every study a split, or none"
        )
    torn = studies.groupby(_PATIENT)["split"].transform("nunique") > 1
    if torn.any():
        row = _first_row(torn)
        problem = f"the patient {studies.loc[row, _PATIENT]!r} is in two splits"
        raise DataError(problem, file="studies", row=row, remedy="put all studies of a patient into one split")


def _labels(labels: pd.DataFrame, images: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """Labels with vocabulary ids, checked values, and the study of each image."""
    labels = _with_findings(labels, "labels")
    values = pd.to_numeric(labels["value"], errors="coerce")
    wrong = (~values.isin(_LABEL_VALUES) & labels["value"].notna()).to_numpy()
    if wrong.any():
        first = labels[wrong].iloc[0]
        problem = f"the value of {first['finding']} is {first['value']!r}"
        remedy = "1 is present, 0 absent, -1 uncertain, NaN no information"
        raise DataError(problem, file="labels", row=int(labels.index[wrong][0]), remedy=remedy)
    if "study_id" not in labels:
        study_of = {} if images is None else dict(zip(images["image_id"], images["study_id"], strict=True))
        lost = ~labels["image_id"].isin(list(study_of))
        if lost.any():
            _raise_dangling(labels, "labels", "image_id", lost)
        labels = labels.assign(study_id=labels["image_id"].map(study_of))
    return labels.assign(value=values, labeller=labels.get("labeller", name))


def _boxes(boxes: pd.DataFrame) -> pd.DataFrame:
    """Boxes with vocabulary ids, their source's words, and ids."""
    words = boxes["finding"].astype(str)
    boxes = _with_findings(boxes, "boxes")
    more: dict[str, Any] = {} if "label" in boxes else {"label": words}
    if "box_id" not in boxes:
        more["box_id"] = boxes["image_id"] + "-" + (boxes.groupby("image_id").cumcount() + 1).astype(str)
    return boxes.assign(**more)


def _with_findings(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """``finding`` as vocabulary ids; a box of an anatomy keeps the structure's."""
    vocabulary = load_vocabulary()
    words = frame["finding"].map(str)
    found = {word: vocabulary.find(word) for word in words.unique()}
    ids = words.map(found)
    if "kind" in frame:
        anatomy = frame["kind"] == "anatomy"
        ids = ids.where(~anatomy, words.map({word: vocabulary.find_anatomy(word) for word in words.unique()}))
    lost = ids.isna().to_numpy()
    if lost.any():
        problem = f"{words[lost].iloc[0]!r} is no finding of the vocabulary"
        remedy = "write a vocabulary id, name or synonym; docs/data.md says where they stand"
        raise DataError(problem, file=table, row=int(frame.index[lost][0]), remedy=remedy)
    return frame.assign(finding=ids)


def _check_references(tables: Mapping[str, pd.DataFrame]) -> None:
    """Every id exists once, and every reference to one is to an id that exists."""
    for table, column in (("studies", "study_id"), ("images", "image_id"), ("reports", "report_id")):
        if table in tables:
            twice = tables[table][column].duplicated()
            if twice.any():
                row = _first_row(twice)
                problem = f"{column} {tables[table].loc[row, column]!r} is there already"
                raise DataError(problem, file=table, row=row, remedy="give every row an id of its own")
    for table, frame in tables.items():
        for column, home in _REFERENCES.items():
            if column in frame and table != home:
                known = tables[home][column] if home in tables else pd.Series(dtype=object)
                lost = frame[column].notna() & ~frame[column].isin(known)
                if lost.any():
                    _raise_dangling(frame, table, column, lost)


def _raise_dangling(frame: pd.DataFrame, table: str, column: str, lost: pd.Series) -> None:
    value = frame[column].iloc[int(lost.to_numpy().argmax())]
    problem = f"{column} {value!r} is not in {_REFERENCES[column]}"
    raise DataError(problem, file=table, row=_first_row(lost), remedy=f"add the row to {_REFERENCES[column]}")


def _first_row(wrong: pd.Series) -> int:
    """Number of the first row for which ``wrong`` is true."""
    return int(wrong.index[int(wrong.to_numpy().argmax())])
