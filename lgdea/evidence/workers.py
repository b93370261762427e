"""Worker processes of an extraction: they answer and check batches of reports; the parent alone reads and writes files.

Batches come back in the order in which they were given, so any number of workers writes the same bytes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.answer_log import SealedAnswer
from lgdea.evidence.backends.base import ExtractorBackend
from lgdea.evidence.direct import DirectReader, Keep, LoggedReport
from lgdea.evidence.result_tables import ResultTables
from lgdea.processes import make_pool
from lgdea.vocabulary import Vocabulary, load_vocabulary, using_vocabulary
from lgdea.vocabulary.extension import extend_vocabulary
from lgdea.vocabulary.site_lexicon import SiteLexicon

R = TypeVar("R")
_Read = tuple[list[SealedAnswer], ResultTables]
"""New answers, and what all answers about a batch came to."""

_AHEAD = 4  # batches in flight per worker: one is worked on, the others wait or are on their way back


class WorkerPool:
    """A pool of processes, each with a copy of the backend and a reader of its own.

    At most four batches per worker are in flight. The processes are started in the platform's way
    (``multiprocessing.set_start_method``), at once, so that they hold none of the files that the run opens later; they
    end with the parent, however it ends.

    Args:
        workers: Number of processes.
        backend: A backend with ``multiprocess = True``; it is pickled where processes are spawned.
        run_id: Written into the units.

    Raises:
        UsageError: This process may not start others.
        EvidenceError: The processes do not start.
    """

    def __init__(self, workers: int, backend: ExtractorBackend, run_id: str) -> None:
        if multiprocessing.current_process().daemon:
            raise UsageError("a daemonic process cannot start workers", remedy="extract here with workers=1")
        self._ahead = _AHEAD * workers
        self._executor = make_pool(workers, start=_start, given=(backend, run_id, load_vocabulary().site))
        try:
            self._result(self._executor.submit(os.getpid))
        except BaseException:
            self.close()
            raise

    def read(self, batches: Iterable[list[LoggedReport]], keep: Keep) -> Iterator[ResultTables]:
        """Read batches as :meth:`~lgdea.evidence.direct.DirectReader.read` does, in order.

        Args:
            batches: The reports.
            keep: Takes the answers, a batch before its tables.

        Raises:
            EvidenceError: A worker died, or the backend broke. What was yielded before stands.
        """
        for answers, tables in self._map(batches):
            keep(answers)
            yield tables

    def close(self) -> None:
        """End the processes; each finishes the batch that it is at."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _map(self, batches: Iterable[list[LoggedReport]]) -> Iterator[_Read]:
        waiting: deque[Future[_Read]] = deque()
        for batch in batches:
            waiting.append(self._submit(batch))
            if len(waiting) >= self._ahead:
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def _submit(self, batch: list[LoggedReport]) -> Future[_Read]:
        try:
            return self._executor.submit(_read, batch)
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


class _Worker:
    """What a worker process keeps between batches."""

    vocabulary: Vocabulary
    reader: DirectReader
    answers: list[SealedAnswer]


def _start(backend: ExtractorBackend, run_id: str, lexicon: SiteLexicon | None) -> None:
    """Prepare a worker process: Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _Worker.vocabulary = extend_vocabulary(lexicon)
    _Worker.answers = []
    _Worker.reader = DirectReader(backend, run_id, _Worker.answers.extend)


def _read(batch: list[LoggedReport]) -> _Read:
    _Worker.answers.clear()
    with using_vocabulary(_Worker.vocabulary):
        return _Worker.answers, _Worker.reader.read(batch)
