"""Raw responses on disk: appended and flushed one by one, so that a kill loses at most the one being written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lgdea.evidence.backends.base import Response
from lgdea.records.tables import writing


class RawLog:
    """The append-only JSONL shard of one worker.

    Args:
        folder: The ``raw`` folder.
        shard: The worker's name.
    """

    def __init__(self, folder: Path, shard: str = "part-00000") -> None:
        self._file = folder / f"{shard}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(self._file)
        self._stream: IO[str] = self._file.open("a", encoding="utf-8")

    def append(self, response: Response) -> None:
        """Write one response and hand it to the operating system before anything looks at it."""
        record: dict[str, Any] = {"request_id": response.request_id}
        if response.failure is None:
            record["text"] = response.text
        else:
            record.update(failure=response.failure, detail=response.detail)
        if response.tokens is not None:
            record["tokens"] = response.tokens
        with writing(self._file):
            self._stream.write(json.dumps(record, ensure_ascii=True) + "\n")
            self._stream.flush()

    def __enter__(self) -> RawLog:
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self._file):
            self._stream.close()


def read_raw(folder: Path) -> Iterator[Response]:
    """All whole records of all shards; a torn last line is passed over."""
    for file in sorted(folder.glob("*.jsonl")):
        with file.open(encoding="utf-8") as stream:
            for line in stream:
                if not line.endswith("\n"):
                    break
                record = json.loads(line)
                yield Response(
                    record["request_id"],
                    record.get("text"),
                    record.get("failure"),
                    record.get("detail", ""),
                    record.get("tokens"),
                )


def _cut_torn_line(file: Path) -> None:
    """Cut what a kill left of the last line, so that the next record starts on a line of its own."""
    if not file.exists():
        return
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
