from __future__ import annotations

import logging

import numpy as np
import pytest

from lgdea.imaging.read import read_image
from lgdea.records.adapters.chestx_det import ADAPTER as CHESTX_DET
from lgdea.records.adapters.covidx import ADAPTER as COVIDX
from lgdea.records.adapters.rsna_pneumonia import ADAPTER as RSNA
from lgdea.records.adapters.siim_acr import ADAPTER as SIIM
from lgdea.records.adapters.vindr_cxr import ADAPTER as VINDR
from lgdea.records.verify import verify
from lgdea.vocabulary import load_vocabulary
from tests.helpers import layouts_detection as layouts
from tests.helpers.layouts_detection import PRIVATE, RSNA_IDS, SIIM_IDS, VINDR_IDS

RSNA_MAPPINGS = "pneumonia-challenge-dataset-mappings_2018.json"
VINDR_LABELS, VINDR_TEST = "annotations/image_labels_train.csv", "annotations/image_labels_test.csv"
DATASETS = [
    (RSNA, layouts.rsna),
    (SIIM, layouts.siim),
    (VINDR, layouts.vindr),
    (VINDR, layouts.vindr_kaggle),
    (CHESTX_DET, layouts.chestx_det),
    (CHESTX_DET, layouts.chestx_det10),
    (COVIDX, layouts.covidx),
]


def corners(boxes):
    return boxes[["x_min", "y_min", "x_max", "y_max"]].values.tolist()


def test_rsna(tmp_path):
    archive = RSNA.build(layouts.rsna(tmp_path / "source"), tmp_path / "out")
    boxed, normal, other, _, unlabelled = (f"rsna-pneumonia:{name}" for name in RSNA_IDS)
    assert archive.info["listed_images_that_are_absent"] == 1
    assert archive.info["images_without_labels"] == 1
    assert archive.info["images_mapped_to_nih"] == 3
    images = archive.images.set_index("image_id")
    assert images.loc[boxed, ["width", "height", "view", "modality"]].tolist() == [40, 48, "PA", "CR"]
    studies = archive.studies.set_index("study_id")
    assert studies["patient_id"].to_dict() == {
        boxed: "nih-cxr14:90042",
        normal: normal,
        other: "nih-cxr14:90042",
        unlabelled: "nih-cxr14:90007",
    }
    assert studies.loc[boxed, "split"] == studies.loc[other, "split"]
    assert studies["age"].fillna(-1).to_dict() == {boxed: 51, normal: -1, other: 51, unlabelled: 6}  # 148 years
    assert corners(archive.boxes) == [[2, 3, 12, 15], [30, 3, 38, 23]]
    assert set(archive.boxes["finding"]) == {"opacity"}
    assert set(archive.boxes["phrase"]) == {"lung opacity suspicious of pneumonia"}
    labels = {(i, f): v for i, f, v in archive.labels[["image_id", "finding", "value"]].itertuples(index=False)}
    assert labels == {
        (boxed, "pneumonia"): 1, (boxed, "opacity"): 1, (boxed, "no_finding"): 0,
        (normal, "pneumonia"): 0, (normal, "opacity"): 0, (normal, "no_finding"): 1,
        (other, "pneumonia"): 0, (other, "no_finding"): 0,
    }  # fmt: skip
    nih = archive.extra("nih_images").set_index("image_id")["nih_image_id"]
    assert nih[boxed] == "00090042_001"


def test_rsna_without_mappings_takes_each_image_as_a_patient(tmp_path):
    source = layouts.rsna(tmp_path / "source")
    (source / RSNA_MAPPINGS).unlink()
    archive = RSNA.build(source, tmp_path / "out")
    assert (archive.studies["patient_id"] == archive.studies["study_id"]).all()
    assert "nih_images" not in archive.extra_names


