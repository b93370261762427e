"""Reading in one walk, for a backend that answers at once: each batch of reports is asked and its answers checked.

A backend with ``multiprocess = True`` needs no prompt, and an answer of it depends on nothing but its request: to ask
again would repeat it. So no answer waits until all are there, or is read from the log again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from lgdea.evidence.answer_log import AnswerLog, SealedAnswer, seal_answer
from lgdea.evidence.backends.base import ExtractorBackend, Request, Response
from lgdea.evidence.io import RawLine, RawRecord
from lgdea.evidence.postprocess import ReportProcessor
from lgdea.evidence.report_reader import RawReport
from lgdea.evidence.request_loop import is_unanswered, respond_or_explain
from lgdea.evidence.result_tables import ResultTables, to_tables

LoggedReport = tuple[RawReport, dict[str, RawLine]]
"""A report, and what the log of an earlier run holds about it by request id."""
Keep = Callable[[Sequence[SealedAnswer]], None]
"""Called with the new answers about a batch, such as :meth:`~lgdea.evidence.answer_log.AnswerLog.extend`."""


class _Answers(dict[str, RawRecord | Response]):
    """The answers about the reports of one batch, by request id."""

    def read(self, request_id: str) -> RawRecord | Response | None:
        return self.get(request_id)


class DirectReader:
    """Reader of batches of reports.

    Args:
        backend: Answers what is not logged.
        run_id: Written into the units.
        keep: Takes the answers of a batch before its tables, also when the backend breaks.
    """

    def __init__(self, backend: ExtractorBackend, run_id: str, keep: Keep) -> None:
        self._backend = backend
        self._keep = keep
        self._answers = _Answers()
        self._processor = ReportProcessor(None, self._answers, run_id)

    def read(self, batch: list[LoggedReport]) -> ResultTables:
        """Answer, parse, align and check.

        Raises:
            EvidenceError: The backend broke.
        """
        answers = self._answers
        answers.clear()
        answers.update((key, line.parse()) for _, logged in batch for key, line in logged.items())
        asked = [(report, self._processor.pending_requests(report)) for report, _ in batch]
        due = {
            item.request_id: item
            for _, items in asked
            for item in items
            if item.request_id not in answers or is_unanswered(answers[item.request_id])
        }
        requests = [Request(key, item.text, language=item.language) for key, item in due.items()]
        new: list[SealedAnswer] = []
        try:
            for response in respond_or_explain(self._backend, requests):
                item = due.pop(response.request_id, None)
                if item is not None:  # else answered twice; the first answer stands
                    new.append(seal_answer(response, item.report_id))
                    answers[item.request_id] = response
        finally:
            self._keep(new)
        return to_tables(self._processor.process(report, items) for report, items in asked)


def with_logged(reports: Iterable[RawReport], log: AnswerLog) -> Iterator[LoggedReport]:
    """Look up what a log holds about each report."""
    processor = ReportProcessor(None, log, "")
    for report in reports:
        ids = [item.request_id for item in processor.pending_requests(report)] if len(log) else []
        yield report, {key: line for key in ids if (line := log.read_line(key)) is not None}
