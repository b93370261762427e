from __future__ import annotations

import pandas as pd
import pytest

from lgdea.errors import UsageError
from lgdea.records.adapters.chexpert import ADAPTER as CHEXPERT
from lgdea.records.adapters.chexpert_plus import ADAPTER as PLUS
from lgdea.records.adapters.mimic_cxr import ADAPTER as MIMIC
from lgdea.records.adapters.ms_cxr import ADAPTER as MS
from lgdea.records.adapters.padchest import ADAPTER as PADCHEST
from lgdea.records.adapters.padchest_gr import ADAPTER as GR
from lgdea.records.merge import merge
from lgdea.records.verify import verify
from lgdea.vocabulary import load_vocabulary
from tests.helpers import layouts_reports as layouts

D = layouts.DICOM
ADAPTERS = [
    (MIMIC, layouts.mimic),
    (MS, layouts.ms_cxr),
    (CHEXPERT, layouts.chexpert),
    (PLUS, layouts.chexpert_plus),
    (PADCHEST, layouts.padchest),
    (GR, layouts.padchest_gr),
]


def values(archive, labeller: str | None = None) -> dict[tuple[str, str], float]:
    rows = archive.labels if labeller is None else archive.labels[archive.labels["labeller"] == labeller]
    return {(s.split(":")[1], f): v for s, f, v in zip(rows["study_id"], rows["finding"], rows["value"], strict=True)}


@pytest.mark.parametrize(("adapter", "layout"), ADAPTERS)
def test_every_archive_is_sound_and_speaks_the_vocabulary(tmp_path, adapter, layout):
    archive = adapter.build(layout(tmp_path / "source"), tmp_path / "out")
    problems = verify(archive, workers=1)
    assert not [p for p in problems if p.kind != "repeated-report"], problems
    vocabulary = load_vocabulary()
    assert set(archive.labels["finding"]) | set(archive.boxes["finding"]) <= set(vocabulary.findings)
    assert archive.name == adapter.name
    assert archive.studies["split"].notna().all()
    assert archive.studies["study_id"].str.startswith(adapter.name + ":").all()
    assert len(archive.images)
    assert not archive.labels.duplicated(["study_id", "finding", "labeller"]).any()


def test_mimic(tmp_path):
    archive = MIMIC.build(layouts.mimic(tmp_path / "source"), tmp_path / "out")
    studies = archive.studies.set_index("study_id")
    assert studies["patient_id"].to_dict() == {
        "mimic-cxr:s50000001": "mimic-cxr:p10000101",
        "mimic-cxr:s50000002": "mimic-cxr:p10000101",
        "mimic-cxr:s50000003": "mimic-cxr:p11000102",
    }
    assert studies["day"].tolist() == [0, 41, 0]  # 6 May to 16 June 2180
    assert studies["split"].tolist() == ["train", "train", "val"]
    images = archive.images.set_index("image_id")
    assert images["view"].fillna("none").to_dict() == {
        f"mimic-cxr:{D[1]}": "PA",
        f"mimic-cxr:{D[2]}": "LATERAL",
        f"mimic-cxr:{D[4]}": "none",
    }
    assert archive.reports["text"].tolist() == ["FINDINGS:\n Heart mildly enlarged.\n", "IMPRESSION: Unchanged.\n"]
    first = "s50000001"
    assert values(archive, "chexpert") == {
        (first, "cardiomegaly"): 1,
        (first, "edema"): 0,
        (first, "pneumonia"): -1,
        ("s50000003", "no_finding"): 1,
    }
    assert values(archive, "negbio")[first, "pneumonia"] == 0
    assert values(archive, "radiologist") == {("s50000003", "opacity"): 1, ("s50000003", "cardiomegaly"): 0}
    info = archive.info
    assert info["listed_images_that_are_absent"] == 2
    assert info["studies_without_report"] == 1
    assert info["studies_with_neither_side"] == 1
    assert info["sizes_from"] == "metadata"
    seconds = archive.extra("study_time").set_index("study_id")["seconds"]
    assert seconds["mimic-cxr:s50000001"] == 9 * 3600 + 1  # of the earlier image
    assert seconds["mimic-cxr:s50000002"] == 1.5


