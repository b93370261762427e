"""Spans of likely identifiers in a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

IdentifierType = Literal["NAME", "DATE", "AGE", "PHONE", "EMAIL", "URL", "ADDRESS", "HOSPITAL", "ID"]


class Identifier(NamedTuple):
    """A likely identifier: half-open span of characters, and its type."""

    start: int
    end: int
    type: IdentifierType


def resolve(found: Iterable[Identifier]) -> list[Identifier]:
    """Make spans disjoint and put them in order.

    Overlapping spans of one type become one. Of two types the earlier of ``found`` stays whole, and what the later one
    has beyond it stays masked too, so that no part of an identifier is left in the text.
    """
    kept: list[Identifier] = []
    for new in found:
        same = [old for old in kept if old.type == new.type and old.start < new.end and new.start < old.end]
        start, end = min([new.start, *(old.start for old in same)]), max([new.end, *(old.end for old in same)])
        kept = [old for old in kept if old not in same]
        kept.extend(Identifier(*piece, new.type) for piece in _without(start, end, kept))
    return sorted(kept)


def _without(start: int, end: int, others: list[Identifier]) -> list[tuple[int, int]]:
    """What is left of a span without the others."""
    pieces = [(start, end)]
    for other in others:
        pieces = [
            piece
            for first, last in pieces
            for piece in ((first, min(last, other.start)), (max(first, other.end), last))
            if piece[0] < piece[1]
        ]
    return pieces
