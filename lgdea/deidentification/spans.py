"""Spans of likely identifiers in a text."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Literal, NamedTuple, get_args

IdentifierType = Literal["NAME", "DATE", "AGE", "PHONE", "EMAIL", "URL", "ADDRESS", "HOSPITAL", "ID"]


class Identifier(NamedTuple):
    """A likely identifier: half-open span of characters, and its type."""

    start: int
    end: int
    type: IdentifierType


def resolve(found: Iterable[Identifier], length: int) -> list[Identifier]:
    """Make spans disjoint and put them in order.

    Overlapping spans of one type become one. Of two types the earlier of ``found`` stays whole, and what the later one
    has beyond it stays masked too, so that no part of an identifier is left in the text.

    Args:
        found: Spans, the surest first.
        length: Characters of the text.
    """
    kinds = get_args(IdentifierType)
    owner = bytearray(length)  # of each character: 1 + place of the type, 0 for none
    for start, end, kind in found:
        code = kinds.index(kind) + 1
        owner[start:end] = bytes(old or code for old in owner[start:end])
    spans, at = [], 0
    for code, run in groupby(owner):
        end = at + len(list(run))
        if code:
            spans.append(Identifier(at, end, kinds[code - 1]))
        at = end
    return spans
