import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.errors import DataError, UsageError
from lgdea.records.csv_io import protect, read_spreadsheet, unprotect, write_spreadsheet

ATTACKS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''-x", '=HYPERLINK("http://x","y")']


@pytest.mark.parametrize("cell", ATTACKS)
def test_no_cell_is_a_formula(cell):
    assert protect(cell) == f"'{cell}"


@given(st.text(max_size=20) | st.sampled_from(ATTACKS))
def test_protection_can_be_undone(cell):
    assert unprotect(protect(cell)) == cell
    assert not protect(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(
    st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))] * 2), min_size=1)
)
def test_cells_come_back_as_they_were(tmp_path_factory, cells):
    file = tmp_path_factory.mktemp("csv") / "t.csv"
    write_spreadsheet(file, ["a", "b"], [{"a": a, "b": b} for a, b in cells])
    wanted = [{"a": a, "b": b} for a, b in cells if protect(a).strip() or protect(b).strip()]
    assert [row for _, row in read_spreadsheet(file, ["a"])] == wanted


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_save(tmp_path, delimiter, encoding, end):
    lines = ["A,b", '"Größe, 5",x', ",", "y,'=1"]
    text = end.join(delimiter.join(_split(line)) for line in lines) + end
    file = tmp_path / "t.csv"
    file.write_bytes(text.encode(encoding))
    assert read_spreadsheet(file, ["a", "b"]) == [(2, {"a": "Größe, 5", "b": "x"}), (4, {"a": "y", "b": "=1"})]


def _split(line):
    return ['"Größe, 5"', "x"] if line.startswith('"') else line.split(",")


def test_excels_own_first_line(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\r\na;b\r\n1;2\r\n")
    assert read_spreadsheet(tmp_path / "t.csv", ["a"]) == [(3, {"a": "1", "b": "2"})]


def test_what_is_no_such_table(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_spreadsheet(tmp_path / "t.csv", [])
    file = tmp_path / "t.csv"
    for content, said in (
        ("", "lacks the column 'a'"),
        ("b,c\n1,2", "lacks"),
        ("a,b\n1,2,3", "more cells"),
        ('a\n"x', "CSV"),
    ):
        file.write_text(content)
        with pytest.raises(DataError, match=said):
            read_spreadsheet(file, ["a"])


def test_a_cell_too_long_for_a_spreadsheet_is_cut_in_the_open(tmp_path):
    write_spreadsheet(tmp_path / "t.csv", ["a"], [{"a": "x" * 60_000}])
    ((_, row),) = read_spreadsheet(tmp_path / "t.csv", ["a"])
    assert len(row["a"]) < 32_767
    assert row["a"].endswith("…")


def test_empty_cells_at_the_end_of_a_row_may_be_left_out_but_a_row_is_not_cut(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("rank,a,b\n1,x\n2,y,z\n")
    assert [row for _, row in read_spreadsheet(file, ["a", "b"])] == [
        {"rank": "1", "a": "x", "b": ""},
        {"rank": "2", "a": "y", "b": "z"},
    ]
    file.write_bytes(b"rank,a,b\r\n1,x,\rcut\r\n")
    with pytest.raises(DataError, match=r"row 3.*fewer cells"):
        read_spreadsheet(file, ["a", "b"])
