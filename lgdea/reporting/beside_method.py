"""Which of a result's readings beside healthy references the report shows."""

from __future__ import annotations

import re
from typing import NamedTuple

from lgdea.evaluation.results.result import Result


class BesideMethod(NamedTuple):
    """A reading beside references: ``z`` of a model's scores, ``paired`` of a vision-language model's answers."""

    kind: str
    strategy: str
    k: int

    @property
    def column(self) -> str:
        """Its column in the items."""
        return f"{self.kind}/{self.strategy}@{self.k}"


def beside_method(result: Result) -> BesideMethod:
    """The reading of a result of references that the page shows: most references, by age, sex and view if it has that.

    Args:
        result: Of ``lgdea eval references``.
    """
    found = [m for c in map(str, result.items) if (m := re.fullmatch(r"(z|paired)/(\w+)@(\d+)", c))]
    methods = [BesideMethod(m[1], m[2], int(m[3])) for m in found]
    strategy = "demographic" if any(m.strategy == "demographic" for m in methods) else methods[0].strategy
    return max((m for m in methods if m.strategy == strategy), key=lambda m: m.k)
