"""Helpers of the large datasets: dates, image sizes and label tables, a whole column at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.errors import DataError, ImageError
from lgdea.imaging.read import read_size
from lgdea.vocabulary import load_vocabulary

CHEXPERT = "chexpert14"
SPELLINGS = {"Airspace Opacity": "Lung Opacity"}  # the word of MIMIC-CXR's radiologists

_READERS = 8  # threads; a header's bytes are waited for, not computed
_SAMPLE = 256  # images whose header is compared with the table before the table is believed


def chexpert_classes() -> list[str]:
    """The fourteen column names."""
    return [scored.name for scored in load_vocabulary().classes(CHEXPERT)]


def read_sizes(root: Path, paths: Sequence[str]) -> list[tuple[int, int] | None]:
    """(width, height) of each file from its header, None for one that cannot be read."""

    def size(path: str) -> tuple[int, int] | None:
        try:
            return read_size(root / path)
        except ImageError:
            return None

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(size, paths))


def with_sizes(images: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[str]]:
    """``images`` (with ``path``) with ``width`` and ``height`` of the stored files, and the paths that cannot be read.

    The files that cannot be read are left out of the frame.
    """
    sizes = read_sizes(root, images["path"].tolist())
    readable = np.array([size is not None for size in sizes], dtype=bool)
    kept = images[readable].assign(
        width=[size[0] for size in sizes if size is not None], height=[size[1] for size in sizes if size is not None]
    )
    return kept, images.loc[~readable, "path"].tolist()


def with_listed_sizes(images: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[str], bool]:
    """:func:`with_sizes` for a frame whose ``width`` and ``height`` a table gives already, null where it does not.

    The headers of 256 files, evenly spread, are compared with the table. When they agree, the table is believed and
    only the sizes that it lacks are read; when one differs (somebody has resized the files), all are read.

    Returns:
        The frame, the paths that cannot be read, and whether the table was believed.
    """
    sample = images.iloc[np.unique(np.linspace(0, len(images) - 1, _SAMPLE).astype(int))]
    measured, _ = with_sizes(sample, root)
    listed = images.loc[measured.index, ["width", "height"]]
    known = listed.notna().all(axis=1)
    agree = (listed[known].astype(float) == measured.loc[known, ["width", "height"]]).all(axis=None)
    if not agree:
        return *with_sizes(images, root), False
    unlisted = images[["width", "height"]].isna().any(axis=1)
    read, unreadable = with_sizes(images[unlisted], root)
    whole = pd.concat([images[~unlisted], read]).sort_index() if len(read) else images[~unlisted]
    return whole.astype({"width": int, "height": int}), unreadable, True


def on_disk(root: Path, paths: Iterable[str]) -> np.ndarray:
    """Check for each path relative to ``root`` that a file is there: (N,) bool."""
    return np.fromiter(((root / path).is_file() for path in paths), dtype=bool)


def dates_of(column: pd.Series, *, file: Path) -> pd.Series:
    """Dates of cells such as ``20140915``, null where a cell is empty.

    Args:
        column: Text; its index is the row's position in ``file`` and its name the column's.
        file: For the message.

    Raises:
        DataError: A cell is no date; the message names file, row and column.
    """
    text = column.astype("string").str.removesuffix(".0")
    dates = pd.to_datetime(text, format="%Y%m%d", errors="coerce")
    require(dates.notna() | text.isna(), column, "not a date as YYYYMMDD", file)
    return dates


def days_since_first(dates: pd.Series, patients: pd.Series) -> pd.Series:
    """Whole days since each patient's earliest date, null where the date is."""
    return (dates - dates.groupby(patients).transform("min")).dt.days.astype("Int64")


def require(good: pd.Series, column: pd.Series, what: str, file: Path) -> None:
    """Stop at the first cell of ``column`` that is not ``good``, naming its row.

    Raises:
        DataError: ``<column> is <cell>, <what>``.
    """
    if not good.all():
        row = int(column.index[int((~good).to_numpy().argmax())])
        problem = f"{column.name} is {column.loc[row]!r}, {what}"
        raise DataError(problem, file=file, row=row + 1, remedy="correct the cell or fetch the file again")


def label_rows(frame: pd.DataFrame, columns: Iterable[str], *, file: Path, labeller: str) -> tuple[pd.DataFrame, int]:
    """Rows of ``labels``, one per study and finding, from a table with one column per CheXpert class.

    Args:
        frame: ``study_id`` and the class columns: 1 present, 0 absent, -1 uncertain, null not mentioned. Its index is
            the row's position in ``file``.
        columns: The class columns.
        file: For messages.
        labeller: Whose labels they are.

    Returns:
        The rows; a null has none. And how many (study, finding) were left out because the study's rows contradict each
        other.

    Raises:
        DataError: A column is no CheXpert class, or a cell none of these numbers.
    """
    vocabulary, parts = load_vocabulary(), []
    for column in columns:
        finding = vocabulary.from_code(CHEXPERT, SPELLINGS.get(column, column))
        if finding is None:
            raise DataError(f"has the unknown column {column!r}", file=file, remedy="fetch the original file")
        given = frame[column].dropna()
        values = pd.to_numeric(given, errors="coerce")
        require(values.isin([1, 0, -1]), given, "not 1, 0 or -1", file)
        parts.append(
            pd.DataFrame({"study_id": frame.loc[given.index, "study_id"], "finding": finding, "value": values})
        )
    rows = pd.concat(parts, ignore_index=True).drop_duplicates()
    torn = rows.duplicated(["study_id", "finding"], keep=False)
    lost = len(rows.loc[torn, ["study_id", "finding"]].drop_duplicates())
    return rows[~torn].assign(value=lambda r: r["value"].astype(float), labeller=labeller), lost


def one_per(frame: pd.DataFrame, key: str, columns: dict[str, Any]) -> pd.DataFrame:
    """One row per ``key``, in order of appearance, with ``columns`` renamed and the first non-null value of each."""
    return frame.groupby(key, sort=False)[list(columns)].first().rename(columns=columns).reset_index()
