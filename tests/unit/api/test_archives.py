"""Archives from data frames: what must be given, what is made up, and wrong frames named by table and row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lgdea
from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.records.verify import verify

Frames = dict[str, Any]


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    """Three studies of two patients; ids are numbers, as a database exports them."""
    for number in (1, 2, 3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 30), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"x{number}.png")
    return {
        "images": pd.DataFrame({"study_id": [1, 2, 3], "path": ["x1.png", "x2.png", tmp_path / "x3.png"]}),
        "reports": pd.DataFrame(
            {"study_id": [1, 3], "patient_id": [7, 8], "text": ["Left effusion.", "Clear."]}, index=[50, 60]
        ),
        "studies": pd.DataFrame({"study_id": [1, 2, 3], "patient_id": [7, 7, 8], "age": [40, None, 71]}),
        "labels": pd.DataFrame({"study_id": [1, 3], "Pleural effusion": [1, 0], "cardiomegaly": [None, -1]}),
        "boxes": pd.DataFrame(
            {"image_id": ["x1", "x1"], "finding": "effusion", "x_min": 1, "y_min": 2, "x_max": [9, 20], "y_max": 30}
        ),
        "image_root": tmp_path,
    }


def test_an_archive_of_frames_holds_what_they_say(frames: Frames, tmp_path: Path) -> None:
    archive = lgdea.build_archive("mine", out=tmp_path / "out", **frames)
    assert list(archive.studies["patient_id"]) == ["mine:7", "mine:7", "mine:8"]
    assert archive.studies["split"].iloc[0] == archive.studies["split"].iloc[1]
    assert archive.images[["image_id", "width", "height"]].to_numpy().tolist() == [
        ["mine:x1", 30, 40],
        ["mine:x2", 30, 40],
        ["mine:x3", 30, 40],
    ]
    assert list(archive.reports["report_id"]) == ["mine:1", "mine:3"]
    labels = archive.labels.set_index(["study_id", "finding"])["value"].to_dict()
    assert labels == {
        ("mine:1", "pleural_effusion"): 1,
        ("mine:3", "pleural_effusion"): 0,
        ("mine:3", "cardiomegaly"): -1,
    }
    assert list(archive.boxes["box_id"]) == ["mine:x1-1", "mine:x1-2"]
    assert set(archive.boxes["finding"]) == {"pleural_effusion"}
    assert set(archive.boxes["label"]) == {"effusion"}
    assert [problem for problem in verify(archive) if problem.severity == "error"] == []
    assert archive.info["notes"] == []


def test_studies_and_patients_come_from_the_other_frames(frames: Frames, tmp_path: Path) -> None:
    archive = lgdea.build_archive(
        "mine", images=frames["images"].iloc[[0, 2]], reports=frames["reports"], image_root=tmp_path, out=tmp_path / "o"
    )
    assert archive.studies[["study_id", "patient_id"]].to_numpy().tolist() == [
        ["mine:1", "mine:7"],
        ["mine:3", "mine:8"],
    ]


def test_without_patients_each_study_is_one_and_this_is_said(
    frames: Frames, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = lgdea.build_archive("mine", images=frames["images"], image_root=tmp_path, out=tmp_path / "o")
    assert list(archive.studies["patient_id"]) == ["mine:1", "mine:2", "mine:3"]
    assert "each study counts as a patient" in caplog.text
    assert "each study counts as a patient" in archive.info["notes"][0]


def test_several_reports_of_a_study_are_numbered_and_ids_with_the_prefix_stay(tmp_path: Path) -> None:
    reports = pd.DataFrame({"study_id": ["a:1", "a:1", "2"], "text": ["x", "y", "z"]})
    archive = lgdea.build_archive("a", reports=reports, out=tmp_path / "o")
    assert list(archive.reports["report_id"]) == ["a:1-1", "a:1-2", "a:2-1"]


def _set(frames: Frames, table: str, row: int, column: str, value: Any) -> None:
    frames[table] = frames[table].astype({column: object}) if column in frames[table] else frames[table]
    frames[table].loc[frames[table].index[row - 1], column] = value


WRONG_CELLS = [
    ("images", 2, "path", "nowhere.png", "images row 2: 'nowhere.png' does not exist"),
    ("images", 3, "path", None, "images row 3: path is empty"),
    ("images", 2, "study_id", 9, "images row 2: study_id 'mine:9' is not in studies"),
    ("reports", 2, "text", None, "reports row 2: text:"),
    ("reports", 1, "study_id", None, "reports row 1: study_id is empty"),
    ("studies", 2, "study_id", 1, "studies row 2: study_id 'mine:1' is there already"),
    ("studies", 3, "patient_id", None, "studies row 3: the study 'mine:3' has no patient_id"),
    ("studies", 1, "age", 400, "studies row 1: age:"),
    ("labels", 2, "cardiomegaly", 2, "labels row 2: the value of cardiomegaly is 2"),
    ("labels", 1, "study_id", 5, "labels row 1: study_id 'mine:5' is not in studies"),
    ("boxes", 2, "finding", "unicorn", "boxes row 2: 'unicorn' is no finding of the vocabulary"),
    ("boxes", 1, "image_id", "x9", "boxes row 1: image_id 'mine:x9' is not in images"),
    ("boxes", 2, "x_max", 0, "boxes row 2: row:"),
]


@pytest.mark.parametrize(("table", "row", "column", "value", "message"), WRONG_CELLS)
def test_a_wrong_cell_is_named_by_table_and_row(
    frames: Frames, tmp_path: Path, table: str, row: int, column: str, value: Any, message: str
) -> None:
    _set(frames, table, row, column, value)
    with pytest.raises(DataError) as error:
        lgdea.build_archive("mine", out=tmp_path / "out", **frames)
    assert str(error.value).startswith(message)
    assert not (tmp_path / "out" / "archive.json").exists()


WRONG_FRAMES: list[tuple[Frames, str]] = [
    (
        {"images": pd.DataFrame({"path": ["a.png"]})},
        "images: lacks the column 'study_id'; needed are the columns study_id, path",
    ),
    ({"reports": pd.DataFrame()}, "reports: is empty; needed are the columns study_id, text"),
    (
        {"reports": pd.DataFrame({"study_id": [1], "text": ["x"], "langauge": ["de"]})},
        "reports: has the unknown column 'langauge'; did you mean language?",
    ),
    ({"reports": [{"study_id": 1}]}, "reports is a list; give a pandas DataFrame"),
    (
        {"labels": pd.DataFrame({"study_id": [1], "finding": ["mass"], "value": [1]})},
        "there are neither images nor reports",
    ),
    (
        {
            "reports": pd.DataFrame({"study_id": [1], "text": ["x"]}),
            "labels": pd.DataFrame({"study_id": [1], "unicorn": [1]}),
        },
        "labels: the column 'unicorn' is no finding of the vocabulary",
    ),
    (
        {
            "studies": pd.DataFrame({"study_id": [1, 2], "patient_id": [7, 7], "split": ["train", "test"]}),
            "reports": pd.DataFrame({"study_id": [1], "text": ["x"]}),
        },
        "studies row 1: the patient 'mine:7' is in two splits",
    ),
    (
        {
            "studies": pd.DataFrame({"study_id": [1, 2], "split": ["train", None]}),
            "reports": pd.DataFrame({"study_id": [1], "text": ["x"]}),
        },
        "studies row 2: split is empty",
    ),
    (
        {"reports": pd.DataFrame({"study_id": [1, 1], "patient_id": [7, 8], "text": ["x", "y"]})},
        "reports row 2: the study 'mine:1' belongs to 'mine:8' here and to 'mine:7' elsewhere",
    ),
]


@pytest.mark.parametrize(("frames", "message"), WRONG_FRAMES)
def test_a_wrong_frame_is_refused_with_the_columns_that_it_needs(frames: Frames, message: str, tmp_path: Path) -> None:
    with pytest.raises(LgdeaError) as error:
        lgdea.build_archive("mine", out=tmp_path / "out", **frames)
    assert str(error.value).startswith(message)


def test_frames_and_files_do_not_mix(tmp_path: Path) -> None:
    reports = pd.DataFrame({"study_id": [1], "text": ["x"]})
    with pytest.raises(UsageError, match="'source' does not go with data frames"):
        lgdea.build_archive("mine", tmp_path, tmp_path / "o", reports=reports)
    with pytest.raises(UsageError, match="an archive is a folder; name it: out=FOLDER"):
        lgdea.build_archive("mine", reports=reports)
    with pytest.raises(UsageError, match="the dataset 'openi' has no source"):
        lgdea.build_archive("openi", out=tmp_path / "o")


def test_an_archive_shows_itself(tmp_path: Path) -> None:
    reports = pd.DataFrame({"study_id": [1, 2], "text": ["x", "y"]})
    studies = pd.DataFrame({"study_id": [1, 2], "split": ["test", "train"]})
    archive = lgdea.build_archive("mine", studies=studies, reports=reports, out=tmp_path / "a<b>")
    assert repr(archive) == "Archive 'mine': 2 studies, 0 images, 2 reports, 0 boxes, 0 labels"
    assert repr(archive.with_tables(reports=archive.reports.head(1))).count("1 reports") == 1
    assert archive.by_split().loc[["train", "test"], "reports"].tolist() == [1, 1]
    assert "a&lt;b&gt;" in archive._repr_html_()
    assert "<b>a" not in archive._repr_html_()


def test_a_pairing_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    archive = lgdea.build_archive("phantom", "default", tmp_path / "p", studies=8, size=64)
    pairing = lgdea.make_pairing(tmp_path / "p", 0.5, seed=3, out=tmp_path / "pairing.parquet")
    assert pairing.attrs == {"archive": archive.name, "fraction": 0.5, "seed": 3}
    assert pd.read_parquet(tmp_path / "pairing.parquet")["state"].tolist() == pairing["state"].tolist()
