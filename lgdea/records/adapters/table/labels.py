"""Label columns and label words as rows of ``Label``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lgdea.errors import UsageError
from lgdea.records.adapters.table.fields import Cells
from lgdea.records.adapters.table.finder import split_list
from lgdea.records.adapters.table.findings import check_words, match_finding
from lgdea.records.adapters.table.mapping import VALUES, LabelMapping, TableMapping, label_word
from lgdea.records.adapters.table.problems import RowProblems, shown
from lgdea.records.adapters.table.samples import split_words

_NOTHING = ("", "nan", "na", "n/a", "null", "none", "<na>")  # no information in a label column
SEPARATORS = ("|", ";", ",")
_SHOWN = 10  # unknown words that are named


@dataclass
class LabelCounts:
    """Counts of what the source's words became: ``{column or word: finding}``, and rows per finding and value."""

    source: dict[str, str | None] = field(default_factory=dict)
    values: dict[str, dict[str, int]] = field(default_factory=dict)
    level: str = "study"
    labeller: str = ""


def label_table(
    cells: Cells, mapping: TableMapping, rows: pd.DataFrame, images: pd.DataFrame, problems: RowProblems
) -> tuple[pd.DataFrame, LabelCounts]:
    """Rows of ``Label``; what nobody said is no row."""
    labels = mapping.labels
    counts = LabelCounts()
    empty = pd.DataFrame(columns=["study_id", "image_id", "finding", "value", "labeller"])
    if labels is None:
        return empty, counts
    check_words(labels.findings, labels.codes)
    counts.labeller = labels.labeller or str(mapping.dataset)
    columns = _read_columns(cells, labels, counts, problems)
    words = _read_words(cells, labels, counts, problems)
    values = {
        finding: [part.loc[rows.index] for part in (*columns.get(finding, []), *words.get(finding, []))]
        for finding in dict.fromkeys((*columns, *words))
    }
    own_image = _image_of_row(rows, images)
    study, _ = pd.factorize(rows["study_id"])
    counts.level = labels.level or _choose_level(values, study, own_image)
    if counts.level == "image" and own_image is None:
        raise UsageError("labels of images need rows of one image each", file=cells.file, remedy="leave level out")
    parts = []
    for finding, columns_of in values.items():
        part = _rows_of(finding, columns_of, rows, own_image if counts.level == "image" else None, cells, problems)
        tally = part["value"].value_counts().sort_index(ascending=False)
        counts.values[finding] = {f"{value:g}": int(n) for value, n in tally.items()}
        parts.append(part)
    if not parts:
        return empty, counts
    table = pd.concat(parts, ignore_index=True)
    table["finding"] = pd.Categorical(np.repeat(list(values), [len(part) for part in parts]), categories=list(values))
    return table.assign(labeller=pd.Categorical([counts.labeller]).repeat(len(table))), counts


def _read_columns(
    cells: Cells, labels: LabelMapping, counts: LabelCounts, problems: RowProblems
) -> dict[str, list[pd.Series]]:
    """Values (1, 0, -1, NaN) of each label column, by finding."""
    given = labels.columns or {}
    named = given if isinstance(given, dict) else dict.fromkeys(given)
    meanings: dict[str, float | None] = {**dict.fromkeys(_NOTHING), **VALUES, **labels.values}
    result: dict[str, list[pd.Series]] = {}
    for column, target in named.items():
        finding = match_finding(target or column, labels.findings, labels.codes)
        if finding is None:
            raise UsageError(
                f"the label column {column!r} names no finding of the vocabulary", file=cells.file,
                remedy="say which under labels.columns, {column: finding id}, or leave the column out",
            )  # fmt: skip
        counts.source[column] = finding
        result.setdefault(finding, []).append(_values(cells, column, meanings, problems))
    return result


def _values(cells: Cells, column: str, meanings: Mapping[str, float | None], problems: RowProblems) -> pd.Series:
    raw = cells.frame[column]
    codes, unique = pd.factorize(raw)
    small = [str(cell).strip().lower() for cell in unique]
    plain = [cell if cell in meanings else label_word(cell) for cell in small]
    values = np.array([math.nan if (v := meanings.get(cell)) is None else float(v) for cell in plain] or [math.nan])
    wrong = np.array([cell not in meanings for cell in plain] or [False])
    bad = wrong[codes]
    problems.add(
        "label-value",
        cells.file,
        raw.index[bad],
        f"{column} is {shown(raw[bad].iloc[0].strip())}, not 1, 0, -1 or empty" if bad.any() else "",
        consequence="the label is left out",
        remedy="say what it means, such as --option 'labels.values={\"suspected\": -1}'",
    )
    return pd.Series(values[codes], index=raw.index)