def test_mimic_takes_the_sizes_of_resized_files_and_reads_those_that_the_table_lacks(tmp_path):
    source = layouts.mimic(tmp_path / "source", scale=2)
    archive = MIMIC.build(source, tmp_path / "a")
    assert set(archive.images["width"]) == {60}
    assert set(archive.images["height"]) == {80}
    assert archive.info["sizes_from"] == "files"
    layouts.change(source / "mimic-cxr-2.0.0-metadata.csv.gz", "PA AND LAT),PA,40,30", "PA AND LAT),PA,80,60")
    layouts.change(source / "mimic-cxr-2.0.0-metadata.csv.gz", "40,30", ",")
    archive = MIMIC.build(source, tmp_path / "b")
    assert archive.info["sizes_from"] == "metadata"
    assert archive.images[["width", "height"]].to_numpy().tolist() == [[60, 80]] * 3


def test_mimic_finds_dicom_files_and_reports_elsewhere(tmp_path):
    source = layouts.mimic(tmp_path / "source")
    file = next((source / "files" / "p11").rglob("*.jpg"))
    file.rename(file.with_suffix(".dcm"))
    reports = tmp_path / "unpacked" / "files"
    for text in list((source / "files").rglob("*.txt")):
        (reports / text.relative_to(source / "files")).parent.mkdir(parents=True, exist_ok=True)
        text.rename(reports / text.relative_to(source / "files"))
    assert MIMIC.build(source, tmp_path / "a").reports.empty
    archive = MIMIC.build(source, tmp_path / "b", reports=str(tmp_path / "unpacked"))
    assert len(archive.reports) == 2
    assert archive.image_path(f"mimic-cxr:{D[4]}").suffix == ".dcm"
    (tmp_path / "unpacked").rename(source / "mimic-cxr-reports")
    assert len(MIMIC.build(source, tmp_path / "c").reports) == 2


