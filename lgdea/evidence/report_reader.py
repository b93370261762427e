"""The reports of an extraction, batch by batch: an archive of millions is never in memory at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive
from lgdea.records.schema import Report
from lgdea.records.streams import TableReader

_COLUMNS = ["report_id", "text", "language"]
_BATCH = 2048  # reports that exist as Python strings at a time


class RawReport(NamedTuple):
    """One report as it stands in the archive."""

    report_id: str
    text: str
    language: str = ""
    """Tag that the archive states, such as ``en`` or ``de-AT``; empty where it states none."""


class Reports:
    """Reports that can be gone through again and again, always in the same order.

    Args:
        source: An archive, its folder, or a table with ``report_id``, ``text`` (a null text is an empty one) and, if
            known, ``language``.
        limit: Only the first so many.

    Raises:
        UsageError: The source does not exist, or the limit is below 1.
        DataError: A column is missing, a report id is used twice, or a text is not valid Unicode.
    """

    def __init__(self, source: Archive | str | Path | pd.DataFrame, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise UsageError(f"the limit of reports must be at least 1, not {limit}")
        self._limit = limit
        self.inputs: dict[str, str | Path] = {}
        """Named input files, for the manifest."""
        self.are_scrubbed = False
        """Whether likely identifiers were masked (`lgdea data scrub`)."""
        if isinstance(source, pd.DataFrame):
            self._table: _Frame | TableReader = _Frame(source)
        else:
            archive = source if isinstance(source, Archive) else Archive.open(source)
            self._table = TableReader(archive.table_file("reports"), Report, _COLUMNS)
            self.inputs["reports"] = self._table.file
            self.are_scrubbed = bool(archive.info.get("scrubbed"))
        self._check_ids()

    def __len__(self) -> int:
        return self._table.rows if self._limit is None else min(self._limit, self._table.rows)

    def __iter__(self) -> Iterator[RawReport]:
        rows = (
            RawReport(report_id, text or "", language or "")
            for batch in self._table.batches(_BATCH)
            for report_id, text, language in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
        return islice(rows, self._limit)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the reports beside the hash of their file."""
        facts: dict[str, Any] = {"reports": len(self)}
        if self._limit is not None:
            facts["limit"] = self._limit
        if isinstance(self._table, _Frame):
            digest, languages = hashlib.sha256(), hashlib.sha256()
            for report in self:
                digest.update(json.dumps(report[:2]).encode())
                languages.update(json.dumps(report.language).encode())
            facts["reports_sha256"] = digest.hexdigest()
            if self._table.states_languages:
                facts["languages_sha256"] = languages.hexdigest()
        return facts

    def _check_ids(self) -> None:
        ids = pa.chunked_array([batch.column(0) for batch in self._table.batches(_BATCH * 32)], pa.string())
        if pc.count_distinct(ids).as_py() == len(ids):
            return
        counts = pc.value_counts(ids)
        doubled = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        raise DataError(f"the report id {doubled!r} is used twice", file=self.inputs.get("reports"))


class _Frame:
    """A data frame that reads like a :class:`~lgdea.records.streams.TableReader`."""

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = {"report_id", "text"} - set(frame.columns)
        if missing:
            raise DataError(f"the reports lack the column {min(missing)!r}", remedy="give report_id and text")
        self.rows = len(frame)
        self.states_languages = "language" in frame.columns
        language = frame["language"] if self.states_languages else pd.Series("", index=frame.index)
        self._parts = [_to_strings(frame["report_id"]), _to_strings(frame["text"].fillna(""))]
        self._parts.append(_to_strings(language.fillna("")))

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        for at in range(0, self.rows, rows):
            part = slice(at, at + rows)
            columns = [pa.array(list(column.iloc[part]), pa.string()) for column in self._parts]
            yield pa.RecordBatch.from_arrays(columns, _COLUMNS)


def _to_strings(column: pd.Series) -> pd.Series:
    try:
        return column.astype(str)
    except UnicodeEncodeError as error:
        row = next(row for row, text in enumerate(map(str, column), start=1) if text != _replace_surrogates(text))
        raise DataError(
            f"the reports' {column.name} is not valid Unicode ({error.reason})",
            row=row,
            remedy="read its source with the right encoding",
        ) from None


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
