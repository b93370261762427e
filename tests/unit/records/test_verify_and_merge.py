from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.covid_chestxray import ADAPTER as COVID
from lgdea.records.adapters.hannover_covid import ADAPTER as HANNOVER
from lgdea.records.adapters.table.adapter import ADAPTER as TABLE
from lgdea.records.archive import Archive, write_archive
from lgdea.records.merge import merge
from lgdea.records.split import split_by_patient
from lgdea.records.verify import Problem, verify
from tests.helpers import dataset_layouts as layouts


def changed(archive: Archive, **tables: pd.DataFrame) -> Archive:
    """``archive`` with other tables."""
    whole = {n: getattr(archive, n) for n in ("studies", "images", "reports", "boxes", "labels")}
    return write_archive(archive.folder, archive.name, {**whole, **tables}, archive.image_root)


def kinds(problems: list[Problem]) -> Counter[str]:
    return Counter(problem.kind for problem in problems)


def test_pictures_of_one_grey_and_pixels_that_are_no_number_are_found(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    values = np.linspace(0, 1, 64, dtype="<f4").reshape(8, 8)
    values[2, 3:5] = np.nan
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small.dcm"))
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation", "WindowWidth"):
        dataset.pop(keyword, None)
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.FloatPixelData = 8, 8, 32, values.tobytes()
    dataset.save_as(tmp_path / "nan.dcm")
    dataset.FloatPixelData = np.full((8, 8), np.nan, "<f4").tobytes()
    dataset.save_as(tmp_path / "all.dcm")
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "white.png")
    (tmp_path / "t.csv").write_text("patient,study,image\n1,1,nan.dcm\n2,2,white.png\n3,3,all.dcm\n")
    archive = TABLE.build(tmp_path / "t.csv", tmp_path / "out")
    found = {problem.row: problem for problem in verify(archive, workers=1)}
    assert {row: (p.severity, p.kind) for row, p in found.items()} == {
        "t:nan": ("warning", "noted-image"),
        "t:white": ("warning", "blank-image"),
        "t:all": ("error", "unreadable-image"),
    }
    assert found["t:nan"].detail == "2 of 64 pixels are NaN or infinite and are shown black"
    assert found["t:white"].detail == "all its pixels are 1 of white"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_archive_has_no_problems(make_archive, workers):
    calls: list[tuple[int, int]] = []
    assert verify(make_archive(patients=50), workers=workers, progress=lambda *c: calls.append(c)) == []
    assert calls[-1] == (80, 80)


def test_each_fault_is_found_once_with_row_and_remedy(make_archive):
    archive = make_archive(patients=10)
    images, studies, reports, boxes = archive.images, archive.studies, archive.reports, archive.boxes
    archive.image_path("toy:i1").unlink()
    archive.image_path("toy:i2").write_bytes(archive.image_path("toy:i2").read_bytes()[:70])
    shutil.copy(archive.image_path("toy:i4"), archive.image_path("toy:i3"))  # studies 3 and 4: patients 1 and 2
    images.loc[images["image_id"] == "toy:i6", "width"] = 99
    studies["split"] = "train"
    studies.loc[studies["study_id"] == "toy:s8", "split"] = "test"  # patient 4 has study 9 too
    reports.loc[reports["report_id"] == "toy:s1:r", "text"] = " \n"
    reports.loc[reports["report_id"] == "toy:s4:r", "text"] = reports["text"].iloc[1] + "  "
    boxes.loc[boxes["box_id"] == "toy:i7:b", "x_max"] = 18
    boxes.loc[boxes["box_id"] == "toy:i8:b", "x_max"] = 16.5  # within the tolerance
    boxes = pd.concat([boxes, boxes.iloc[[0]], boxes.iloc[[1]].assign(box_id="lost", image_id="toy:i999")])
    problems = verify(changed(archive, images=images, studies=studies, reports=reports, boxes=boxes), workers=1)
    assert kinds(problems) == {
        "duplicate-id": 1, "dangling-key": 1, "split-leak": 1, "missing-image": 1, "unreadable-image": 1,
        "image-size": 1, "repeated-image": 1, "box-outside": 1, "empty-report": 1, "repeated-report": 1,
    }  # fmt: skip
    found = {problem.kind: problem for problem in problems}
    assert found["missing-image"].row == "toy:i1"
    assert found["unreadable-image"].row == "toy:i2"
    assert found["repeated-image"].detail == "has the same pixels as 'toy:i4'"
    assert found["image-size"].detail.startswith("is 16x12, the table says 99x12")
    assert found["split-leak"].detail == "patient 'toy:p4' is in test and train"
    assert found["box-outside"].detail == "(1, 2, 18, 10) leaves the image of 16x12 pixels"
    assert found["duplicate-id"].detail == "box_id 'toy:i1:b' stands 2 times"
    assert found["dangling-key"].detail == "image_id 'toy:i999' is not in images"
    assert found["repeated-report"].row == "toy:s2:r"
    assert all(problem.remedy for problem in problems)
    severities = [problem.severity for problem in problems]
    assert severities == sorted(severities)
    assert {p.kind for p in problems if p.severity == "warning"} == {
        "empty-report",
        "repeated-report",
        "repeated-image",
    }