def test_mimic_without_split_and_with_patients_held_out(tmp_path):
    source = layouts.mimic(tmp_path / "source")
    listed = layouts.ms_cxr(tmp_path / "ms") / layouts.MS_CSV
    archive = MIMIC.build(source, tmp_path / "a", hold_out=str(listed))
    split = archive.studies.set_index("study_id")["split"]
    assert split["mimic-cxr:s50000002"] == "test"  # another study of a listed patient
    assert split["mimic-cxr:s50000003"] == "val"
    (source / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    archive = MIMIC.build(source, tmp_path / "b")
    assert archive.info["split"] == "by hash of the patient"
    assert not [p for p in verify(archive, workers=1) if p.kind == "split-leak"]


@pytest.mark.parametrize("table", ["csv", "json"])
@pytest.mark.parametrize("factor", [1, 0.5])
def test_ms_cxr_scales_boxes_to_the_stored_image(tmp_path, factor, table):
    size = (int(300 * factor), int(400 * factor))
    source = layouts.ms_cxr(tmp_path / "source", size=size)
    for file in source.glob("MS_CXR*"):
        if file.suffix != f".{table}":
            file.unlink()
    archive = MS.build(source, tmp_path / "out")
    assert archive.boxes["finding"].tolist() == ["pneumonia", "pneumonia", "cardiomegaly", "pleural_effusion"]
    corners = archive.boxes[["x_min", "y_min", "x_max", "y_max"]].to_numpy() / factor
    assert corners.tolist() == [[30, 40, 90, 120], [150, 200, 180, 240], [0, 0, 300, 400], [10, 20, 40, 60]]
    assert archive.boxes["phrase"].tolist()[:3] == ["left lower lobe pneumonia"] * 2 + ["heart is enlarged, mildly"]
    assert archive.studies["split"].tolist() == ["val", "test"]
    assert archive.info["absent_images"] == 1
    assert archive.info["boxes_of_such_images"] == 1
    assert not verify(archive, workers=1)


def test_ms_cxr_beside_mimic(tmp_path):
    source = layouts.ms_cxr(tmp_path / "source", size=(30, 40))
    jpg = layouts.mimic(tmp_path / "jpg")
    with pytest.raises(UsageError, match=r"empty: holds none of the images .* --option images=FOLDER"):
        (tmp_path / "empty").mkdir()
        MS.build(source, tmp_path / "out", images=str(tmp_path / "empty"))
    archive = MS.build(source, tmp_path / "out", images=str(jpg))
    assert archive.images["image_id"].tolist() == [f"ms-cxr:{D[1]}"]
    assert archive.images["view"].tolist() == ["PA"]
    assert archive.studies["day"].tolist() == [0]
    held_out = MIMIC.build(jpg, tmp_path / "mimic")
    both = merge([held_out, archive], tmp_path / "both", hold_out_boxes=True)
    assert set(both.studies.loc[both.studies["patient_id"] == "mimic-cxr:p10000101", "split"]) == {"test"}


def test_ms_cxr_before_it_had_a_split_is_all_test(tmp_path):
    source = layouts.ms_cxr(tmp_path / "source")
    frame = pd.read_csv(source / layouts.MS_CSV, dtype=str)
    frame.drop(columns="split").to_csv(source / layouts.MS_CSV, index=False)
    assert set(MS.build(source, tmp_path / "a").studies["split"]) == {"test"}
    frame.loc[0, "split"] = "train"  # one of three boxes of a patient
    frame.to_csv(source / layouts.MS_CSV, index=False)
    archive = MS.build(source, tmp_path / "b")
    assert archive.info["patients_on_two_sides_moved_to_test"] == 1
    assert set(archive.studies["split"]) == {"test"}


def test_chexpert_without_the_test_set(tmp_path):
    source = layouts.chexpert(tmp_path / "source")
    archive = CHEXPERT.build(source, tmp_path / "out")
    studies = archive.studies.set_index("study_id")
    study = "chexpert:train/patient90001/study1"
    assert studies.loc[study, ["sex", "age"]].tolist() == ["F", 68]
    assert studies["age"].isna()["chexpert:train/patient90001/study2"]  # 0 means unknown
    assert studies["sex"].isna()["chexpert:train/patient90002/study1"]
    assert set(studies["split"].drop("chexpert:valid/patient94541/study1")) <= {"train", "val"}
    assert studies["split"]["chexpert:valid/patient94541/study1"] == "test"
    assert archive.images["view"].tolist() == ["AP", "Lateral", "PA", "AP", "AP"]
    assert archive.info["listed_images_that_are_absent"] == 1
    assert values(archive, "chexpert") == {
        ("train/patient90001/study1", "edema"): 1,
        ("train/patient90001/study1", "fracture"): -1,
        ("train/patient90001/study2", "no_finding"): 1,
        ("train/patient90002/study1", "pneumonia"): 0,
    }
    assert len(values(archive, "radiologist")) == 14
    assert archive.labels["image_id"].isna().all()
    same = CHEXPERT.build(source / "CheXpert-v1.0-small", tmp_path / "same")
    pd.testing.assert_frame_equal(same.images, archive.images)


def test_chexpert_with_the_test_set_and_views_that_contradict_each_other(tmp_path):
    source = layouts.chexpert(tmp_path / "source", test=True)
    layouts.change(source / "CheXpert-v1.0-small" / "train.csv", "Lateral,,,,,,,1.0", "Lateral,,,,,,,0.0")
    archive = CHEXPERT.build(source, tmp_path / "out")
    split = archive.studies.set_index("study_id")["split"]
    assert split["chexpert:valid/patient94541/study1"] == "val"
    assert split["chexpert:test/patient94741/study1"] == "test"
    assert set(split[split.index.str.contains("train/")]) == {"train"}
    assert archive.info["contradicting_labels_left_out"] == 1
    assert ("train/patient90001/study1", "edema") not in values(archive)
    assert values(archive)["train/patient90001/study1", "fracture"] == -1


def test_chexpert_plus(tmp_path):
    archive = PLUS.build(layouts.chexpert_plus(tmp_path / "source"), tmp_path / "out")
    assert archive.reports["text"].tolist() == ["Findings: wet.\nImpression: oedema.", "Impression: clear."]
    assert len(archive.images) == 3
    assert archive.info["listed_images_that_are_absent"] == 1
    assert set(archive.studies["patient_id"]) == {f"chexpert:patient{n}" for n in (90001, 90002, 94541)}
    assert archive.studies["split"].tolist()[-1] == "test"
    first, second = "train/patient90001/study1", "train/patient90002/study1"
    assert values(archive, "chexbert-findings") == {(first, "edema"): 1}  # the second has no findings section
    assert values(archive, "chexbert-impression") == {(first, "edema"): -1, (second, "no_finding"): 1}
    assert values(archive, "radiologist") == {("valid/patient94541/study1", "edema"): 1}
    assert archive.info["studies_whose_labels_had_no_section"] == 2 + 1 + 1
    assert archive.extra("report_order")["order"].tolist() == [1, 3, 2]


def test_chexpert_plus_with_the_images_elsewhere_or_none(tmp_path):
    source = layouts.chexpert_plus(tmp_path / "source")
    (source / "PNG" / "PNG").rename(tmp_path / "elsewhere")
    assert PLUS.build(source, tmp_path / "a").images.empty
    archive = PLUS.build(source, tmp_path / "b", images=str(tmp_path / "elsewhere"))
    assert len(archive.images) == 3
    with pytest.raises(UsageError, match="holds neither train/ nor valid/"):
        PLUS.build(source, tmp_path / "c", images=str(source))


def test_padchest(tmp_path):
    archive = PADCHEST.build(layouts.padchest(tmp_path / "source"), tmp_path / "out")
    studies = archive.studies.set_index("study_id")
    assert studies["day"].tolist() == [0, 16, 0]
    assert studies["age"].tolist() == [64, 64, 11]
    assert archive.images["view"].fillna("none").tolist() == ["PA", "L", "none"]
    assert set(archive.images["modality"]) == {"DX"}
    assert set(archive.reports["language"]) == {"es"}
    assert archive.reports["text"].tolist() == ["condens basal", "sin cambi", "normal"]
    assert archive.info["images_marked_exclude"] == 1
    assert archive.info["absent_images"] == 1
    assert archive.info["labels_without_finding"] == {"gynecomastia": 1, "unchanged": 1}
    labels = values(archive, "padchest-physician")
    first, normal = "900001001", "900001004"
    assert labels[first, "consolidation"] == labels[first, "pleural_effusion"] == 1
    assert labels[first, "no_finding"] == labels[first, "cardiomegaly"] == 0
    assert (first, "airspace_disease") not in labels  # a consolidation is one, though its word is not listed
    assert (first, "opacity") not in labels
    assert labels[normal, "no_finding"] == labels[normal, "nasogastric_tube"] == 1
    assert labels[normal, "consolidation"] == 0
    assert values(archive, "padchest-rnn") == {("900001002", "nodule"): 1}  # no 0 from a network's list
    assert archive.extra("sentences").to_numpy().tolist()[:2] == [
        ["padchest:900001001", 0, "consolidation", "basal|left"],
        ["padchest:900001001", 1, "pleural effusion", ""],
    ]


def test_padchest_leaves_out_files_that_cannot_be_read_and_takes_a_flat_folder(tmp_path):
    source = layouts.padchest(tmp_path / "source")
    (source / "0" / "900001_a.png").write_bytes(b"cut off")
    (source / "0" / "900001_b.png").rename(source / "900001_b.png")
    archive = PADCHEST.build(source, tmp_path / "out")
    assert archive.info["unreadable_images"] == ["0/900001_a.png"]
    assert archive.images["path"].tolist() == ["900001_b.png", "54/900002_a.png"]


def test_padchest_gr(tmp_path):
    archive = GR.build(layouts.padchest_gr(tmp_path / "source"), tmp_path / "out")
    boxes = archive.boxes
    assert boxes["finding"].tolist() == ["pleural_effusion"] * 2
    assert boxes["label"].tolist() == ["pleural effusion"] * 2
    assert boxes["phrase"].tolist() == ["Small left effusion."] * 2
    corners = boxes[["x_min", "y_min", "x_max", "y_max"]].to_numpy().tolist()
    assert corners == [[15, 10, 30, 30], [0, 0, 15, 20]]
    second = archive.extra("second_reader")
    assert second[["x_min", "y_min", "x_max", "y_max"]].to_numpy().tolist() == [[15, 20, 30, 40]]
    assert archive.reports["text"].tolist()[0] == "Small left effusion.\nGynecomastia.\nNo pneumothorax."
    assert archive.studies["split"].tolist() == ["train", "val", "test"]
    assert archive.studies["patient_id"].tolist()[0] == "padchest:80000p1"
    info = archive.info
    assert (info["absent_images"], info["boxes_of_such_images"], info["boxes_without_finding"]) == (1, 1, 1)
    labels = values(archive)
    assert labels["900001001", "pleural_effusion"] == labels["900001002", "no_finding"] == 1
    assert labels["900001001", "no_finding"] == labels["900001002", "pleural_effusion"] == 0
    sentences = archive.extra("sentences")
    assert sentences["sentence_es"].tolist()[2] == "Sin neumotórax."
    assert sentences["abnormal"].tolist() == [True, True, False, False, True]
    assert sentences["locations"].tolist()[0] == "left|pleural"
    assert archive.extra("prior_images").to_numpy().tolist() == [
        ["padchest-gr:900001001", "900000999", "900000999_y.png"]
    ]


def test_no_word_of_a_report_is_in_the_archive_description(tmp_path):
    for adapter, layout in ADAPTERS:
        archive = adapter.build(layout(tmp_path / adapter.name), tmp_path / f"{adapter.name}-out")
        description = (archive.folder / "archive.json").read_text()
        assert not any(text.strip() in description for text in archive.reports["text"] if len(text.strip()) > 8)
