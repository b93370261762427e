"""From a quote to its offsets in the raw report. A quote that is not there is never given one."""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher
from typing import NamedTuple

from lgdea.evidence.schema import Alignment

_FUZZY_RATIO = 0.85
_FUZZY_MIN_CHARACTERS = 12
_CANDIDATES = 16  # windows whose edit similarity is computed
_WORD = re.compile(r"\w+")
_PLAIN = str.maketrans({"‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"'})
# Words whose loss or exchange would turn the meaning round; a fuzzy match must keep them.
_DECISIVE = frozenset({"no", "not", "without", "never", "left", "right", "bilateral", "absent", "resolved", "denies"})


class Aligned(NamedTuple):
    """Half-open offsets into the raw text and how they were found."""

    start: int
    end: int
    alignment: Alignment


class Aligner:
    """Finds quotes in one text; repeated quotes get their occurrences in order.

    Args:
        text: The raw report.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._next: dict[str, int] = {}
        self._plain: tuple[str, list[int]] | None = None

    def align(self, quote: str, start: int | None = None) -> Aligned | None:
        """Offsets of ``quote``, None when the text does not hold it.

        Tried in turn: the given ``start``; the quote as it is; case, blanks, dashes and quotation marks made equal;
        the most similar stretch of words, if it is at least 85% similar and keeps negations, sides and numbers.
        """
        if start is not None and start >= 0 and quote and self.text.startswith(quote, start):
            return Aligned(start, start + len(quote), "exact")
        if not quote.strip():
            return None
        at = self._occurrence(self.text, quote)
        if at >= 0:
            return Aligned(at, at + len(quote), "exact")
        return self._normalised(quote) or self._fuzzy(quote)

    def _occurrence(self, text: str, quote: str) -> int:
        at = text.find(quote, self._next.get(quote, 0))
        if at < 0:
            at = text.find(quote)
        if at >= 0:
            self._next[quote] = at + 1
        return at

    def _normalised(self, quote: str) -> Aligned | None:
        plain, offsets = self._plain_text()
        wanted, _ = _normalise(quote)
        if not wanted:
            return None
        at = self._occurrence(plain, wanted)
        if at < 0:
            return None
        return Aligned(offsets[at], offsets[at + len(wanted) - 1] + 1, "normalised")

    def _plain_text(self) -> tuple[str, list[int]]:
        if self._plain is None:
            self._plain = _normalise(self.text)
        return self._plain

    def _fuzzy(self, quote: str) -> Aligned | None:
        wanted = [m[0].lower() for m in _WORD.finditer(quote)]
        if len(quote) < _FUZZY_MIN_CHARACTERS or len(wanted) < 2:
            return None
        spans = [(m.start(), m.end(), m[0].lower()) for m in _WORD.finditer(self.text)]
        best: tuple[float, int, int] | None = None
        for first, last in _windows(wanted, [word for _, _, word in spans]):
            words = [word for _, _, word in spans[first:last]]
            if _decisive(words) != _decisive(wanted):
                continue
            ratio = SequenceMatcher(None, " ".join(wanted), " ".join(words), autojunk=False).ratio()
            if ratio >= _FUZZY_RATIO and (best is None or ratio > best[0]):
                best = (ratio, first, last)
        if best is None:
            return None
        return Aligned(spans[best[1]][0], spans[best[2] - 1][1], "fuzzy")


def _normalise(text: str) -> tuple[str, list[int]]:
    """Lower case, single blanks, plain dashes and quotation marks; with the raw offset of every character kept."""
    characters: list[str] = []
    offsets: list[int] = []
    for at, raw in enumerate(text):
        if raw.isspace():
            if characters and characters[-1] != " ":
                characters.append(" ")
                offsets.append(at)
            continue
        for character in raw.translate(_PLAIN).lower():
            characters.append(character)
            offsets.append(at)
    while characters and characters[-1] == " ":
        characters.pop()
        offsets.pop()
    return "".join(characters), offsets


def _windows(wanted: list[str], words: list[str]) -> list[tuple[int, int]]:
    """The word ranges of about the quote's length that share most words with it."""
    need = Counter(wanted)
    scored: list[tuple[int, int, int]] = []
    for length in {max(1, len(wanted) - 1), len(wanted), len(wanted) + 1}:
        window: Counter[str] = Counter()
        shared = 0
        for at, word in enumerate(words):
            window[word] += 1
            shared += window[word] <= need[word]
            if at >= length:
                old = words[at - length]
                shared -= window[old] <= need[old]
                window[old] -= 1
            if at >= length - 1 and shared * 2 >= len(wanted):
                scored.append((-shared, at - length + 1, at + 1))
    scored.sort()
    return [(first, last) for _, first, last in scored[:_CANDIDATES]]


def _decisive(words: list[str]) -> list[str]:
    return [word for word in words if word in _DECISIVE or word.isdigit()]
