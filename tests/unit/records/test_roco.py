from __future__ import annotations

import pytest

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.roco import ADAPTER
from lgdea.records.cards import load_card
from lgdea.records.verify import verify
from tests.helpers import dataset_layouts as layouts

FIRST = "roco:ROCOv2_2023_train_000001"
SECOND = "roco:ROCOv2_2023_train_000002"


def test_second_version(tmp_path):
    archive = ADAPTER.build(layouts.roco2(tmp_path / "source"), tmp_path / "out")
    studies = archive.studies.set_index("study_id")
    assert studies["split"].tolist() == ["train", "train", "val", "test"]
    assert (studies["patient_id"] == studies.index).all()
    assert archive.images["modality"].tolist() == ["CT", "CR", "US", "OT"]
    assert archive.reports.set_index("study_id")["text"].to_dict() == {
        FIRST: "Head CT, left parotitis.",
        SECOND: 'Chest X-ray, no effusion, "clear".',
        "roco:ROCOv2_2023_valid_000001": "Ultrasound of the liver.",
    }
    concepts = archive.extra("concepts")
    assert concepts.fillna("").values.tolist() == [
        [FIRST, "C0040405", "X-Ray Computed Tomography"],
        [FIRST, "C0030583", ""],
        [SECOND, "C1306645", ""],  # by hand, first
        [SECOND, "C0817096", "Chest"],
        ["roco:ROCOv2_2023_valid_000001", "C0041618", ""],
    ]
    assert {k: archive.info[k] for k in ("version", "absent_images", "empty_captions")} == {
        "version": "ROCOv2",
        "absent_images": 1,
        "empty_captions": 1,
    }
    assert not [p for p in verify(archive, workers=1) if p.severity == "error"]


def test_first_version(tmp_path):
    archive = ADAPTER.build(layouts.roco1(tmp_path / "source"), tmp_path / "out")
    assert archive.images["path"].tolist() == [
        "data/train/radiology/images/ROCO_00002.jpg",
        "data/train/radiology/images/PMC99_fig-1.jpg",
        "data/test/radiology/images/ROCO_00001.jpg",
    ]
    assert set(archive.images["modality"]) == {"OT"}
    assert archive.studies["split"].tolist() == ["train", "train", "test"]
    assert archive.reports["text"].tolist() == ["Thorax,\twith a tab.", "Computed tomography.", "Axial MRI."]
    assert archive.extra("concepts")["name"].tolist() == ["thorax", "radiograph"]
    assert archive.extra("licences").values.tolist() == [["roco:ROCO_00003", "PMC99_fig-1.jpg", "CC BY"]]
    assert archive.info["absent_images"] == 1
    assert not [p for p in verify(archive, workers=1) if p.severity == "error"]


def test_wrong_sources_are_one_clear_line(tmp_path):
    source = layouts.roco1(tmp_path / "source")
    captions = source / "data" / "train" / "radiology" / "captions.txt"
    captions.write_text("ROCO_00002\t Thorax.\nROCO_00003 no tab\n")
    with pytest.raises(DataError, match=r"captions.txt row 2: has no tab and caption"):
        ADAPTER.build(source, tmp_path / "out")
    captions.write_text("ROCO_00002\t Thorax.\nROCO_00002\t Again.\n")
    with pytest.raises(DataError, match="the figure 'ROCO_00002' has two captions"):
        ADAPTER.build(source, tmp_path / "out")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError, match="holds no captions; `lgdea data card roco`"):
        ADAPTER.build(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(UsageError, match="takes no option 'colour'"):
        ADAPTER.build(source, tmp_path / "out", colour=1)
    second = layouts.roco2(tmp_path / "second")
    (second / "valid_captions.csv").write_text("ID,Text\nx,y\n")
    with pytest.raises(DataError, match=r"valid_captions\.csv: lacks the column 'Caption'; `lgdea data card roco`"):
        ADAPTER.build(second, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_card():
    card = load_card("roco")
    assert card.counts["rocov2_images"] == sum(card.counts[f"rocov2_{s}"] for s in ("train", "valid", "test"))