def test_equal_pixels_on_two_sides_of_the_split_are_an_error(make_archive):
    archive = make_archive(patients=10)
    shutil.copy(archive.image_path("toy:i4"), archive.image_path("toy:i1"))
    studies = archive.studies.assign(split=lambda s: s["study_id"].map(lambda i: "test" if i == "toy:s1" else "train"))
    assert kinds(verify(changed(archive, studies=studies), workers=1)) == {"pixel-leak": 1, "split-leak": 1}


def test_studies_without_a_split_are_mentioned(make_archive):
    archive = make_archive(patients=3)
    (problem,) = verify(changed(archive, studies=archive.studies.assign(split=None)), workers=1)
    assert (problem.kind, problem.severity, problem.detail) == ("no-split", "warning", "6 studies have no split")


def test_merging_keeps_rows_splits_and_finds_every_image(make_archive, tmp_path):
    one, two = make_archive("one", 10), make_archive("two", 7, folder=tmp_path / "deep" / "down" / "two")
    merged = merge([one, two], tmp_path / "merged")
    for table in ("studies", "images", "reports", "boxes", "labels"):
        assert len(getattr(merged, table)) == len(getattr(one, table)) + len(getattr(two, table))
    assert merged.name == "one+two"
    assert all(merged.image_path(image).is_file() for image in merged.images["image_id"])
    assert merged.image_path("two:i1").read_bytes() == two.image_path("two:i1").read_bytes()
    before = pd.concat([one.studies, two.studies]).set_index("study_id")["split"]
    assert merged.studies.set_index("study_id")["split"].to_dict() == before.to_dict()
    assert verify(merged, workers=1) == []


def test_merging_refuses_clashing_ids(make_archive, tmp_path):
    archive = make_archive("one")
    with pytest.raises(DataError, match=r"studies.parquet row one:s0: 20 ids stand in .one. too; build it under"):
        merge([archive, archive], tmp_path / "merged")
    with pytest.raises(UsageError, match="two or more"):
        merge([archive], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_patient_in_two_collections_stays_on_one_side(tmp_path):
    covid = COVID.build(layouts.covid(tmp_path / "c"), tmp_path / "covid")
    hannover = HANNOVER.build(layouts.hannover(tmp_path / "h"), tmp_path / "hannover")
    merged = merge([covid, hannover], tmp_path / "merged")
    shared = merged.studies[merged.studies["patient_id"] == "hannover-covid:mhh_abc"]
    assert set(shared["dataset"]) == {"covid-chestxray", "hannover-covid"}
    assert shared["split"].nunique() == 1
    assert merged.mask_path(merged.boxes.iloc[0]).is_file()
    assert set(merged.extra_names) == {"pairs", "laboratory"}


def test_archives_that_disagree_on_a_patient_are_refused_unless_split_anew(tmp_path):
    covid = COVID.build(layouts.covid(tmp_path / "c"), tmp_path / "covid")
    hannover = HANNOVER.build(layouts.hannover(tmp_path / "h"), tmp_path / "hannover")
    side = covid.studies.set_index("patient_id")["split"]["hannover-covid:mhh_abc"]
    other = changed(hannover, studies=hannover.studies.assign(split="val" if side != "val" else "test"))
    with pytest.raises(DataError, match=r"patient 'hannover-covid:mhh_abc' is in .* give merge a seed"):
        merge([covid, other], tmp_path / "merged")
    merged = merge([covid, other], tmp_path / "merged", seed=5, name="both")
    assert merged.name == "both"
    assert merged.studies["split"].tolist() == split_by_patient(merged.studies, 5)["split"].tolist()


def test_patients_with_boxes_can_be_held_out(tmp_path):
    covid = COVID.build(layouts.covid(tmp_path / "c"), tmp_path / "covid")
    hannover = HANNOVER.build(layouts.hannover(tmp_path / "h"), tmp_path / "hannover")
    merged = merge([covid, hannover], tmp_path / "merged", seed=0, hold_out_boxes=True)
    sides = merged.studies.groupby("patient_id")["split"].agg(set)
    assert sides["covid-chestxray:covid_7"] == {"test"}
    normal = split_by_patient(merged.studies, 0).groupby("patient_id")["split"].agg(set)
    assert sides.drop("covid-chestxray:covid_7").to_dict() == normal.drop("covid-chestxray:covid_7").to_dict()


def test_an_archive_of_reports_alone_can_be_merged(make_archive, tmp_path):
    from lgdea.records.adapters.openi import ADAPTER as OPENI

    text = OPENI.build(layouts.openi(tmp_path / "o"), tmp_path / "openi")
    merged = merge([make_archive("one"), text], tmp_path / "merged")
    assert len(merged.extra("mesh")) == 3
    assert all(Path(merged.image_path(i)).is_file() for i in merged.images["image_id"])
