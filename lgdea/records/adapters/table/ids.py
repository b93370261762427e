"""Ids as programs write them: numbers that became ``10.0``, ``1,234`` or ``1.2E+14``, zeros that are there or not."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import pandas as pd

from lgdea.records.adapters.table.fields import SPREADSHEET_ERROR, Cells
from lgdea.records.adapters.table.mapping import TableMapping
from lgdea.records.adapters.table.problems import RowProblems, shown
from lgdea.records.patient_key import PatientKey

Field = Literal["study", "patient"]
_WHOLE, _POINT = r"-?\d+", r"-?\d+(?:\.0+|,0{1,2})"
_THOUSANDS = r"-?[1-9]\d{0,2}(?:[.,'’ ]\d{3})+"
_FORMULA = r"=\"(.*)\""  # by which spreadsheets are told that digits are text
_ROUNDED = r"-?\d+([.,]\d+)?[eE]\+?\d+"


def read_ids(
    cells: Cells,
    mapping: TableMapping,
    field: Field,
    columns: list[str],
    problems: RowProblems,
    *,
    key: PatientKey | None = None,
) -> pd.Series:
    """The id of each row, several columns joined by ``-``; empty where one of them is or cannot be trusted.

    With a key the columns of the patient's id are hashed, each by itself.
    """
    result = pd.Series("", index=cells.frame.index, dtype="str")
    missing = pd.Series(False, index=result.index)
    wrong = missing.copy()
    for place, column in enumerate(columns):
        ids, rounded = _column(cells, mapping, field, column, problems)
        missing |= ids == ""
        wrong |= rounded
        if key is not None and column in (mapping.patient or ()):
            ids = hash_ids(ids, key, mapping)
        result = ids if place == 0 else result + "-" + ids
    pattern = " or not as patterns say" if field in mapping.patterns else ""
    if missing.any() and any(
        cells.plain(column, field)[missing].str.fullmatch(SPREADSHEET_ERROR).any() for column in columns
    ):
        pattern += " or an error of a spreadsheet"
    problems.add(
        f"no-{field}-id",
        cells.file,
        result.index[missing],
        f"has no {field} id ({', '.join(columns)} is empty{pattern})",
        consequence="the row is left out",
        remedy="fill the cell",
    )
    return result.where(~(missing | wrong), "")


def join_keys(cells: pd.Series, *, numbers: bool) -> pd.Series:
    """Ids as they are compared between two tables: as they are seen, a column of floats as whole numbers.

    Args:
        cells: A column.
        numbers: Whether each form of a number is that number, ``ids=numbers``.
    """
    keys = cells.map({written: _clean(written) for written in cells.unique()}).astype("str")
    if numbers or keys[keys != ""].str.fullmatch(_POINT).all():
        keys = keys.where(~keys.str.fullmatch(_POINT), keys.str.replace(r"[.,]0+$", "", regex=True))
    return keys.map({key: _number(key) for key in keys.unique()}).astype("str") if numbers else keys


def hash_ids(ids: pd.Series, key: PatientKey, mapping: TableMapping) -> pd.Series:
    """The hash of each id, empty where there is none."""
    as_written = mapping.ids == "written"
    hashes = {id_: key.hash_id(id_, as_written=as_written) if id_ else "" for id_ in ids.unique()}
    return ids.map(hashes).astype("str")


def _column(
    cells: Cells, mapping: TableMapping, field: Field, column: str, problems: RowProblems
) -> tuple[pd.Series, pd.Series]:
    """A column's ids, and which of them a spreadsheet has rounded."""
    ids = cells.plain(column, field)
    pattern = mapping.patterns.get(field)
    if pattern is not None:
        found = ids.map(re.compile(pattern).search)
        ids = found.map(lambda match: (match[1] if match.re.groups else match[0]) or "" if match else "").astype("str")
    fine = pd.Series(False, index=ids.index)
    if mapping.ids == "written":
        return ids, fine
    ids = ids.map({written: _clean(written) for written in ids.unique()}).astype("str")
    distinct = ids.drop_duplicates()
    distinct = distinct[distinct != ""]
    point = distinct[distinct.str.fullmatch(_POINT)]
    if len(point) and (len(point) == len(distinct) or mapping.ids == "numbers"):
        # A column of floats, as pandas writes whole numbers beside an empty cell.
        ids = ids.where(~ids.str.fullmatch(_POINT), ids.str.replace(r"[.,]0+$", "", regex=True))
    elif len(point) and distinct.str.fullmatch(_WHOLE).any():
        _note(
            ids.str.fullmatch(_POINT), ids, column, cells, problems, field,
            f"and whole numbers such as {shown(distinct[distinct.str.fullmatch(_WHOLE)].iloc[0])} stand beside it",
        )  # fmt: skip
    if mapping.ids == "numbers":
        return ids.map({written: _number(written) for written in ids.unique()}).astype("str"), fine
    _note_alike(ids, distinct, column, cells, problems, field)
    rounded = ids.str.fullmatch(_ROUNDED)
    first = shown(ids[rounded].iloc[0]) if rounded.any() else ""
    problems.add(
        f"rounded-{field}-id", cells.file, ids.index[rounded],
        f"{column} is {first}, a number that a spreadsheet has rounded: several ids may have become one",
        consequence="the row is left out",
        remedy=f"export the column as text, name another one, --option {field}=COLUMN, or say --option ids=written "
        "when the ids are really so",
    )  # fmt: skip
    return ids, rounded


def _clean(written: str) -> str:
    """An id without what no reader sees: marks of no width, other forms of digits, a formula around it.

    A spreadsheet's error in its place is no id.
    """
    shown_alike = "".join(c for c in unicodedata.normalize("NFKC", written) if unicodedata.category(c) != "Cf")
    formula = re.fullmatch(_FORMULA, shown_alike.strip())
    id_ = (formula[1] if formula else shown_alike).strip()
    return "" if SPREADSHEET_ERROR.fullmatch(id_) else id_


def _number(written: str) -> str:
    """The whole number that an id is, whichever way it is written; another id as it is."""
    bare = written.removeprefix("'")
    bare = re.sub(r"[.,'’ ]", "", bare) if re.fullmatch(_THOUSANDS, bare) else bare
    return re.sub(r"^(-?)0+(?=\d)", r"\1", bare) if re.fullmatch(_WHOLE, bare) else written


def _note_alike(
    ids: pd.Series, distinct: pd.Series, column: str, cells: Cells, problems: RowProblems, field: Field
) -> None:
    """Note ids that are one number, written in several ways: with zeros in front, an apostrophe, or in thousands."""
    numbers = distinct.map(_number)
    alike = numbers.duplicated(keep=False)
    odd = distinct[alike & ~distinct.str.fullmatch(r"-?(?:0|[1-9]\d*)")]
    if len(odd):
        others = distinct[(numbers == numbers.loc[odd.index[0]]) & (distinct != odd.iloc[0])]
        plain = others[others == numbers.loc[odd.index[0]]]
        other = (plain if len(plain) else others).iloc[0]
        _note(ids.isin(set(odd)), ids, column, cells, problems, field, f"beside {shown(other)}")


def _note(
    bad: pd.Series, ids: pd.Series, column: str, cells: Cells, problems: RowProblems, field: Field, beside: str
) -> None:
    problems.add(
        f"{field}-id-in-two-forms", cells.file, ids.index[bad],
        f"{column} is {shown(ids[bad].iloc[0])}, {beside}",
        consequence="",
        remedy="say --option ids=numbers when they are one number, --option ids=written when they are not",
        decision=True,
    )  # fmt: skip