def test_siim(tmp_path):
    archive = SIIM.build(layouts.siim(tmp_path / "source"), tmp_path / "out")
    two, one, none, unread, test = (f"siim-acr:{name}" for name in SIIM_IDS)
    assert archive.info["listed_images_that_are_absent"] == 1
    assert archive.info["images_without_labels"] == 2
    assert archive.labels.set_index("image_id")["value"].to_dict() == {two: 1, one: 1, none: 0}
    studies = archive.studies.set_index("study_id")
    assert studies.index.str.startswith("siim-acr:1.2.276.0.7230010.3.1.2.0.").all()
    of = archive.images.set_index("image_id")["study_id"].map(studies["patient_id"])
    assert of[two] == of[one] != of[none]
    assert of[none] == of[unread] != of[test]
    boxes = archive.boxes.set_index("image_id")
    # 33 pixels down columns of 32: column 1, row 1; each row of the table begins anew: 700 is column 21, row 28
    assert corners(boxes.loc[two]) == [[1, 1, 3, 5], [21, 28, 23, 31]]
    assert corners(boxes.loc[[one]]) == [[0, 0, 1, 1]]
    mask = read_image(archive.mask_path(boxes.loc[two].iloc[0])).pixels
    expected = np.zeros((32, 40))
    expected[1:5, 1:3] = expected[28:30, 21] = expected[28:31, 22] = 1
    assert np.array_equal(mask, expected)
    assert archive.mask_path(boxes.loc[one]).parent == (tmp_path / "out" / "masks").resolve()
    assert not list((tmp_path / "source").glob("**/*.png"))


def test_siim_stage_2_replaces_the_first_table_and_has_flat_test_images(tmp_path):
    source = layouts.siim(tmp_path / "source")
    (source / "stage_2_train.csv").write_text(f"ImageId,EncodedPixels\n{SIIM_IDS[2]},5 2\n{SIIM_IDS[4]},-1\n")
    layouts.dicom(source / "stage_2_images" / "ID_0.dcm", np.eye(9, dtype=np.uint8))
    archive = SIIM.build(source, tmp_path / "out")
    assert archive.info["annotations"] == "stage_2_train.csv"
    assert archive.labels.set_index("image_id")["value"].to_dict() == {
        f"siim-acr:{SIIM_IDS[2]}": 1,
        f"siim-acr:{SIIM_IDS[4]}": 0,
    }
    images = archive.images.set_index("image_id")
    assert images.loc["siim-acr:ID_0", "study_id"] == "siim-acr:ID_0"
    assert len(images) == 6


def test_vindr(tmp_path):
    archive = VINDR.build(layouts.vindr(tmp_path / "source"), tmp_path / "out")
    sick, clear, _, test, unlisted = (f"vindr-cxr:{name}" for name in VINDR_IDS)
    labels = archive.labels.pivot(index="image_id", columns="finding", values="value")
    assert labels.shape == (3, 26)
    assert labels.notna().all().all()
    assert labels.loc[sick].loc[lambda v: v != 0].to_dict() == {"cardiomegaly": 1, "lung_lesion": 1, "edema": -1}
    assert labels.loc[clear].loc[lambda v: v != 0].to_dict() == {"no_finding": 1}
    assert labels.loc[test].loc[lambda v: v != 0].to_dict() == {"pleural_effusion": 1}
    boxes = archive.boxes.set_index("box_id")
    assert boxes.index.tolist() == [f"{sick}:R8:box1", f"{sick}:R9:box2", f"{sick}:R8:box4", f"{test}:consensus:box1"]
    assert boxes["finding"].tolist() == ["cardiomegaly", "cardiomegaly", "lung_lesion", "pleural_effusion"]
    assert corners(boxes)[1] == [6.5, 10, 31, 25]
    assert archive.info["boxes_without_finding"] == archive.info["boxes_without_extent"] == 1
    assert archive.info["readings_without_finding"] == {"Other lesion": 1}
    assert archive.info["listed_images_that_are_absent"] == archive.info["images_without_labels"] == 1
    split = archive.studies.set_index("study_id")["split"]
    assert split[test] == split[unlisted] == "test"
    assert {split[sick], split[clear]} <= {"train", "val"}
    readings = set(archive.extra("readings").itertuples(index=False, name=None))
    assert (sick, "R9", "Other lesion") in readings
    assert (test, "consensus", "Pleural effusion") in readings
    assert len(readings) == 7 + 3 + 1
    assert archive.studies["age"].tolist() == [61] * 4


