"""Text normalisation that keeps offsets."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

_SAME = {
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys('"`´‘’‚‛“”„‟′″«»', "'"),
    "\\": "/",
}
# De-identification marks of any length are one: XXXX, ___, [**...**].
_RUNS = frozenset("x_*")


class NormalizedText(NamedTuple):
    """A normalised text; character ``i`` of it stands for ``raw[starts[i]:ends[i]]``."""

    text: str
    starts: list[int]
    ends: list[int]


def normalize_with_offsets(raw: str) -> NormalizedText:
    """Make case, blanks, dashes, quotation marks, ligatures, widths and the encoding of accents equal.

    Control characters are blanks, runs of blanks one blank, without any at the ends; invisible characters (soft
    hyphens, zero-width and direction marks, variation selectors) are left out; runs of X, _ and * are one.

    >>> normalize_with_offsets("The  ﬁrst – XXXX").text
    'the first - x'
    """
    text: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for at, character in enumerate(raw):
        for piece in _decompose(character):
            if text and text[-1] == piece and (piece in _RUNS or piece == " "):
                ends[-1] = at + 1
            elif piece != " " or text:
                text.append(piece)
                starts.append(at)
                ends.append(at + 1)
    if text and text[-1] == " ":
        del text[-1], starts[-1], ends[-1]
    if not raw.isascii():
        _order_marks(text, starts, ends)
    return NormalizedText("".join(text), starts, ends)


@lru_cache(maxsize=4096)
def _decompose(character: str) -> str:
    """Decompose and case-fold one character; empty when it is invisible."""
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if category == "Cc" or character.isspace():
        return " "
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f":
        return ""
    if character in _SAME:
        return _SAME[character]
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(" " if piece.isspace() else _SAME.get(piece, piece) for piece in folded)


def _order_marks(text: list[str], starts: list[int], ends: list[int]) -> None:
    """Put runs of combining marks into canonical order; a run's characters then share the offsets of the whole run."""
    at = 0
    while at < len(text):
        stop = at
        while stop < len(text) and unicodedata.combining(text[stop]):
            stop += 1
        if stop - at > 1:
            text[at:stop] = sorted(text[at:stop], key=unicodedata.combining)
            starts[at:stop] = [min(starts[at:stop])] * (stop - at)
            ends[at:stop] = [max(ends[at:stop])] * (stop - at)
        at = max(stop, at + 1)
