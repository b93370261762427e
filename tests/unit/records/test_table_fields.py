from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.errors import UsageError
from lgdea.records.adapters.table import fields, guess
from lgdea.records.adapters.table.boxes import box_table
from lgdea.records.adapters.table.fields import Cells
from lgdea.records.adapters.table.findings import check_words, match_finding
from lgdea.records.adapters.table.mapping import BoxMapping, LabelMapping, TableMapping
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.adapters.table.reading import read_source
from lgdea.records.adapters.table.text import TextFormat
from lgdea.vocabulary import load_vocabulary

IMAGES = pd.DataFrame(
    {"image_id": ["x:a", "x:b"], "path": ["i/a.png", "i/b.png"], "cell": ["i/a.png", "i/b.png"], "row": [1, 2],
     "width": [400, 1000], "height": [300, 500]}
)  # fmt: skip


def _cells(frame: pd.DataFrame, problems: RowProblems) -> Cells:
    frame = frame.astype("str").set_axis(pd.RangeIndex(1, len(frame) + 1))
    return Cells(frame, Path("t.csv"), empty=["na"], words={}, problems=problems)


def _boxes(rows: list[tuple], **mapping) -> tuple[pd.DataFrame, RowProblems, str]:
    problems = RowProblems()
    frame = pd.DataFrame(rows, columns=["image", "finding", "a", "b", "c", "d"])
    table, counts = box_table(_cells(frame, problems), BoxMapping(table="t.csv", image="image", finding="finding",
                              x_min="a", y_min="b", **mapping), IMAGES, problems)  # fmt: skip
    return table, problems, counts.unit


corner = st.floats(0, 1, allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(st.tuples(corner, corner, corner, corner).filter(lambda c: c[2] - c[0] > 1e-6 and c[3] - c[1] > 1e-6))
def test_fractions_pixels_widths_and_another_frame_are_one_box(c):
    x0, y0, x1, y1 = c
    far = {"x_max": "c", "y_max": "d"}
    size = {"width": "c", "height": "d"}
    pixels = (x0 * 1000, y0 * 500, x1 * 1000, y1 * 500)
    found = [
        _boxes([("b", "mass", *c)], unit="fractions", **far)[0],
        _boxes([("b.png", "mass", *pixels)], unit="pixels", **far)[0],
        _boxes([("x:b", "mass", pixels[0], pixels[1], pixels[2] - pixels[0], pixels[3] - pixels[1])],
               unit="pixels", **size)[0],
        _boxes([("i/b.png", "mass", x0 * 64, y0 * 32, x1 * 64, y1 * 32)], unit="pixels", frame=(64, 32), **far)[0],
    ]  # fmt: skip
    for table in found:
        np.testing.assert_allclose(table[["x_min", "y_min", "x_max", "y_max"]].to_numpy()[0], pixels, atol=1e-6)
        assert table["image_id"].tolist() == ["x:b"]


def test_the_unit_is_recognised():
    far = {"x_max": "c", "y_max": "d"}
    assert _boxes([("a", "mass", 0.1, 0.1, 0.5, 1.0)], **far)[2] == "fractions"
    assert _boxes([("a", "mass", 0.1, 0.1, 0.5, 1.0), ("a", "mass", 3, 3, 9, 9)], **far)[2] == "pixels"


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (("a", "mass", 1, 2, "x", 9), "box-number"),
        (("a", "mass", 1, 2, "", 9), "box-number"),
        (("a", "mass", 1, 2, "inf", 9), "box-number"),
        (("a", "mass", 9, 2, 5, 9), "box-empty"),
        (("a", "mass", 390, 2, 402, 9), "box-outside"),
        (("z", "mass", 1, 2, 5, 9), "box-without-image"),
        (("a", "unicorn", 1, 2, 5, 9), "box-word"),
    ],
)
def test_a_box_that_cannot_be_is_a_problem_of_its_row(row, kind):
    rows = [("a", "mass", 1, 2, 5, 9), row, ("a", "nothing", "", "", "NA", "")]
    table, problems, _ = _boxes(rows, x_max="c", y_max="d")
    assert [(p.kind, p.rows) for p in problems.found] == [(kind, (2,))]
    assert table["box_id"].tolist() == ["x:a:box1"]


def test_a_structure_is_an_anatomy_box_with_its_own_side():
    table, problems, _ = _boxes([("a", "Right Lung", 1, 2, 5, 9)], x_max="c", y_max="d")
    assert table[["finding", "kind", "laterality"]].values.tolist() == [["right_lung", "anatomy", "right"]]
    assert not problems.found
    with pytest.raises(UsageError, match="no column is known for the boxes' x_min, y_min and x_max"):
        _boxes([("a", "mass", 1, 2, 5, 9)])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.dates(date(1970, 1, 1), date(2060, 1, 1)), min_size=1, max_size=8), st.sampled_from(fields.DATE_FORMATS)
)
def test_dates_are_read_back_in_some_format_that_fits_all(days, form):
    cells = [day.strftime(form) for day in days]
    formats = fields.date_formats(cells)
    assert form in formats
    assert [fields.date(cell, form) for cell in cells] == [day.toordinal() for day in days]
    if any(day.day > 12 for day in days):  # nothing else is left, but for two spellings of one month's name
        assert {tuple(fields.date(cell, f) for cell in cells) for f in formats} == {tuple(d.toordinal() for d in days)}