def test_vindr_a_cell_that_is_empty_is_no_vote(tmp_path):
    source = layouts.vindr(tmp_path / "source")
    file = source / VINDR_TEST
    header, row = file.read_text().splitlines()
    cells = row.split(",")
    cells[header.split(",").index("Cardiomegaly")] = ""
    file.write_text(f"{header}\n{','.join(cells)}\n")
    archive = VINDR.build(source, tmp_path / "out")
    of_test = archive.labels[archive.labels["image_id"] == f"vindr-cxr:{VINDR_IDS[3]}"]
    assert len(of_test) == 25
    assert "cardiomegaly" not in set(of_test["finding"])


def test_vindr_of_one_side_alone(tmp_path):
    source = layouts.vindr(tmp_path / "source")
    (source / VINDR_LABELS).unlink()
    archive = VINDR.build(source, tmp_path / "out")
    assert set(archive.labels["image_id"]) == {f"vindr-cxr:{VINDR_IDS[3]}"}
    assert archive.info["images_without_labels"] == 3


def test_vindr_as_the_kaggle_challenge_has_it(tmp_path):
    archive = VINDR.build(layouts.vindr_kaggle(tmp_path / "source"), tmp_path / "out")
    sick, clear = (f"vindr-cxr:{name}" for name in VINDR_IDS[:2])
    labels = archive.labels.pivot(index="image_id", columns="finding", values="value")
    assert labels.shape == (2, 14)  # not "Other lesion"
    assert labels.loc[sick].loc[lambda v: v != 0].to_dict() == {
        "aortic_enlargement": 1, "interstitial_lung_disease": -1,
    }  # fmt: skip
    assert labels.loc[clear].loc[lambda v: v != 0].to_dict() == {"no_finding": 1}
    assert archive.boxes["box_id"].str.extract(r":(R\d+):")[0].tolist() == ["R8", "R9", "R9", "R9"]
    assert archive.info["layout"] == "kaggle"
    assert len(archive.images) == 3


@pytest.mark.parametrize("size", [64, 1024])
def test_chestx_det_scales_boxes_and_outlines_to_the_stored_image(tmp_path, size):
    archive = CHESTX_DET.build(layouts.chestx_det(tmp_path / "source", size), tmp_path / "out")
    boxes = archive.boxes.set_index("box_id")
    first = "chestx-det:00090042_001"
    assert corners(boxes.loc[[f"{first}:box1"]]) == [[0, size / 2, size / 4, size]]
    assert boxes["finding"].tolist() == ["pleural_effusion", "nodule", "fracture"]
    assert boxes["phrase"].fillna("").tolist() == ["", "diffuse pulmonary nodules", ""]
    polygons = archive.extra("polygons").set_index("box_id")
    assert list(polygons.loc[f"{first}:box2", "x"]) == [size / 2, size, size]
    assert list(polygons.loc[f"{first}:box2", "y"]) == [0, 0, size / 2]


def test_chestx_det(tmp_path):
    archive = CHESTX_DET.build(layouts.chestx_det(tmp_path / "source"), tmp_path / "out")
    studies = archive.studies.set_index("study_id")
    assert studies["patient_id"].tolist() == ["nih-cxr14:90042", "chestx-det:990001", "nih-cxr14:90042"]
    assert studies["split"].tolist()[::2] == ["test", "test"]  # the patient is on the published test side
    assert archive.info["images_moved_to_test_with_their_patient"] == 1
    assert archive.info["listed_images_that_are_absent"] == 1
    assert archive.info["images_of_unknown_patient"] == 1
    assert archive.info["boxes_without_extent"] == 1
    labels = archive.labels.pivot(index="image_id", columns="finding", values="value")
    assert labels.shape == (3, 12)
    assert labels.sum(axis=1).tolist() == [2, 1, 0]
    assert "no_finding" not in labels


def test_chestx_det10_has_no_labels_of_what_its_readers_were_not_asked(tmp_path):
    archive = CHESTX_DET.build(layouts.chestx_det10(tmp_path / "source"), tmp_path / "out")
    assert archive.info["edition"] == "ChestX-Det10"
    assert set(archive.labels["finding"]) == {
        "atelectasis", "calcification", "consolidation", "pleural_effusion", "emphysema", "fibrosis", "fracture",
        "mass", "nodule", "pneumothorax",
    }  # fmt: skip
    assert archive.extra_names == ()


