"""Results of a batch of reports as they are written: units as an Arrow table, rejects, counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import pyarrow as pa

from lgdea.evidence.io import EVIDENCE, Reject
from lgdea.evidence.postprocess import ReportResult
from lgdea.evidence.quality import Quality
from lgdea.evidence.schema import Unit, UnitRow
from lgdea.records.tables import tuples_to_arrow

T = TypeVar("T")

BATCH_ITEMS = 128
_BATCH_CHARACTERS = 1 << 18  # a batch of long reports is ended earlier


class ResultTables(NamedTuple):
    """Units, rejects and counts of some reports, in their order."""

    units: pa.Table
    rejects: list[Reject]
    quality: Quality


def to_tables(results: Iterable[ReportResult]) -> ResultTables:
    """Gather results.

    Raises:
        DataError: A unit is not valid.
    """
    quality, units, rejects = Quality(), list[UnitRow](), list[Reject]()
    for result in results:
        quality.add(result)
        units.extend(result.units)
        rejects.extend(result.rejects)
    return ResultTables(tuples_to_arrow(units, Unit, file=EVIDENCE), rejects, quality)


def in_batches(items: Iterable[T], characters: Callable[[T], int]) -> Iterator[list[T]]:
    """Split items into batches of at most 128; one that reaches 262,144 characters ends there."""
    batch: list[T] = []
    size = 0
    for item in items:
        batch.append(item)
        size += characters(item)
        if len(batch) == BATCH_ITEMS or size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
