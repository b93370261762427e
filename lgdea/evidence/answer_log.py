"""Raw responses on disk: what was appended is flushed at once, so that a kill loses at most what is being written."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from lgdea.errors import UsageError
from lgdea.evidence.backends.base import Response
from lgdea.evidence.io import RawLine, RawRecord, raw_shards, scan_shard
from lgdea.locks import locked
from lgdea.manifests import seal_line
from lgdea.runs import start, writing

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

_OPEN_FILES = 16
_BUFFER = 16 * 1024  # answers in another order than the reports' are read from all over the file

_KEY = "S12"  # a request id is 24 hexadecimal digits


class RecordLocation(NamedTuple):
    """Number of the file and offset of the line in it, bytes."""

    file: int
    offset: int


class SealedAnswer(NamedTuple):
    """A raw answer as the line of a shard."""

    request_id: str
    line: bytes
    tokens: int


def seal_answer(response: Response, report_id: str = "", attempt: int = 1) -> SealedAnswer:
    """Write a response as the line that :class:`AnswerLog` takes; any process may do so."""
    record: dict[str, Any] = {"request_id": response.request_id, "report_id": report_id}
    if attempt > 1:
        record["attempt"] = attempt
    if response.failure is None:
        record["text"] = response.text
    else:
        record.update(failure=response.failure, detail=response.detail)
    if response.tokens is not None:
        record["tokens"] = response.tokens
    if response.logprobs is not None:
        record["logprobs"] = dict(response.logprobs)
    return SealedAnswer(response.request_id, seal_line(record), response.tokens or 0)


class AnswerIndex:
    """Index from request id to location, 22 bytes per answer.

    What is appended can be found after :meth:`settle`; of several answers to one request the last counts.
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, _KEY)  # sorted, each once
        self._files = np.empty(0, np.uint16)
        self._offsets = np.empty(0, np.uint64)
        self._new_keys = bytearray()
        self._new_files = array("H")
        self._new_offsets = array("Q")

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, request_id: str, location: RecordLocation) -> None:
        """Remember a location until :meth:`update_index`.

        Raises:
            ValueError: The id is not 24 hexadecimal digits.
        """
        key = bytes.fromhex(request_id)
        if len(key) != 12:
            raise ValueError(f"request id {request_id!r} has not 24 digits")
        self._new_keys += key
        self._new_files.append(location.file)
        self._new_offsets.append(location.offset)

    def update_index(self) -> None:
        """Sort the appended answers into the index."""
        if not self._new_offsets:
            return
        keys = np.concatenate([self._keys, np.frombuffer(bytes(self._new_keys), _KEY)])
        files = np.concatenate([self._files, np.array(self._new_files, np.uint16)])
        offsets = np.concatenate([self._offsets, np.array(self._new_offsets, np.uint64)])
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        last = np.append(ordered[1:] != ordered[:-1], True)
        self._keys, order = ordered[last], order[last]
        self._files, self._offsets = files[order], offsets[order]
        self._new_keys, self._new_files, self._new_offsets = bytearray(), array("H"), array("Q")

    def find(self, request_id: str) -> RecordLocation | None:
        """The location of the last indexed answer, None when there is none."""
        if not len(self._keys):
            return None
        key = bytes.fromhex(request_id)
        at = int(self._keys.searchsorted(key))
        if at == len(self._keys) or self._keys[at] != key.rstrip(b"\0"):  # NumPy gives strings without final zeros
            return None
        return RecordLocation(int(self._files[at]), int(self._offsets[at]))