def test_covidx(tmp_path):
    archive = COVIDX.build(layouts.covidx(tmp_path / "source"), tmp_path / "out")
    studies = archive.studies.set_index("study_id")
    assert studies["split"].to_dict() == {
        "covidx:seven-b.png": "test", "covidx:COVID 1 (2).png": "test", "covidx:CR.1.2.3.png": "val",
        "covidx:a.png": "train", "covidx:a.jpg": "train", "covidx:seven.png": "test",
    }  # fmt: skip
    assert studies.loc["covidx:a.png", "patient_id"] == "covidx:cohen:1"
    assert studies.loc["covidx:a.jpg", "patient_id"] == "covidx:rsna:1"  # one number, two collections
    assert studies.loc["covidx:COVID 1 (2).png", "patient_id"] == "covidx:sirm:COVID 1"
    assert archive.info["images_moved_to_their_patients_side"] == 1
    assert archive.info["listed_images_that_are_absent"] == 1
    assert archive.info["images_of_source"] == {"cohen": 3, "sirm": 1, "actmed": 1, "rsna": 1}
    assert set(archive.labels["finding"]) == {"covid19"}
    assert archive.labels.set_index("image_id")["value"]["covidx:a.png"] == 1
    assert archive.labels["value"].sum() == 3


def test_covidx_of_three_classes_without_validation_and_with_a_line_twice(tmp_path):
    source = layouts.covidx(tmp_path / "source")
    (source / "val.txt").unlink()
    (source / "test.txt").write_text("7 seven-b.png normal cohen\n7 seven-b.png normal cohen\n")
    (source / "train.txt").write_text("1 a.png COVID-19 cohen\n1 a.jpg pneumonia rsna\n")
    archive = COVIDX.build(source, tmp_path / "out")
    labels = {(i, f): v for i, f, v in archive.labels[["image_id", "finding", "value"]].itertuples(index=False)}
    assert labels == {
        ("covidx:seven-b.png", "covid19"): 0, ("covidx:seven-b.png", "pneumonia"): 0,
        ("covidx:seven-b.png", "no_finding"): 1, ("covidx:a.png", "covid19"): 1, ("covidx:a.png", "no_finding"): 0,
        ("covidx:a.jpg", "covid19"): 0, ("covidx:a.jpg", "pneumonia"): 1, ("covidx:a.jpg", "no_finding"): 0,
    }  # fmt: skip
    assert archive.info["repeated_lines"] == 1


@pytest.mark.parametrize(("adapter", "layout"), DATASETS)
def test_every_archive_is_sound_and_speaks_the_vocabulary(tmp_path, adapter, layout):
    archive = adapter.build(layout(tmp_path / "source"), tmp_path / "out")
    assert not verify(archive, workers=1)
    assert archive.name == adapter.name
    vocabulary = load_vocabulary()
    assert set(archive.labels["finding"]) <= set(vocabulary.findings)
    assert set(archive.boxes["finding"]) <= set(vocabulary.findings)
    assert not archive.labels.duplicated(["image_id", "finding"]).any()
    assert archive.labels["labeller"].nunique() == 1
    assert archive.studies["split"].notna().all()
    assert archive.studies["study_id"].str.startswith(adapter.name + ":").all()
    again = adapter.build(tmp_path / "source", tmp_path / "out")  # over the archive that is there
    assert again.labels.equals(archive.labels)


@pytest.mark.parametrize(("adapter", "layout"), DATASETS)
def test_nothing_private_of_a_header_reaches_an_archive_or_a_log(tmp_path, adapter, layout, caplog, capfd):
    source = layout(tmp_path / "source")
    dicoms = [f for f in source.rglob("*") if f.suffix in (".dcm", ".dicom")]
    assert all(PRIVATE.encode() in file.read_bytes() for file in dicoms)
    assert bool(dicoms) == (adapter in (RSNA, SIIM, VINDR))
    with caplog.at_level(logging.DEBUG):
        archive = adapter.build(source, tmp_path / "out")
        verify(archive, workers=1)
    tables = [getattr(archive, name) for name in ("studies", "images", "boxes", "labels")]
    text = "".join(table.to_csv() for table in [*tables, *(archive.extra(name) for name in archive.extra_names)])
    text += (tmp_path / "out" / "archive.json").read_text() + caplog.text + "".join(capfd.readouterr())
    assert "MARKER" not in text
