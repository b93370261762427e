from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest
import yaml

from lgdea.errors import ConfigError, DataError, UsageError
from lgdea.records.adapters.base import Explains
from lgdea.records.adapters.table.adapter import ADAPTER
from lgdea.records.adapters.table.mapping import TableMapping
from lgdea.records.cards import card_text
from lgdea.records.verify import verify
from tests.helpers.table_source import BOXES, ROWS, export

SPOILED = "P4;A5;07.03.2021;F;30;AP;img/gone.png;Clear.;;0;0;train"


def test_usual_names_need_no_mapping(tmp_path):
    archive = ADAPTER.build(export(tmp_path / "ours"), tmp_path / "out")
    assert archive.name == "studies"
    studies = archive.studies.set_index("study_id")
    assert studies["patient_id"].tolist() == ["studies:P1", "studies:P1", "studies:P2", "studies:P3"]
    assert studies["day"].tolist() == [0, 10, 0, 0]
    assert studies["sex"].tolist() == ["F", "F", "M", "M"]
    assert studies["age"].fillna(-1).tolist() == [64, 64, -1, 71]
    assert studies["split"].tolist() == ["train", "train", "test", "val"]
    images = archive.images.set_index("image_id")
    assert images["study_id"].to_dict() == {
        "studies:a1-pa": "studies:A1",
        "studies:a1-lat": "studies:A1",
        "studies:a2": "studies:A2",
        "studies:a3": "studies:A3",
    }
    assert images["view"].tolist() == ["PA", "LAT", "PA", "AP"]
    assert set(images["width"]) == {40}
    assert archive.image_path("studies:a2").is_file()
    assert archive.reports.set_index("study_id")["text"].to_dict() == {
        "studies:A1": "FINDINGS: Small left effusion.\nIMPRESSION: Effusion.",
        "studies:A2": 'FINDINGS: Effusion gone; heart normal.\nNo "new" opacity.',
        "studies:A4": "FINDINGS: Lungs clear.\nIMPRESSION: No acute disease.",
    }
    labels = archive.labels.set_index(["study_id", "finding"])["value"]
    assert labels.to_dict() == {
        ("studies:A1", "pleural_effusion"): 1,
        ("studies:A2", "pleural_effusion"): 0,
        ("studies:A3", "pleural_effusion"): -1,
        ("studies:A4", "pleural_effusion"): 0,
        ("studies:A1", "cardiomegaly"): 0,
        ("studies:A3", "cardiomegaly"): 1,  # the empty cell of A2 is no row
        ("studies:A4", "cardiomegaly"): 0,
    }
    assert archive.info["left_out"] == []
    assert not [p for p in verify(archive, workers=1) if p.severity == "error"]


def test_names_in_the_mapping_win_and_null_means_there_is_none(tmp_path):
    file = export(tmp_path / "ours")
    archive = ADAPTER.build(
        file, tmp_path / "out", dataset="ours", report="Impression", split=None, labels=None,
        **{"constants.modality": "DX", "constants.language": "de", "words.sex": {"m": None}},
    )  # fmt: skip
    assert archive.reports["text"].tolist() == ["Effusion.", "No acute disease."]
    assert set(archive.reports["language"]) == {"de"}
    assert set(archive.images["modality"]) == {"DX"}
    assert archive.labels.empty
    assert archive.studies["sex"].isna().tolist() == [False, False, True, True]
    assert archive.studies["split"].notna().all()  # by the patient's hash
    assert archive.studies.groupby("patient_id")["split"].nunique().max() == 1


def test_boxes_beside_the_table_are_found(tmp_path):
    file = export(tmp_path / "ours")
    (file.parent / "boxes.csv").write_text(BOXES)
    boxes = ADAPTER.build(file.parent, tmp_path / "out").boxes
    assert boxes[["image_id", "finding", "label", "laterality"]].values.tolist() == [
        ["ours:a1-pa", "pleural_effusion", "Effusion", "left"],
        ["ours:a3", "cardiomegaly", "Enlarged heart", "unspecified"],
    ]
    assert boxes[["x_min", "y_min", "x_max", "y_max"]].values.tolist() == [[2, 20, 12, 28], [5, 10, 30, 25]]


