"""Faults of a table's rows: stopped at by default, or left out and counted, never passed over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lgdea.errors import DataError

ROWS_SHOWN = 20  # rows of a problem that are named


@dataclass(frozen=True)
class RowProblem:
    """One kind of fault in one file.

    Attributes:
        kind: What it is, one word.
        file: The table concerned.
        rows: The first rows that have it (1-based, header not counted).
        count: How many rows have it.
        detail: What is wrong in the first of them.
        consequence: What ``on_problem: leave_out`` makes of it.
        remedy: How to mend it.
    """

    kind: str
    file: str
    rows: tuple[int, ...]
    count: int
    detail: str
    consequence: str
    remedy: str


class RowProblems:
    """Collects them in the order in which they are found."""

    def __init__(self) -> None:
        self.found: list[RowProblem] = []

    def add(self, kind: str, file: Path, rows: Iterable[Any], detail: str, *, consequence: str, remedy: str) -> None:
        """Add a problem; nothing happens when ``rows`` is empty."""
        numbers = [int(row) for row in rows]
        if numbers:
            shown = tuple(numbers[:ROWS_SHOWN])
            self.found.append(RowProblem(kind, str(file), shown, len(numbers), detail, consequence, remedy))

    @property
    def count(self) -> int:
        """Rows concerned, one that has two faults counted twice."""
        return sum(problem.count for problem in self.found)

    def facts(self) -> list[dict[str, Any]]:
        """Dump as plain JSON data."""
        return [asdict(problem) | {"rows": list(problem.rows)} for problem in self.found]

    def raise_first(self) -> None:
        """Stop at the first problem, if there is one.

        Raises:
            DataError: The message names its file and row, and how many others there are.
        """
        if not self.found:
            return
        first = self.found[0]
        others = self.count - 1
        more = f" (and {others:,} more problems)" if others else ""
        remedy = f"{first.remedy}; --dry-run shows all, --option on_problem=leave_out goes on without such rows"
        raise DataError(first.detail + more, file=first.file, row=first.rows[0], remedy=remedy)
