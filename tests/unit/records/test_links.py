"""Spreadsheets of links that a clerk has filled in."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive, write_archive
from lgdea.records.links import link_archive, pair_links, read_links, without_wrong
from lgdea.runs import fingerprint


@pytest.fixture
def apart(tmp_path: Path) -> Archive:
    """Images and reports that were never linked: each side has studies and patients of its own; t is a whole study."""
    studies = [
        ("i1", "a", "train", "S1", None), ("i2", "a", "train", "S1", "F"), ("i3", "b", "test", "S1", "M"),
        ("r1", "x", "train", None, "F"), ("r2", "y", "train", "S2", "M"), ("r3", "z", "test", None, None),
        ("t", "c", "train", None, None), ("u", "d", "val", None, None),
    ]  # fmt: skip
    frame = pd.DataFrame(studies, columns=["study_id", "patient_id", "split", "site", "sex"])
    frame["study_id"] = "k:" + frame["study_id"]
    frame["dataset"] = "k"
    image = {"path": "a.png", "width": 8, "height": 8}
    images = [{"image_id": f"k:{s}.png", "study_id": f"k:{s}", **image} for s in ("i1", "i2", "i3", "t", "u")]
    reports = [{"report_id": f"k:{s}", "study_id": f"k:{s}", "text": s} for s in ("r1", "r2", "r3", "t", "u")]
    label = {"finding": "edema", "value": 1.0, "labeller": "l"}
    tables = {"studies": frame, "images": images, "reports": reports, "labels": [{"study_id": "k:i1", **label}]}
    return write_archive(tmp_path / "apart", "k", tables, tmp_path)


def _csv(folder: Path, *rows: str, header: str = "rank,image_id,report_id") -> Path:
    file = folder / "links.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_images_move_into_the_study_of_their_report(apart: Archive, tmp_path: Path) -> None:
    file = _csv(tmp_path, "1,k:i1.png,r1", "2,i2.png,k:r2", "3,i3.png,", "4,t.png,t", header="rank;image_id;report_id")
    file.write_text(file.read_text().replace(",", ";"))
    linked, new = link_archive(apart, [file], tmp_path / "linked")
    assert new == 2
    assert dict(zip(linked.images["image_id"], linked.images["study_id"], strict=True)) == {
        "k:i1.png": "k:r1", "k:i2.png": "k:r2", "k:i3.png": "k:i3", "k:t.png": "k:t", "k:u.png": "k:u",
    }  # fmt: skip
    studies = linked.studies.set_index("study_id")
    assert set(studies.index) == {"k:i3", "k:r1", "k:r2", "k:r3", "k:t", "k:u"}
    assert studies.loc["k:r1", ["site", "sex"]].tolist() == ["S1", "F"]
    assert studies.loc["k:r2", ["site", "sex"]].tolist() == ["S2", "M"]
    # Patient a has two images, which belong to reports of x and y: all three are one person.
    assert studies.loc["k:r1", "patient_id"] == studies.loc["k:r2", "patient_id"]
    assert linked.labels["study_id"].tolist() == ["k:r1"]
    assert fingerprint(linked.folder / "reports.parquet") == fingerprint(apart.folder / "reports.parquet")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["1,i9.png,r1"], "row 2: names the image 'i9.png', which the archive lacks"),
        (["1,i1.png,r9"], "names the report 'r9'"),
        (["1,i1.png,r1", "2,i1.png,r2"], "row 3: links 'k:i1.png', which row 2 links otherwise"),
        (["1,i1.png,r1", "2,i2.png,r1"], "row 3: links 'k:r1', which row 2 links otherwise"),
        (["1,t.png,r1"], "whose study has a report"),
        (["1,i1.png,t"], "whose study has an image"),
        (["1,i3.png,r1"], "an image of the test split and a report of the train split"),
    ],
)
def test_a_wrong_row_is_named(apart: Archive, tmp_path: Path, rows: list[str], says: str) -> None:
    with pytest.raises(DataError, match=r"links\.csv") as caught:
        link_archive(apart, [_csv(tmp_path, *rows)], tmp_path / "linked")
    assert says in str(caught.value)
    assert not (tmp_path / "linked").exists()


def test_ids_without_the_dataset_in_front_are_found_in_a_merged_archive(tmp_path: Path) -> None:
    studies = pd.DataFrame(
        [("k:i1", "k"), ("k:i2", "k"), ("l:i2", "l"), ("k:r1", "k"), ("k:r2", "k")], columns=["study_id", "dataset"]
    ).assign(split="train")
    studies["patient_id"] = studies["study_id"]
    images = [
        {"image_id": s, "study_id": s, "path": "a.png", "width": 8, "height": 8} for s in ("k:i1", "k:i2", "l:i2")
    ]
    reports = [{"report_id": s, "study_id": s, "text": s} for s in ("k:r1", "k:r2")]
    tables = {"studies": studies, "images": images, "reports": reports}
    merged = write_archive(tmp_path / "merged", "merged", tables, tmp_path)
    assert link_archive(merged, [_csv(tmp_path, "1,i1,r1", "2,l:i2,k:r2")], tmp_path / "linked")[1] == 2
    with pytest.raises(DataError, match=r"row 2: names the image 'i2', which is 'k:i2' or 'l:i2'; write the dataset"):
        link_archive(merged, [_csv(tmp_path, "1,i2,r1")], tmp_path / "other")
    pairing = pd.DataFrame({"study_id": ["k:i1", "k:i2", "l:i2"], "state": "paired"})
    doubts = _csv(tmp_path, "i1,x", "l:i2,x", header="study_id,wrong")
    assert without_wrong(pairing, doubts)["state"].tolist() == ["unlinked", "paired", "unlinked"]
    with pytest.raises(DataError, match="row 2: names the study 'i2', which is"):
        without_wrong(pairing, _csv(tmp_path, "i2,x", header="study_id,wrong"))


def test_a_patient_whom_both_sides_know_is_not_joined_to_another(apart: Archive, tmp_path: Path) -> None:
    studies = apart.studies.copy()
    studies.loc[studies["study_id"] == "k:r2", "patient_id"] = "a"
    known = write_archive(
        tmp_path / "known", "k", {"studies": studies, "images": apart.images, "reports": apart.reports}, tmp_path
    )
    with pytest.raises(DataError, match="joins an image of patient 'a' and a report of 'x'"):
        link_archive(known, [_csv(tmp_path, "1,i1.png,r1")], tmp_path / "linked")
    assert link_archive(known, [_csv(tmp_path, "1,i1.png,r2")], tmp_path / "linked")[1] == 1


def test_an_empty_sheet_says_what_to_fill_in(apart: Archive, tmp_path: Path) -> None:
    file = _csv(tmp_path, "1,i1.png,", "2,,r1")
    assert read_links(apart, [file]) == []
    with pytest.raises(UsageError, match="no row has both an image_id and a report_id"):
        link_archive(apart, [file], tmp_path / "linked")


def test_links_of_whole_studies_make_a_pairing(apart: Archive, tmp_path: Path) -> None:
    pairing = pair_links(apart, [_csv(tmp_path, "1,t.png,t")]).set_index("study_id")["state"]
    assert pairing[pairing == "paired"].index.tolist() == ["k:t"]
    assert pairing["k:u"] == "unlinked"
    with pytest.raises(DataError, match="row 2: joins an image of study 'k:i1' and a report of 'k:r1'"):
        pair_links(apart, [_csv(tmp_path, "1,i1.png,r1")])
    with pytest.raises(DataError, match="row 2: is of the val split"):
        pair_links(apart, [_csv(tmp_path, "1,u.png,u")])
