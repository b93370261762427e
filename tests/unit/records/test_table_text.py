"""Text tables as programs and people write them: quotes, headers, encodings, separators."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import re

import pytest

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.table.adapter import ADAPTER
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.adapters.table.reading import read_source
from lgdea.records.adapters.table.text import TextFormat


def _read(tmp_path, content: str | bytes, **form):
    file = tmp_path / "t.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    problems = RowProblems()
    return read_source(file, problems, TextFormat(**form)), problems


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            '7,A,"Clear.\n8,B,"Effusion."\n9,C,Normal.\n',
            r"row 1: text follows a closing .* line 3 of a row .* in line 2",
        ),
        ('7,A,Clear.\n8,B,"Effusion.\n9,C,Normal.\n', "row 2: a quotation mark opened in the row of line 3 is never"),
        ('7,A,Clear.\n\n8,B,"B" lines.\n', "row 2: text follows a closing quotation mark in line 4"),
        ('7,A,"Say \\"clear\\"."\n', "row 1: text follows a closing"),
    ],
)
def test_a_quotation_mark_that_is_not_closed_stops_the_reading(tmp_path, rows, message):
    with pytest.raises(DataError, match=f"t.csv {message}.*quoted=false"):
        _read(tmp_path, f"pid,sid,report\n{rows}")


def test_the_remedies_for_quotation_marks_work(tmp_path):
    content = 'pid,sid,report\n7,A,"B" lines.\n8,B,"Clear.\n'
    frame = _read(tmp_path, content, quoted=False)[0].frame
    assert frame["report"].tolist() == ['"B" lines.', '"Clear.']
    frame = _read(tmp_path, 'pid,sid,report\n7,A,"Say \\"clear\\", again"\n', escape="\\")[0].frame
    assert frame["report"].tolist() == ['Say "clear", again']


def test_a_hundred_rows_in_a_cell_whose_quote_closes_well_are_a_problem(tmp_path):
    rows = [f"{n};S{n};Clear, no change." for n in range(1, 301)]
    rows[9] = '10;S10;"Left effusion.'
    rows[109] = '110;S110;Stable."'
    found, problems = _read(tmp_path, "\n".join(["pid;sid;report", *rows]) + "\n")
    assert [(p.kind, p.rows) for p in problems.found] == [("rows-in-a-cell", (10,))]
    assert found.frame["pid"].tolist() == [str(n) for n in range(1, 301) if not 10 <= n <= 110]
    assert found.frame.index[:11].tolist() == [*range(1, 10), 11, 12]
    assert len(_read(tmp_path, "\n".join(["pid;sid;report", *rows]), quoted=True)[0].frame) == 200


def test_a_row_that_begins_with_the_text_may_be_swallowed_too(tmp_path):
    content = 'report,sid\n"Effusion.,X1\nClear.,X2\nNormal.",X3\nStable.,X4\n'
    found, problems = _read(tmp_path, content)
    assert [(p.kind, p.decision) for p in problems.found] == [("rows-in-a-cell", True)]
    assert found.frame["sid"].tolist() == ["X4"]


def test_line_breaks_in_reports_are_no_problem(tmp_path):
    text = "FINDINGS: 1, 2 and 3 are clear, left, right.\r\n2, nothing\n\nIMPRESSION: S1, normal"
    content = f'patient,study,report\n1201,S1,"{text}"\n1202,S2,"{text}"\n1203,S3,Clear\n'
    found, problems = _read(tmp_path, content)
    assert not problems.found
    assert found.frame["report"].tolist() == [text, text, "Clear"]


@pytest.mark.parametrize(
    "content",
    [
        "Smith^Ann,77001,B0.png,Small effusion in Ms Smith\nDoe^Jo,77002,B1.png,Clear.\n",
        "77001,Ms Smith has a large effusion.\n77002,Clear lungs in Mr Doe.\n",
        "P1;S1;M;Ms Smith is well\nP2;S2;F;Clear\nP3;S3;M;Clear\n",
        "M;Ms Smith is well\nF;Clear\nM;Clear\n",
        "2020-01-02|Ms Smith is well\n2020-01-03|Clear\n",
        "Ms Smith has a large effusion on the left and no pneumothorax|ok\nClear|ok then\n",
        "Smith.png,No Finding\nb.png,Effusion\nc.png,Mass\n",
        "Ms Smith;Mass;Nodule\nMr Doe;Effusion;Mass\nMs Roe;Effusion;Mass\n",
    ],
)
def test_a_first_row_of_data_is_refused_and_not_shown(tmp_path, content):
    for name in ("explain", "build"):
        with pytest.raises(DataError, match=r"first row looks like data.*--option header=none") as error:
            (tmp_path / "t.csv").write_text(content)
            getattr(ADAPTER, name)(tmp_path / "t.csv", *([tmp_path / "out"] if name == "build" else []))
        assert "Smith" not in str(error.value)


def test_names_of_which_none_is_known_are_not_shown(tmp_path):
    (tmp_path / "t.csv").write_text("Smith,Ann,Effusion in the left\nDoe,Jo,Clear lungs\n")
    for options in ({}, {"report": "text"}):
        with pytest.raises(
            UsageError, match=r"there are 3 columns, of whose names none is known \(--option header=none"
        ):
            ADAPTER.explain(tmp_path / "t.csv", **options)
    with pytest.raises(UsageError, match="there are column1, column2, column3"):
        ADAPTER.explain(tmp_path / "t.csv", header="none")


def test_a_table_without_a_header_is_read_by_position(tmp_path):
    (tmp_path / "t.csv").write_text("77001,a b c\n77002,d e f\n")
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", header="none", patient="column1", report="column2")
    assert archive.studies["patient_id"].tolist() == ["t:77001", "t:77002"]
    assert archive.reports["text"].tolist() == ["a b c", "d e f"]


@pytest.mark.parametrize(
    "header",
    [
        "patient_id,What did the reader say of the lungs on the left side?,report",
        "PatientID,2019,Report",
        "id,Spalte2,Spalte3",
        "0,1,2",
    ],
)
def test_odd_headers_are_headers(tmp_path, header):
    frame = _read(tmp_path, f"{header}\np1,yes,Clear lungs\np2,no,Effusion left\n")[0].frame
    assert list(frame) == header.split(",")
    assert len(frame) == 2


def test_names_that_are_shown_are_short_and_long_cells_are_not_shown(tmp_path):
    secret = "SECRET words of somebody that go on and on over many words"
    (tmp_path / "t.csv").write_text(f"pid,report,{secret},sex\n1,{secret}.,2,{secret}\n")
    explanation = ADAPTER.explain(tmp_path / "t.csv")
    shown = "\n".join(explanation.lines) + json.dumps(explanation.facts)
    assert "SECRET words of somebody that go on and …" in shown
    assert "over many" not in shown
    assert "sex is a text of 58 characters, not F or M" in shown
    with pytest.raises(UsageError, match="there are pid, report, SECRET words of somebody that go on and …, sex"):
        ADAPTER.explain(tmp_path / "t.csv", image="file")


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
     (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, mark, encoding, end):
    text = end.join(["Patiënt\treport", "1\tgeen\xa0afwijking", '2\t"twee"', ""])
    frame = _read(tmp_path, mark + text.encode(encoding))[0].frame
    assert frame.to_dict("list") == {"Patiënt": ["1", "2"], "report": ["geen\xa0afwijking", "twee"]}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_read(tmp_path, encoding):
    content = "pid,report\n1,Ergüß\n".encode(encoding)
    assert _read(tmp_path, content)[0].frame["report"].tolist() == ["Ergüß"]
    assert _read(tmp_path, content, encoding=encoding)[0].frame["report"].tolist() == ["Ergüß"]
    content = "患,報告\n1,Clear\n".encode(encoding)
    assert _read(tmp_path, content, encoding=encoding)[0].frame["報告"].tolist() == ["Clear"]


@pytest.mark.parametrize("rows", [1, 60_000])
def test_nul_characters_are_refused_wherever_they_are(tmp_path, rows):
    content = "pid,report\n" + "1,Clear in both lungs\n" * rows + "2,Cle\0ar\n"
    with pytest.raises(DataError, match=r"holds NUL characters, as UTF-16 or a damaged file does; .*utf-16-le"):
        _read(tmp_path, content)


@pytest.mark.parametrize(
    "above",
    [
        "Patient;;Image;Report\n", "Hospital;St. Mary;;\n", "Date;2020-01-01;Department;Radiology\n", "Report\n",
        "Images\n\n", "Export;v1;by Dr X;PACS\n", "numer;badanie;plik;opis\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", ["MRN;Acc;File;Befund", "MRN;Acc;File;Report;Foo"])
def test_the_row_with_the_most_names_is_the_header(tmp_path, above, names):
    rows = [
        f"{n};A{n};{n}.png;Kein Erguss, {word}." + (";x" if "Foo" in names else "")
        for n, word in enumerate(("frei", "gut"))
    ]
    found, problems = _read(tmp_path, above + "\n".join([names, *rows]) + "\n")
    assert list(found.frame) == names.split(";")
    assert found.frame["Acc"].tolist() == ["A0", "A1"]
    assert found.notes == ["1 rows above the header are passed over"]
    assert not problems.found


@pytest.mark.parametrize(
    "rows",
    [
        ["kategoria;opis", "mass;nodule", "effusion;atelectasis"],
        ["kategoria;opis", "mass;nodule", "mass;nodule"],
        ["numer;rodzaj;plik", "CT;scan;report", "MR;scan;report"],
    ],
)
def test_data_of_known_words_is_no_header(tmp_path, rows):
    found = _read(tmp_path, "\n".join(rows) + "\n")[0]
    assert list(found.frame) == rows[0].split(";")
    assert len(found.frame) == 2
    assert not found.notes


def test_rows_that_repeat_the_header_are_no_patients(tmp_path):
    found, problems = _read(tmp_path, "MRN,Acc,Report,\n1,A,x y,\nmrn, Acc,REPORT,\n2,B,z\nMRN,Acc,Report\n3,C,u,\n")
    assert found.frame.to_dict("list") == {"MRN": ["1", "2", "3"], "Acc": ["A", "B", "C"], "Report": ["x y", "z", "u"]}
    assert found.frame.index.tolist() == [1, 3, 5]
    assert found.notes == ["2 rows repeat the header or rule a line and are passed over"]
    assert not problems.found


def test_the_refusal_of_a_separator_that_is_none_of_the_usual_says_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"parts its cells, say --option separator=\.\.\."):
        _read(tmp_path, "mrn^acc^report\n1^A^x y\n")
    assert _read(tmp_path, "mrn^acc^report\n1^A^x y\n", separator="^")[0].frame["acc"].tolist() == ["A"]


@pytest.mark.parametrize(
    "above",
    [
        "sep=;\n", '"sep=;"\r\n', "Radiology export of March\n\n", "Radiology export;;\nprinted 3 May;;\n",
        "# made by a program; version 2; site A\n# twice\n", "Export;Site 7\n\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("tail", ["", ";", ";;"])
def test_what_stands_above_the_header_is_passed_over(tmp_path, above, tail):
    rows = ["Pat-Nr;Study ID;Bericht" + tail, "7;A;Kein Erguss, Herz normal, links frei." + tail, "8;B;Gut." + tail]
    found, problems = _read(tmp_path, above + "\n".join(rows) + "\n")
    assert found.frame.to_dict("list") == {
        "Pat-Nr": ["7", "8"], "Study ID": ["A", "B"], "Bericht": ["Kein Erguss, Herz normal, links frei.", "Gut."]
    }  # fmt: skip
    assert found.frame.index.tolist() == [1, 2]
    assert not problems.found
    assert bool(found.notes) == (not above.lower().lstrip('"').startswith("sep"))


def test_the_headers_row_can_be_said(tmp_path):
    content = "north;south;x\nuno;due;tre\n1;2;3\n"
    assert list(_read(tmp_path, content)[0].frame) == ["north", "south", "x"]
    assert _read(tmp_path, content, header=2)[0].frame.to_dict("list") == {"uno": ["1"], "due": ["2"], "tre": ["3"]}
    with pytest.raises(UsageError, match="has no row 9 for a header"):
        _read(tmp_path, content, header=9)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_the_one_that_cuts_all_rows_alike(tmp_path, separator):
    header = separator.join(["pid", "study; date, or day", "0,5", "report"]) if separator in "\t|" else None
    header = header or separator.join(["pid", "study", "score", "report"])
    other = {",": ";", ";": ","}.get(separator, ",")
    rows = [separator.join([str(n), f"S{n}", f"0{other}5", f"a{other} b{other} c"]) for n in range(5)]
    assert len(_read(tmp_path, "\n".join([header, *rows]))[0].frame.columns) == 4


def test_a_header_with_more_blank_names_than_the_rows_have_cells(tmp_path):
    content = "Image Index,Finding,Box [x,y,w,h],,,\na.png,Mass,1,2,3,4\n"
    frame = _read(tmp_path, content)[0].frame
    assert list(frame) == ["Image Index", "Finding", "Box [x", "y", "w", "h]"]
    frame = _read(tmp_path, "a,b,\n1,2,3\n4,5,\n")[0].frame
    assert frame["(column 3)"].tolist() == ["3", ""]


def test_cells_beyond_the_csv_modules_limit_are_read(tmp_path):
    import csv

    limit = csv.field_size_limit()
    long = "word " * 60_000
    assert _read(tmp_path, f"pid,report\n1,{long}\n")[0].frame["report"].tolist() == [long]
    assert csv.field_size_limit() == limit


def test_a_table_with_more_columns_than_studies_ever_have_is_refused_at_once(tmp_path):
    file = tmp_path / "wide.csv"
    file.write_text(",".join(f"c{n}" for n in range(100_001)) + "\n" + ",".join("x" * 100_001) + "\n")
    with pytest.raises(DataError, match=r"wide\.csv: has 100,001 columns, more than 10,000; keep those of ids"):
        read_source(file, RowProblems())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04\x14\0\6\0", "a spreadsheet or a zip archive; save the table as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(600), "an Excel file; save it as CSV"),
        (bz2.compress(b"pid,report\n1,Clear\n"), "packed by bzip2; unpack it"),
        (lzma.compress(b"pid,report\n1,Clear\n"), "packed by xz; unpack it"),
        (b'{"pid": 1, "report": "Clear, left"}\n{"pid": 2, "report": "a"}\n', "JSON; write it as CSV or Parquet"),
        (b'\xef\xbb\xbf[\n  {"pid": 1}\n]', "JSON; write it as CSV or Parquet"),
        (b"<!DOCTYPE html><table><tr><td>MRN</td></tr></table>\n", "a web page or XML; save it as CSV"),
    ],
)
def test_other_files_named_csv_are_said_to_be_what_they_are(tmp_path, content, said):
    with pytest.raises(DataError, match=f"t.csv: is no text table but {re.escape(said)}"):
        _read(tmp_path, content)


def test_gzip_is_known_by_its_first_bytes(tmp_path):
    content = b"pid,report\n" + b"".join(b"%d,Clear %d\n" % (n, n * n) for n in range(3000))
    assert len(_read(tmp_path, gzip.compress(content))[0].frame) == 3000
    (tmp_path / "u.csv.gz").write_bytes(content)
    assert len(read_source(tmp_path / "u.csv.gz", RowProblems()).frame) == 3000
    with pytest.raises(DataError, match=r"t\.csv: is packed by gzip and cut short or damaged; fetch it again"):
        _read(tmp_path, gzip.compress(content)[:-900])


@pytest.mark.parametrize("error", ["#NAME?", "#WERT!", "########", " #N/A "])
def test_a_spreadsheets_error_is_no_text(tmp_path, error):
    (tmp_path / "t.csv").write_text(f"pid,sid,report\n1,A,{error}\n2,B,#1 is clear\n")
    with pytest.raises(DataError, match=r"row 1: an error of a spreadsheet .*column formatted as text"):
        ADAPTER.build(tmp_path / "t.csv", tmp_path / "out")
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", on_problem="leave_out")
    assert archive.reports["text"].tolist() == ["#1 is clear"]


def test_sections_that_hold_a_word_for_nothing_are_empty(tmp_path):
    (tmp_path / "t.csv").write_text("pid,sid,findings,impression\n1,A,nan,Clear lungs\n2,B,None seen,<NA>\n")
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out")
    assert archive.reports["text"].tolist() == ["IMPRESSION: Clear lungs", "FINDINGS: None seen"]


def test_what_happened_to_texts_before_is_noted(tmp_path):
    texts = ["x" * 32_767, "Kein Ergu\ufffd", "Herzgr\u00c3\u00b6\u00c3\u0178e", "NULL", "São João, \u00c2ngulo"]
    rows = "".join(f"{n};S{n};{text}\n" for n, text in enumerate(texts))
    (tmp_path / "t.csv").write_text("pid;sid;report\n" + rows)
    notes = [note for note in ADAPTER.explain(tmp_path / "t.csv").facts["notes"] if "reports" in note]
    assert [note.split(",")[0] for note in notes] == [
        "1 reports have 32", "1 reports hold letters that were lost when they were decoded (U+FFFD)",
        "1 reports hold pairs such as 'Ã¼'", "1 reports are a word for nothing",
    ]  # fmt: skip
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out")
    assert archive.reports["text"].tolist() == texts


def test_prose_below_a_name_that_is_not_known_is_not_lost_in_silence(tmp_path):
    rows = ["patient;numer;opis badania", "1;A;Bez plynu w oplucnej.", "2;B;Serce w normie, pluca czyste."]
    (tmp_path / "t.csv").write_text("\n".join([rows[0] + ";plik", *(f"{row};{row[0]}.png" for row in rows[1:])]))
    problems = ADAPTER.explain(tmp_path / "t.csv").facts["problems"]
    assert "no-report-column" in [problem["kind"] for problem in problems]
    with pytest.raises(DataError, match="opis badania holds text; say --option 'report=opis badania' when it is"):
        ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", on_problem="leave_out")
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", report="opis badania", on_problem="leave_out")
    assert archive.reports["text"].tolist() == [row.split(";")[2] for row in rows[1:]]
    explained = ADAPTER.explain(tmp_path / "t.csv", report=None).facts
    assert "no-report-column" not in [problem["kind"] for problem in explained["problems"]]
    assert "report: null" in explained["mapping"]


@pytest.mark.parametrize("rule", ["---|---|---", ":--|:-:|--:", "=====|==|======"])
def test_a_ruled_line_is_no_row(tmp_path, rule):
    found, problems = _read(tmp_path, f"MRN|Acc|Report\n{rule}\n1|A|--- clear\n--|B|-- clear --\n")
    assert found.frame["MRN"].tolist() == ["1", "--"]
    assert found.notes == ["1 rows repeat the header or rule a line and are passed over"]
    assert not problems.found
