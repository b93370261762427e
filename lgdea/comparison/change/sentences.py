"""What has become of a finding, in a report's words."""

from __future__ import annotations

import math

SENTENCES = {
    "new": "New {phrase}{since}.",
    "worse": "Worsening {phrase}{since}.",
    "stable": "Unchanged {phrase}{since}.",
    "better": "Improving {phrase}{since}.",
    "resolved": "The {phrase} has resolved{since}.",
}


def change_sentence(state: str, phrase: str, days: float | None = None) -> str:
    """A sentence in a report's words.

    >>> change_sentence("worse", "pleural effusion", 12)
    'Worsening pleural effusion compared with the study 12 days earlier.'

    Args:
        state: A state.
        phrase: The entity.
        days: Days between the two studies; None where they are not known.
    """
    unit = "day" if days == 1 else "days"
    since = "" if days is None or not math.isfinite(days) else f" compared with the study {days:g} {unit} earlier"
    return SENTENCES[state].format(phrase=phrase, since=since)
