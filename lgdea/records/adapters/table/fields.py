"""Cells into values: each distinct cell is converted once, so that a million rows take seconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.errors import UsageError
from lgdea.records.adapters.source import age_in_years, number
from lgdea.records.adapters.table.header import list_columns
from lgdea.records.adapters.table.problems import RowProblems, shown

SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "trn", "tr", "development"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "tune", "tuning"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "held-out", "evaluation"), "test"),
}
SEXES: Mapping[str, str | None] = {
    **dict.fromkeys(
        ("f", "female", "w", "woman", "weiblich", "frau", "fem", "femme", "féminin", "mujer", "femenino", "v", "vrouw",
         "vrouwelijk", "feminino", "mulher", "femmina", "femminile", "donna"), "F",
    ),
    **dict.fromkeys(
        ("m", "male", "man", "männlich", "mann", "masc", "homme", "masculin", "hombre", "masculino", "mannelijk",
         "homem", "maschio", "maschile", "uomo", "h"), "M",
    ),
    **dict.fromkeys(("o", "other", "u", "x", "d", "divers", "diverse", "i", "indeterminate"), None),
}  # fmt: skip
DATE_FORMATS = (
    "%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y",
    "%d %b %Y", "%B %d, %Y", "%b %d, %Y",
)  # fmt: skip
TWO_DIGIT_YEARS = ("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%y-%m-%d")
EXCEL = "excel"
_EXCEL_ZERO = datetime(1899, 12, 30).toordinal()
SPREADSHEET_ERROR = re.compile(
    r"#(?:REF!|N/A|VALUE!|NAME\?|NUM!|NULL!|DIV/0!|WERT!|BEZUG!|NV|ZAHL!|VALEUR!|NOM\?|[#]+)", re.IGNORECASE
)
"""What a spreadsheet writes where it has no value, or not the room to show it."""
_AGE = re.compile(r"(\d+(?:[.,]\d+)?)\s*([^\W\d_]+)?[.]?")
_UNITS: Mapping[str, str] = {
    **dict.fromkeys(
        ("y", "yr", "yrs", "yo", "year", "years", "j", "jahr", "jahre", "jr", "jaar", "a", "an", "ans", "año", "años",
         "ano", "anos", "anno", "anni"), "Y",
    ),
    **dict.fromkeys(
        ("m", "mo", "mon", "month", "months", "monat", "monate", "mnd", "maand", "maanden", "mois", "mes", "meses",
         "mese", "mesi"), "M",
    ),
    **dict.fromkeys(("w", "wk", "week", "weeks", "woche", "wochen", "weken", "semaines", "semanas", "settimane"), "W"),
    **dict.fromkeys(("d", "day", "days", "t", "tag", "tage", "dag", "dagen", "jours", "días", "dias", "giorni"), "D"),
}  # fmt: skip
_TIME = re.compile(r"(?<=\d)[T ]\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*(AM|PM|Z|[+-]\d{2}:?\d{2})?$", re.IGNORECASE)


class Cells:
    """The columns of one table as the mapping wants them read.

    Args:
        frame: Text cells; the index is the row number.
        file: Where they come from, for messages.
        empty: Cells that say nothing.
        words: Per field, what its cells mean.
        problems: Where cells that cannot be understood are noted.
        other: Columns that hold no text, with what they hold.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        file: Path,
        *,
        empty: Iterable[str],
        words: Mapping[str, Mapping[str, str | None]],
        problems: RowProblems,
        other: Mapping[str, str] | None = None,
    ) -> None:
        self._other = other or {}
        self.frame, self.file, self._words, self._problems = frame, file, words, problems
        self._empty = {word.lower() for word in empty}
        self._plain: dict[tuple[str, str | None], pd.Series] = {}

    def require(self, columns: Iterable[str], what: str) -> None:
        """Raise if a column is missing.

        Raises:
            UsageError: One does not; the message names those that do.
        """
        for column in columns:
            if column in self._other:
                problem = f"the column {column!r} ({what}) holds {self._other[column]}, not text"
                raise UsageError(problem, file=self.file, remedy="write it as text, numbers, dates or lists of text")
            if column not in self.frame:
                near = next((c for c in self.frame if str(c).lower() == column.lower()), None)
                remedy = f"did you mean {near!r}?" if near else f"there are {list_columns(self.frame)}"
                raise UsageError(f"has no column {column!r} ({what})", file=self.file, remedy=remedy)

    def plain(self, column: str, field: str | None = None) -> pd.Series:
        """Stripped text, empty where the cell says nothing, the mapping's words replaced."""

        key = (column, field if field in self._words else None)
        if key not in self._plain:
            words = self._words.get(field or "", {})
            codes, unique = pd.factorize(self.frame[column])
            values = [self._meaning(cell, words) for cell in unique.tolist()]
            self._plain[key] = pd.Series(values, dtype="str").take(codes).set_axis(self.frame.index)
        return self._plain[key]

    def _meaning(self, cell: str, words: Mapping[str, str | None]) -> str:
        cell = cell.strip()
        small = cell.lower()
        if small in words:
            return words[small] or ""
        return "" if small in self._empty else cell

    def add_filled(self, template: str) -> None:
        """Add a column named by ``template``, which it holds with the columns' cells; empty where one of them is."""
        result = pd.Series("", index=self.frame.index, dtype="str")
        every = pd.Series(True, index=self.frame.index)
        for place, part in enumerate(re.split(r"\{([^{}]+)\}", template)):
            cells = self.plain(part) if place % 2 else None
            result = result + (part if cells is None else cells)
            every &= True if cells is None else cells != ""
        self.frame = self.frame.assign(**{template: result.where(every, "")})

    def joined(self, columns: Sequence[str], field: str) -> pd.Series:
        """Several columns joined by ``-``; empty where one of them is."""
        parts = [self.plain(column, field) for column in columns]
        result = parts[0]
        for part in parts[1:]:
            result = (result + "-" + part).where((result != "") & (part != ""), "")
        return result

    def convert(
        self, column: str, field: str, function: Callable[[str], Any], *, expected: str, dtype: str
    ) -> pd.Series:
        """Values of a column; a cell that ``function`` refuses (ValueError) is a problem and then empty.

        Args:
            column: Its name.
            field: Field of the mapping.
            function: From a cell that says something to its value; None is empty too.
            expected: What a cell should be, for the message.
            dtype: Of the result.
        """
        plain = self.plain(column, field)
        codes, unique = pd.factorize(plain)
        values: list[Any] = []
        wrong = np.zeros(len(unique), dtype=bool)
        for place, cell in enumerate(unique.tolist()):
            try:
                values.append(function(cell) if cell != "" else None)
            except ValueError:
                values.append(None)
                wrong[place] = True
        bad = wrong[codes]
        self._problems.add(
            f"bad-{field}",
            self.file,
            plain.index[bad],
            f"{column} is {shown(plain[bad].iloc[0])}, not {expected}" if bad.any() else "",
            consequence=f"the {field} is left empty",
            remedy=f"correct the cell, or say what it means, --option 'words.{field}={{cell: meaning}}'",
        )
        return pd.Series(values, dtype=dtype).take(codes).set_axis(plain.index)


