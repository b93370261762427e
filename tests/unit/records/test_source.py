"""Reading a publisher's CSV: nothing that stands in it is dropped."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lgdea.errors import DataError
from lgdea.records.csv_io import read_csv


def table(file: Path, text: str) -> Path:
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("rest", ["1,2,3\n3,4,5\n", '"1\n1",2,\n3,4,lost\n'])
def test_a_cell_beyond_the_header_is_not_dropped(tmp_path: Path, name: str, rest: str) -> None:
    row = 1 if rest.startswith("1,2,3") else 2
    with pytest.raises(DataError, match=rf"row {row}: has 3 cells where the header has 2; put quotes"):
        read_csv(table(tmp_path / name, "a,b\n" + rest), ["a"], card="nih-cxr14")


def test_a_longer_row_after_shorter_ones_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no CSV table .*line 3, saw 3"):
        read_csv(table(tmp_path / "t.csv", "a,b\n1,2\n3,4,5\n"), ["a"], card="nih-cxr14")


def test_a_comma_at_the_end_of_each_line_is_no_cell(tmp_path: Path) -> None:
    frame = read_csv(table(tmp_path / "t.csv", "a,b\n1,2,\n3,,\n"), ["a"], card="nih-cxr14")
    assert frame.to_numpy().tolist() == [["1", "2"], ["3", None]]
