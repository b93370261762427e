"""Studies of a table's rows: ids, what holds for the whole study, days and splits."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lgdea.errors import UsageError
from lgdea.records.adapters.table import fields
from lgdea.records.adapters.table.fields import Cells
from lgdea.records.adapters.table.finder import bare_name, slashes, split_paths
from lgdea.records.adapters.table.header import list_columns, shorten
from lgdea.records.adapters.table.ids import hash_ids, read_ids
from lgdea.records.adapters.table.mapping import TableMapping
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.patient_key import PatientKey
from lgdea.records.split import split_by_patient

SIDES = ("test", "val", "train")  # the strictest first
_SAMPLE = 5000
_PATIENT_FOLDER = re.compile(r"(?:^|[/\\])((?:patient|pat|subject|sub|p)[_-]?)\d+[/\\]", re.IGNORECASE)


def row_ids(
    cells: Cells, mapping: TableMapping, problems: RowProblems, notes: list[str], key: PatientKey | None = None
) -> tuple[pd.DataFrame, pd.Series]:
    """(study_id, patient_id) of each row, with the dataset's prefix, and the patient as the table writes it.

    Rows without ids are left out. With a key the patient's id is its hash, in the study's id too.
    """
    index = cells.frame.index
    patient = plain = None
    if mapping.patient:
        patient = plain = read_ids(cells, mapping, "patient", mapping.patient, problems)
        if key is not None:
            patient = hash_ids(plain, key, mapping)
    elif key is not None:
        remedy = "name it, --option patient=COLUMN, or leave the patient key out"
        raise UsageError("no column of patients is known, whose ids could be hashed", file=cells.file, remedy=remedy)
    if mapping.study:
        study = read_ids(cells, mapping, "study", mapping.study, problems, key=key)
    else:
        study = _study_of_its_own(cells, mapping, notes)
    if patient is None:
        patient = study
        if "patient" in mapping.model_fields_set:
            notes.append("no patient column: each study counts as a patient, so the split may tear patients apart")
        else:
            _note_no_patient(cells, problems)
    prefix = f"{mapping.dataset}:"
    rows = pd.DataFrame({"study_id": prefix + study, "patient_id": prefix + patient}, index=index)
    rows = rows[(study != "") & (patient != "")]
    first = rows.drop_duplicates("study_id").set_index("study_id")["patient_id"]
    other = rows[rows["patient_id"].to_numpy() != first.loc[rows["study_id"]].to_numpy()]
    problems.add(
        "two-patients",
        cells.file,
        other.index,
        f"the study {other['study_id'].iloc[0]!r} belonged to another patient in an earlier row" if len(other) else "",
        consequence="the row is left out",
        remedy="make the study ids unique, for example --option 'study=[patient column, study column]'",
    )
    return rows.drop(other.index), study if plain is None else plain


def _note_no_patient(cells: Cells, problems: RowProblems) -> None:
    """Whose studies they are decides what is trained and what is tested on."""
    problems.add(
        "no-patient-column",
        cells.file,
        cells.frame.index,
        "no column of patients is known, so that each study would count as a patient and the split may tear patients "
        "apart",
        consequence="",
        remedy=f"name it, --option patient=COLUMN{_pattern_hint(cells)}, or say --option patient=null when there is "
        f"none; there are {list_columns(cells.frame.columns)}",
        decision=True,
    )


def _pattern_hint(cells: Cells) -> str:
    """How to take the patient from a path that names one."""
    for column in map(str, cells.frame.columns):
        for cell in () if "{" in column else cells.frame[column].head(3):
            found = _PATIENT_FOLDER.search(cell)
            if found is not None:
                pattern = f"--option 'patterns.patient={found[1]}\\d+'"
                return f" (--option patient={shorten(column)} with {pattern} takes it from the path)"
    return ""


def _study_of_its_own(cells: Cells, mapping: TableMapping, notes: list[str]) -> pd.Series:
    """Name each row's study by its image file or its number, where there is no study column."""
    index = cells.frame.index
    columns = [mapping.image_id] if mapping.image_id else list(mapping.image_columns())[:1]
    alone = "no study column: each row is a study of its own"
    if columns:
        names = cells.plain(str(columns[0])).map(lambda cell: slashes(split_paths(cell)[0]) if cell else "")
        stems = pd.Series([bare_name(name) for name in names], index=index, dtype="str")
        for candidate in (stems, names):
            if candidate.is_unique and (candidate != "").all():
                notes.append(alone)
                return candidate
        filled = names[names != ""]
        if not filled.is_unique:
            notes.append("no study column: the rows of one image are a study")
            apart = stems[names != ""].nunique() == filled.nunique()
            bare = stems if apart else names
            return bare.where(names != "", "row" + pd.Series(index.astype(str), index=index))
    notes.append(alone)
    return "row" + pd.Series(index.astype(str), index=index)


