"""What of the reports' text was read, counted by reason, and the headings that were met."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

from lgdea.evidence.layout import EVIDENCE_SECTIONS, Layout, lay_out
from lgdea.evidence.layout.headings import STUDY

READ, REJECTED = "read", "rejected"
_TOLD = 50  # headings
_LONGEST_NAME = 60  # characters
_MOST_NAMES = 100_000
"""Names that are kept while counting: an archive may have millions of labels that each stand in one report."""


def passed_over(layout: Layout) -> list[tuple[int, int, str]]:
    """List the stretches of a raw report that are not read, each with its reason."""
    return [(span.start, span.end, span.reason) for span in layout.spans() if span.reason is not None]


def count_text(text: str, *, by_layout: bool, is_rejected: bool) -> Counter[str]:
    """Count a report's characters, blanks apart: those that were read, and by reason those that were passed over.

    Args:
        text: The report.
        by_layout: Only the sections about this study are read; else all of the text is.
        is_rejected: No answer about the report could be used.
    """
    if is_rejected:
        return Counter({REJECTED: _letters(text)})
    if not by_layout:
        return Counter({READ: _letters(text)})
    counts: Counter[str] = Counter()
    for start, end, _, reason in lay_out(text).spans():
        counts[reason or READ] += _letters(text[start:end])
    return counts


def headings_of(text: str) -> set[tuple[str, str]]:
    """The headings of a report, each once, as (name, kind); the kind of a name nobody knows is empty."""
    return {(_shown_name(heading.name), heading.kind or "") for heading in lay_out(text).headings}


@lru_cache(maxsize=4096)
def _shown_name(name: str) -> str:
    return " ".join(name.upper().split())[:_LONGEST_NAME]


def forget_rare(headings: Counter[tuple[str, str]]) -> None:
    """Drop names that stood in one report only, where there are too many to keep."""
    if len(headings) > _MOST_NAMES:
        for name in [name for name, count in headings.items() if count == 1]:
            del headings[name]


def describe_text(counts: Counter[str]) -> dict[str, Any]:
    """Return the share of the text that was read and the others by reason, headings and markup apart."""
    words = {name: n for name, n in counts.items() if name not in {"heading", "markup"}}
    total = sum(words.values())
    passed = sorted(((n, name) for name, n in words.items() if n and name != READ), reverse=True)
    return {
        "share_read": round(counts[READ] / total, 6) if total else None,
        "share_passed_over": {name: round(n / total, 6) for n, name in passed},
    }


def describe_headings(headings: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """List the most frequent headings: name, kind (None for an unknown name), whether what follows is read, reports.

    A name nobody knows may hold private words: it is listed only where two reports have it.
    """
    told = [(n, name, kind) for (name, kind), n in headings.items() if kind or n > 1]
    told.sort(key=lambda row: (-row[0], row[1:]))
    return [
        {"name": name, "kind": kind or None, "read": not kind or _is_read(kind), "reports": n}
        for n, name, kind in told[:_TOLD]
    ]


def _is_read(kind: str) -> bool:
    return kind in EVIDENCE_SECTIONS or kind in {STUDY, "region"}


def _letters(text: str) -> int:
    return len("".join(text.split()))
