"""One entry of the lexicon or of the cues, found at tokens of a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Hit(NamedTuple):
    """Entries found at tokens ``i`` to ``j`` (half-open); ``tags`` maps a category to its value."""

    i: int
    j: int
    tags: Mapping[str, str]
