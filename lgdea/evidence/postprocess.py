"""Postprocessing of raw answers into checked units: parse, align, check; each reject is kept with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from lgdea.evidence.alignment.aligner import Aligner
from lgdea.evidence.backends.base import Response
from lgdea.evidence.io import RawRecord, Reject
from lgdea.evidence.layout import Section, split_sections
from lgdea.evidence.prompts import Prompt, Question
from lgdea.evidence.prompts.sentence import words_of
from lgdea.evidence.report_reader import RawReport
from lgdea.evidence.request_loop import PendingRequest, is_unanswered
from lgdea.evidence.response import UNSPECIFIED, InvalidResponse, ResponseUnit, parse_response
from lgdea.evidence.rules.lexicon import find_misspelt
from lgdea.evidence.schema import SCHEMA_VERSION, UnitRow
from lgdea.vocabulary import load_vocabulary

T = TypeVar("T")


@dataclass(slots=True)
class ReportResult:
    """Units and rejects of one report."""

    report: RawReport
    questions: int = 0
    lost_questions: int = 0
    empty_answers: int = 0
    """Questions that were answered with no unit."""
    unanswered: int = 0
    """Questions, of either pass, that the backend failed on; the next run asks them again."""
    units: list[UnitRow] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    misspelt: list[str] = field(default_factory=list)
    """Words of findings that the rules read as misspelt."""
    by_layout: bool = True
    """Only the sections about this study were shown or read; else the whole text was."""

    @property
    def nothing_read(self) -> bool:
        """Return whether no answer about the report could be used."""
        return self.lost_questions == self.questions and bool(self.rejects)


class Answers(Protocol):
    """Answers by request id, such as :class:`~lgdea.evidence.answer_log.AnswerLog`."""

    def read(self, request_id: str) -> RawRecord | Response | None:
        """Return the answer to a request, None when there is none."""
        ...


class NoAnswer(NamedTuple):
    """Reason why a request has no usable answer."""

    reason: str
    detail: str
    unanswered: bool


class ReportProcessor:
    """Maker of the requests about reports, and reader of their answers.

    Args:
        prompt: The prompt of a language model; None for a backend that takes the report as it is.
        log: The answers.
        run_id: Written into the units.
    """

    def __init__(self, prompt: Prompt | None, log: Answers, run_id: str) -> None:
        self._prompt = prompt
        self._sha = prompt.sha256 if prompt else ""
        self._log = log
        self._run_id = run_id

    def pending_requests(self, report: RawReport) -> list[PendingRequest]:
        """List the requests about a report."""
        return [self._make_request(report, question) for question in self._list_questions(report.text)]

    def process(self, report: RawReport, requests: Sequence[PendingRequest] | None = None) -> ReportResult:
        """Parse, align and check the answers about a report; a question without an answer costs only its own units.

        Args:
            report: The report.
            requests: Its :meth:`pending_requests`, where they are at hand.
        """
        result = ReportResult(report, by_layout=self._prompt is None or self._prompt.reads == "sentence")
        if not report.text.strip():
            result.rejects.append(Reject(report.report_id, "empty_report", start=0, end=len(report.text)))
            return result
        sections = split_sections(report.text)
        for item in self.pending_requests(report) if requests is None else requests:
            result.questions += 1
            stated = parse_logged_answer(self._log, item.request_id, partial(self._parse, item.text))
            if isinstance(stated, NoAnswer):
                result.lost_questions += 1
                result.unanswered += stated.unanswered
                result.rejects.append(
                    Reject(report.report_id, stated.reason, stated.detail, start=item.start, end=item.end)
                )
            else:
                result.empty_answers += not stated
                self._align(result, item, stated, sections)
        if self._prompt is None:
            result.misspelt = find_misspelt(unit.finding_text for unit in result.units)
        elif self._prompt.reads == "sentence":
            _drop_contradicted_normal(result)
        return result

    def _list_questions(self, text: str) -> list[Question]:
        if not text.strip():
            return []
        return self._prompt.questions(text) if self._prompt else [Question(0, len(text), ())]

    def _make_request(self, report: RawReport, question: Question) -> PendingRequest:
        text = report.text[question.start : question.end]
        key = hash_id(report.report_id, str(question.start), str(question.end), text, self._sha, SCHEMA_VERSION)
        parse = partial(self._parse, text)
        return PendingRequest(key, report.report_id, text, question.messages, parse, report.language, question.start)

    def _parse(self, text: str, answer: str) -> list[ResponseUnit]:
        return self._prompt.parse(answer, text) if self._prompt else parse_response(answer)

    def _align(
        self, result: ReportResult, asked: PendingRequest, stated: list[ResponseUnit], sections: list[Section]
    ) -> None:
        """Find each quote in the text of its own question, so that no answer can speak of another sentence."""
        report = result.report
        aligner = Aligner(asked.text)
        seen = {unit.unit_id for unit in result.units}
        for item in stated:
            if item.assertion != "present" and _is_normality(item):
                reason, detail = "contradicts_itself", f"{item.finding} cannot be {item.assertion}"
            elif (unit := self._locate(report, asked.start, item, aligner, sections)) is None:
                reason, detail = "quote_not_in_report", aligner.why_not(item.quote)
            elif unit.unit_id in seen:
                reason, detail = "repeated_unit", ""
            else:
                seen.add(unit.unit_id)
                result.units.append(unit)
                continue
            result.rejects.append(Reject(report.report_id, reason, detail, item.model_dump(), asked.start, asked.end))

    def _locate(
        self, report: RawReport, offset: int, item: ResponseUnit, aligner: Aligner, sections: list[Section]
    ) -> UnitRow | None:
        found = aligner.align(item.quote, item.start, of=(item.finding, item.anatomy, item.laterality))
        if found is None:
            return None
        begin, end = found.start + offset, found.end + offset
        quote = report.text[begin:end]
        return UnitRow.from_span(
            report.text,
            begin,
            end,
            found.alignment,
            report_id=report.report_id,
            sections=sections,
            finding=item.finding,
            # A model's words for the finding are taken only if they are the report's.
            finding_text=aligner.verbatim(item.finding_text) or words_of(item.finding, quote) or quote,
            assertion=item.assertion,
            anatomy=None if item.anatomy == UNSPECIFIED else item.anatomy,
            laterality=item.laterality,
            severity=item.severity,
            change=item.change,
            refers_to_prior=item.refers_to_prior,
            run_id=self._run_id,
        )


def _drop_contradicted_normal(result: ReportResult) -> None:
    """Take out "the study is normal" where another sentence states something: who reads one sentence cannot know."""
    stated = next((u for u in result.units if u.assertion != "absent" and not _is_normality(u)), None)
    if stated is None:
        return
    for unit in filter(_is_normality, result.units):
        result.rejects.append(
            Reject(
                unit.report_id,
                "contradicted_normal",
                f"the report states {stated.finding} {stated.assertion}",
                unit.content(),
                unit.start,
                unit.end,
            )
        )
    result.units = [unit for unit in result.units if not _is_normality(unit)]


def _is_normality(unit: UnitRow | ResponseUnit) -> bool:
    return load_vocabulary().findings[unit.finding].kind == "normality"


def parse_logged_answer(log: Answers, request_id: str, parse: Callable[[str], T]) -> T | NoAnswer:
    """The parsed answer to a question, or why there is none."""
    answer = log.read(request_id)
    if answer is None:
        return NoAnswer("no_response", "", True)
    if answer.text is None:
        return NoAnswer(answer.failure or "no_response", answer.detail, is_unanswered(answer))
    try:
        return parse(answer.text)
    except InvalidResponse as error:
        return NoAnswer("invalid_response", str(error), False)


def hash_id(*parts: str) -> str:
    """The id of a question, made from all that decides its answer: the same question is never asked twice."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]