@pytest.mark.parametrize(
    "time", ["", " 12:30", "T12:30:59", " 12:30:59.123456", " 00:00:00+01:00", " 1:05 PM", "T00:00:00Z"]
)
def test_the_time_of_the_day_is_left_out(time):
    day = date(2020, 2, 29)
    assert fields.date_formats([f"2020-02-29{time}"]) == ["%Y-%m-%d"]
    assert fields.date(f"2020-02-29{time}", "%Y-%m-%d") == day.toordinal()
    assert fields.date("20200301", "%Y%m%d") == (day + timedelta(1)).toordinal()


def test_most_cells_say_which_format_it_is():
    assert fields.date_formats(["31.12.2019", "30.11.2019", "unclear"]) == ["%d.%m.%Y"]
    assert fields.date_formats(["unclear", "words", "31.12.2019"]) == []
    assert fields.date_formats(["2020111"]) == []


def test_every_finding_is_found_by_its_id_and_its_name():
    vocabulary = load_vocabulary()
    for key, finding in vocabulary.findings.items():
        assert match_finding(key) == key
        assert match_finding(key.upper().replace("_", "-")) == key
        assert match_finding(finding.name) == key


@pytest.mark.parametrize("system", ["chexpert14", "nih14", "openi14"])
def test_the_classes_of_known_datasets_are_found_by_their_names(system):
    vocabulary = load_vocabulary()
    for scored in vocabulary.classes(system):
        assert match_finding(scored.name) == vocabulary.from_code(system, scored.name), scored.name


def test_plurals_and_ambiguous_words():
    assert match_finding("Ground Glass Opacities") == "ground_glass_opacity"
    assert match_finding("Pleural_Effusions") == "pleural_effusion"
    assert match_finding("masses") == "mass"
    assert match_finding("atelectasis") == "atelectasis"
    assert match_finding("s") is None


def test_own_words_come_first_and_null_ignores():
    own = {"Mass": "nodule", "todo": None}
    assert match_finding("Mass", own) == "nodule"
    assert match_finding("todo", own) is None
    check_words(own, "padchest")
    with pytest.raises(UsageError, match="'Mass' is mapped to 'thing'"):
        check_words({"Mass": "thing"}, None)


def test_yaml_truth_values_are_the_words_that_were_written():
    mapping = TableMapping.model_validate({"labels": {"columns": ["a"], "values": {True: 1, False: 0, 2: -1}}})
    assert mapping.labels == LabelMapping(
        columns=["a"], values={"true": 1, "yes": 1, "on": 1, "false": 0, "no": 0, "off": 0, "2": -1}
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"subject_id": "1", "study_id": "2", "dicom_id": "d", "path": "a.png", "ViewPosition": "PA"},
         {"patient": ["subject_id"], "study": ["study_id"], "image_id": "dicom_id", "image": ["path"],
          "view": "ViewPosition"}),
        ({"Path": "a/b.jpg", "Sex": "Male", "Age": "68", "Pleural Effusion": "1.0", "No Finding": ""},
         {"image": ["Path"], "sex": "Sex", "age": "Age", "labels": {"columns": ["Pleural Effusion"]}}),
        ({"accession": "1", "impression": "Clear.", "set": "7", "offset": "left"},
         {"study": ["accession"], "sections": ["impression"]}),
        ({"image": "a.png", "findings": "mass|nodule"}, {"image": ["image"], "labels": {"words": "findings"}}),
        ({"image": "a.png", "report": "r/1.txt"}, {"image": ["image"], "report_file": "report"}),
        ({"image_id": "a", "class_name": "Mass", "x_min": "1", "y_min": "2", "x_max": "3", "y_max": "4", "width": "9"},
         {"image_id": "image_id", "image": ["image_id"], "labels": {"words": "class_name"},
          "boxes": {"x_min": "x_min", "y_min": "y_min", "x_max": "x_max", "y_max": "y_max", "finding": "class_name"}}),
    ],
)  # fmt: skip
def test_usual_columns_are_recognised(columns, expected, tmp_path):
    frame = pd.DataFrame([columns], index=[1], dtype="str")
    mapping, guessed, _ = guess.complete(TableMapping(), frame, tmp_path / "t.csv", tmp_path / "t.csv")
    found = mapping.model_dump(exclude_unset=True, exclude_none=True)
    assert found == {"dataset": "t", **expected}
    assert set(guessed) == set(found)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)] * 2), max_size=6)
)
def test_any_cells_are_read_back_from_csv_with_their_row_numbers(tmp_path_factory, rows):
    import csv

    file = tmp_path_factory.mktemp("csv") / "t.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerows([("a", "b"), *rows])
    problems = RowProblems()
    frame = read_source(file, problems, TextFormat(header=1)).frame  # cells may be known names of columns
    assert list(frame.itertuples(name=None)) == [(number, *row) for number, row in enumerate(rows, start=1)]
    assert not problems.found


@pytest.mark.parametrize("rows", [["12;mass", "13;nodule"], ["12;mass", "13;mass"], ["0;study"]])
def test_names_that_are_not_known_are_the_header_above_words_that_are(rows, tmp_path):
    (tmp_path / "t.csv").write_text("\n".join(["nummer;beoordeling", *rows]) + "\n")
    frame = read_source(tmp_path / "t.csv", RowProblems()).frame
    assert frame.columns.tolist() == ["nummer", "beoordeling"]
    assert len(frame) == len(rows)


def test_ragged_rows_are_numbered_past_line_breaks_in_cells(tmp_path):
    (tmp_path / "t.csv").write_text('a,b\n1,"x\ny\nz"\n2\n3,4,5\n6,7\n8\n')
    problems = RowProblems()
    frame = read_source(tmp_path / "t.csv", problems).frame
    assert frame.index.tolist() == [1, 4]
    assert [(p.kind, p.rows, p.count) for p in problems.found] == [("ragged-row", (2, 3, 5), 3)]