class AnswerLog:
    """The answers of one run: a shard that is appended to, and an index over all shards of the folder.

    Args:
        folder: The ``raw`` folder; made when it is not there.
        shard: The name of the shard that is appended to.

    Raises:
        DataError: A line is no raw response, or the folder cannot be written.
        UsageError: Another process is writing to this shard.
    """

    def __init__(self, folder: Path, shard: str = "part-00000") -> None:
        self._file = folder / f"{shard}.jsonl"
        self._readers: dict[int, IO[bytes]] = {}
        self._index = AnswerIndex()
        self.tokens = 0
        """Tokens of all answers, as far as the backend says."""
        self.appended = 0
        """Answers that came since the log was opened."""
        with writing(self._file):
            folder.mkdir(parents=True, exist_ok=True)
            self._stream: IO[bytes] = self._file.open("ab")
        try:
            _lock(self._stream, self._file)
            _cut_torn_line(self._file)
            self._end = self._file.stat().st_size
            self._files = raw_shards(folder)
            self._number = self._files.index(self._file)
            self._scan()
        except BaseException:
            self._stream.close()
            raise

    def append(self, response: Response, report_id: str = "", attempt: int = 1) -> None:
        """Write one response and hand it to the operating system before anything looks at it."""
        self.extend([seal_answer(response, report_id, attempt)])

    def extend(self, answers: Sequence[SealedAnswer]) -> None:
        """Write some responses at once."""
        with writing(self._file):
            self._stream.write(b"".join([answer.line for answer in answers]))
            self._stream.flush()
        for answer in answers:
            self._index.append(answer.request_id, RecordLocation(self._number, self._end))
            self._end += len(answer.line)
            self.tokens += answer.tokens
        self.appended += len(answers)

    def update_index(self) -> None:
        """Index what was appended, so that :meth:`read` finds it."""
        self._index.update_index()

    def __len__(self) -> int:
        return len(self._index)

    def read(self, request_id: str) -> RawRecord | None:
        """The last indexed answer to a request, None when there is none."""
        line = self.read_line(request_id)
        return None if line is None else line.parse()

    def read_line(self, request_id: str) -> RawLine | None:
        """The answer that :meth:`read` gives, not yet parsed."""
        location = self._index.find(request_id)
        if location is None:
            return None
        stream = self._readers.get(location.file) or self._open(location.file)
        stream.seek(location.offset)
        return RawLine(stream.readline(), self._files[location.file])

    def __enter__(self) -> AnswerLog:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._readers.values():
            stream.close()
        self._readers.clear()
        with writing(self._file):
            self._stream.close()

    def _scan(self) -> None:
        for number, file in enumerate(self._files):
            for offset, record in scan_shard(file):
                self._index.append(record.request_id, RecordLocation(number, offset))
                self.tokens += record.tokens or 0
        self._index.update_index()

    def _open(self, number: int) -> IO[bytes]:
        if len(self._readers) >= _OPEN_FILES:
            self._readers.pop(next(iter(self._readers))).close()
        self._readers[number] = self._files[number].open("rb", buffering=_BUFFER)
        return self._readers[number]


def _lock(stream: IO[bytes], file: Path) -> None:
    """Hold the shard as long as the stream is open, or until the process is gone."""
    if fcntl is None:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            "another process is extracting into this folder", file=file.parent.parent, remedy="wait for it, or end it"
        ) from None
    except OSError:
        return  # a file system without locks


def _cut_torn_line(file: Path) -> None:
    """Cut what a kill left of the last line, so that the next record starts on a line of its own."""
    with file.open("rb+") as stream:
        size = stream.seek(0, os.SEEK_END)
        at = size
        while at > 0:
            step = min(65536, at)
            stream.seek(at - step)
            newline = stream.read(step).rfind(b"\n")
            if newline >= 0:
                stream.truncate(at - step + newline + 1)
                return
            at -= step
        stream.truncate(0)


@contextmanager
def answering(folder: Path, name: str, **run: Any) -> Iterator[AnswerLog]:
    """Start or resume a run that asks questions, and open the log of its answers.

    A run without any answer leaves nothing to lose: another configuration begins it anew.

    Args:
        folder: Folder of the run.
        name: Name of the log in it.
        run: Arguments of :func:`lgdea.runs.start`.

    Raises:
        UsageError: The folder holds something else, or another process writes into it.
    """
    with locked(folder):
        answered = any(file.stat().st_size for file in raw_shards(folder / name))
        start(folder, untrained=None if answered else [name], **run)
        with AnswerLog(folder / name) as log:
            yield log
