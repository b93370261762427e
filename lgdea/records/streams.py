"""Tables that need not fit into memory: read in batches, written row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from lgdea.errors import DataError, UsageError, first_line
from lgdea.records.schema import arrow_schema
from lgdea.records.tables import check_schema, to_arrow
from lgdea.runs import atomic, writing

_READ_BUFFER = 1 << 20  # bytes of one column that are read ahead
_GROUP = 16_384  # rows of a written row group; fixed, so that equal rows give equal files


class TableReader:
    """A table written by :func:`~lgdea.records.tables.write_table`, some columns of it, batch by batch.

    Args:
        file: The Parquet file.
        row_model: The pydantic class of its rows; schema name and version are checked.
        columns: Which columns.

    Raises:
        UsageError: There is no such file.
        DataError: It is no Parquet file, or holds another table or schema version.
    """

    def __init__(self, file: str | Path, row_model: type[BaseModel], columns: Sequence[str]) -> None:
        self.file = Path(file)
        self._columns = list(columns)
        if not self.file.is_file():
            raise UsageError("no such table", file=file, remedy="check the path")
        with self._open() as table:
            self.rows: int = table.metadata.num_rows
            check_schema(table.schema_arrow, row_model, file=file)

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The batches in file order, each of at most ``rows`` rows."""
        with self._open() as table:
            try:
                yield from table.iter_batches(batch_size=rows, columns=self._columns, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(error) from None

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(
                self.file, buffer_size=_READ_BUFFER, pre_buffer=False, page_checksum_verification=True
            )
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> DataError:
        return DataError(
            f"cannot be read ({first_line(error)})", file=self.file, remedy="build it again, or restore the file"
        )


class TableWriter:
    """Writer of validated rows as they come; the file appears, whole, when the block ends well.

    Args:
        file: The Parquet file.
        row_model: The pydantic class of a row.
    """

    def __init__(self, file: str | Path, row_model: type[BaseModel]) -> None:
        self._file = Path(file)
        self._row_model = row_model
        self._rows: list[BaseModel] = []
        self._pending: list[pa.Table] = []
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> TableWriter:
        with writing(self._file):
            temporary = self._stack.enter_context(atomic(self._file))
            self._writer = pq.ParquetWriter(
                temporary, arrow_schema(self._row_model), compression="zstd", write_page_checksum=True
            )
        return self

    def write(self, rows: Sequence[BaseModel]) -> None:
        """Add rows.

        Raises:
            DataError: A row is invalid, or the disk is full.
        """
        self._rows.extend(rows)
        if len(self._rows) >= _GROUP:
            self._convert_rows()
            self._flush(_GROUP)

    def write_arrow(self, table: pa.Table) -> None:
        """Add rows that :func:`~lgdea.records.tables.to_arrow` has checked already.

        Raises:
            DataError: The disk is full.
        """
        self._convert_rows()
        self._pending.append(table)
        self._flush(_GROUP)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with writing(self._file):
            try:
                if kind is None:
                    self._convert_rows()
                    self._flush(1)
            except BaseException as failed:
                self._leave(type(failed), failed)
                raise
            self._leave(kind, error)

    def _convert_rows(self) -> None:
        if self._rows:
            self._pending.append(to_arrow(self._rows, self._row_model, file=self._file))
            self._rows = []

    def _flush(self, least: int) -> None:
        """Write groups of rows, the last one too if it has at least so many."""
        assert self._writer is not None
        if sum(table.num_rows for table in self._pending) < least:
            return
        rows = pa.concat_tables(self._pending)
        at = 0
        with writing(self._file):
            while rows.num_rows - at >= least:
                # One chunk per column, as pages end where chunks do.
                self._writer.write_table(rows.slice(at, _GROUP).combine_chunks(), row_group_size=_GROUP)
                at += _GROUP
        self._pending = [rows.slice(at)] if at < rows.num_rows else []

    def _leave(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        """Close before the temporary file is moved, or removed after a failure."""
        assert self._writer is not None
        try:
            self._writer.close()
        except BaseException as failed:
            self._stack.__exit__(type(failed), failed, failed.__traceback__)
            raise
        self._stack.__exit__(kind, error, None)
