"""A finding's answers for each side: "Effusion: + left, - right", "the right effusion is smaller, the left gone".

Behind the finding come parts, joined by commas or "and", of a side and a value alone; a part for a side that the
finding has not been given yet speaks of the same finding again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.tokens import Token

_JOINS = frozenset({",", ";", "and", "but", "/", "while", "whereas"})
_FILLERS = frozenset({
    "the", "on", "in", "at", "side", "sided", "one", "is", "are", "has", "have", "been", "was", "now", "also", "still",
    "that", "of", "today", ":", "=", "(", ")", ".", "seen", "to", "be",
})  # fmt: skip
_ABSENT = frozenset({"no", "none", "nil", "absent", "minus", "negative", "not", "n"})
_PRESENT = frozenset({"yes", "y", "plus", "present", "positive", "remain", "persist", "healed", "old", "mm", "cm"})
_UNCERTAIN = frozenset({"possible", "possibly", "questionable", "equivocal", "suspected"})
_SIDES = frozenset({"left", "right"})


class SidedValue(NamedTuple):
    """What is said of a finding on one side: the tokens ``start`` to ``end``; None for what is not said."""

    side: str
    assertion: str | None
    change: str
    severity: str
    start: int
    end: int


def read_sided_values(
    tokens: Sequence[Token], hits: Sequence[Hit], subject: tuple[int, int], side: str
) -> list[SidedValue]:
    """Return what is said of a finding on each side; empty where only one side, or none, has an answer.

    Args:
        tokens: Tokens of the sentence.
        hits: Its hits, in order.
        subject: The tokens of the finding, half-open.
        side: The side that stands before the finding, "unspecified" for none.
    """
    values: list[SidedValue] = []
    tags = {k: hit for hit in hits for k in range(hit.i, hit.j)}
    start = subject[1] if side in _SIDES else _skip_joints(tokens, subject[1])
    while start < len(tokens):
        end = _part_end(tokens, start)
        value = _read_part(tokens, tags, start, end)
        if value is None and (
            values or side not in _SIDES or any("finding" in h.tags for h in hits if start <= h.i < end)
        ):
            break
        if value is None or value.side == "":
            if values or side not in _SIDES:
                break
            value = (value or SidedValue("", None, "unspecified", "unspecified", start, end))._replace(side=side)
        if any(value.side == other.side for other in values):
            break
        values.append(value)
        start = _skip_joints(tokens, end)
    if len(values) < 2 or values[1].assertion is None:
        return []
    return _settle_not(values, tokens)


def _skip_joints(tokens: Sequence[Token], k: int) -> int:
    while k < len(tokens) and tokens[k].lemma in _JOINS:
        k += 1
    return k


def _part_end(tokens: Sequence[Token], start: int) -> int:
    """Return where a part ends: at a comma or "and", else where the next side follows a value ("L+ R-")."""
    sided = valued = False
    for k in range(start, len(tokens)):
        word = tokens[k].lemma
        if word in _JOINS or (word in _SIDES and valued):
            return k
        valued = valued or (sided and word not in _FILLERS)
        sided = sided or word in _SIDES
    return len(tokens)


def _settle_not(values: list[SidedValue], tokens: Sequence[Token]) -> list[SidedValue]:
    """Read "not" as the contrary of the part before: "cleared on the right but not on the left"."""
    first, second = values
    said = {token.lemma for token in tokens[second.start : second.end]}
    if "not" in said and first.change != "unspecified":
        values[1] = second._replace(assertion="present", change="stable")
    return values


def _read_part(tokens: Sequence[Token], tags: dict[int, Hit], start: int, end: int) -> SidedValue | None:
    """Read a part that has nothing but a side and a value, the side "" where it has none; None for any other part."""
    side, assertion, change, severity = "", None, "unspecified", "unspecified"
    for k in range(start, end):
        word, hit = tokens[k].lemma, tags.get(k)
        kinds = hit.tags if hit is not None else {}
        if word in _SIDES and "place" not in kinds and "finding" not in kinds:
            if side:
                return None
            side = word
        elif "resolved" in kinds:
            assertion, change = "absent", "resolved"
        elif "change" in kinds:
            assertion, change = assertion or "present", kinds["change"]
        elif "severity" in kinds:
            assertion, severity = assertion or "present", kinds["severity"]
        elif word == "-":
            is_sign = (
                k == end - 1 or (k == start and tokens[k - 1].lemma in _JOINS) or tokens[k - 1].lemma in {":", "="}
            )
            assertion = "absent" if is_sign and assertion is None else assertion
        elif word in _ABSENT:
            assertion = "absent"
        elif word in _PRESENT:
            assertion = assertion or "present"
        elif word in _UNCERTAIN:
            assertion = "uncertain"
        elif word[0].isdigit():
            assertion = assertion or "present"
        elif word not in _FILLERS:
            return None
    return SidedValue(side, assertion, change, severity, start, end)