def test_a_row_per_box_is_one_image_with_its_labels_and_boxes(tmp_path):
    """The layout of box lists: an image stands in as many rows as it has boxes, or in one without coordinates."""
    file = export(tmp_path / "ours")
    table = file.with_name("list.csv")
    table.write_text(
        "image_id,class_name,x_min,y_min,x_max,y_max\n"
        "a2,No finding,,,,\n"
        "a3,Cardiomegaly,1,2,30,20\n"
        "a3,Cardiomegaly,1,2,31,20\n"
        "a3,Aortic enlargement,5,5,10,10\n"
        ",,,,,\n"
    )
    archive = ADAPTER.build(table, tmp_path / "out", patient=None)
    assert archive.images["image_id"].tolist() == ["list:a2", "list:a3"]
    assert archive.studies["study_id"].tolist() == ["list:a2", "list:a3"]
    assert archive.boxes[["box_id", "x_max"]].values.tolist() == [
        ["list:a3:box2", 30], ["list:a3:box3", 31], ["list:a3:box4", 10],
    ]  # fmt: skip
    assert set(archive.labels[["study_id", "finding"]].itertuples(index=False, name=None)) == {
        ("list:a2", "no_finding"), ("list:a3", "cardiomegaly"), ("list:a3", "aortic_enlargement"),
    }  # fmt: skip
    notes = " ".join(archive.info["notes"])
    for words in ("1 rows are wholly empty", "1 box rows have no coordinates", "the rows of one image are a study"):
        assert words in notes


def test_labels_of_images_are_recognised_or_asked_for(tmp_path):
    rows = tuple(
        row.replace("LAT;img/a1-lat.png;Small left effusion.;Effusion.;1", "LAT;img/a1-lat.png;;;0") for row in ROWS
    )
    file = export(tmp_path / "ours", rows[:4])
    labels = ADAPTER.build(file, tmp_path / "out").labels.query("finding == 'pleural_effusion'")
    assert labels[["image_id", "value"]].values.tolist() == [
        ["studies:a1-pa", 1], ["studies:a1-lat", 0], ["studies:a2", 0], ["studies:a3", -1],
    ]  # fmt: skip
    with pytest.raises(DataError, match="row 2: pleural_effusion of 'studies:A1' has another value"):
        ADAPTER.build(file, tmp_path / "out2", **{"labels.level": "study"})


def test_several_images_in_one_row(tmp_path):
    file = export(tmp_path / "ours")
    wide = file.with_name("wide.csv")
    wide.write_text("study_id,frontal,lateral,report\nA1,img/a1-pa.png,img/a1-lat.png,Clear.\nA2,img/a2.png,,Clear.\n")
    archive = ADAPTER.build(wide, tmp_path / "out", image={"frontal": "PA", "lateral": "LATERAL"}, patient=None)
    assert archive.images[["image_id", "study_id", "view"]].values.tolist() == [
        ["wide:a1-pa", "wide:A1", "PA"], ["wide:a1-lat", "wide:A1", "LATERAL"], ["wide:a2", "wide:A2", "PA"],
    ]  # fmt: skip


