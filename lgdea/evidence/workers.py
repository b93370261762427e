"""Worker processes of an extraction: they answer requests and check answers; the parent alone reads and writes files.

Batches come back in the order in which they were given, so any number of workers writes the same bytes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.answer_log import AnswerLog
from lgdea.evidence.backends.base import ExtractorBackend, Request, Response
from lgdea.evidence.io import RawLine, RawRecord
from lgdea.evidence.postprocess import ReportProcessor
from lgdea.evidence.report_reader import RawReport
from lgdea.evidence.result_tables import ResultTables, in_batches, to_tables
from lgdea.vocabulary import Vocabulary, load_vocabulary, using_vocabulary
from lgdea.vocabulary.extension import extend_vocabulary
from lgdea.vocabulary.site_lexicon import SiteLexicon

A = TypeVar("A")
R = TypeVar("R")

_AHEAD = 4  # batches in flight per worker: one is worked on, the others wait or are on their way back

Answers = dict[str, RawLine]
"""Answers to the requests about a report, by request id."""


class WorkerPool:
    """A pool of processes, each with a copy of the backend; it is a backend itself.

    At most four batches per worker (:func:`~lgdea.evidence.result_tables.in_batches`) are in flight. The processes are
    started in the platform's way (``multiprocessing.set_start_method``), at once, so that they hold none of the files
    that the run opens later; they end with the parent, however it ends.

    Args:
        workers: Number of processes.
        backend: A backend with ``multiprocess = True``; it is pickled where processes are spawned.
        run_id: Written into the units.

    Raises:
        UsageError: This process may not start others.
        EvidenceError: The processes do not start.
    """

    needs_prompt = False

    def __init__(self, workers: int, backend: ExtractorBackend, run_id: str) -> None:
        if multiprocessing.current_process().daemon:
            raise UsageError("a daemonic process cannot start workers", remedy="extract here with workers=1")
        self.name = backend.name
        self._describe = backend.describe
        self._ahead = _AHEAD * workers
        self._executor = ProcessPoolExecutor(
            workers, initializer=_start, initargs=(backend, run_id, load_vocabulary().site)
        )
        try:
            self._result(self._executor.submit(os.getpid))
        except BaseException:
            self.close()
            raise

    def describe(self) -> dict[str, object]:
        """Return the inner backend's own words: the number of workers decides nothing."""
        return self._describe()

    def respond(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answer the requests in order.

        Raises:
            EvidenceError: A worker died. What was yielded before stands.
        """
        for responses in self._map(_respond, in_batches(requests, lambda request: len(request.text))):
            yield from responses

    def process(
        self, reports: Iterable[RawReport], processor: ReportProcessor, log: AnswerLog
    ) -> Iterator[ResultTables]:
        """Parse, align and check the answers about ``reports``, as :meth:`ReportProcessor.process` does.

        Args:
            reports: In the order of the tables.
            processor: Names the requests of a report.
            log: The answers, indexed.

        Raises:
            EvidenceError: A worker died.
        """

        def read(report: RawReport) -> tuple[RawReport, Answers]:
            ids = [request.request_id for request in processor.pending_requests(report)]
            return report, {key: answer for key in ids if (answer := log.read_line(key)) is not None}

        yield from self._map(_process, in_batches(map(read, reports), lambda item: len(item[0].text)))

    def close(self) -> None:
        """End the processes; each finishes the batch that it is at."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _map(self, function: Callable[[list[A]], R], batches: Iterable[list[A]]) -> Iterator[R]:
        """Apply ``function`` to the batches in the workers; results in the order of the batches."""
        waiting: deque[Future[R]] = deque()
        for batch in batches:
            waiting.append(self._submit(function, batch))
            if len(waiting) >= self._ahead:
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def _submit(self, function: Callable[[list[A]], R], batch: list[A]) -> Future[R]:
        try:
            return self._executor.submit(function, batch)
        except BrokenProcessPool as error:
            raise self._died() from error

    def _result(self, future: Future[R]) -> R:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise self._died() from error

    @staticmethod
    def _died() -> EvidenceError:
        remedy = "run again to go on from what was answered, with fewer workers if memory is short"
        if multiprocessing.get_start_method() != "fork":
            remedy += "; a script of your own calls lgdea.extract below `if __name__ == '__main__':`"
        return EvidenceError("a worker process died", remedy=remedy)


class _AnswersAtHand:
    """The answers that a batch brought along, read as from a log."""

    def __init__(self) -> None:
        self.answers: Answers = {}

    def read(self, request_id: str) -> RawRecord | None:
        line = self.answers.get(request_id)
        return None if line is None else line.parse()


class _Worker:
    """What a worker process keeps between batches."""

    backend: ExtractorBackend
    vocabulary: Vocabulary
    answers: _AnswersAtHand
    processor: ReportProcessor


def _start(backend: ExtractorBackend, run_id: str, lexicon: SiteLexicon | None) -> None:
    """Prepare a worker process: Ctrl-C is the parent's to handle, and a parent that was killed takes it along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.backend = backend
    _Worker.vocabulary = extend_vocabulary(lexicon)
    _Worker.answers = _AnswersAtHand()
    _Worker.processor = ReportProcessor(None, _Worker.answers, run_id)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _respond(requests: list[Request]) -> list[Response]:
    return list(_Worker.backend.respond(requests))


def _process(batch: list[tuple[RawReport, Answers]]) -> ResultTables:
    _Worker.answers.answers = {key: answer for _, answers in batch for key, answer in answers.items()}
    with using_vocabulary(_Worker.vocabulary):
        return to_tables(_Worker.processor.process(report) for report, _ in batch)
