"""Request loop: a backend is asked until every question has a usable answer or has used up its attempts.

Answers are on disk before they are looked at. A question is asked when the log holds no answer to it, or a
``backend_error``; it is asked again, with more tokens, when the answer was cut (``length``) or cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from lgdea.errors import EvidenceError, LgdeaError
from lgdea.evidence.answer_log import AnswerLog
from lgdea.evidence.backends.base import ExtractorBackend, Request, Response
from lgdea.evidence.io import RawRecord
from lgdea.evidence.response import InvalidResponse

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many reports are done and how many there are."""

_PROGRESS_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """One question that waits for its answer.

    ``text`` begins at character ``start`` of the report; ``parse`` raises
    :class:`~lgdea.evidence.response.InvalidResponse` for an answer that cannot be used.
    """

    request_id: str
    report_id: str
    text: str
    messages: tuple[Mapping[str, Any], ...]
    parse: Callable[[str], object]
    language: str = ""
    start: int = 0

    @property
    def end(self) -> int:
        """Where ``text`` ends in the report."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Questions:
    """All that is to be asked: ``per_report`` starts a new walk over the reports and gives the questions of each."""

    per_report: Callable[[], Iterator[list[PendingRequest]]]
    reports: int
    json_schema: Mapping[str, Any]
    what: str
    """Text of the progress bar."""
    choices: tuple[str, ...] = ()
    """What an answer may be, where it is one of a few."""


def run_requests(
    backend: ExtractorBackend,
    questions: Questions,
    log: AnswerLog,
    *,
    max_attempts: int,
    progress: Progress | None = None,
) -> None:
    """Ask what the log does not answer yet; afterwards the log is indexed.

    Args:
        backend: Who answers. One that needs no prompt would only repeat itself, so it has one attempt.
        questions: What is to be asked.
        log: Where the answers go.
        max_attempts: Number of times that a question is asked whose answer is cut or cannot be read.
        progress: Called some times a second.

    Raises:
        EvidenceError: The backend broke; what it answered is in the log.
    """
    attempts = max_attempts if backend.needs_prompt else 1
    retry_attempts: dict[str, int] | None = None
    while retry_attempts is None or retry_attempts:
        this_round = _RetryRound(questions, log, attempts, retry_attempts)
        this_round.run(backend, progress)
        log.update_index()
        retry_attempts = this_round.retry_attempts


class _RetryRound:
    """One walk over the reports. The first asks all that the log lacks, later ones what the round before left over."""

    def __init__(self, questions: Questions, log: AnswerLog, attempts: int, only: Mapping[str, int] | None) -> None:
        self.retry_attempts: dict[str, int] = {}
        """Request ids to be asked in the next round, and the number of that attempt."""
        self._questions = questions
        self._log = log
        self._attempts = attempts
        self._only = only
        self._in_flight: dict[str, tuple[PendingRequest, int]] = {}
        self._reports_seen = 0

    def run(self, backend: ExtractorBackend, progress: Progress | None) -> None:
        requests = self._make_requests()
        first = next(requests, None)
        if first is None:  # a backend that has nothing to do is not even started
            return
        shown = 0.0
        for response in respond_or_explain(backend, chain([first], requests)):
            waiting = self._in_flight.pop(response.request_id, None)
            if waiting is None:  # answered twice; the first answer stands
                continue
            item, attempt = waiting
            self._log.append(response, item.report_id, attempt)
            if attempt < self._attempts and _is_worth_retry(response, item):
                self.retry_attempts[item.request_id] = attempt + 1
            if progress is not None and time.monotonic() - shown > _PROGRESS_SECONDS:
                shown = time.monotonic()
                done = max(0, self._reports_seen - len(self._in_flight))
                progress(self._questions.what, done, self._questions.reports)

    def _make_requests(self) -> Iterator[Request]:
        for items in self._questions.per_report():
            self._reports_seen += 1
            for item in items:
                attempt = self._due_attempt(item)
                if attempt is not None:
                    self._in_flight[item.request_id] = (item, attempt)
                    schema, choices = self._questions.json_schema, self._questions.choices
                    yield Request(item.request_id, item.text, item.messages, schema, attempt, item.language, choices)

    def _due_attempt(self, item: PendingRequest) -> int | None:
        """The number of the attempt that is due, None when the question is settled."""
        if self._only is not None:
            return self._only.get(item.request_id)
        record = self._log.read(item.request_id)
        if record is None:
            return 1
        if is_unanswered(record):
            return record.attempt
        if record.attempt < self._attempts and _is_worth_retry(record, item):
            return record.attempt + 1
        return None


def is_unanswered(answer: Response | RawRecord) -> bool:
    """Return whether the next run should ask this again: the backend, not the model, failed."""
    return answer.failure == "backend_error" or (answer.failure is None and answer.text is None)


def _is_worth_retry(answer: Response | RawRecord, item: PendingRequest) -> bool:
    if answer.failure is not None or answer.text is None:
        return answer.failure == "length"
    try:
        item.parse(answer.text)
    except InvalidResponse:
        return True
    return False


def respond_or_explain(backend: ExtractorBackend, requests: Iterable[Request]) -> Iterator[Response]:
    """Hand on the responses of a backend.

    Raises:
        EvidenceError: The backend broke.
    """
    try:
        yield from backend.respond(requests)
    except LgdeaError:
        raise
    except Exception as error:
        raise EvidenceError(
            f"backend {backend.name!r} stopped ({type(error).__name__}: {error})",
            remedy="run the same command again; what was answered is kept",
        ) from error