def age(cell: str) -> float:
    """Years, of a number with or without a unit.

    >>> age("058Y"), age("60 J."), age("60 años"), age("64,5"), age("6 Monate")
    (58.0, 60.0, 60.0, 64.5, 0.5)
    """
    match = _AGE.fullmatch(cell.strip().casefold())
    unit = "Y" if match is None or match[2] is None else _UNITS.get(match[2], "?")
    years = None if match is None else age_in_years(match[1].replace(",", ".") + unit)
    if years is None:
        raise ValueError(cell)
    return years


def excel_date(cell: str) -> int:
    """Days since 1 January of the year 1, of the number by which spreadsheets count days.

    >>> excel_date("43831") == datetime(2020, 1, 1).toordinal()
    True
    """
    value = number(cell)
    if value is None or not 1 <= value < 100_000:
        raise ValueError(cell)
    return _EXCEL_ZERO + int(value)


def whole(cell: str) -> int:
    """A whole number, also written as 3.0."""
    value = number(cell)
    if value is None or value != int(value):
        raise ValueError(cell)
    return int(value)


def split(cell: str) -> str:
    """train, val or test."""
    try:
        return SPLITS[cell.lower()]
    except KeyError:
        raise ValueError(cell) from None


def sex(cell: str) -> str | None:
    """F, M, or None for what the archive has no word for."""
    try:
        return SEXES[cell.lower()]
    except KeyError:
        raise ValueError(cell) from None


def date_formats(cells: Iterable[str], formats: Sequence[str] = DATE_FORMATS) -> list[str]:
    """The formats that the most cells have, if that is at least half of them; several when the cells leave it open.

    >>> date_formats(["31.12.2019", "01.02.2020"]), date_formats(["01/02/2020"])
    (['%d.%m.%Y'], ['%d/%m/%Y', '%m/%d/%Y'])
    """
    distinct = list(cells)
    counts = {form: sum(_is_date(cell, form) for cell in distinct) for form in formats}
    most = max(counts.values(), default=0)
    return [form for form in formats if counts[form] == most] if most and most * 2 >= len(distinct) else []


def date(cell: str, form: str) -> int:
    """Days since 1 January of the year 1; a time of the day after the date is left out."""
    if form == EXCEL:
        return excel_date(cell)
    return _ordinal(_without_time(cell, form), form)


@lru_cache(maxsize=65536)
def _ordinal(cell: str, form: str) -> int:
    # strptime takes 2020111 for %Y%m%d.
    if form == "%Y%m%d" and len(cell) != 8:
        raise ValueError(cell)
    return datetime.strptime(cell, form).toordinal()


def _is_date(cell: str, form: str) -> bool:
    try:
        date(cell, form)
    except ValueError:
        return False
    return True


def _without_time(cell: str, form: str) -> str:
    return cell if "%H" in form or "%I" in form else _TIME.sub("", cell.strip())
