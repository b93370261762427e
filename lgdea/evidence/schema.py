"""One piece of diagnostic evidence: a finding, what is asserted of it, where it sits and where the report says so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from lgdea.evidence.layout import Section, section_at
from lgdea.records.schema import Laterality

SCHEMA_VERSION = "1"

Assertion = Literal["present", "absent", "uncertain"]
Severity = Literal["minimal", "mild", "moderate", "severe", "unspecified"]
Change = Literal["new", "worse", "stable", "better", "resolved", "unspecified"]
Alignment = Literal["exact", "normalised", "fuzzy", "none"]


class Unit(BaseModel):
    """A unit of evidence. The assertion is about the patient NOW: "resolved pneumonia" is absent with change=resolved.

    ``start`` and ``end`` are half-open character offsets into the RAW report text, and
    ``text[start:end] == quote`` whenever ``alignment`` is ``exact``.

    Example:
        >>> unit = lgdea.extract("Mild edema has improved.")[0]
        >>> isinstance(unit, lgdea.Unit), unit.finding, unit.severity, unit.change, unit.refers_to_prior
        (True, 'edema', 'mild', 'better', True)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit_id: str
    report_id: str
    section: str
    quote: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    alignment: Alignment
    finding: str
    """Vocabulary id, ``no_finding`` for a normal report."""
    finding_text: str
    """The words of the report for the finding."""
    assertion: Assertion
    anatomy: str | None = None
    """Vocabulary id of the structure; null when not said."""
    laterality: Laterality = "unspecified"
    """The patient's side."""
    severity: Severity = "unspecified"
    change: Change = "unspecified"
    refers_to_prior: bool = False
    run_id: str


class UnitRow(NamedTuple):
    """The fields of a :class:`Unit`, not yet checked: a run makes millions, and its tables check them by columns."""

    unit_id: str
    report_id: str
    section: str
    quote: str
    start: int
    end: int
    alignment: Alignment
    finding: str
    finding_text: str
    assertion: Assertion
    anatomy: str | None
    laterality: Laterality
    severity: Severity
    change: Change
    refers_to_prior: bool
    run_id: str

    @classmethod
    def from_span(
        cls,
        text: str,
        start: int,
        end: int,
        alignment: Alignment,
        *,
        report_id: str,
        sections: Sequence[Section],
        finding: str,
        finding_text: str,
        assertion: Assertion,
        anatomy: str | None,
        laterality: Laterality,
        severity: Severity,
        change: Change,
        refers_to_prior: bool,
        run_id: str,
    ) -> UnitRow:
        """Make the unit whose quote is ``text[start:end]``; its id, section and quote follow from the place.

        Args:
            text: The raw report.
            start: First character of the quote.
            end: The character after its last.
            alignment: How the quote was found.
            report_id: Id of the report.
            sections: Sections of ``text``, see :func:`~lgdea.evidence.layout.split_sections`.
            finding: Vocabulary id.
            finding_text: The words of the report for it.
            assertion: What is said of it.
            anatomy: Vocabulary id of the structure, None when not said.
            laterality: The patient's side.
            severity: Its severity.
            change: Its change since the study before.
            refers_to_prior: The report compares with a study before.
            run_id: Id of the run.
        """
        return cls(
            unit_id(report_id, start, end, finding, anatomy, laterality), report_id, section_at(sections, start),
            text[start:end], start, end, alignment, finding, finding_text, assertion, anatomy, laterality, severity,
            change, refers_to_prior, run_id,
        )  # fmt: skip

    def check(self) -> Unit:
        """Return the unit itself.

        Raises:
            pydantic.ValidationError: A value is not allowed.
        """
        return Unit(**self._asdict())

    def content(self) -> dict[str, Any]:
        """Return the fields that tell what is stated: all but the run's id."""
        content = self._asdict()
        del content["run_id"]
        return content


def unit_id(report_id: str, start: int, end: int, finding: str, anatomy: str | None, laterality: str) -> str:
    """Hash the content: the same evidence gets the same id in every run."""
    content = "\x1f".join([report_id, str(start), str(end), finding, anatomy or "", laterality])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