def test_words_that_are_no_findings_are_said_or_ignored(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("study_id,report,diagnosis\n1,Clear.,Effusion/Weird\n2,Clear.,Mass\n3,Clear.,Weird\n4,Clear.,\n")
    options = {"patient": None, "labels.words": "diagnosis", "labels.separator": "/", "labels.unlisted_is_absent": True}
    with pytest.raises(DataError, match="row 1: diagnosis: the vocabulary has no finding 'Weird'"):
        ADAPTER.build(file, tmp_path / "out", **options)
    labels = ADAPTER.build(file, tmp_path / "out", **options, **{"labels.findings": {"Weird": None}}).labels
    # Row 3 says nothing that is known and row 4 nothing at all: no rows, no zeros.
    assert sorted(labels[["study_id", "finding", "value"]].itertuples(index=False, name=None)) == [
        ("t:1", "mass", 0), ("t:1", "pleural_effusion", 1), ("t:2", "mass", 1), ("t:2", "pleural_effusion", 0),
    ]  # fmt: skip


def test_a_mapping_file_printed_by_the_dry_run_builds_the_same_archive(tmp_path):
    file = export(tmp_path / "ours")
    (file.parent / "boxes.csv").write_text(BOXES)
    facts = ADAPTER.explain(file).facts
    assert isinstance(ADAPTER, Explains)
    (tmp_path / "columns.yaml").write_text(facts["mapping"])
    TableMapping.model_validate(yaml.safe_load(facts["mapping"]))
    guessed = ADAPTER.build(file, tmp_path / "a")
    told = ADAPTER.build(file, tmp_path / "b", mapping=str(tmp_path / "columns.yaml"), guess=False)
    for name in ("studies", "images", "reports", "boxes", "labels"):
        assert getattr(guessed, name).equals(getattr(told, name)), name
    counts = {name: facts["archive"][name] for name in ("studies", "images", "reports", "boxes", "labels", "patients")}
    assert counts == {"studies": 4, "images": 4, "reports": 3, "boxes": 2, "labels": 7, "patients": 3}


def test_parquet_tsv_and_gzip_give_the_same_as_csv(tmp_path):
    file = export(tmp_path / "ours")
    frame = pd.read_csv(file, sep=";", dtype=str, keep_default_na=False)
    expected = ADAPTER.build(file, tmp_path / "csv", dataset="ours").labels
    frame.to_csv(file.parent / "t.tsv", sep="\t", index=False)
    with gzip.open(file.parent / "z.csv.gz", "wt", encoding="utf-8-sig") as stream:
        frame.to_csv(stream, index=False)
    typed = frame.assign(**{c: pd.to_numeric(frame[c]) for c in ("Pleural Effusion", "Cardiomegaly")})
    typed["Study Date"] = pd.to_datetime(typed["Study Date"], format="%d.%m.%Y")
    typed.to_parquet(file.parent / "p.parquet")
    for name in ("t.tsv", "z.csv.gz", "p.parquet"):
        archive = ADAPTER.build(file.parent / name, tmp_path / name, dataset="ours")
        assert archive.labels.equals(expected), name
        assert archive.studies["day"].tolist() == [0, 10, 0, 0]


@pytest.mark.parametrize(
    ("row", "kind", "message", "left"),
    [
        (SPOILED, "missing-image", "no image 'img/gone.png' under", {"studies": 5, "images": 4}),
        ("P4;A5;07.03.2021;F;30", "ragged-row", "has 5 cells where the header has 12", {"studies": 4}),
        (";A5;07.03.2021;F;30;AP;;Clear.;;0;0;train", "no-patient-id", "has no patient id", {"studies": 4}),
        ("P4;A4;07.03.2021;F;30;AP;;Clear.;;0;0;train", "two-patients", "the study 'studies:A4' belonged to another",
         {"studies": 4}),
        ("P4;A5;07.13.2021;F;30;AP;;Clear.;;0;0;train", "bad-date", "Study Date is '07.13.2021', not a date %d.%m.%Y",
         {"studies": 5}),
        ("P4;A5;07.03.2021;F;old;AP;;Clear.;;0;0;train", "bad-age", "Age is 'old', not an age in years",
         {"studies": 5}),
        ("P4;A5;07.03.2021;7;30;AP;;Clear.;;0;0;train", "bad-sex", "Sex is '7', not F or M", {"studies": 5}),
        ("P4;A5;07.03.2021;F;30;AP;;Clear.;;maybe so;0;train", "label-value", "Pleural Effusion is 'maybe so', not 1",
         {"studies": 5, "labels": 8}),
        ("P3;A5;07.03.2021;F;30;AP;;Clear.;;0;0;train", "patient-in-two-splits", "the patient 'studies:P3' is in two",
         {"studies": 5}),
        ("P3;A4;06.03.2021;F;71;AP;;Lungs clear.;No acute disease.;0;0;valid", "sex-differs",
         "sex differs from an earlier row of the study 'studies:A4'", {"studies": 4}),
        ("P3;A4;06.03.2021;M;71;AP;;Other words.;;0;0;valid", "two-reports", "the study 'studies:A4' has another text",
         {"studies": 4, "reports": 3}),
        ("P3;A4;06.03.2021;M;71;AP;;;;1;0;valid", "labels-differ", "pleural_effusion of 'studies:A4' has another value",
         {"studies": 4, "labels": 7}),
        ("P2;A5;05.03.2021;M;;AP;img/a3.png;Clear.;;0;0;test", "image-in-two-studies",
         "the image 'img/a3.png' belongs to another study", {"studies": 5, "images": 4}),
        ("P4;A5;07.03.2021;F;30;AP;;;;0;0;train", "nothing-in-study",
         "the study 'studies:A5' has neither an image nor a report", {"studies": 4}),
    ],
)  # fmt: skip
def test_a_bad_row_stops_the_build_by_name_or_is_left_out_and_counted(tmp_path, row, kind, message, left):
    file = export(tmp_path / "ours", (*ROWS, row))
    with pytest.raises(DataError, match=rf"studies.csv row 6: {message}.*--dry-run shows all"):
        ADAPTER.build(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    problems = ADAPTER.explain(file).facts["problems"]
    assert [(p["kind"], p["count"], p["rows"]) for p in problems][:1] == [(kind, 1, [6])]
    archive = ADAPTER.build(file, tmp_path / "out", on_problem="leave_out")
    assert archive.info["left_out"] == problems
    assert {name: len(getattr(archive, name)) for name in left} == left
    assert not [p for p in verify(archive, workers=1) if p.severity == "error"]


def test_an_unreadable_image_is_a_problem_of_its_row(tmp_path):
    file = export(tmp_path / "ours")
    (file.parent / "img" / "a2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"row 3: the image .*a2.png: is no PNG, JPEG or DICOM file"):
        ADAPTER.build(file, tmp_path / "out")
    facts = ADAPTER.explain(file).facts
    assert {key: facts["images"][key] for key in ("named", "found", "missing", "unreadable")} == {
        "named": 4, "found": 3, "missing": 0, "unreadable": 1,
    }  # fmt: skip


def test_a_patient_on_two_sides_goes_to_the_stricter_one(tmp_path):
    rows = tuple(row.replace("P2;A3", "P1;A3").replace("05.03.2021;m", "05.03.2021;f") for row in ROWS)
    archive = ADAPTER.build(export(tmp_path / "ours", rows), tmp_path / "out", on_problem="leave_out")
    sides = archive.studies.set_index("study_id")["split"]
    assert sides.to_dict() == {"studies:A1": "test", "studies:A2": "test", "studies:A3": "test", "studies:A4": "val"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"report": "impresion"}, "has no column 'impresion' .report.; there are Patient ID, Accession"),
        ({"report": "impression"}, "did you mean 'Impression'?"),
        ({"colour": 1}, "^--option colour=1: no such key"),
        ({"report": "Findings", "sections": ["Impression"]}, "report and sections both say where the text is"),
        ({"labels.columns": ["Age"]}, "the label column 'Age' names no finding"),
        ({"labels.columns": {"Age": "unicorn"}}, "the label column 'Age' names no finding"),
        ({"labels.codes": "icd10"}, "no code system 'icd10'; known are chexpert14"),
        ({"labels.findings": {"x": "Effusion"}}, "which is no finding of the vocabulary; did you mean 'pleural_"),
        ({"boxes.table": "none.csv"}, "none.csv: no such table"),
        ({"image_root": "nowhere"}, "nowhere: no such folder"),
        ({"guess": False}, "no column of images or reports is known"),
        ({"mapping": "none.yaml"}, "none.yaml: no such configuration file"),
        ({"date_format": "%Y"}, "not a date %Y"),
    ],
)  # fmt: skip
def test_a_bad_request_is_one_clear_line(tmp_path, options, message):
    file = export(tmp_path / "ours")
    with pytest.raises((UsageError, ConfigError, DataError), match=message) as error:
        ADAPTER.build(file, tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_dates_that_can_be_read_in_two_ways_are_refused(tmp_path):
    rows = tuple(row.replace("31.12.2019", "01/12/2019").replace("10.01.2020", "02/12/2019")
                 .replace("05.03.2021", "05/03/2021").replace("06.03.2021", "06/03/2021") for row in ROWS)  # fmt: skip
    file = export(tmp_path / "ours", rows)
    with pytest.raises(UsageError, match=r"can be read as %d/%m/%Y or as %m/%d/%Y; say which, --option date_format"):
        ADAPTER.build(file, tmp_path / "out")
    days = [ADAPTER.build(file, tmp_path / f, date_format=form).studies["day"].tolist()
            for f, form in (("d", "%d/%m/%Y"), ("m", "%m/%d/%Y"))]  # fmt: skip
    assert [found[1] for found in days] == [1, 31]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv: is empty"),
        ("t.csv", b"path,report\n", "t.csv: has no rows"),
        ("t.csv", b"path,report\n,\n", "t.csv: has no rows"),
        ("t.csv", b"path,report\n1\n2\n", r"t.csv row 1: has 1 cells where the header has 2 .and 1 more problems."),
        ("t.csv", "path,report\nx,Müller\n".encode("latin-1"), r"t.csv row 1: is not UTF-8; save it as UTF-8, or say"),
        ("t.csv", b"path,report,path\n", "has two columns 'path'"),
        ("t.parquet", b"PAR1", "t.parquet: cannot be read"),
        ("t.xlsx", b"PK", "is a spreadsheet; save it as CSV"),
        ("t.json", b"{}", "is no table; write it as CSV or Parquet; known endings"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, UsageError), match=message):
        ADAPTER.build(tmp_path / name, tmp_path / "out")


