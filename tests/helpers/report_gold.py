"""Reports with the units that a radiologist reads in them, and what a reader's answer lacks or has too much.

A gold is words: ``+x`` present, ``-x`` absent, ``?x`` uncertain; then a side ``/L``, ``/R``, ``/B``, a structure
``@lung``, a change ``^worse``. ``a|b`` is either, ``~x`` may be there, ``!no_finding`` must not be there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lgdea.evidence.rules.reader import RuleMatch

_ASSERTIONS = {"+": "present", "-": "absent", "?": "uncertain"}
_SIDES = {"L": "left", "R": "right", "B": "bilateral"}


class GoldReport(NamedTuple):
    """A report and its gold."""

    id: str
    kind: str
    text: str
    gold: str


class _Unit(NamedTuple):
    finding: str
    assertion: str
    side: str | None
    structure: str | None
    change: str | None
    optional: bool


def read_gold(file: Path) -> list[GoldReport]:
    """Read reports from a file of one JSON object per line."""
    rows = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return [GoldReport(row["id"], row["kind"], row["text"], row["gold"]) for row in rows]


def disagreements(report: GoldReport, found: Sequence[RuleMatch]) -> Iterator[tuple[str, str]]:
    """Tell how a reader's units differ from the gold, each as (kind, unit).

    ``reversed`` is a wanted finding that is there with other assertions only. A present ``no_finding`` beside nothing
    but absent findings is let pass, unless the gold forbids it.
    """
    groups = [[_parse(word) for word in item.split("|")] for item in report.gold.split() if item[0] != "!"]
    for group in groups:
        if not any(unit.optional or _is_met(unit, found) for unit in group):
            yield _reason(group[0], found), f"{group[0].assertion} {group[0].finding}"
    allowed = [unit for group in groups for unit in group]
    nothing_there = bool(groups) and all(unit.assertion == "absent" or unit.optional for unit in allowed)
    for item in found:
        alike = [unit for unit in allowed if (unit.finding, unit.assertion) == (item.finding, item.assertion)]
        if alike:
            if not _side_fits(item, {unit.side for unit in alike}, found):
                yield "side", f"{item.assertion} {item.finding} {item.laterality}"
        elif item.finding != "no_finding" or "!no_finding" in report.gold or not nothing_there:
            yield "unexpected", f"{item.assertion} {item.finding}"


def _parse(word: str) -> _Unit:
    word, optional = word.removeprefix("~"), word.startswith("~")
    rest, _, change = word[1:].partition("^")
    rest, _, structure = rest.partition("@")
    finding, _, side = rest.partition("/")
    return _Unit(finding, _ASSERTIONS[word[0]], _SIDES.get(side), structure or None, change or None, optional)


def _is_met(unit: _Unit, found: Iterable[RuleMatch]) -> bool:
    alike = [item for item in found if (item.finding, item.assertion) == (unit.finding, unit.assertion)]
    sides = {item.laterality for item in alike}
    sides |= {"bilateral"} if {"left", "right"} <= sides else set()
    if unit.side and unit.assertion != "absent" and unit.side not in sides:
        return False
    alike = [item for item in alike if item.laterality == unit.side] or alike
    placed = unit.structure is None or any(item.anatomy == unit.structure for item in alike)
    return bool(alike) and placed and (unit.change is None or any(item.change == unit.change for item in alike))


def _reason(unit: _Unit, found: Iterable[RuleMatch]) -> str:
    assertions = {item.assertion for item in found if item.finding == unit.finding}
    if unit.assertion in assertions:
        return "side, structure or change"
    return "reversed" if assertions else "missing"


def _side_fits(item: RuleMatch, sides: set[str | None], found: Iterable[RuleMatch]) -> bool:
    """Whether a stated side is one of the gold's; both sides apart are the same as bilateral."""
    if item.assertion == "absent" or item.laterality == "unspecified" or item.laterality in sides:
        return True
    if item.laterality == "bilateral":
        return {"left", "right"} <= sides
    here = {other.laterality for other in found if other.finding == item.finding}
    return "bilateral" in sides and {"left", "right"} <= here
