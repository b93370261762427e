import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lgdea.errors import DataError, UsageError
from lgdea.records.schema import Label, Report
from lgdea.records.streams import TableReader, TableWriter
from lgdea.records.tables import read_table, write_table


def _reports(n):
    return [Report(report_id=f"r:{i}", study_id="s:1", text=f"Text {i}.") for i in range(n)]


def _read(file, rows=100):
    batches = TableReader(file, Report, ["report_id", "text"]).batches(rows)
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def test_rows_come_back_in_order_in_bounded_batches(tmp_path):
    file = tmp_path / "reports.parquet"
    write_table(file, _reports(1000), Report)
    reader = TableReader(file, Report, ["report_id", "text"])
    assert reader.rows == 1000
    assert max(batch.num_rows for batch in reader.batches(64)) == 64
    assert _read(file) == [(f"r:{i}", f"Text {i}.") for i in range(1000)]
    assert _read(file) == _read(file, 7)


def test_what_is_written_bit_by_bit_is_the_table_and_the_bits_do_not_show(tmp_path, monkeypatch):
    monkeypatch.setattr("lgdea.records.streams._GROUP", 100)
    rows = _reports(1050)
    for name, step in (("one", 1), ("many", 333)):
        with TableWriter(tmp_path / name, Report) as table:
            for at in range(0, len(rows), step):
                table.write(rows[at : at + step])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()
    assert pq.ParquetFile(tmp_path / "one").num_row_groups == 11
    assert list(read_table(tmp_path / "one", Report)["report_id"]) == [row.report_id for row in rows]


def test_memory_does_not_grow_with_the_table(tmp_path):
    """One row group, as archives have it, of 40 MB of text that hardly compresses."""
    rng, file = random.Random(0), tmp_path / "reports.parquet"
    rows = [{"report_id": f"r:{i}", "study_id": "s", "text": rng.randbytes(1000).hex()} for i in range(20_000)]
    write_table(file, rows, Report)
    assert pq.ParquetFile(file).num_row_groups == 1
    assert file.stat().st_size > 20e6
    before = pa.total_allocated_bytes()
    reader = TableReader(file, Report, ["report_id", "text"])
    most = max(pa.total_allocated_bytes() - before for _ in reader.batches(500))
    assert most < 8e6


def test_an_empty_table_is_a_table(tmp_path):
    with TableWriter(tmp_path / "t", Report):
        pass
    assert len(read_table(tmp_path / "t", Report)) == 0


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "t"
    write_table(file, _reports(3), Report)
    before = file.read_bytes()
    with pytest.raises(KeyboardInterrupt), TableWriter(file, Report) as table:
        table.write(_reports(10))
        raise KeyboardInterrupt
    with pytest.raises(DataError, match="report_id"), TableWriter(file, Report) as table:
        table.write([{"study_id": "s", "text": "t"}])
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"), TableWriter(tmp_path / "file" / "t", Report):
        pass


def test_other_tables_and_damage_are_named(tmp_path):
    file = tmp_path / "reports.parquet"
    with pytest.raises(UsageError, match="no such table"):
        TableReader(file, Report, ["text"])
    write_table(file, [], Label)
    with pytest.raises(DataError, match="holds rows of Label, expected rows of Report"):
        TableReader(file, Report, ["text"])
    file.write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        TableReader(file, Report, ["text"])
    write_table(file, _reports(5000), Report)
    content = bytearray(file.read_bytes())
    content[40:400] = bytes(360)
    file.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        _read(file)
