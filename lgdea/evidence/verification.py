"""Second pass of a two-pass prompt: each unit is asked again with its sentence; unsupported units are dropped."""

from __future__ import annotations

from lgdea.evidence.answer_log import AnswerLog
from lgdea.evidence.io import Reject
from lgdea.evidence.layout import report_sentences, sentence_around
from lgdea.evidence.postprocess import NoAnswer, ReportResult, hash_id, parse_logged_answer
from lgdea.evidence.prompts import Verifier
from lgdea.evidence.request_loop import PendingRequest
from lgdea.evidence.schema import SCHEMA_VERSION, UnitRow

NOT_SUPPORTED = "not_supported"
NOT_VERIFIED = "not_verified"


class Verification:
    """Second pass over units: asks about each, and drops those that their sentence does not support.

    Args:
        verifier: The second pass of the prompt.
        log: Its answers.
    """

    def __init__(self, verifier: Verifier, log: AnswerLog) -> None:
        self._verifier = verifier
        self._log = log

    def pending_requests(self, result: ReportResult) -> list[PendingRequest]:
        """List one request per unit."""
        text, sentences = result.report.text, report_sentences(result.report.text)
        spans = [sentence_around(sentences, unit.start, unit.end) for unit in result.units]
        return [
            self._make_request(unit, text[start:end]) for unit, (start, end) in zip(result.units, spans, strict=True)
        ]

    def drop_unsupported(self, result: ReportResult) -> ReportResult:
        """Drop the units that their sentence does not support; they are among the rejects.

        A unit whose question has no usable answer is not kept either (``not_verified``).
        """
        kept = []
        for unit, item in zip(result.units, self.pending_requests(result), strict=True):
            verdict = parse_logged_answer(self._log, item.request_id, self._verifier.parse)
            if isinstance(verdict, NoAnswer):
                result.unanswered += verdict.unanswered
                reason, detail = NOT_VERIFIED, f"{verdict.reason}: {verdict.detail}".rstrip(": ")
            elif verdict.supported:
                kept.append(unit)
                continue
            else:
                reason, detail = NOT_SUPPORTED, verdict.reason
            result.rejects.append(Reject(unit.report_id, reason, detail, unit.content(), unit.start, unit.end))
        result.units = kept
        return result

    def _make_request(self, row: UnitRow, sentence: str) -> PendingRequest:
        unit = row.check()
        messages = self._verifier.messages(sentence, unit)
        stated = unit.model_dump_json(exclude={"run_id"})
        key = hash_id("verify", stated, sentence, self._verifier.sha256, SCHEMA_VERSION)
        return PendingRequest(key, unit.report_id, sentence, messages, self._verifier.parse)
