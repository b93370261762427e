"""Left and right, which are always the patient's: swapping them in words and values.

Mirroring an image without this makes every "left" in its report wrong.
"""

from __future__ import annotations

import re

_PAIRS = [
    ("left", "right"),
    ("leftward", "rightward"),
    ("lefts", "rights"),
    ("lul", "rul"),
    ("lll", "rll"),
    ("levoscoliosis", "dextroscoliosis"),
    ("levoconvex", "dextroconvex"),
    ("levocurvature", "dextrocurvature"),
    ("levocardia", "dextrocardia"),
]
_SWAP = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
_WORD = re.compile(r"\b(" + "|".join(sorted(_SWAP, key=len, reverse=True)) + r")\b", re.IGNORECASE)


def swap_text(text: str) -> str:
    """``text`` with left and right exchanged, case kept; applying it twice gives ``text`` back.

    >>> swap_text("Left effusion, RLL opacity")
    'Right effusion, LLL opacity'
    """
    return _WORD.sub(lambda match: _match_case(match[0], _SWAP[match[0].lower()]), text)


def swap(laterality: str) -> str:
    """The other side; bilateral, midline and unspecified stay."""
    return {"left": "right", "right": "left"}.get(laterality, laterality)


def _match_case(model: str, word: str) -> str:
    if model.isupper():
        return word.upper()
    if model[:1].isupper():
        return word.capitalize()
    return word