def _read_words(
    cells: Cells, labels: LabelMapping, counts: LabelCounts, problems: RowProblems
) -> dict[str, list[pd.Series]]:
    """1 where a cell lists the finding; NaN, or 0 if the mapping says so, where it lists others only."""
    if labels.words is None:
        return {}
    raw = cells.frame[labels.words]
    codes, unique = pd.factorize(raw)
    plain = [str(cell) for cell in unique if split_list(str(cell)) is None]
    mark = labels.separator or next((s for s in SEPARATORS if any(s in cell for cell in plain)), "|")
    lists = [split_words(str(cell), mark) for cell in unique]
    words = dict.fromkeys(word for here in lists for word in here)
    known = {word: match_finding(word, labels.findings, labels.codes) for word in words}
    ignored = {*labels.findings, *(word for word in words if word.lower() in _NOTHING)}
    strange = [word for word, finding in known.items() if finding is None and word not in ignored]
    with_strange = np.array([not set(strange).isdisjoint(here) for here in lists], dtype=bool)
    problems.add(
        "label-word",
        cells.file,
        raw.index[with_strange[codes]],
        f"{labels.words}: the vocabulary has no finding {', '.join(map(shown, strange[:_SHOWN]))}"
        + (f" and {len(strange) - _SHOWN} more words" if len(strange) > _SHOWN else ""),
        consequence="these words are left out",
        remedy="say what they are under labels.findings, {word: finding id}, or {word: null} to ignore one",
    )
    counts.source |= known
    found = [{known[word] for word in words} - {None} for words in lists]
    otherwise = 0.0 if labels.unlisted_is_absent else math.nan
    result = {}
    for finding in dict.fromkeys(finding for finding in known.values() if finding is not None):
        # A cell of words that are all unknown or ignored says nothing about the others.
        values = [1.0 if finding in here else otherwise if here else math.nan for here in found]
        result[finding] = [pd.Series(np.array(values)[codes], index=raw.index)]
    return result


def _image_of_row(rows: pd.DataFrame, images: pd.DataFrame) -> pd.Series | None:
    """The image id of each row, missing where it has none; None when a row has several."""
    if images.empty:
        return pd.Series(None, index=rows.index, dtype="str")
    per_cell = images.set_index("row")["image_id"]
    return per_cell.reindex(rows.index) if per_cell.index.is_unique else None


def _choose_level(values: Mapping[str, list[pd.Series]], study: np.ndarray, own_image: pd.Series | None) -> str:
    """``image`` when the rows of a study are different images and say different things."""
    if own_image is None or len(np.unique(study)) == len(study) or own_image.isna().any():
        return "study"
    for parts in values.values():
        groups = pd.concat(parts, axis=1).max(axis=1).fillna(-9).groupby(study)
        if (groups.max() != groups.min()).any():
            return "image"
    return "study"


def _rows_of(
    finding: str,
    parts: list[pd.Series],
    rows: pd.DataFrame,
    own_image: pd.Series | None,
    cells: Cells,
    problems: RowProblems,
) -> pd.DataFrame:
    """Rows of one finding, one per study (or image); two values for one of them are a problem."""
    frames = []
    for part in parts:
        frame = pd.DataFrame({"study_id": rows["study_id"], "image_id": own_image, "value": part})
        frames.append(frame[part.notna() if own_image is None else part.notna() & own_image.notna()])
    frame = frames[0] if len(frames) == 1 else pd.concat(frames)
    key = "study_id" if own_image is None else "image_id"
    if not frame[key].is_unique:
        first = frame.drop_duplicates(key).set_index(key)["value"]
        clash = frame["value"].to_numpy() != first.loc[frame[key]].to_numpy()
        problems.add(
            "labels-differ",
            cells.file,
            frame.index[clash],
            f"{finding} of {frame[key][clash].iloc[0]!r} has another value earlier" if clash.any() else "",
            consequence="the first value is kept",
            remedy="correct the cell, or say --option labels.level=image when each row is about its own image",
        )
        frame = frame.drop_duplicates(key)
    columns: dict[str, Any] = {"study_id": frame["study_id"], "image_id": frame["image_id"], "value": frame["value"]}
    return pd.DataFrame(columns).reset_index(drop=True)
