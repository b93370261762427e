"""Misspelt words of findings and structures: "pnuemothorax" is read as "pneumothorax".

Only long words are corrected, only words that nobody knows, and only to a single nearest word of the lexicon with the
same first letter: one edit from seven letters on, two from eleven on; two letters in the wrong order are one edit.
Words of English and of medicine that come so close to one of the lexicon ("hemothorax", "fissured") stand in
``near_words.txt`` and are left alone. Cues like "no" and "without" are never corrected.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib import resources

from lgdea.evidence.rules.spelling import lemma

ONE_EDIT, TWO_EDITS = 7, 11
"""Letters from which on a word of the lexicon may be misspelt by one edit and by two."""
_PREFIX = re.compile(
    r"hyper|hypo|intra|inter|infra|peri|para|pre|post|pro|supra|super|sub|anti|ante|epi|endo|retro|bi|uni"
)
_MOST_KEPT = 200_000  # words


@lru_cache(maxsize=1)
def load_near_words() -> frozenset[str]:
    """Return the lemmas of known words that are close to one of the lexicon."""
    text = (resources.files("lgdea.evidence.rules") / "near_words.txt").read_text(encoding="utf-8")
    return frozenset(lemma(word) for line in text.splitlines() if not line.startswith("#") for word in line.split())


class SpellingCorrector(dict[str, str]):
    """The word that each lemma is read as: itself, or the one that it misspells.

    Args:
        words: What may be misspelt.
        known: What is never a misspelling.

    Example:
        >>> corrector = SpellingCorrector(["pneumothorax", "effusion"], ["effusive"])
        >>> corrector["pnuemothorax"], corrector["effusin"], corrector["effusive"]
        ('pneumothorax', 'effusion', 'effusive')
    """

    def __init__(self, words: Collection[str], known: Iterable[str]) -> None:
        super().__init__()
        self._known = {*known, *words}
        self._longest = max(map(len, words), default=0) + 2
        self._by_shape: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for word in {word for word in words if len(word) >= ONE_EDIT and word.isalpha()}:
            self._by_shape.setdefault((word[0], len(word)), []).append((word, _letters(word)))

    def __missing__(self, word: str) -> str:
        if len(self) >= _MOST_KEPT:
            self.clear()
        right = self[word] = self._correct(word)
        return right

    def misspelt(self, word: str) -> bool:
        """Return whether a word of a text is read as another one."""
        key = lemma(word)
        return self[key] != key

    def _correct(self, word: str) -> str:
        if not ONE_EDIT - 1 <= len(word) <= self._longest or word in self._known or not word.isalpha():
            return word
        # "scoliosos" has lost its last letter as if it were a plural.
        close = self._find_close(word) or (self._find_close(word + "s") if word.endswith("o") else {})
        nearest = [right for right, edits in close.items() if edits == min(close.values())]
        return nearest[0] if len(nearest) == 1 else word

    def _find_close(self, word: str) -> dict[str, int]:
        """The words that this one may misspell, with the number of edits."""
        found: dict[str, int] = {}
        letters = _letters(word)
        for longer in range(-2, 3):
            length = len(word) + longer
            edits = 2 if length >= TWO_EDITS else 1
            # A letter more or less changes one letter of the word, any other edit two at most.
            most = 2 * edits - abs(longer)
            for right, its in self._by_shape.get((word[0], length), ()) if abs(longer) <= edits else ():
                if (letters ^ its).bit_count() <= most and not _contradict(word, right):
                    distance = _distance(word, right, edits)
                    if distance <= edits:
                        found[right] = distance
        return found


def _contradict(word: str, right: str) -> bool:
    """Return whether two words begin with different prefixes: "hypodensity" is no misspelt "hyperdensity"."""
    ours, theirs = (_PREFIX.match(text) for text in (word, right))
    return ours is not None and theirs is not None and ours[0] != theirs[0]


def _letters(word: str) -> int:
    """The letters that a word has, as bits; letters of other alphabets share some."""
    letters = 0
    for letter in word:
        letters |= 1 << ord(letter) % 32
    return letters


def _distance(a: str, b: str, most: int) -> int:
    """Edits between two words: insertions, deletions, substitutions, and swaps of neighbours (optimal alignment).

    Any number above ``most`` is returned for words that are farther apart.
    """
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        above, row, twice = row, [i], before
        for j, other in enumerate(b, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if twice and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, twice[j - 2] + 1)
            row.append(cost)
        before = above
        if min(row) > most and min(above) > most:
            break
    return row[-1]
