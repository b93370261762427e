"""Fuzzy match of a quote that refuses changes of meaning."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from difflib import SequenceMatcher

_RATIO = 0.85
_WORD_RATIO = 0.75
_MIN_CHARACTERS = 12
_CANDIDATES = 12  # stretches whose similarity is computed
_ANCHORS = 64  # occurrences of one word that are looked at
_BUDGET = 8_000_000  # characters of one side times the other, over all quotes of a text: a few seconds at worst
_WORD = re.compile(r"\w+")
_FUNCTION = frozenset(
    """
    a an the is are was were be been of in on at to and there this that with seen noted
    """.split()  # noqa: SIM905  # a list of forty strings is no easier to read
)
# Words whose loss or exchange would turn the meaning round.
_DECISIVE = frozenset(
    """
    no not nor neither without never none cannot absent denies negative positive normal abnormal left right
    bilateral both unilateral upper middle lower superior inferior new old stable unchanged resolved worse worsened
    worsening better improved increased decreased larger smaller minimal mild moderate severe small large acute
    chronic possible possibly probable probably likely unlikely may might could or versus vs if
    """.split()  # noqa: SIM905  # a list of forty strings is no easier to read
)
_OPPOSED = tuple(frozenset(pair) for pair in (("hyper", "hypo"), ("inter", "intra"), ("supra", "infra")))


class FuzzyMatcher:
    """Matcher of misspelt quotes with one text.

    Args:
        text: The raw report.
    """

    def __init__(self, text: str) -> None:
        self._spans = [(m.start(), m.end()) for m in _WORD.finditer(text)]
        self._words = [text[a:b].casefold() for a, b in self._spans]
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for at, word in enumerate(self._words):
            self._places[word].append(at)
        self._budget = _BUDGET

    def find(self, quote: str) -> tuple[int, int] | None:
        """Offsets of the most similar stretch of words, None when none is at least 85% similar or says the same.

        It says the same when negations, sides, degrees and numbers agree in their order, and every word that only the
        quote has is a function word or another spelling of a word that only the stretch has.
        """
        wanted = [match[0].casefold() for match in _WORD.finditer(quote)]
        if len(quote) < _MIN_CHARACTERS or len(wanted) < 2:
            return None
        sought = " ".join(wanted)
        best: tuple[float, int, int] | None = None
        for first, last in self._find_candidates(wanted):
            words = self._words[first:last]
            if not _has_same_meaning(wanted, words):
                continue
            stretch = " ".join(words)
            self._budget -= len(stretch) * len(sought)
            if self._budget < 0:
                break
            ratio = SequenceMatcher(None, sought, stretch, autojunk=False).ratio()
            if ratio >= _RATIO and (best is None or ratio > best[0]):
                best = (ratio, first, last)
        if best is None:
            return None
        return self._spans[best[1]][0], self._spans[best[2] - 1][1]

    def closest(self, quote: str) -> tuple[int, int] | None:
        """Offsets of the stretch that shares most words with the quote, whatever it says; None when it shares none."""
        wanted = [match[0].casefold() for match in _WORD.finditer(quote)]
        votes = self._vote_on_begin(wanted)
        if not votes:
            return None
        begin = min(votes, key=lambda at: (-votes[at], at))
        first, last = max(0, begin), min(len(self._spans), begin + len(wanted))
        return self._spans[first][0], self._spans[last - 1][1]

    def _find_candidates(self, wanted: list[str]) -> list[tuple[int, int]]:
        """Word ranges that begin where most words of the quote say that it does."""
        votes = self._vote_on_begin(wanted)
        ranges: dict[tuple[int, int], None] = {}
        for begin, _ in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))[:_CANDIDATES]:
            for first in (begin, begin - 1, begin + 1):
                for length in (len(wanted), len(wanted) - 1, len(wanted) + 1):
                    if first >= 0 and first + length <= len(self._words):
                        ranges[first, first + length] = None
        return list(ranges)

    def _vote_on_begin(self, wanted: list[str]) -> Counter[int]:
        """Count for each begin of the quote in the text how many of its words stand where they should."""
        votes: Counter[int] = Counter()
        for index, word in enumerate(wanted):
            votes.update(at - index for at in self._places.get(word, ())[:_ANCHORS])
        return votes


def _has_same_meaning(wanted: list[str], words: list[str]) -> bool:
    if [w for w in wanted if _is_decisive(w)] != [w for w in words if _is_decisive(w)]:
        return False
    left = list((Counter(words) - Counter(wanted)).elements())
    for word in (Counter(wanted) - Counter(words)).elements():
        if word in _FUNCTION:
            continue
        other = next((w for w in left if _is_misspelt(word, w)), None)
        if other is None:
            return False
        left.remove(other)
    return True


def _is_decisive(word: str) -> bool:
    return word in _DECISIVE or any(character.isdigit() for character in word)


def _is_misspelt(word: str, other: str) -> bool:
    """Return whether two words are spellings of one; a prefix (a-, hypo-, non-) makes another word."""
    if word[:2] != other[:2]:
        return False
    for pair in _OPPOSED:
        if {next((p for p in pair if w.startswith(p)), "") for w in (word, other)} == pair:
            return False
    return SequenceMatcher(None, word, other, autojunk=False).ratio() >= _WORD_RATIO
