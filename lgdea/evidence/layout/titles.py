"""Titles: lines that name a study ("CT PULMONARY ANGIOGRAM (PE PROTOCOL)") and say nothing about it."""

from __future__ import annotations

import re

from lgdea.evidence.layout.headings import STUDY, load_headings

_LONGEST_TITLE = 110  # characters
_MOST_WORDS = 15
_WORD = re.compile(r"[^\W_]+(?:[-/][^\W_]+)*")
_PROSE = re.compile(
    r"\b(?:no|not|nil|without|is|are|was|were|has|have|had|shows?|showed|demonstrat\w+|reveal\w*|seen|noted|identified"
    r"|there|normal|clear|unremarkable|negative|positive|stable|unchanged|small|large|mild|mildly|moderate|severe"
    r"|increas\w+|decreas\w+|improv\w+|wors\w+|enlarged|elevated|intact|minimal|tiny|trace|resolv\w+|persist\w*"
    r"|consistent|suggest\w*|possible|probable|likely|compatible|compared|likely|within|above|below|tip|measur\w+"
    r"|recommend\w*|advis\w*|cannot|could|may|should|exclude[ds]?|mm|cm|months?|weeks?|multiple|patchy|diffuse|focal|degenerative)\b",
    re.IGNORECASE,
)
"""Words of statements; none of them stands in a title."""
_FINDING = re.compile(
    r"(?:effusion|consolidat|opaci|pneumoni|pneumothora|nodul|mass\b|masses|fractur|embol|\bpe\b|o?edema|atelecta"
    r"|cardiomegal|cancer|carcinom|metasta|fibros|emphysem|tubercul|\btb\b|\bild\b|aneurysm|dissect|stone|hernia|lesion"
    r"|infiltrat|hemorrhag|haemorrhag)",
    re.IGNORECASE,
)
_PURPOSE = re.compile(
    r"\b(?:for|protocol|follow|follow-up|followup|f/u|screening|study|query|rule|evaluat\w+|assess\w*|survey|surveillance"
    r"|staging|check|clinic|series|programme|program)\b|\?",
    re.IGNORECASE,
)
"""Words with which a title may name what was looked for."""
_SIDE = re.compile(r"\s*(?:left|right|bilateral|both|bibasilar|bibasal|basal|new)\b", re.IGNORECASE)
_DASH = re.compile(r"\s[-\u2013\u2014]\s")
_TIME = re.compile(r"\d{1,2}:\d{2}")


def is_title(line: str) -> bool:
    """Tell whether a line without a colon names a study.

    It has a word for a kind of study near its begin or at its end, and no word of a statement; where it names a finding
    it also says that this is what was looked for.

    >>> is_title("CT CHEST - LUNG NODULE FOLLOW UP"), is_title("SMALL LEFT EFFUSION"), is_title("CXR shows effusion")
    (True, False, False)
    """
    line = line.strip().rstrip(".")
    if not 2 <= len(line) <= _LONGEST_TITLE or ":" in _TIME.sub("", line) or ". " in line:
        return False
    words, headings = _WORD.findall(line.lower()), load_headings()
    if not 1 <= len(words) <= _MOST_WORDS or _PROSE.search(line):
        return False
    if headings.kind(line) == STUDY:
        return True
    if headings.study_words.isdisjoint((*words[:3], *words[-3:])):
        return False
    if _FINDING.search(line) is None:
        return line.isupper() or all(word in headings.study_filler or not word.isalpha() for word in words)
    return _names_what_was_sought(
        line, ends_with_study=words[-1] in headings.study_words - {"view", "views", "pa", "ap"}
    )


def _names_what_was_sought(line: str, *, ends_with_study: bool) -> bool:
    """Tell whether a title's finding is what was looked for, not what was found."""
    if _PURPOSE.search(line):
        return True
    dash = _DASH.search(line) if line.isupper() else None
    if dash is not None:
        return _SIDE.match(line, dash.end()) is None
    return ends_with_study and line.isupper()
