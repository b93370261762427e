"""Reading an evidence folder: units, rejects, raw answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.evidence.schema import Unit
from lgdea.manifests import REMEDY, hash_file, read_line, read_manifest
from lgdea.reading import parse_json, require_file
from lgdea.records.tables import read_table
from lgdea.runs import MANIFEST, atomic, check_output, is_finished, require_finished, writing
from lgdea.vocabulary.extension import LEXICON

EVIDENCE = "evidence.parquet"
REJECTS = "rejects.jsonl"
QUALITY = "quality.json"
REVIEWED = "reviewed.parquet"
"""In a folder of corrections: the reports that were reviewed."""
RAW = "raw"
RAW_VERIFY = "raw-verify"
RAW_HASHES = "raw_answers"
"""In ``run.json`` of a finished extraction: the sha256 of each shard of raw answers."""
MADE_BY = "lgdea extract"


class RawRecord(NamedTuple):
    """One raw answer: ``text``, or a ``failure`` with its ``detail``."""

    request_id: str
    report_id: str
    attempt: int
    text: str | None
    failure: str | None
    detail: str
    tokens: int | None
    logprobs: dict[str, float] | None = None


class RawLine(NamedTuple):
    """The line of a shard that holds a raw answer."""

    line: bytes
    file: Path

    def parse(self) -> RawRecord:
        """Read the line.

        Raises:
            DataError: It is no raw response.
        """
        return parse_raw(self.line, self.file)


@dataclass(frozen=True, slots=True)
class Reject:
    """Something of a report that is not in the evidence, and why.

    ``unit`` is what was stated when one unit is meant; without it all that was asked about the stretch
    ``start:end`` of the raw report is lost (the whole report, or one sentence, whatever the prompt reads).
    """

    report_id: str
    reason: str
    detail: str = ""
    unit: dict[str, Any] | None = None
    start: int | None = None
    end: int | None = None

    def to_json(self) -> str:
        """One line."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, ensure_ascii=False)


def read_evidence(folder: str | Path) -> pd.DataFrame:
    """The units of a finished extraction, one row per :class:`~lgdea.evidence.schema.Unit`.

    Raises:
        UsageError: There is no such folder, or the extraction is unfinished.
        DataError: The table is damaged or of another schema version.
    """
    folder = require_finished(folder, what="evidence", made_by=MADE_BY)
    return read_table(check_output(folder / EVIDENCE), Unit)


def iter_rejects(folder: str | Path) -> Iterator[Reject]:
    """Iterate over what a finished extraction left out, in the order of the reports.

    Raises:
        UsageError: There is no such folder, or the extraction is unfinished.
        DataError: A line is no reject.
    """
    file = check_output(require_finished(folder, what="evidence", made_by=MADE_BY) / REJECTS)
    with file.open("rb") as stream:
        for row, line in enumerate(stream, start=1):
            try:
                yield Reject(**parse_json(line))
            except (ValueError, TypeError) as error:
                raise DataError(f"is not a reject ({error})", file=file, row=row) from None


def written_files(folder: Path) -> list[str]:
    """List the files of an evidence folder for its ``run.json``; raw answers have a checksum in each line."""
    return [name for name in (EVIDENCE, REJECTS, QUALITY, REVIEWED, LEXICON) if (folder / name).is_file()]


@contextmanager
def rejects_writer(file: str | Path) -> Iterator[Callable[[Iterable[Reject]], None]]:
    """Write ``rejects.jsonl`` reject by reject; the file appears, whole, when the block ends well."""
    with (
        writing(file),
        atomic(file) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as stream,  # JSON reads that back
    ):
        yield lambda rejects: stream.writelines(reject.to_json() + "\n" for reject in rejects)


def hash_raw(folder: Path) -> dict[str, str]:
    """The sha256 of each shard of raw answers, by its path in an evidence folder."""
    shards = [file for raw in (RAW, RAW_VERIFY) for file in raw_shards(folder / raw)]
    return {file.relative_to(folder).as_posix(): hash_file(file) for file in shards}


def check_raw(folder: str | Path) -> None:
    """Compare the raw answers of a finished extraction with its ``run.json``: a shard may end too early.

    A folder without raw answers passes: they hold report text, so some people remove them.

    Raises:
        DataError: A shard is changed, or is missing among others.
    """
    folder = Path(folder)
    if not is_finished(folder) or not (folder / MANIFEST).exists():
        return
    hashes = read_manifest(folder / MANIFEST).get(RAW_HASHES, {})
    there = hash_raw(folder)
    wrong = [name for name, sha256 in hashes.items() if there.get(name) != sha256]
    if there and wrong:
        problem = "is not as it was written" if wrong[0] in there else "is missing"
        raise DataError(problem, file=folder / wrong[0], remedy=REMEDY)


def iter_raw(folder: str | Path, *, verify: bool = False) -> Iterator[RawRecord]:
    """The raw answers of an extraction, finished or not, in the order they came; every attempt.

    Args:
        folder: The evidence folder.
        verify: The answers of the verification pass instead.

    Raises:
        UsageError: There is no such folder.
        DataError: A line is no raw response, or a finished extraction's answers are not as they were written.
    """
    raw = Path(folder) / (RAW_VERIFY if verify else RAW)
    check_raw(folder)
    if not raw.is_dir():
        raise UsageError("holds no raw answers", file=raw, remedy=f"make them with `{MADE_BY}` or check the path")
    for file in raw_shards(raw):
        for _, record in scan_shard(file):
            yield record


def raw_shards(raw: Path) -> list[Path]:
    """The shards of a raw folder, in the order in which they are read."""
    return sorted(raw.glob("*.jsonl"))


def scan_shard(file: Path) -> Iterator[tuple[int, RawRecord]]:
    """The whole records of a shard with the offsets of their lines, bytes; a torn last line is passed over.

    Raises:
        DataError: A line is no raw response.
    """
    offset = 0
    with require_file(file).open("rb") as stream:
        for row, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                break
            yield offset, parse_raw(line, file, row)
            offset += len(line)


def parse_raw(line: bytes, file: Path, row: int | None = None) -> RawRecord:
    """One line of a shard.

    Raises:
        DataError: It is no raw response; ``file`` and ``row`` are named.
    """
    try:
        record = read_line(line)
        key = record["request_id"]
        if len(bytes.fromhex(key)) != 12:
            raise ValueError(f"request id {key!r}")
        attempt = int(record.get("attempt", 1))
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"is not a raw response ({error})",
            file=file,
            row=row,
            remedy="delete this line; what it answered is asked again",
        ) from None
    text, failure, detail = record.get("text"), record.get("failure"), record.get("detail", "")
    tokens = record.get("tokens") if isinstance(record.get("tokens"), int) else None  # earlier versions kept NaN
    logprobs = record.get("logprobs")
    return RawRecord(key, record.get("report_id", ""), attempt, text, failure, detail, tokens, logprobs)
