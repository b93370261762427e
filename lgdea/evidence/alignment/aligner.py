"""Offsets of quotes in the raw report; a quote that is not there gets none."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable
from functools import cached_property
from typing import NamedTuple

from lgdea.evidence.alignment.fuzzy_match import FuzzyMatcher
from lgdea.evidence.alignment.normalize import NormalizedText, normalize_with_offsets
from lgdea.evidence.schema import Alignment


class Aligned(NamedTuple):
    """Half-open offsets into the raw text and how they were found."""

    start: int
    end: int
    alignment: Alignment


class Aligner:
    """Aligner of quotes with one text; repeated quotes get their occurrences in order.

    Args:
        text: The raw report.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._words = _Words(text)

    def align(self, quote: str, start: int | None = None, of: Hashable = None) -> Aligned | None:
        """Find the offsets of ``quote``, None when the text does not hold it.

        Tried in turn: the given ``start``; the quote as it is; the quote in normalised text (case, blanks, dashes,
        quotation marks, ligatures, accents' encoding and invisible characters made equal, see
        :func:`~lgdea.evidence.alignment.normalize.normalize_with_offsets`); the most similar run of words
        (:class:`~lgdea.evidence.alignment.fuzzy_match.FuzzyMatcher`). Without a ``start``, a quote cannot begin or end
        inside a word or a number of the text: "normal" does not match inside "abnormal", nor "5 mm" inside "15 mm".

        Args:
            quote: The words.
            start: Where they are said to stand.
            of: What the quote is evidence of. The same quote of the same thing again means its next occurrence, of
                another thing the same one: "No effusion or pneumothorax" is evidence of two absences.
        """
        if start is not None and start >= 0 and quote and self.text.startswith(quote, start):
            return Aligned(start, start + len(quote), "exact")
        if not quote.strip():
            return None
        at = self._words.occurrence(quote, of)
        if at >= 0:
            return Aligned(at, at + len(quote), "exact")
        return self._align_normalized(quote, of) or self._align_fuzzy(quote)

    def why_not(self, quote: str) -> str:
        """Explain why :meth:`align` did not find a quote, for those who read the rejects."""
        if not normalize_with_offsets(quote).text:
            return "no words"
        if normalize_with_offsets(quote).text in self._normalized_text.text:
            return "stands there only inside other words or numbers"
        closest = self._fuzzy_matcher.closest(quote)
        return "none of its words is there" if closest is None else f"closest: {self.text[slice(*closest)][:200]!r}"

    def verbatim(self, words: str) -> str | None:
        """Return these words as the text spells them, None when it does not hold them even when normalised."""
        if words in self.text:
            return words
        wanted = normalize_with_offsets(words).text
        at = self._normalized_text.text.find(wanted) if wanted else -1
        if at < 0:
            return None
        return self.text[self._normalized_text.starts[at] : self._normalized_text.ends[at + len(wanted) - 1]]

    def _align_normalized(self, quote: str, of: Hashable) -> Aligned | None:
        wanted = normalize_with_offsets(quote).text
        at = self._normalized_words.occurrence(wanted, of) if wanted else -1
        if at < 0:
            return None
        _, starts, ends = self._normalized_text
        return Aligned(starts[at], ends[at + len(wanted) - 1], "normalised")

    def _align_fuzzy(self, quote: str) -> Aligned | None:
        found = self._fuzzy_matcher.find(quote)
        return None if found is None else Aligned(*found, "fuzzy")

    @cached_property
    def _normalized_text(self) -> NormalizedText:
        return normalize_with_offsets(self.text)

    @cached_property
    def _normalized_words(self) -> _Words:
        return _Words(self._normalized_text.text)

    @cached_property
    def _fuzzy_matcher(self) -> FuzzyMatcher:
        return FuzzyMatcher(self.text)


class _Words:
    """A text in which only whole words are found."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: defaultdict[tuple[str, Hashable], int] = defaultdict(int)
        self._bounds: list[int] = []

    def occurrence(self, quote: str, of: Hashable) -> int:
        """The next occurrence of a quote; after the last one the first again, -1 when there is none."""
        at = self._find(quote, self._next[quote, of])
        if at < 0 < self._next[quote, of]:
            at = self._find(quote, 0)
        if at >= 0:
            self._next[quote, of] = at + 1
        return at

    def _find(self, quote: str, start: int) -> int:
        at = self._text.find(quote, start)
        while at >= 0:
            if not _is_inside_word(self._text, at) and not _is_inside_word(self._text, at + len(quote)):
                return at
            at = self._text.find(quote, self._bound_after(at))
        return -1

    def _bound_after(self, at: int) -> int:
        if not self._bounds:
            self._bounds = [k for k in range(len(self._text) + 1) if not _is_inside_word(self._text, k)]
        return self._bounds[bisect_right(self._bounds, at)]


def _is_inside_word(text: str, at: int) -> bool:
    """Return whether ``at`` is inside a word of a script that sets words apart, or inside a number."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if before.isdigit() and after.isdigit():
        return True
    if _is_cased(before) and _is_cased(after):
        return True
    if before in ".," and after.isdigit():
        return at > 1 and text[at - 2].isdigit()
    return before.isdigit() and after in ".," and at + 1 < len(text) and text[at + 1].isdigit()


def _is_cased(character: str) -> bool:
    # The scripts with upper and lower case are those that set words apart by blanks; Chinese and Thai do neither.
    return character.lower() != character.upper()
