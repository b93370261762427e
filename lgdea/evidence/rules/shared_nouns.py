"""Shared nouns: "pleural or pericardial effusion" names two findings, the first by its adjective alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.lexicon import Lexicon
from lgdea.evidence.rules.tokens import Token

_JOINERS = frozenset({"and", "or", "/", ",", "nor", "&"})
_BETWEEN = frozenset({"place", "laterality", "severity", "modifier", "change"})
_LONGEST = 3  # words of the part that stands alone
_FARTHEST = 4  # words between the joiner and the noun


def complete_shared_nouns(tokens: Sequence[Token], hits: list[Hit], lexicon: Lexicon) -> list[Hit]:
    """Turn the adjectives that share the noun of a finding behind them into findings of their own.

    An adjective does so when it makes with the noun a phrase of the lexicon that is another finding: "endotracheal and
    nasogastric tubes", "no rib, clavicle or humerus fracture". Its own noun stays out of the tokens of the new entry.
    """
    words = [token.lemma for token in tokens]
    if _JOINERS.isdisjoint(words):
        return hits
    made: list[Hit] = []
    for hit in hits:
        if "finding" in hit.tags or "head" in hit.tags:
            made.extend(_read_before(words, hits, hit, lexicon))
    if not made:
        return hits
    taken = {k for hit in made for k in range(hit.i, hit.j)}
    return sorted([h for h in hits if taken.isdisjoint(range(h.i, h.j))] + made, key=lambda hit: hit.i)


def _read_before(words: list[str], hits: list[Hit], noun: Hit, lexicon: Lexicon) -> list[Hit]:
    """Find the entries that share the noun of one finding, from right to left."""
    kinds = {k: hit for hit in hits for k in range(hit.i, hit.j)}
    tails = [tuple(words[k : noun.j]) for k in range(noun.i, noun.j)]
    if "node" in words[max(0, noun.i - 1) : noun.j - 1]:  # "hilar or mediastinal lymph node enlargement"
        tails = []
    found: list[Hit] = []
    known = {noun.tags.get("finding")}
    at = noun.i
    while True:
        joiner = at - 1
        while joiner > at - _FARTHEST and joiner > 0 and words[joiner] not in _JOINERS and _is_adjective(kinds, joiner):
            joiner -= 1
        while joiner > 0 and words[joiner] in _JOINERS and words[joiner - 1] in _JOINERS:
            joiner -= 1
        if joiner < 1 or words[joiner] not in _JOINERS:
            return found
        hit = _completed(words, kinds, joiner, tails, lexicon)
        if hit is None or hit.tags["finding"] in known:
            return found
        known.add(hit.tags["finding"])
        found.append(hit)
        at = hit.i


def _is_adjective(kinds: Mapping[int, Hit], k: int) -> bool:
    return k in kinds and not _BETWEEN.isdisjoint(kinds[k].tags) and "finding" not in kinds[k].tags


def _completed(
    words: list[str], kinds: Mapping[int, Hit], joiner: int, tails: list[tuple[str, ...]], lexicon: Lexicon
) -> Hit | None:
    for length in range(min(_LONGEST, joiner), 0, -1):
        own = range(joiner - length, joiner)
        if any(k in kinds and {"finding", "head", "negated"} & kinds[k].tags.keys() for k in own):
            continue
        for tail in tails:
            tags = lexicon.findings.get((*words[own.start : own.stop], *tail))
            if tags is not None:
                return Hit(own.start, own.stop, tags)
    return None
