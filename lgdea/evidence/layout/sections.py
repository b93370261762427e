"""Layout of a report: which characters are read, in which section, and why the others are passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from lgdea.evidence.layout.headings import EVIDENCE_SECTIONS, Headings, load_headings
from lgdea.evidence.layout.marks import Heading, MarkFinder
from lgdea.evidence.layout.markup import flatten, markup_spans
from lgdea.evidence.layout.resuming import resume_at
from lgdea.evidence.layout.sentences import cut_long, split_flat
from lgdea.evidence.layout.tables import SideRow, find_side_rows

_LONGEST_KEPT = 2048  # characters of a report whose layout is kept for long


class Section(NamedTuple):
    """A named stretch of the raw text, half-open."""

    name: str
    start: int
    end: int


class Span(NamedTuple):
    """A stretch of the raw text, half-open: read in a section, or passed over for a reason."""

    start: int
    end: int
    section: str
    reason: str | None
    """None where the text is read; ``heading``, ``markup``, or the name of a section that is not read."""


class Layout(NamedTuple):
    """What the parts of a report are."""

    plain: str
    """The report without its markup, character for character (see :func:`~lgdea.evidence.layout.markup.flatten`)."""
    sections: tuple[Section, ...]
    headings: tuple[Heading, ...]
    markup: tuple[tuple[int, int], ...]
    side_rows: tuple[SideRow, ...] = ()
    """Rows of tables that have a column for each side; they are to be read cell by cell."""

    def spans(self) -> list[Span]:
        """List stretches that hold every character of the raw text exactly once, in order."""
        result: list[Span] = []
        at, name = 0, "body"
        for section in self.sections:
            result.append(Span(at, section.start, name, "heading"))
            name = section.name
            result.append(Span(section.start, section.end, name, None if name in EVIDENCE_SECTIONS else name))
            at = section.end
        result.append(Span(at, len(self.plain), name, "heading"))
        result = [span for span in result if span.start < span.end]
        return list(_without_markup(result, self.markup)) if self.markup else result

    def sentences(self, section: Section) -> list[tuple[int, int]]:
        """List the sentences of a section, in order, as offsets into the raw text.

        What has no end within 2,000 characters is not prose and is cut there.
        """
        return cut_long(split_flat(self.plain, section.start, section.end))


def lay_out(text: str) -> Layout:
    """Find the sections of a report.

    A heading is a known name, or one that a family of names explains, with a colon at the start of a line or after a
    full stop; in capitals anywhere; or alone on its line. A section that is not read ends at the next heading, at a
    label that nobody knows (``Lungs:``), and where its text turns to statements about this study.
    """
    lay = _lay_out_again if len(text) <= _LONGEST_KEPT else _lay_out_once
    return lay(text, load_headings())


def _lay_out(text: str, headings: Headings) -> Layout:
    plain = flatten(text)
    finder = MarkFinder(plain, headings)
    finder.find()
    sections: list[Section] = []
    ends = [mark.start for mark in finder.marks[1:]] + [len(plain)]
    for mark, end in zip(finder.marks, ends, strict=True):
        turn = None if mark.kind in EVIDENCE_SECTIONS else resume_at(mark.kind, plain, mark.body, end)
        sections.append(Section(mark.kind, mark.body, end if turn is None else turn))
        if turn is not None:
            sections.append(Section("body", turn, end))
    kept = tuple(section for section in sections if plain[section.start : section.end].strip())
    return Layout(plain, kept, tuple(finder.headings), tuple(markup_spans(text, plain)), tuple(find_side_rows(plain)))


_lay_out_again = lru_cache(maxsize=4096)(_lay_out)
"""Layouts of short reports: they are laid out to be read, and once more when their answers are, a batch later."""
_lay_out_once = lru_cache(maxsize=64)(_lay_out)


def _without_markup(spans: list[Span], markup: Sequence[tuple[int, int]]) -> Iterator[Span]:
    """Cut the markup out of the spans; both are in order."""
    number = 0
    for span in spans:
        at = span.start
        while number < len(markup) and markup[number][0] < span.end:
            first, last = max(at, markup[number][0]), min(markup[number][1], span.end)
            if at < first:
                yield span._replace(start=at, end=first)
            if first < last:
                yield Span(first, last, span.section, "markup")
            at = max(at, last)
            if markup[number][1] > span.end:
                break
            number += 1
        if at < span.end:
            yield span._replace(start=at)


def split_sections(text: str) -> list[Section]:
    """Split a report into its sections, in order; text without a heading of its own is ``body``.

    Blank sections are left out.

    >>> [s.name for s in split_sections("INDICATION: cough FINDINGS: Clear. IMPRESSION: Normal.")]
    ['indication', 'findings', 'impression']
    """
    return list(lay_out(text).sections)


def split_sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Split ``text[start:end]`` into sentences, as offsets into ``text``, without list marks and outer blanks.

    A wrapped line does not end a sentence; a blank line, a list mark, a labelled line or a line of its own does.
    """
    return split_flat(lay_out(text).plain, start, len(text) if end is None else end)


def evidence_sentences(text: str) -> list[tuple[int, int]]:
    """List the sentences of the sections that describe this study, as :meth:`Layout.sentences` does."""
    layout = lay_out(text)
    read = (section for section in layout.sections if section.name in EVIDENCE_SECTIONS)
    return [sentence for section in read for sentence in layout.sentences(section)]


def report_sentences(text: str) -> list[tuple[int, int]]:
    """List the sentences of all sections, whole, in order, as offsets into ``text``."""
    layout = lay_out(text)
    return [span for section in layout.sections for span in split_flat(layout.plain, section.start, section.end)]


def section_at(sections: Sequence[Section], at: int) -> str:
    """Return the name of the last section that begins at or before a character, ``body`` before the first."""
    for section in reversed(sections):
        if section.start <= at:
            return section.name
    return "body"


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
