"""Faults of a table's rows: stopped at by default, or left out and counted, never passed over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError

ROWS_SHOWN = 20  # rows of a problem that are named; all of them are in the table left_out
_LONGEST_SHOWN, _WORDS_SHOWN = 40, 5


def shown(cell: object) -> str:
    """A cell for a message; a longer text may be a report, and is not shown."""
    text = str(cell)
    if len(text) > _LONGEST_SHOWN or len(text.split()) > _WORDS_SHOWN:
        return f"a text of {len(text):,} characters"
    return repr(text)


@dataclass(frozen=True)
class RowProblem:
    """One kind of fault in one file, for one reason.

    Attributes:
        kind: What it is, one word.
        file: The table concerned.
        rows: The first rows that have it (1-based, header not counted).
        count: How many rows have it.
        detail: What is wrong in the first of them.
        consequence: What ``on_problem: leave_out`` makes of it.
        remedy: How to mend it.
        decision: Whether it has to be decided, so that leaving rows out does not answer it.
        every: All rows.
    """

    kind: str
    file: str
    rows: tuple[int, ...]
    count: int
    detail: str
    consequence: str
    remedy: str
    decision: bool = False
    every: tuple[int, ...] = field(default=(), repr=False)


class RowProblems:
    """Collects them in the order in which they are found."""

    def __init__(self) -> None:
        self.found: list[RowProblem] = []

    def add(
        self, kind: str, file: Path, rows: Iterable[Any], detail: str, *, consequence: str, remedy: str,
        decision: bool = False,
    ) -> None:  # fmt: skip
        """Add a problem; nothing happens when ``rows`` is empty."""
        every = tuple(int(row) for row in rows)
        if every:
            self.found.append(
                RowProblem(
                    kind, str(file), every[:ROWS_SHOWN], len(every), detail, consequence, remedy, decision, every
                )
            )

    def hide(self, ids: pd.Series) -> None:
        """Take ids out of what is told of rows.

        Args:
            ids: By row number, of the patient; a number that was rounded is taken out too, as it gives half of one.
        """
        for place, problem in enumerate(self.found):
            detail, first = problem.detail, str(ids.get(problem.every[0], ""))
            if problem.kind.startswith("rounded-"):
                detail = "an id is a number that a spreadsheet has rounded: several ids may have become one"
            elif first:
                detail = detail.replace(first, "[patient]")
            self.found[place] = replace(problem, detail=detail)

    def move(self, old: Path, new: Path) -> None:
        """Name another file for the problems of one, whose rows have become those of a larger table."""
        self.found = [replace(p, file=str(new)) if p.file == str(old) else p for p in self.found]

    @property
    def count(self) -> int:
        """Rows concerned, one that has two faults counted twice."""
        return sum(problem.count for problem in self.found)

    @property
    def undecided(self) -> bool:
        """Whether one has to be decided first."""
        return any(problem.decision for problem in self.found)

    def facts(self) -> list[dict[str, Any]]:
        """Dump as plain JSON data, of the rows the first."""
        names = ("kind", "file", "count", "detail", "consequence", "remedy", "decision")
        return [{n: getattr(p, n) for n in names} | {"rows": list(p.rows)} for p in self.found]

    def table(self, ids: pd.DataFrame, file: Path) -> pd.DataFrame:
        """All rows that have a problem: ``file``, ``row``, ``study_id``, ``patient_id``, ``kind``, ``reason``, ...

        Args:
            ids: ``study_id`` and ``patient_id`` by row number, as far as they are known.
            file: The table whose rows they are.
        """
        parts = []
        for problem in self.found:
            here = (ids if problem.file == str(file) else ids.iloc[:0]).reindex(list(problem.every))
            facts = {"kind": problem.kind, "reason": problem.detail, "consequence": problem.consequence}
            parts.append(here.reset_index(names="row").assign(file=Path(problem.file).name, **facts))
        columns = ["file", "row", "study_id", "patient_id", "kind", "reason", "consequence"]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    def raise_first(self, *, decisions: bool = False) -> None:
        """Stop at the first problem, if there is one.

        Args:
            decisions: Whether only those count that have to be decided.

        Raises:
            DataError: The message names its file and row, and how many others there are.
        """
        found = [problem for problem in self.found if problem.decision or not decisions]
        if not found:
            return
        first = found[0]
        if first.decision:
            raise DataError(first.detail, file=first.file, remedy=first.remedy)
        others = sum(problem.count for problem in found if not problem.decision) - 1
        more = f" (and {others:,} more problems)" if others else ""
        remedy = f"{first.remedy}; --dry-run shows all, --option on_problem=leave_out goes on without such rows"
        raise DataError(first.detail + more, file=first.file, row=first.rows[0], remedy=remedy)
