"""Readers of publishers' files: folders, JSON lists and cells, with errors that say what is wrong where."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.reading import parse_json
from lgdea.records.csv_io import read_utf8
from lgdea.vocabulary import load_vocabulary


def require_folder(source: str | Path) -> Path:
    """``source`` as an existing folder.

    Raises:
        UsageError: It does not exist or is a file.
    """
    source = Path(source)
    if not source.exists():
        raise UsageError("no such folder", file=source, remedy="check the path of the dataset")
    if not source.is_dir():
        raise UsageError("is a file, not the dataset's folder", file=source, remedy="name the folder that holds it")
    return source


def find_plain_or_gzipped(source: Path, *names: str) -> Path:
    """The first of ``names`` in ``source``, plain or with ``.gz``; the first name when there is none of them."""
    candidates = [source / (name + ending) for name in names for ending in ("", ".gz")]
    return next((file for file in candidates if file.is_file()), candidates[0])


def require_cells(frame: pd.DataFrame, column: str, *, file: Path) -> None:
    """Check that a column that names things has no empty cell.

    Raises:
        DataError: It has one; the message names file, row and column.
    """
    empty = frame[column].isna().to_numpy()
    if empty.any():
        raise DataError(f"{column} is empty", file=file, row=int(empty.argmax()) + 1, remedy="correct the cell")


def read_json_list(file: Path, *, card: str) -> list[dict[str, Any]]:
    """Read a JSON file that is a list of objects.

    Raises:
        UsageError: No such file.
        DataError: It is not UTF-8 or JSON, no list, or an entry is no object.
    """
    if not file.is_file():
        remedy = f"check the folder; `lgdea data card {card}` shows the expected layout"
        raise UsageError("no such file", file=file, remedy=remedy)
    try:
        entries = parse_json(read_utf8(file))
    except ValueError as error:
        row = error.lineno if isinstance(error, json.JSONDecodeError) else None
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"is not JSON ({reason})", file=file, row=row, remedy="fetch it again") from None
    if not isinstance(entries, list):
        raise DataError("is no list of entries", file=file, remedy=f"`lgdea data card {card}` shows the layout")
    for row, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise DataError("is no object with named fields", file=file, row=row, remedy="correct the entry")
    return entries


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries, top to bottom."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def number(text: str | None) -> float | None:
    """A finite number, or None where the cell is empty or says something else ("?", "unknown")."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def required_number(text: str | None, *, file: Path, row: int, column: str) -> float:
    """A finite number.

    Raises:
        DataError: It is none; the message names file, row and column.
    """
    value = number(text)
    if value is None:
        raise DataError(f"{column} is {text!r}, not a number", file=file, row=row, remedy="correct the cell")
    return value


def coded_finding(system: str, word: object, *, file: Path, row: int) -> str:
    """The vocabulary's finding for a dataset's word.

    Raises:
        DataError: The vocabulary has none for it; the message names file and row.
    """
    finding = load_vocabulary().from_code(system, word) if isinstance(word, str) else None
    if finding is None:
        raise DataError(f"the label {word!r} is not known", file=file, row=row, remedy="correct the cell")
    return finding


def nih_patient(image: str) -> str | None:
    """Patient id, as the adapter ``nih-cxr14`` writes it, of an NIH file name (``00000001_000.png``); None of others.

    Collections of NIH images so put a patient on the same side of a split by hash as ChestX-ray14 does.
    """
    match = re.fullmatch(r"(\d{8})_\d{3}(\.\w+)?", image)
    return f"nih-cxr14:{int(match[1])}" if match else None


def has_extent(box: Mapping[str, Any]) -> bool:
    """False for a box that is a line or a point, as a click in an annotation tool leaves behind; it holds no pixel."""
    return bool(box["x_max"] != box["x_min"] and box["y_max"] != box["y_min"])


def whole(text: str | None) -> int | None:
    """A whole number, or None."""
    value = number(text)
    return int(value) if value is not None and value == int(value) else None


def age_in_years(text: str | None) -> float | None:
    """Years from ``58``, ``058Y``, ``011M``, ``020W`` or ``003D``; None when unknown or beyond a human life."""
    if not text:
        return None
    unit = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}.get(text[-1].upper())
    value = number(text[:-1] if unit else text)
    years = None if value is None else value / (unit or 1.0)
    return years if years is not None and 0 <= years <= 120 else None


def sex(text: str | None) -> str | None:
    """``F``, ``M`` or None from the first letter."""
    letter = (text or "").strip().upper()[:1]
    return letter if letter in ("F", "M") else None
