"""A Parquet table as text cells; columns that can be none are not read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lgdea.errors import DataError, first_line
from lgdea.records.adapters.table.header import unique_names

_EXACT = 2**53  # beyond it a float holds no longer each whole number


def read_parquet(file: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Text cells, and the columns that hold something else with what it is.

    A structure's text and numbers are columns of their own, ``image.path``.

    Raises:
        DataError: The file cannot be read, or two columns have one name.
    """
    try:
        schema = pq.read_schema(file)
        wanted, other = _choose(schema)
        # Of a structure the paths of its wanted fields are read, so that a column of pictures costs nothing.
        table = pq.ParquetFile(file).read(columns=wanted).flatten() if wanted else pa.table({})
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read ({first_line(error, 120)})", file=file, remedy="write it again") from None
    unique_names(schema.names, file)
    cells = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            cells[name] = pc.fill_null(_as_text(column), "")
        except pa.ArrowException:
            other[name] = str(column.type)
    frame: pd.DataFrame = pa.table(cells).to_pandas()
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1)), other


def _choose(schema: pa.Schema) -> tuple[list[str], dict[str, str]]:
    """The columns that can be text, and the others with their type."""
    wanted: list[str] = []
    other: dict[str, str] = {}
    for field in schema:
        if pa.types.is_struct(field.type):
            inside = [f"{field.name}.{child.name}" for child in field.type if _is_plain(child.type)]
            wanted += inside
            if len(inside) < field.type.num_fields:
                other[field.name] = "a structure"
        elif _is_plain(field.type) or _is_words(field.type):
            wanted.append(field.name)
        else:
            binary = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
            other[field.name] = "binary data" if binary else str(field.type)[:40]
    return wanted, other


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
                or pa.types.is_fixed_size_binary(kind))  # fmt: skip


def _is_words(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return lists and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells as a CSV file would hold them; whole numbers that pandas keeps as floats lose their ``.0``."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.cast(kind.value_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pc.binary_join(column.cast(pa.list_(pa.string())), "|")
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        whole = pc.all(pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _EXACT))).as_py()
        if whole in (True, None):
            column = column.cast(pa.int64())
    return column.cast(pa.string())