def test_another_encoding_can_be_said(tmp_path):
    (tmp_path / "t.csv").write_bytes("study;text\n1;Kein Erguß\n".encode("cp1252"))
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", encoding="cp1252", patient=None)
    assert archive.reports["text"].tolist() == ["Kein Erguß"]


def test_a_folder_with_several_tables_asks_which(tmp_path):
    file = export(tmp_path / "ours")
    (file.parent / "more.csv").write_text("a,b\n")
    with pytest.raises(
        UsageError, match=r"holds 2 tables \(more.csv, studies.csv\); name one with --option table=FILE"
    ):
        ADAPTER.build(file.parent, tmp_path / "out")
    assert ADAPTER.build(file.parent, tmp_path / "out", table="studies.csv").name == "ours"


def test_the_explanation_never_shows_report_text(tmp_path):
    rows = (*ROWS, "P3;A4;06.03.2021;M;71;AP;;SECRET words;;0;0;valid", "P9;A9;06.03.2021;M;71;AP;;SECRET")
    explanation = ADAPTER.explain(export(tmp_path / "ours", rows))
    shown = "\n".join(explanation.lines) + json.dumps(explanation.facts)
    assert not explanation.would_build
    for words in ("SECRET", "Lungs clear", "No acute", "Small left"):
        assert words not in shown
    for words in ("Patient ID: 6 filled, 3 distinct", "Pleural Effusion -> pleural_effusion: 1 x 1", "two-reports"):
        assert words in shown


def test_report_files_are_read_and_missing_ones_named(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "1.txt").write_text("Clear.\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text("study_id,report\n1,1.txt\n2,2.txt\n")
    with pytest.raises(DataError, match=r"t.csv row 2: no report '2.txt' under .*texts"):
        ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", report_root="texts", patient=None)
    archive = ADAPTER.build(
        tmp_path / "t.csv", tmp_path / "out", report_root="texts", patient=None, on_problem="leave_out"
    )
    assert archive.reports[["study_id", "text"]].values.tolist() == [["t:1", "Clear.\n"]]


def test_the_card_lists_every_field():
    text = card_text("table")
    for field in TableMapping.model_fields:
        assert f"`{field}" in text, field
