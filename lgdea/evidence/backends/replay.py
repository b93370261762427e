"""Recorded answers: tests, audits, and reading a finished run's raw responses again with newer checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lgdea.errors import DataError, UsageError
from lgdea.evidence.backends.base import Request, Response
from lgdea.evidence.io import check_raw
from lgdea.manifests import read_line
from lgdea.reading import read_bytes


class ReplayBackend:
    """Answers from JSONL records, looked up by request id, else by the sha256 of the report's text.

    A record is ``{"request_id" or "text_sha256": ..., "text": ... or "failure": ...}``; the raw files of any run are
    such records. A report without one is answered with the failure ``backend_error``.

    Args:
        responses: A JSONL file, a folder of them, or an evidence folder, whose raw answers of both passes are taken.
    """

    name = "replay"
    needs_prompt = False

    def __init__(self, responses: str | Path) -> None:
        self._file = Path(responses)
        self._records: dict[str, dict[str, Any]] = {}
        files = [self._file]
        if self._file.is_dir():
            files = sorted(self._file.glob("raw*/*.jsonl")) or sorted(self._file.glob("*.jsonl"))
            check_raw(self._file)
        if not files or not all(file.is_file() for file in files):
            raise UsageError("no recorded responses", file=self._file, remedy="give a JSONL file or an evidence folder")
        for file in files:
            self._read(file)

    def respond(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answer each request from the records."""
        for request in requests:
            record = self._records.get(request.request_id) or self._records.get(text_hash(request.text))
            if record is None:
                yield Response(request.request_id, failure="backend_error", detail="no recorded response")
            else:
                yield Response(
                    request.request_id, record.get("text"), record.get("failure"), str(record.get("detail", ""))
                )

    def describe(self) -> dict[str, Any]:
        """The records' own hash."""
        content = json.dumps(self._records, sort_keys=True).encode()
        return {"backend": self.name, "records": len(self._records), "sha256": hashlib.sha256(content).hexdigest()[:16]}

    def _read(self, file: Path) -> None:
        for number, line in enumerate(read_bytes(file, what="file of recorded responses").split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                record = read_line(line)
                if record.get("failure") is None and not isinstance(record["text"], str):
                    raise ValueError("text is not a string")
                for key in ("request_id", "text_sha256"):
                    if key in record:
                        self._records[str(record[key])] = record
            except (ValueError, KeyError, AttributeError) as error:
                raise DataError(f"is not a recorded response ({error})", file=file, row=number) from None


def create(responses: str | Path) -> ReplayBackend:
    """Entry point; ``responses`` is a JSONL file, a folder of them or an evidence folder."""
    return ReplayBackend(responses)


def text_hash(text: str) -> str:
    """The key of a record that was made without a request id."""
    return hashlib.sha256(text.encode()).hexdigest()
