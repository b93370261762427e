"""Sections and sentences of a report, as half-open offsets into its raw text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_NAMES: dict[str, str] = {
    "findings": "findings",
    "finding": "findings",
    "results": "findings",
    "report": "findings",
    "observations": "findings",
    "findings and impression": "findings",
    "findings/impression": "findings",
    "impression": "impression",
    "impressions": "impression",
    "conclusion": "impression",
    "conclusions": "impression",
    "opinion": "impression",
    "assessment": "impression",
    "summary": "impression",
    "interpretation": "impression",
    "diagnosis": "impression",
    "addendum": "addendum",
    "indication": "indication",
    "indications": "indication",
    "clinical indication": "indication",
    "clinical information": "indication",
    "clinical history": "indication",
    "clinical details": "indication",
    "history": "indication",
    "patient history": "indication",
    "medical condition": "indication",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "reason for this examination": "indication",
    "reason for study": "indication",
    "reason": "indication",
    "diagnosis/indication": "indication",
    "comparison": "comparison",
    "comparisons": "comparison",
    "comparison study": "comparison",
    "technique": "technique",
    "procedure": "technique",
    "examination": "examination",
    "exam": "examination",
    "study": "examination",
    "type of exam": "examination",
    "recommendation": "recommendation",
    "recommendations": "recommendation",
    "recommendation(s)": "recommendation",
    "notification": "notification",
    "wet read": "wet_read",
    "final report": "body",
}
EVIDENCE_SECTIONS = frozenset({"findings", "impression", "addendum", "body"})
"""Sections that describe this study; the others ask, compare, or plan."""

_LONGEST_SENTENCE = 2000  # characters
_LONGEST_NAME = max(map(len, _NAMES))
_BOUNDARY = re.compile(
    r"[.!](?=\s|$|[A-Z])|\?(?=\s|$)|\n[ \t]*\n|\n(?=[ \t]*(?:[-*•]|\d{1,2}[.)]\s))|\n(?=[A-Z][A-Za-z ]{2,30}:)"
)
_LIST_MARK = re.compile(r"\s*(?:[-*•]+\s*|\d{1,2}[.)](?=\s|[A-Za-z]))?\s*")
_ABBREVIATION = re.compile(r"\b(?:dr|mr|mrs|ms|vs|approx|e\.g|i\.e|fig|resp)\Z", re.IGNORECASE)


class Section(NamedTuple):
    """A named stretch of the raw text, half-open."""

    name: str
    start: int
    end: int


def split_sections(text: str) -> list[Section]:
    """Split a report into its sections, in order; text before the first header, or without any, is ``body``.

    A header is one of the usual names with a colon, at the start of a line in any case or anywhere in capitals.
    Blank sections are left out.

    >>> [s.name for s in split_sections("INDICATION: cough FINDINGS: Clear. IMPRESSION: Normal.")]
    ['indication', 'findings', 'impression']
    """
    heads = []
    colon = text.find(":")
    while colon >= 0:
        name = _header_before(text, colon)
        if name is not None:
            heads.append((_NAMES[name.strip().lower()], colon - len(name), colon + 1))
        colon = text.find(":", colon + 1)
    spans = []
    first = heads[0][1] if heads else len(text)
    spans.append(Section("body", 0, first))
    for number, (name, _, body) in enumerate(heads):
        end = heads[number + 1][1] if number + 1 < len(heads) else len(text)
        spans.append(Section(name, body, end))
    return [span for span in spans if text[span.start : span.end].strip()]


def _header_before(text: str, colon: int) -> str | None:
    """The header's name, with the blanks before its colon, when one of the usual names ends here."""
    line = text[max(0, colon - _LONGEST_NAME - 4) : colon].rpartition("\n")[2]
    blanks = len(line) - len(line.rstrip())
    line = line.rstrip()
    for at in range(len(line)):
        name = line[at:]
        if (at == 0 or line[at - 1] in " \t.") and name.lower() in _NAMES:
            line_start = text.rfind("\n", 0, colon) + 1
            starts_line = not text[line_start : colon - len(name) - blanks].strip()
            if starts_line or name.isupper():
                return name + " " * blanks
    return None


def split_sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Split ``text[start:end]`` into sentences, as offsets into ``text``, without list marks and outer blanks.

    A wrapped line does not end a sentence; a blank line, a list mark or a labelled line does.
    """
    end = len(text) if end is None else end
    result: list[tuple[int, int]] = []
    at = start
    for match in _BOUNDARY.finditer(text, start, end):
        if text[match.start()] == ".":
            is_list_mark = text[at : match.start()].strip().isdigit()
            if is_list_mark or _ABBREVIATION.search(text, max(at, match.start() - 8), match.start()):
                continue
        _append(text, at, match.end(), result)
        at = match.end()
    _append(text, at, end, result)
    return result


def section_sentences(text: str, section: Section) -> list[tuple[int, int]]:
    """List the sentences of a section to be read, in order, as offsets into ``text``.

    What has no end within 2,000 characters is not prose and is cut there.
    """
    return [
        (at, min(at + _LONGEST_SENTENCE, end))
        for start, end in split_sentences(text, section.start, section.end)
        for at in range(start, end, _LONGEST_SENTENCE)
    ]


def evidence_sentences(text: str) -> list[tuple[int, int]]:
    """List the sentences of the sections that describe this study, as :func:`section_sentences` does."""
    sections = (section for section in split_sections(text) if section.name in EVIDENCE_SECTIONS)
    return [sentence for section in sections for sentence in section_sentences(text, section)]


def report_sentences(text: str) -> list[tuple[int, int]]:
    """List the sentences of all sections, whole, in order, as offsets into ``text``."""
    return [span for section in split_sections(text) for span in split_sentences(text, section.start, section.end)]


def section_at(sections: Sequence[Section], at: int) -> str:
    """Return the name of the last section that begins at or before a character, ``body`` before the first."""
    return next((section.name for section in reversed(sections) if section.start <= at), "body")


def sentence_around(sentences: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """Return the offsets of the run of sentences that ``start:end`` touches; they always hold that span.

    >>> text = "FINDINGS: Clear. No effusion."
    >>> start, end = sentence_around(report_sentences(text), 20, 22)
    >>> text[start:end]
    'No effusion.'
    """
    touched = [(first, last) for first, last in sentences if first < end and start < last]
    return min([start, *(first for first, _ in touched)]), max([end, *(last for _, last in touched)])


def sentence_line(text: str, start: int, end: int) -> str:
    """Return the sentences around a span on one line, for people."""
    first, last = sentence_around(report_sentences(text), start, end)
    return " ".join(text[first:last].split())


def _append(text: str, start: int, end: int, result: list[tuple[int, int]]) -> None:
    mark = _LIST_MARK.match(text, start, end)
    if mark:
        start = mark.end()
    while end > start and text[end - 1].isspace():
        end -= 1
    if any(character.isalnum() for character in text[start:end]):
        result.append((start, end))
