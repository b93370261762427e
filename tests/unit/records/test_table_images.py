"""Images by what cells call them: paths of other machines, names, lists, folders; and what is not there."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lgdea.errors import DataError
from lgdea.records.adapters.table.adapter import ADAPTER
from lgdea.records.adapters.table.finder import Finder, split_paths
from lgdea.records.verify import verify
from tests.helpers.dataset_layouts import picture


def _pictures(folder: Path, *names: str) -> None:
    rng = np.random.default_rng(len(names))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(folder / name, rng, 24, 16)


def _build(folder: Path, rows: list[tuple[str, ...]], header: str = "patient;study;file;report", **options):
    table = folder / "t.csv"
    table.write_text("\n".join([header, *(";".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return ADAPTER.build(table, folder / "out", **options)


def _rows(*cells: str) -> list[tuple[str, ...]]:
    return [(f"p{n}", f"s{n}", cell, f"Report {n}.") for n, cell in enumerate(cells)]


@pytest.mark.parametrize(
    ("file", "cell"),
    [
        ("pat1/a.png", r"D:\PACS\export\pat1\a.png"),
        ("export/pat1/a.png", r"D:\PACS\export\pat1\a.png"),
        ("a.png", r"d:/PACS/a.png"),
        ("pat1/a.png", r"\\server\share\pat1\a.png"),
        ("pat1/a.png", "/mnt/store/pat1/a.png"),
        ("pat1/a.png", r"export/pat1\a.png"),
        ("data/pat1/a.png", "pat1/a.png"),
        ("my scan 1.png", "my%20scan%201.png"),
        ("im/a.png", "file:///C:/x/im/a.png"),
        ("Im/A1.PNG", "im/a1.png"),
        ("deep/down/a.png", "a"),
        ("deep/IM000001", "IM000001"),
        (unicodedata.normalize("NFD", "Müller.png"), unicodedata.normalize("NFC", "Müller.png")),
        (unicodedata.normalize("NFC", "Müller.png"), unicodedata.normalize("NFD", "x/Müller.png")),
        ("a.png", " 'a.png' "),
        ("a.png", ".\\a.png"),
    ],
)
def test_a_path_of_another_machine_is_found_by_its_end(tmp_path, file, cell):
    _pictures(tmp_path, "x.png")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "x.png").rename(tmp_path / file)
    archive = _build(tmp_path, _rows(cell))
    assert archive.image_path(archive.images["image_id"][0]).samefile(tmp_path / file)


@pytest.mark.parametrize(
    ("files", "cell", "reason", "remedy"),
    [
        (["p1/frontal.png", "p2/frontal.png"], "frontal.png", "2 files below", "image_path={patient column}/"),
        (["p3/frontal.png"], "p1/frontal.png", "where the file of this name is 'p3/frontal.png'", "correct the folder"),
        (["a.png"], "a.dcm", "which holds 'a.png'", "--option any_ending=true"),
        (["a.png"], "b.png", "no image 'b.png' under", "--option image_root=FOLDER"),
        (["p3/frontal.png"], r"D:\x\p1\frontal.png", "where the file of this name is", "correct the folder"),
    ],
)  # fmt: skip
def test_why_an_image_is_not_found_and_what_helps(tmp_path, files, cell, reason, remedy):
    _pictures(tmp_path, *files)
    with pytest.raises(DataError, match="row 1") as error:
        _build(tmp_path, _rows(cell))
    assert reason in str(error.value)
    assert remedy in str(error.value)


def test_the_remedies_for_lost_images_work(tmp_path):
    _pictures(tmp_path, "p0/frontal.png", "p1/frontal.png", "b.png")
    archive = _build(tmp_path, _rows("frontal.png", "frontal.png"), image_path="{patient}/{file}")
    assert archive.images["path"].tolist() == ["p0/frontal.png", "p1/frontal.png"]
    assert archive.images["image_id"].tolist() == ["t:p0/frontal", "t:p1/frontal"]
    assert _build(tmp_path, _rows("b.dcm"), any_ending=True).images["path"].tolist() == ["b.png"]
    _pictures(tmp_path / "elsewhere", "in/c.png")
    archive = _build(tmp_path / "elsewhere", _rows("c.png"), image_root="in")
    assert archive.images["path"].tolist() == ["c.png"]


def test_a_file_that_several_folders_name_is_not_taken_for_all(tmp_path):
    _pictures(tmp_path, "frontal.png")
    with pytest.raises(DataError, match=r"no image 'p0/frontal.png' under"):
        _build(tmp_path, _rows("p0/frontal.png", "p1/frontal.png"))


def test_links_to_folders_are_followed_once(tmp_path):
    _pictures(tmp_path / "store", "deep/a.png")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "images").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "back").symlink_to(tmp_path / "ours")
    archive = _build(tmp_path / "ours", _rows("a.png"))
    assert archive.images["path"].tolist() == ["images/deep/a.png"]


def test_several_images_in_a_cell(tmp_path):
    _pictures(tmp_path, "a.png", "b.png", "c.png", "d,e.png", "f.png", "g.png")
    rows = _rows("a.png|b.png", "['c.png', 'd,e.png']", "f.png, g.png")
    archive = _build(tmp_path, rows)
    assert archive.images.groupby("study_id")["path"].apply(list).tolist() == [
        ["a.png", "b.png"], ["c.png", "d,e.png"], ["f.png", "g.png"],
    ]  # fmt: skip
    rows = [(*row, view) for row, view in zip(rows, ("PA|LAT", "['PA', 'LL']", "AP"), strict=True)]
    archive = _build(tmp_path, rows, "patient;study;file;report;view")
    assert archive.images["view"].tolist() == ["PA", "LAT", "PA", "LL", "AP", "AP"]
    assert not [problem for problem in verify(archive, workers=1) if problem.severity == "error"]


@pytest.mark.parametrize(
    ("cell", "paths"),
    [
        ("a.png;b.png", ["a.png", "b.png"]), ("IM1;IM2", ["IM1", "IM2"]), ("a, left.png", ["a, left.png"]),
        ("a.png b.jpg", ["a.png", "b.jpg"]), ("scan 1.png", ["scan 1.png"]), ("x\ny", ["x", "y"]),
        ("(a).png", ["(a).png"]), ('["im/a.png"]', ["im/a.png"]), ("a.dcm , b.dcm", ["a.dcm", "b.dcm"]),
        ("Case; odd.png", ["Case; odd.png"]),
    ],
)  # fmt: skip
def test_what_a_cell_lists(cell, paths):
    assert split_paths(cell) == paths


def test_a_folder_per_study(tmp_path):
    _pictures(tmp_path, "data/s0/2.png", "data/s0/1.png", "data/s1/x/1.jpg")
    (tmp_path / "data/s0/notes.txt").write_text("no picture")
    (tmp_path / "data/s0/1.png").rename(tmp_path / "data/s0/IM0001")
    archive = _build(tmp_path, _rows("data/s0", "data/s1"), "patient;study;Ordner;report")
    assert archive.images[["study_id", "path"]].values.tolist() == [
        ["t:s0", "data/s0/2.png"], ["t:s0", "data/s0/IM0001"], ["t:s1", "data/s1/x/1.jpg"]
    ]  # fmt: skip
    (tmp_path / "data/s2").mkdir()
    with pytest.raises(DataError, match=r"the folder 'data/s2' below .* holds no image"):
        _build(tmp_path, _rows("data/s0", "data/s2"))


def test_a_second_column_of_images(tmp_path):
    _pictures(tmp_path, "a.png", "b.png", "c.png", "d.png")
    rows = [("p", "s1", "a.png", "b.png", "One."), ("p", "s2", "c.png", "", "Two.")]
    archive = _build(tmp_path, rows, "patient;study;frontal_path;lateral_path;report")
    assert archive.images[["path", "view"]].values.tolist() == [
        ["a.png", "frontal"], ["b.png", "lateral"], ["c.png", "frontal"]
    ]  # fmt: skip
    archive = _build(tmp_path, rows, "patient;study;image;image_2;report")
    assert archive.images["path"].tolist() == ["a.png", "b.png", "c.png"]


def test_one_picture_in_two_forms_is_taken_once(tmp_path):
    _pictures(tmp_path, "png/a.png")
    rows = [("p", "dcm/a.dcm", "png/a.png", "One.")]
    archive = _build(tmp_path, rows, "patient;DicomPath;PngPath;report")
    assert archive.images["path"].tolist() == ["png/a.png"]
    assert any(note.startswith("DicomPath names the pictures of PngPath") for note in archive.info["notes"])


def test_no_image_is_found(tmp_path):
    boxes = "image_id,class_name,x_min,y_min,x_max,y_max\nabc,Cardiomegaly,1,2,3,4\n"
    (tmp_path / "b.csv").write_text(boxes)
    explanation = ADAPTER.explain(tmp_path / "b.csv")
    kinds = [problem["kind"] for problem in explanation.facts["problems"]]
    assert kinds == ["no-patient-column", "missing-image", "nothing-in-study", "box-without-image"]
    with pytest.raises(DataError, match=r"no study would be left: no image 'abc' under .*; --dry-run shows"):
        ADAPTER.build(tmp_path / "b.csv", tmp_path / "out", patient=None, on_problem="leave_out", boxes=None)
    archive = _build(tmp_path, _rows("gone.png"), on_problem="leave_out")
    assert archive.images.empty
    assert archive.reports["text"].tolist() == ["Report 0."]


def test_what_is_left_out_is_grouped_by_reason_and_all_of_it_is_written(tmp_path):
    good = [f"im/{n}.png" for n in range(3)]
    _pictures(tmp_path, *good, "other/x.png")
    for n in range(30):
        (tmp_path / f"im/empty{n}.png").write_bytes(b"")
    for n in range(2):
        (tmp_path / f"im/text{n}.png").write_bytes(b"words, no picture")
    cells = [*good, *(f"im/empty{n}.png" for n in range(30)), *(f"im/text{n}.png" for n in range(2)),
             *(f"im/gone{n}.png" for n in range(25)), "x.dcm"]  # fmt: skip
    archive = _build(tmp_path, _rows(*cells), on_problem="leave_out")
    assert archive.info["left_out"][0]["kind"] == "missing-image"
    assert [(p["kind"], p["count"]) for p in archive.info["left_out"]] == [
        ("missing-image", 25), ("missing-image", 1), ("unreadable-image", 30), ("unreadable-image", 2),
    ]  # fmt: skip
    rows = pd.read_parquet(tmp_path / "out" / "left_out.parquet")
    assert len(rows) == 58
    assert rows["kind"].value_counts().to_dict() == {"unreadable-image": 32, "missing-image": 26}
    assert rows["reason"].nunique() == 4
    first = rows[rows["kind"] == "unreadable-image"].iloc[0]
    assert first[["file", "row", "study_id", "patient_id"]].tolist() == ["t.csv", 4, "t:s3", "t:p3"]
    assert "is an empty file" in first["reason"]
    clean = _build(tmp_path, _rows(*good))
    assert clean.info["left_out"] == []
    assert not (tmp_path / "out" / "left_out.parquet").exists()


def test_searching_counts_what_was_found_by_its_end(tmp_path):
    _pictures(tmp_path, "a/b.png")
    finder = Finder(tmp_path)
    assert finder.find("a/b.png").paths == ("a/b.png",)
    assert finder.by_name == 0
    assert finder.find("/x/a/b.png").paths == ("a/b.png",)
    assert finder.by_name == 1


@pytest.mark.parametrize("nothing", ["", "NA", "-", "null"])
def test_a_second_image_column_may_have_cells_that_say_nothing(tmp_path, nothing):
    _pictures(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "t.csv").write_text(f"mrn;acc;pa_file;lat_file\n1;A;a.png;b.png\n2;B;c.png;{nothing}\n")
    images = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out").images
    assert images[["path", "view"]].to_numpy().tolist() == [["a.png", "PA"], ["b.png", "lateral"], ["c.png", "PA"]]


def test_a_column_of_text_files_is_that_of_the_reports_whatever_its_name(tmp_path):
    _pictures(tmp_path, "a.png", "b.png")
    for name in ("1", "2"):
        (tmp_path / f"{name}.txt").write_text(f"Report {name}.")
    (tmp_path / "t.csv").write_text("mrn;acc;file;image_path\n1;A;1.txt;a.png\n2;B;2.txt;b.png\n")
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out")
    assert archive.reports["text"].tolist() == ["Report 1.", "Report 2."]
    assert archive.images["path"].tolist() == ["a.png", "b.png"]
