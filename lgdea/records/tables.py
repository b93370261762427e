"""Parquet tables whose every row is checked against its pydantic model before a byte is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from annotated_types import Ge
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from lgdea.errors import DataError, UsageError, first_line
from lgdea.records.schema import SCHEMA_VERSION, arrow_schema
from lgdea.runs import atomic, writing

Rows = pd.DataFrame | Sequence[BaseModel | Mapping[str, Any]]

_CHUNK = 50_000  # rows that exist as Python objects at a time


def write_table(
    file: str | Path, rows: Rows, row_model: type[BaseModel], *, metadata: Mapping[str, str] | None = None
) -> int:
    """Validate ``rows`` one by one and write them to ``file`` atomically.

    Args:
        file: The Parquet file.
        rows: Row models, mappings or a data frame with the model's columns (NaN means null).
        row_model: The pydantic class of a row; its Arrow schema becomes the table's.
        metadata: Further facts for the file's metadata, text only.

    Returns:
        The number of rows.

    Raises:
        DataError: A column is missing or unknown, a row is invalid (the message names file, row and field),
            or the disk is full; nothing is left behind then.
    """
    table = to_arrow(rows, row_model, file=file)
    if metadata:
        table = table.replace_schema_metadata({**table.schema.metadata, **metadata})
    _write(table, Path(file))
    return int(table.num_rows)


def read_table(file: str | Path, row_model: type[BaseModel]) -> pd.DataFrame:
    """Read a table written by :func:`write_table`; the file's schema name and version must be the model's.

    Raises:
        UsageError: There is no such file.
        DataError: It is no Parquet file, holds another table or another schema version.
    """
    table = _read(Path(file))
    check_schema(table.schema, row_model, file=file)
    frame: pd.DataFrame = table.select(list(row_model.model_fields)).to_pandas()
    return frame


def check_schema(schema: pa.Schema, row_model: type[BaseModel], *, file: str | Path) -> None:
    """Check that a table holds rows of ``row_model``, of this schema version and with all columns.

    Raises:
        DataError: It does not; ``file`` is named in the message.
    """
    metadata = schema.metadata or {}
    name = metadata.get(b"lgdea_schema", b"").decode(errors="replace")
    version = metadata.get(b"lgdea_schema_version", b"").decode(errors="replace")
    expected = arrow_schema(row_model)
    if name != row_model.__name__:
        raise DataError(
            f"holds {f'rows of {name}' if name else 'no lgdea table'}, expected rows of {row_model.__name__}",
            file=file,
            remedy="check the path or build the archive again with `lgdea data build`",
        )
    if version != SCHEMA_VERSION:
        raise DataError(
            f"was written with schema version {version or 'none'}, this lgdea reads {SCHEMA_VERSION}",
            file=file,
            remedy="build the archive again with `lgdea data build`",
        )
    missing = [field.name for field in expected if field.name not in schema.names]
    if missing:
        raise DataError(f"lacks the column {missing[0]!r}", file=file, remedy="build the archive again")


def read_metadata(file: str | Path) -> dict[str, str]:
    """The text metadata of a Parquet file (schema name and version, and what the writer added)."""
    try:
        metadata = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be read ({first_line(error)})", file=file, remedy="check the path") from None
    texts = ((k.decode(errors="replace"), v.decode(errors="replace")) for k, v in metadata.items())
    return {k: v for k, v in texts if not k.startswith(("pandas", "ARROW"))}


def write_frame(file: str | Path, frame: pd.DataFrame) -> int:
    """Write a data frame without a row model (an extra table) atomically."""
    table = frame_to_arrow(frame, file=file)
    _write(table, Path(file))
    return int(table.num_rows)


def frame_to_arrow(frame: pd.DataFrame, *, file: str | Path) -> pa.Table:
    """A data frame as an Arrow table with the schema version in its metadata; ``file`` is only named in errors."""
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException as error:
        raise DataError(f"cannot become a Parquet table ({first_line(error)})", file=file) from None
    return table.replace_schema_metadata({**(table.schema.metadata or {}), "lgdea_schema_version": SCHEMA_VERSION})


def read_frame(file: str | Path) -> pd.DataFrame:
    """Read a table that has no row model."""
    frame: pd.DataFrame = _read(Path(file)).to_pandas()
    return frame


def to_arrow(rows: Rows, row_model: type[BaseModel], *, file: str | Path) -> pa.Table:
    """Validate ``rows`` and return them as an Arrow table; ``file`` is only named in errors."""
    schema = arrow_schema(row_model)
    adapter: TypeAdapter[list[BaseModel]] = TypeAdapter(list[row_model])  # type: ignore[valid-type]
    parts = [schema.empty_table()]
    done = 0
    for chunk in _chunks(rows, row_model, file):
        try:
            valid = adapter.validate_python(chunk)
        except ValidationError as error:
            raise _row_error(error, done, file) from None
        parts.append(pa.Table.from_pylist([row.__dict__ for row in valid], schema=schema))
        done += len(chunk)
    return pa.concat_tables(parts)


def tuples_to_arrow(rows: Sequence[tuple[Any, ...]], row_model: type[BaseModel], *, file: str | Path) -> pa.Table:
    """Validate rows as :func:`to_arrow` does, but by columns, which takes a tenth of the time.

    Args:
        rows: The fields of ``row_model`` in its order.
        row_model: A pydantic class whose fields have plain types, choices and least values.
        file: Only named in errors.
    """
    schema, fields = arrow_schema(row_model), row_model.model_fields
    try:
        columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=False)]
        table = pa.Table.from_arrays(columns, schema=schema) if rows else schema.empty_table()
    except (pa.ArrowException, TypeError, ValueError):
        table = None
    if table is None or not all(map(_is_valid, table.columns, schema, fields.values())):
        return to_arrow([dict(zip(fields, row, strict=True)) for row in rows], row_model, file=file)  # names the row
    return table


def _is_valid(column: pa.ChunkedArray, field: pa.Field, info: FieldInfo) -> bool:
    """Tell whether all values of a column are allowed."""
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    least = next((rule.ge for rule in info.metadata if isinstance(rule, Ge)), None)
    return (
        (field.nullable or column.null_count == 0)
        and (not choices or set(column.unique().to_pylist()) <= set(choices))
        and (least is None or pc.all(pc.greater_equal(column, least)).as_py() is not False)
    )


def _chunks(rows: Rows, row_model: type[BaseModel], file: str | Path) -> Iterator[list[Any]]:
    if isinstance(rows, pd.DataFrame):
        _check_columns(rows, row_model, file)
        try:
            table = pa.Table.from_pandas(rows, preserve_index=False)
        except pa.ArrowException as error:
            raise DataError(f"a column mixes types ({first_line(error)})", file=file) from None
        for start in range(0, table.num_rows, _CHUNK):
            yield table.slice(start, _CHUNK).to_pylist()  # NaN has become None
        return
    iterator = iter(rows)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _check_columns(frame: pd.DataFrame, row_model: type[BaseModel], file: str | Path) -> None:
    fields = row_model.model_fields
    missing = [name for name, info in fields.items() if info.is_required() and name not in frame.columns]
    unknown = [str(name) for name in frame.columns if name not in fields]
    if missing:
        raise DataError(f"lacks the column {missing[0]!r}", file=file, remedy=f"give it; there are {list(frame)}")
    if unknown:
        raise DataError(f"has the unknown column {unknown[0]!r}", file=file, remedy=f"expected are {list(fields)}")


def _row_error(error: ValidationError, done: int, file: str | Path) -> DataError:
    items = error.errors()
    first = items[0]
    index, *field = first["loc"]
    more = len({item["loc"][0] for item in items}) - 1
    name = ".".join(str(part) for part in field) or "row"
    problem = f"{name}: {first['msg']} (got {str(first['input'])[:60]!r})"
    if more:
        problem += f", and {more} more rows"
    return DataError(problem, file=file, row=done + int(index) + 1, remedy="correct the row at its source")


def _write(table: pa.Table, file: Path) -> None:
    with writing(file), atomic(file) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _read(file: Path) -> pa.Table:
    if not file.is_file():
        raise UsageError("no such table", file=file, remedy="check the path")
    try:
        return pq.ParquetFile(file, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"cannot be read ({first_line(error)})", file=file, remedy="build it again, or restore the file"
        ) from None
