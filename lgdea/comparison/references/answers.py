"""Answers of a vision-language model to queries alone and beside references, as a folder that can be evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.manifests import read_manifest
from lgdea.runs import MANIFEST, check_output, is_finished

TABLE = "answers.parquet"
COLUMNS = ["query_id", "class", "label", "strategy", "k", "answer", "score"]
"""One row per question: ``k`` = 0 is the query alone; ``score`` the probability of yes, else 1 or 0."""
HIDDEN = "hidden.parquet"
"""Answers with a cell of the query hidden: :data:`COLUMNS` and ``cell``, row by row."""
MADE_BY = "lgdea compare ask"


@dataclass(frozen=True)
class Answers:
    """What a model answered.

    Attributes:
        folder: Where it stands.
        name: The model.
        table: :data:`COLUMNS`.
        hidden: The same with a ``cell`` of the query hidden.
        notes: What the reader must know.
    """

    folder: Path
    name: str
    table: pd.DataFrame
    hidden: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def is_answers(folder: str | Path) -> bool:
    """Whether a folder holds answers."""
    return (Path(folder) / TABLE).is_file()


def read_answers(folder: str | Path) -> Answers:
    """Read answers back.

    Args:
        folder: As ``lgdea compare ask`` wrote it.

    Raises:
        UsageError: The folder is not finished.
        DataError: The table lacks a column.
    """
    folder = Path(folder)
    if not is_finished(folder):
        raise UsageError("holds unfinished answers", file=folder, remedy=f"finish them with `{MADE_BY}`")
    table = pd.read_parquet(check_output(folder / TABLE))
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DataError(f"has no column {missing[0]}", file=folder / TABLE, remedy=f"make it with `{MADE_BY}`")
    manifest: dict[str, Any] = read_manifest(folder / MANIFEST)
    summary = manifest.get("summary", {})
    hidden = pd.read_parquet(check_output(folder / HIDDEN))
    return Answers(folder, str(summary.get("model", "")), table, hidden, list(summary.get("notes", [])))
