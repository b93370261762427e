"""Layout of a report: markup, headings, sections and sentences, all as half-open offsets into its raw text."""

from __future__ import annotations

from lgdea.evidence.layout.headings import EVIDENCE_SECTIONS, PASSED_SECTIONS, Headings, load_headings
from lgdea.evidence.layout.marks import Heading
from lgdea.evidence.layout.sections import (
    Layout,
    Section,
    Span,
    evidence_sentences,
    lay_out,
    report_sentences,
    section_at,
    sentence_around,
    sentence_line,
    split_sections,
    split_sentences,
)
from lgdea.evidence.layout.tables import SideRow

__all__ = [
    "EVIDENCE_SECTIONS",
    "PASSED_SECTIONS",
    "Heading",
    "Headings",
    "Layout",
    "Section",
    "SideRow",
    "Span",
    "evidence_sentences",
    "lay_out",
    "load_headings",
    "report_sentences",
    "section_at",
    "sentence_around",
    "sentence_line",
    "split_sections",
    "split_sentences",
]
