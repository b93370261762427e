"""Ids that programs have rewritten, tables in several files, and tables joined by a key."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.table.adapter import ADAPTER
from lgdea.records.adapters.table.parquet import read_parquet


def _table(folder, ids: list[str], column: str = "patient_id", name: str = "t.csv"):
    rows = "".join(f"{cell};S{n};Report number {n}.\n" for n, cell in enumerate(ids))
    other = "accession" if column != "accession" else "mrn"
    header = f"{column};{other};report\n"
    (folder / name).write_text(header + rows)
    return folder / name


@pytest.mark.parametrize(
    ("ids", "bad", "numbers"),
    [
        (["10", "10.0", "11"], [2], ["10", "10", "11"]),
        (["10.0", "11.00", "12"], [1, 2], ["10", "11", "12"]),
        (["007", "7", "8"], [1], ["7", "7", "8"]),
        (["0", "00", "8"], [2], ["0", "0", "8"]),
        (["10,0", "10", "11,00"], [1, 3], ["10", "10", "11"]),
        (["1,234", "1234", "7"], [1], ["1234", "1234", "7"]),
        (["12.345.678", "7", "12345678"], [1], ["12345678", "7", "12345678"]),
        (["'0042", "0042", "7"], [1, 2], ["42", "42", "7"]),
    ],
)
def test_ids_in_two_forms_have_to_be_decided(tmp_path, ids, bad, numbers):
    file = _table(tmp_path, ids)
    problems = ADAPTER.explain(file).facts["problems"]
    assert [(p["kind"], p["rows"]) for p in problems] == [("patient-id-in-two-forms", bad)]
    for options in ({}, {"on_problem": "leave_out"}):
        with pytest.raises(DataError, match=r"--option ids=numbers .* --option ids=written"):
            ADAPTER.build(file, tmp_path / "out", **options)
    found = {how: ADAPTER.build(file, tmp_path / how, ids=how).studies["patient_id"].tolist()
             for how in ("numbers", "written")}  # fmt: skip
    assert found == {"numbers": [f"t:{n}" for n in numbers], "written": [f"t:{cell}" for cell in ids]}


def test_ids_are_read_as_they_are_seen(tmp_path):
    ids = ["1", " 1\u00a0", "\u200b1", "１", '="1"', "\ufeff1", '="01"']
    archive = ADAPTER.build(_table(tmp_path, ids[:-1]), tmp_path / "out")
    assert archive.studies["patient_id"].tolist() == ["t:1"] * 6
    with pytest.raises(DataError, match="patient_id is '01', beside '1'"):
        ADAPTER.build(_table(tmp_path, ids), tmp_path / "out")


@pytest.mark.parametrize("cell", ["#REF!", "#N/A", "#NAME?", "#WERT!", "########"])
def test_an_error_of_a_spreadsheet_is_no_id(tmp_path, cell):
    with pytest.raises(DataError, match=r"row 2: has no patient id \(patient_id is empty or an error of a spreadsheet"):
        ADAPTER.build(_table(tmp_path, ["1", cell, "#3"]), tmp_path / "out")


def test_a_column_named_by_a_number_can_be_said(tmp_path):
    (tmp_path / "t.csv").write_text("0,1,2\n7,A,Clear lungs\n8,B,Effusion left\n")
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", patient=0, study=1, report=2)
    assert archive.studies["patient_id"].tolist() == ["t:7", "t:8"]


@pytest.mark.parametrize(
    "ids", [["10.0", "11.0", ""], ["0010", "0011", "712"], ["A.0", "A", "7"], ["1.2", "1.20", "3"]]
)
def test_ids_of_one_form_are_no_problem(tmp_path, ids):
    archive = ADAPTER.build(_table(tmp_path, ids), tmp_path / "out", on_problem="leave_out")
    kinds = [problem["kind"] for problem in archive.info["left_out"]]
    assert kinds == (["no-patient-id"] if "" in ids else [])
    assert archive.studies["patient_id"].tolist()[0] == f"t:{ids[0].removesuffix('.0') if '' in ids else ids[0]}"


@pytest.mark.parametrize("cell", ["1.23457E+14", "1,23457E+14", "9E+15", "2.5e16"])
def test_ids_that_a_spreadsheet_has_rounded(tmp_path, cell):
    file = tmp_path / "t.csv"
    file.write_text(f"mrn;accession;report\n1;{cell};One.\n2;{cell};Two.\n3;77;Three.\n")
    with pytest.raises(
        DataError, match=r"accession is .* a spreadsheet has rounded.*--option study=COLUMN.*ids=written"
    ):
        ADAPTER.build(file, tmp_path / "out")
    archive = ADAPTER.build(file, tmp_path / "out", on_problem="leave_out")
    assert archive.studies["study_id"].tolist() == ["t:77"]
    assert archive.info["left_out"][0]["count"] == 2
    assert len(ADAPTER.build(file, tmp_path / "own", study=None, patient="mrn").studies) == 3


def test_floats_beyond_the_exact_ones_are_rounded_ids_too(tmp_path):
    frame = pd.DataFrame({"mrn": ["1", "2"], "accession": [2.0**53 + 2, 2.0**60], "report": ["One.", "Two."]})
    frame.to_parquet(tmp_path / "t.parquet")
    kinds = [problem["kind"] for problem in ADAPTER.explain(tmp_path / "t.parquet").facts["problems"]]
    assert kinds == ["rounded-study-id"]
    frame.assign(accession=[7.0, 8.0]).to_parquet(tmp_path / "t.parquet")
    assert ADAPTER.build(tmp_path / "t.parquet", tmp_path / "out").studies["study_id"].tolist() == ["t:7", "t:8"]


def _nested_parquet(file):
    columns = {
        "mrn": pa.array(["1", "2"]),
        "report": pa.array(["One clear.", "Two clear."]),
        "image": pa.array([{"bytes": b"\x89PNG", "path": "a.png"}, {"bytes": b"", "path": "b.png"}]),
        "vector": pa.array([[0.5, 1.0], [2.0]]),
        "raw": pa.array([b"\xff", b"\x00"]),
        "meta": pa.array([{"site": "A", "n": 1}, {"site": "B", "n": 2}]),
        "findings": pa.array([["mass"], ["nodule", "mass"]]),
    }
    pq.write_table(pa.table(columns), file)


def test_parquet_columns_that_nobody_needs_are_not_read(tmp_path):
    _nested_parquet(tmp_path / "t.parquet")
    frame, other = read_parquet(tmp_path / "t.parquet")
    assert frame.to_dict("list") == {
        "mrn": ["1", "2"], "report": ["One clear.", "Two clear."], "image.path": ["a.png", "b.png"],
        "meta.site": ["A", "B"], "meta.n": ["1", "2"], "findings": ["mass", "nodule|mass"],
    }  # fmt: skip
    assert other == {"image": "a structure", "vector": "list<element: double>", "raw": "binary data"}
    archive = ADAPTER.build(tmp_path / "t.parquet", tmp_path / "out", image=None, site="meta.site")
    assert archive.studies["site"].tolist() == ["A", "B"]
    assert archive.labels["finding"].tolist().count("mass") == 2
    with pytest.raises(UsageError, match=r"the column 'raw' .report. holds binary data, not text"):
        ADAPTER.build(tmp_path / "t.parquet", tmp_path / "out", report="raw")


@pytest.mark.parametrize("names", [["train-00000-of-00002", "train-00001-of-00002"], ["part_1", "part_2"]])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_parts_of_a_table_are_read_as_one(tmp_path, names, ending):
    folder = tmp_path / "ours"
    folder.mkdir()
    for place, name in enumerate(names):
        frame = pd.DataFrame({"mrn": [f"p{place}", "q"], "accession": [f"a{place}", f"b{place}"],
                              "report": [f"Report {place}.", "Other."]})  # fmt: skip
        file = folder / f"{name}.{ending}"
        frame.to_csv(file, index=False) if ending == "csv" else frame.to_parquet(file)
    archive = ADAPTER.build(folder, tmp_path / "out")
    assert archive.studies["study_id"].tolist() == ["ours:a0", "ours:b0", "ours:a1", "ours:b1"]
    assert archive.studies["patient_id"].nunique() == 3
    assert archive.info["table"].count("*") == names[0].count("0000") or archive.info["table"] == f"part_*.{ending}"
    assert archive.info["notes"][0].startswith("2 files are read as one table")
    pd.DataFrame({"x": ["1"]}).to_csv(folder / "notes.csv", index=False)
    with pytest.raises(UsageError, match="holds 3 tables"):
        ADAPTER.build(folder, tmp_path / "out")
    again = ADAPTER.build(folder, tmp_path / "again", table=f"{names[0].split('0')[0].split('1')[0]}*.{ending}")
    assert again.studies.equals(archive.studies)


def test_parts_of_different_tables_are_refused(tmp_path):
    (tmp_path / "a1.csv").write_text("mrn,report\n1,Clear.\n")
    (tmp_path / "a2.csv").write_text("mrn,text\n1,Clear.\n")
    with pytest.raises(DataError, match=r"a2.csv: has other columns than a1.csv; name one, --option table=FILE"):
        ADAPTER.build(tmp_path, tmp_path / "out")
    assert len(ADAPTER.build(tmp_path, tmp_path / "out", table="a2.csv").reports) == 1


REPORTS = "Accession No,Patient ID,Report Text,Sex\nA1,P1,One clear.,F\nA2,P1,Two clear.,F\nA3,P2,Three clear.,M\n"
VIEWS = "AccessionNumber;View;Sex\nA1;PA;F\nA1;LAT;\nA2;AP;F\nA9;AP;M\n"


def _two(tmp_path, one: str = REPORTS, other: str = VIEWS):
    folder = tmp_path / "ours"
    folder.mkdir(exist_ok=True)
    (folder / "reports.csv").write_text(one)
    (folder / "views.csv").write_text(other)
    return folder


def test_two_tables_are_joined_by_their_key(tmp_path):
    folder = _two(tmp_path)
    with pytest.raises(UsageError, match=r"holds 2 tables .* --option table=reports.csv --option join.table=views.csv"):
        ADAPTER.build(folder, tmp_path / "out")
    archives = {}
    for main, second in (("reports.csv", "views.csv"), ("views.csv", "reports.csv")):
        options = {"table": main, "join.table": second, "patient": "Patient ID", "on_problem": "leave_out"}
        archives[main] = ADAPTER.build(folder, tmp_path / main, **options)
    for archive in archives.values():
        assert sorted(archive.studies["study_id"]) == ["ours:A1", "ours:A2", "ours:A3"]
        assert archive.reports.set_index("study_id")["text"].to_dict() == {
            "ours:A1": "One clear.", "ours:A2": "Two clear.", "ours:A3": "Three clear.",
        }  # fmt: skip
        assert archive.studies.set_index("study_id")["sex"].to_dict() == {
            "ours:A1": "F",
            "ours:A2": "F",
            "ours:A3": "M",
        }
        notes = " ".join(archive.info["notes"])
        assert "3 rows have a partner" in notes
        assert "1 rows of views.csv have none, such as 'A9'" in notes
        assert "1 rows of reports.csv have none and follow as rows 5 to 5, such as AccessionNumber 'A3'" in notes
        left = archive.info["left_out"]
        assert [(p["kind"], p["rows"]) for p in left] == [("no-patient-id", [4])]


def test_images_of_one_table_and_reports_of_the_other(tmp_path):
    import numpy as np

    from tests.helpers.dataset_layouts import picture

    folder = _two(tmp_path, REPORTS, "file,acc\nx/1.png,A1\nx/2.png,A1\nx/3.png,A2\nx/4.png,A3\n")
    (folder / "x").mkdir()
    for n in range(1, 5):
        picture(folder / "x" / f"{n}.png", np.random.default_rng(n), 20, 20)
    options = {"table": "reports.csv", "join": {"table": "views.csv", "on": "Accession No", "key": "acc"}}
    archive = ADAPTER.build(folder, tmp_path / "out", **options)
    assert archive.images.groupby("study_id")["path"].apply(list).to_dict() == {
        "ours:A1": ["x/1.png", "x/2.png"], "ours:A2": ["x/3.png"], "ours:A3": ["x/4.png"]
    }  # fmt: skip
    assert len(archive.reports) == 3
    assert archive.info["left_out"] == []


@pytest.mark.parametrize(
    ("other", "options", "message"),
    [
        ("AccessionNumber;x\nB1;1\nB2;2\n", {"on": "Accession No", "key": "AccessionNumber"},
         "no Accession No is a AccessionNumber of views.csv; name the key"),
        ("color;x\nB1;1\n", {}, "no column of it is a key of views.csv; name it, --option join.on=COLUMN"),
        ("AccessionNumber;x\nA1;1\n", {"on": "acc"}, "has no column 'acc' .join.; there are Accession No, Patient ID"),
        ("PatientID;x\nP1;1\nP1;2\n", {"on": "Patient ID", "key": "PatientID"},
         "the key 'Patient ID' stands several times in both tables, such as 'P1'; name another key"),
    ],
)  # fmt: skip
def test_a_key_that_is_none(tmp_path, other, options, message):
    folder = _two(tmp_path, other=other)
    with pytest.raises(UsageError, match=message):
        ADAPTER.build(folder, tmp_path / "out", table="reports.csv", join={"table": "views.csv", **options})


def test_most_rows_without_a_partner_and_cells_that_differ_are_problems(tmp_path):
    rows = "".join(f"A0{n};AP;F\n" for n in range(4))
    folder = _two(tmp_path, other=f"AccessionNumber;View;Sex\nA1;PA;M\n{rows}")
    explanation = ADAPTER.explain(folder, table="views.csv", join={"table": "reports.csv"})
    found = {p["kind"]: p["rows"] for p in explanation.facts["problems"]}
    assert found["half-without-partner"] == [2, 3, 4, 5]
    assert found["join-differs"] == [1]


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        (['="A1"', "B2"], {}),
        (["\u200bA1", "B2\u00a0"], {}),
        (["1.0", "2.0"], {}),
        (["001", "002"], {"ids": "numbers"}),
        (["1,0", "02"], {"ids": "numbers"}),
    ],
)
@pytest.mark.parametrize("said", [{}, {"join.on": "acc"}])
def test_keys_of_two_tables_are_compared_as_they_are_seen(tmp_path, keys, options, said):
    plain = ["A1", "B2"] if "B" in keys[1] else ["1", "2"]
    (tmp_path / "a.csv").write_text(f"mrn;acc;report\n71;{keys[0]};One here.\n72;{keys[1]};Two here.\n")
    (tmp_path / "b.csv").write_text(f"acc;site\n{plain[0]};north\n{plain[1]};south\n")
    both = {"join.table": "b.csv"} | said
    archive = ADAPTER.build(tmp_path / "a.csv", tmp_path / "out", **both, **options)
    assert archive.studies[["study_id", "site"]].to_numpy().tolist() == [
        [f"a:{plain[0]}", "north"], [f"a:{plain[1]}", "south"]
    ]  # fmt: skip
    if options:
        with pytest.raises(UsageError, match=r"\(007 and 7\), say --option ids=numbers"):
            ADAPTER.build(tmp_path / "a.csv", tmp_path / "out", **both)
