"""Subjects with two predicates, each of its own side: "effusions have resolved on the left and increased on the right".

The scopes say what becomes of a subject once. Where it is gone on one side and still there on the other, both are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.mention import Mention
from lgdea.evidence.rules.tokens import Token

_JOINS = frozenset({"and", "but", ",", ";", "while", "whereas", "though", "although"})
_REMAINS = frozenset({"worse", "better", "stable", "new"})
_LARGER, _SIDES = frozenset({"larger", "worse"}), frozenset({"left", "right"})
_NAMES = frozenset({"finding", "head"})


class Predicate(NamedTuple):
    """What is said of a subject at one place: the tokens ``start`` to ``end``."""

    change: str
    start: int
    end: int
    place: Hit


def split_predicates(
    tokens: Sequence[Token], hits: Sequence[Hit], mention: Mention
) -> tuple[Predicate, Predicate] | None:
    """Return where a finding is gone and where it remains, None where only one of them is said.

    Args:
        tokens: Tokens of the sentence.
        hits: Hits of the sentence, in order.
        mention: The subject.
    """
    end = next((hit.i for hit in hits if hit.i >= mention.j and _is_named(hit)), len(tokens))
    said = [part for hit in hits if mention.j <= hit.i < end for part in _parts(tokens, hit)]
    cues = [hit for hit in said if hit.tags.get("change") in _REMAINS or "resolved" in hit.tags]
    for first, second in pairwise(cues):
        joint = next((k for k in range(first.j, second.i) if tokens[k].lemma in _JOINS), None)
        if joint is None or ("resolved" in first.tags) == ("resolved" in second.tags):
            continue
        one, other = _read(said, first, joint), _read(said, second, end)
        if one is not None and other is not None:
            gone, left = (one, other) if "resolved" in first.tags else (other, one)
            return gone._replace(change="resolved"), left
    return None


def _parts(tokens: Sequence[Token], hit: Hit) -> list[Hit]:
    """The change and the side of "larger on the right", which else says that both sides are meant."""
    if tokens[hit.i].lemma not in _LARGER or tokens[hit.j - 1].lemma not in _SIDES or hit.j - hit.i < 3:
        return [hit]
    side = tokens[hit.j - 1].lemma
    return [Hit(hit.i, hit.i + 1, {"change": "worse"}), Hit(hit.j - 1, hit.j, {"laterality": side})]


def _is_named(hit: Hit) -> bool:
    return not _NAMES.isdisjoint(hit.tags) and "change" not in hit.tags  # "increased" is also of markings


def _read(said: Sequence[Hit], cue: Hit, end: int) -> Predicate | None:
    place = next((h for h in said if cue.j <= h.i < end and ("laterality" in h.tags or "place" in h.tags)), None)
    return None if place is None else Predicate(cue.tags.get("change", ""), cue.i, place.j, place)
