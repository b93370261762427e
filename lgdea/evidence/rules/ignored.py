"""Words that a site's lexicon tells the rules to pass over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from lgdea.evidence.rules.tokens import Token, lemmas

_NOTHING = "_"  # a lemma that no table has


def mask(tokens: Sequence[Token], phrases: tuple[str, ...]) -> list[Token]:
    """Blank out the tokens of ignored phrases; they keep their places, so that nothing moves together."""
    result = list(tokens)
    words = [token.lemma for token in tokens]
    for k, word in enumerate(words):
        for phrase in _by_first(phrases).get(word, ()):
            if tuple(words[k : k + len(phrase)]) == phrase:
                result[k : k + len(phrase)] = [token._replace(lemma=_NOTHING) for token in tokens[k : k + len(phrase)]]
    return result


@lru_cache(maxsize=4)
def _by_first(phrases: tuple[str, ...]) -> dict[str, list[tuple[str, ...]]]:
    table: dict[str, list[tuple[str, ...]]] = {}
    for phrase in filter(None, map(lemmas, phrases)):
        table.setdefault(phrase[0], []).append(phrase)
    return table
