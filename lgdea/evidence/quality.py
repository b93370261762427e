"""The counts of a run, added up report by report."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lgdea.evidence.postprocess import ReportResult
from lgdea.evidence.text_read import count_text, describe_headings, describe_text, forget_rare, headings_of


class Quality:
    """Counts of ``quality.json``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._alignment: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._stated: Counter[tuple[str, str]] = Counter()
        self._text: Counter[str] = Counter()
        self._headings: Counter[tuple[str, str]] = Counter()
        self._misspelt: Counter[str] = Counter()

    def add(self, result: ReportResult) -> None:
        """Count one report."""
        counts = self._counts
        counts["reports"] += 1
        counts["reports_with_units"] += bool(result.units)
        counts["reports_by_layout"] += result.by_layout
        counts["rejected"] += result.nothing_read
        counts["incomplete"] += bool(result.lost_questions) and not result.nothing_read
        counts["questions"] += result.questions
        counts["rejected_questions"] += result.lost_questions
        counts["empty_answers"] += result.empty_answers
        counts["unanswered"] += result.unanswered
        counts["units"] += len(result.units)
        self._alignment.update([unit.alignment for unit in result.units])
        self._stated.update([(unit.finding, unit.assertion) for unit in result.units])
        text = result.report.text
        self._text.update(count_text(text, by_layout=result.by_layout, is_rejected=result.nothing_read))
        if result.by_layout and not result.nothing_read:
            self._headings.update(headings_of(text))
        self._misspelt.update(result.misspelt)
        for reject in result.rejects:
            counts["rejected_units"] += reject.unit is not None
            self._reasons[reject.reason] += 1
            self._languages[reject.detail] += reject.reason == "language"

    @property
    def reports(self) -> int:
        """Number of reports counted."""
        return self._counts["reports"]

    def update(self, other: Quality) -> None:
        """Add the counts of other reports."""
        for name, counts in vars(other).items():
            vars(self)[name].update(counts)
        forget_rare(self._headings)

    def to_dict(self) -> dict[str, Any]:
        """All counts.

        ``rejected`` are reports of which nothing could be read, ``incomplete`` those that lost some of their questions;
        ``unanswered`` are questions that the backend failed on, ``empty_answers`` those that it answered with
        no unit. ``share_aligned`` is the share of all stated units
        whose quote stands in its report, ``rejected_languages`` the languages that the backend does not read,
        ``words_read_as_misspelt`` the words of findings that the rules took for other ones.

        ``share_read`` is the share of the reports' text (blanks, headings and markup apart) that was read;
        ``share_passed_over`` tells why the rest was not: the section that it stands in, or ``rejected`` with its
        report. ``headings`` are those met most often (see :func:`~lgdea.evidence.text_read.describe_headings`); None
        where a language model is shown whole reports.
        """
        names = (
            "reports", "reports_with_units", "units", "rejected", "incomplete", "rejected_units", "questions",
            "rejected_questions", "empty_answers", "unanswered",
        )  # fmt: skip
        findings: dict[str, Counter[str]] = {}
        for (finding, assertion), count in self._stated.items():
            findings.setdefault(finding, Counter())[assertion] = count
        lost = self._reasons["quote_not_in_report"]
        aligned = self._counts["units"] + self._reasons["not_supported"] + self._reasons["not_verified"]
        stated = aligned + lost
        return {
            **{name: self._counts[name] for name in names},
            **describe_text(self._text),
            "headings": describe_headings(self._headings) if self._counts["reports_by_layout"] else None,
            "rejected_by_reason": dict(_descending(self._reasons)),
            "rejected_languages": dict(_descending(self._languages)),
            "words_read_as_misspelt": dict(_descending(self._misspelt)),
            "alignment": dict(_descending(self._alignment)),
            "share_aligned": round(aligned / stated, 6) if stated else None,
            "share_unaligned": round(lost / stated, 6) if stated else 0.0,
            "units_per_finding": {
                name: dict(_descending(counts))
                for name, counts in sorted(findings.items(), key=lambda kv: (-kv[1].total(), kv[0]))
            },
        }


def _descending(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(((k, n) for k, n in counts.items() if n), key=lambda kv: (-kv[1], kv[0]))