def study_table(cells: Cells, mapping: TableMapping, rows: pd.DataFrame, problems: RowProblems) -> pd.DataFrame:
    """Rows of ``Study`` in the order in which the table names them, with ``row``, the first row of each."""
    values = rows.copy()
    convert: dict[str, tuple[str, Callable[[str], Any], str, str]] = {
        "sex": ("sex", *_sex_of(cells.plain(mapping.sex, "sex") if mapping.sex else None), "str"),
        "age": ("age", fields.age, "an age in years", "Float64"),
        "day": ("day", fields.whole, "a whole number of days", "Int64"),
        "split": ("split", fields.split, "train, val or test", "str"),
    }
    for name, (field, function, expected, dtype) in convert.items():
        column = getattr(mapping, name)
        if column:
            values[name] = cells.convert(column, field, function, expected=expected, dtype=dtype).loc[rows.index]
    if mapping.site:
        site = cells.plain(mapping.site, "site").loc[rows.index]
        values["site"] = site.where(site != "", None)
    if mapping.date:
        values["date"] = _read_dates(cells, mapping).loc[rows.index]
    studies = _first_values(values, cells, problems)
    if mapping.date:
        studies["day"] = (studies["date"] - studies.groupby("patient_id")["date"].transform("min")).astype("Int64")
    if "site" not in studies and "site" in mapping.constants:
        studies["site"] = mapping.constants["site"]
    studies = studies.drop(columns="date", errors="ignore").assign(dataset=mapping.dataset)
    return _split(studies, cells, mapping, problems)


def _sex_of(plain: pd.Series | None) -> tuple[Callable[[str], str | None], str]:
    """How a sex is read, and what is expected: beside H, an M may be mujer or masculino."""
    letters = set() if plain is None else set(plain.str.lower().drop_duplicates())
    if not {"h", "m"} <= letters:
        return fields.sex, "F or M"

    def unclear(cell: str) -> str | None:
        if cell.lower() in ("h", "m"):
            raise ValueError(cell)
        return fields.sex(cell)

    return unclear, "clear where H and M stand side by side"


def _first_values(values: pd.DataFrame, cells: Cells, problems: RowProblems) -> pd.DataFrame:
    """One row per study with the first value that each field has; another value in a later row is a problem."""
    numbered = values.assign(row=values.index)
    if values["study_id"].is_unique:
        return numbered.reset_index(drop=True)
    groups = numbered.groupby("study_id", sort=False)
    studies = numbered.drop_duplicates("study_id").set_index("study_id")
    codes = studies.index.get_indexer(pd.Index(values["study_id"]))
    for field in values.columns.drop(["study_id", "patient_id"]):
        first = groups[field].first().reindex(studies.index)
        of_row = first.take(codes)
        here = values[field].notna().to_numpy()
        differs = here & (values[field].to_numpy() != of_row.to_numpy()) if here.any() else here
        differs = np.asarray(pd.array(differs, dtype="boolean").fillna(False), dtype=bool)
        problems.add(
            f"{field}-differs",
            cells.file,
            values.index[differs],
            f"{field} differs from an earlier row of the study {values['study_id'][differs].iloc[0]!r}"
            if differs.any()
            else "",
            consequence="the study keeps its first value",
            remedy="correct the cell, or name a study column that tells the two apart",
        )
        studies[field] = first
    return studies.reset_index()


def _read_dates(cells: Cells, mapping: TableMapping) -> pd.Series:
    column = str(mapping.date)
    form = mapping.date_format
    if form is None:
        plain = cells.plain(column, "date")
        distinct = plain[plain != ""].drop_duplicates().iloc[:_SAMPLE]
        formats = fields.date_formats(distinct)
        if not formats and len(distinct):
            raise UsageError(
                f"{column} holds no dates of a usual form", file=cells.file,
                remedy="say --option date_format=... as for strptime, such as %d.%m.%Y, or --option date=null",
            )  # fmt: skip
        if len(formats) > 1:
            raise UsageError(
                f"the dates in {column} can be read as {' or as '.join(formats)}", file=cells.file,
                remedy=f"say which, --option date_format={formats[0]}",
            )  # fmt: skip
        form = formats[0] if formats else "%Y-%m-%d"
    return cells.convert(column, "date", partial(fields.date, form=form), expected=f"a date {form}", dtype="Int64")


def _split(studies: pd.DataFrame, cells: Cells, mapping: TableMapping, problems: RowProblems) -> pd.DataFrame:
    """The table's split, a patient on one side only; without one, by the patient's hash."""
    if not mapping.split:
        return split_by_patient(studies)
    order = studies["split"].map({side: place for place, side in enumerate(SIDES)})
    strictest = order.groupby(studies["patient_id"]).transform("min")
    torn = studies[(order != strictest) & order.notna()]
    where = "" if torn.empty else f"the patient {torn['patient_id'].iloc[0]!r} is in two splits"
    problems.add(
        "patient-in-two-splits",
        cells.file,
        torn["row"],
        where,
        consequence="all studies of the patient go to test, or else to val",
        remedy="correct the split, or make a new one with --option split=null",
    )
    return studies.assign(split=strictest.where(order.notna()).map(dict(enumerate(SIDES))))
