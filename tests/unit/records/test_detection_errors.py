"""What is wrong in the files of a detection dataset is one line that names file, row and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lgdea.errors import DataError, ImageError, UsageError
from lgdea.records.adapters.chestx_det import ADAPTER as CHESTX_DET
from lgdea.records.adapters.covidx import ADAPTER as COVIDX
from lgdea.records.adapters.rsna_pneumonia import ADAPTER as RSNA
from lgdea.records.adapters.siim_acr import ADAPTER as SIIM
from lgdea.records.adapters.source import nih_patient, read_json_list
from lgdea.records.adapters.vindr_cxr import ADAPTER as VINDR
from tests.helpers import layouts_detection as layouts
from tests.helpers.layouts_detection import RSNA_IDS

RSNA_LABELS, RSNA_CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
RSNA_MAPPINGS = "pneumonia-challenge-dataset-mappings_2018.json"
VINDR_LABELS, VINDR_BOXES = "annotations/image_labels_train.csv", "annotations/annotations_train.csv"
VINDR_TEST = "annotations/image_labels_test.csv"
DET_TRAIN, DET_TEST = "ChestX_Det_train.json", "ChestX_Det_test.json"
DATASETS = [
    (RSNA, layouts.rsna),
    (SIIM, layouts.siim),
    (VINDR, layouts.vindr),
    (VINDR, layouts.vindr_kaggle),
    (CHESTX_DET, layouts.chestx_det),
    (CHESTX_DET, layouts.chestx_det10),
    (COVIDX, layouts.covidx),
]
TABLES = [
    (RSNA, layouts.rsna, RSNA_LABELS),
    (RSNA, layouts.rsna, RSNA_CLASSES),
    (SIIM, layouts.siim, "train-rle.csv"),
    (VINDR, layouts.vindr, VINDR_LABELS),
    (VINDR, layouts.vindr, VINDR_TEST),
    (VINDR, layouts.vindr, VINDR_BOXES),
    (VINDR, layouts.vindr, "annotations/annotations_test.csv"),
    (VINDR, layouts.vindr_kaggle, "train.csv"),
]


@pytest.mark.parametrize(("adapter", "layout"), DATASETS)
def test_a_wrong_source_is_one_clear_line(tmp_path, adapter, layout):
    source = layout(tmp_path / "source")
    (tmp_path / "nothing").mkdir()
    file = next(f for f in source.rglob("*") if f.is_file())
    for wrong, message in [
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path / "nothing", "no such file"),
        (file, "is a file, not the dataset's folder"),
    ]:
        with pytest.raises(UsageError, match=message) as error:
            adapter.build(wrong, tmp_path / "out")
        assert str(wrong) in str(error.value)
    with pytest.raises(UsageError, match="takes no option 'colour'"):
        adapter.build(source, tmp_path / "out", colour=1)
    for image in [f for f in source.rglob("*") if f.suffix in (".dcm", ".dicom", ".png", ".jpg")]:
        image.unlink()
    with pytest.raises(UsageError, match=r"holds (no images|none of the listed images); expected are "):
        adapter.build(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("adapter", "layout", "name"), TABLES)
def test_a_missing_column_or_file_names_it(tmp_path, adapter, layout, name):
    file = layout(tmp_path / "source") / name
    header, _, rest = file.read_text().partition("\n")
    for column in header.split(",")[:7]:
        cells = [cell if cell != column else "Whatever" for cell in header.split(",")]
        file.write_text(",".join(cells) + "\n" + rest)
        message = rf"{Path(name).name}: lacks the column '{re.escape(column.strip())}'; `lgdea data card"
        with pytest.raises(DataError, match=message):
            adapter.build(tmp_path / "source", tmp_path / "out")
    file.write_bytes(b"")
    with pytest.raises(DataError, match="is empty; fetch it again"):
        adapter.build(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("adapter", "layout", "name"), [case for case in TABLES if "image_labels" not in case[2]]
)  # a side without label table is a side that is not there
def test_a_file_that_is_not_there_is_named(tmp_path, adapter, layout, name):
    file = layout(tmp_path / "source") / name
    file.unlink()
    with pytest.raises(UsageError, match="no such file; check the folder; `lgdea data card"):
        adapter.build(tmp_path / "source", tmp_path / "out")


BAD_CELLS = [
    (RSNA, layouts.rsna, RSNA_LABELS, "2.0,3.0", "wide,3.0", r"row 1: x is 'wide', not a number"),
    (RSNA, layouts.rsna, RSNA_LABELS, "2.0,3.0", ",3.0", r"row 1: x is None, not a number"),
    (RSNA, layouts.rsna, RSNA_LABELS, "10.0,12.0", "-10.0,12.0", r"row 1: the box is -10 x 12 pixels"),
    (VINDR, layouts.vindr, VINDR_BOXES, "5,10,30,25", "30,10,5,25", r"row 1: the box ends before it begins"),
    (CHESTX_DET, layouts.chestx_det, DET_TRAIN, "[1, 2, 3, 4]", "[1, 4, 3, 2]", r"row 3: the box .* ends before"),
    (RSNA, layouts.rsna, RSNA_LABELS, ",,,,,0\n", ",,,,,2\n", r"row 3: Target is '2', not 0 or 1"),
    (RSNA, layouts.rsna, RSNA_LABELS, ",,,,,0\n", ",1,,,,0\n", r"row 3: Target is 0 and there is a box"),
    (RSNA, layouts.rsna, RSNA_LABELS, f"{RSNA_IDS[1]},", ",", r"row 3: patientId is empty"),
    (RSNA, layouts.rsna, RSNA_CLASSES, ",Normal", ",Norml", r"row 3: the label 'Norml' is not known; known are Lung"),
    (RSNA, layouts.rsna, RSNA_CLASSES, f"{RSNA_IDS[1]},Normal", f"{RSNA_IDS[1]},Lung Opacity",
     r"row 3: .* is 'Lung Opacity' and has 0 boxes"),
    (RSNA, layouts.rsna, RSNA_CLASSES, f"{RSNA_IDS[1]},Normal", f"{RSNA_IDS[0]},Normal",
     r"row 3: .* 'Lung Opacity' above"),
    (RSNA, layouts.rsna, RSNA_CLASSES, f"{RSNA_IDS[1]},Normal\n", "", r"has no class for 00000001-"),
    (RSNA, layouts.rsna, RSNA_MAPPINGS, "00090042_007.png", "x.png", r"row 2: img_id is 'x.png'"),
    (RSNA, layouts.rsna, RSNA_MAPPINGS, "}]", "", r"row 1: is not JSON \("),
    (SIIM, layouts.siim, "train-rle.csv", "33 4", "33 four", r"row 1: EncodedPixels .* \('four' is no whole number\)"),
    (SIIM, layouts.siim, "train-rle.csv", "33 4 28 4", "33 4 28", r"row 1: .* \(there are 3 numbers, not pairs\)"),
    (SIIM, layouts.siim, "train-rle.csv", "700 2", "1279 2", r"row 2: .* leaves the image of 40x32 pixels"),
    (SIIM, layouts.siim, "train-rle.csv", " -1", "", r"row 4: a cell is empty; -1 stands for"),
    (SIIM, layouts.siim, "train-rle.csv", " 0 1", " 0 0", r"row 3: EncodedPixels marks nothing"),
    (SIIM, layouts.siim, "train-rle.csv", "700 2 30 3", "-1", r"row 2: the image has a mask in one row and none"),
    (VINDR, layouts.vindr, VINDR_BOXES, "Cardiomegaly,5", "Big heart,5", r"row 1: the label 'Big heart' is not known"),
    (VINDR, layouts.vindr, VINDR_BOXES, "Cardiomegaly,5", "Cardiomegaly,x", r"row 1: x_min is 'x', not a number"),
    (VINDR, layouts.vindr, VINDR_BOXES, "Cardiomegaly,5", "Cardiomegaly,", r"row 1: x_min is None, not a number"),
    (VINDR, layouts.vindr, VINDR_LABELS, "R9,0", "R9,yes", r"row 2: Aortic enlargement is 'yes', not 0 or 1"),
    (VINDR, layouts.vindr, VINDR_LABELS, ",R9,", ",,", r"row 2: rad_id is empty"),
    (VINDR, layouts.vindr, VINDR_LABELS, "Other lesion", "Odd", r"has the column 'Odd', no known label"),
    (VINDR, layouts.vindr_kaggle, "train.csv", "ILD,5", "ILD,6", r"row 3: the label 'ILD' with class_id '6' is not"),
    (VINDR, layouts.vindr_kaggle, "train.csv", "ILD,5,R9,1", "ILD,5,R9,a", r"row 3: x_min is 'a', not a number"),
    (CHESTX_DET, layouts.chestx_det, DET_TRAIN, "Effusion", "Water", r"row 1: the label 'Water' is not"),
    (CHESTX_DET, layouts.chestx_det, DET_TRAIN, "[1, 2, 3, 4]", '[1, "b", 3, 4]', r"row 3: the box .* four"),
    (CHESTX_DET, layouts.chestx_det, DET_TRAIN, "[1, 2, 3, 4]", "[1, 2, 3]", r"row 3: the box .* four num"),
    (CHESTX_DET, layouts.chestx_det, DET_TRAIN, '"syms": ["Mass"]', '"syms": []', r"row 3: .* differ in"),
    (CHESTX_DET, layouts.chestx_det, DET_TRAIN, '"syms": ["Mass"], ', "", r"row 3: lacks the field 'syms'"),
    (CHESTX_DET, layouts.chestx_det, DET_TRAIN, '"990001.png"', "7", r"row 2: file_name is 7, not a"),
    (CHESTX_DET, layouts.chestx_det, DET_TEST, "[512, 0]", "[512]", r"row 1: the polygon .* points"),
    (CHESTX_DET, layouts.chestx_det, DET_TEST, "[{", '[3, {', r"row 1: is no object with named fields"),
    (COVIDX, layouts.covidx, "train.txt", "a.png positive cohen", "a.png maybe cohen", r"row 1: the label 'maybe' is"),
    (COVIDX, layouts.covidx, "test.txt", "seven-b.png positive cohen", "seven-b.png positive", r"row 1: has 3 words"),
    (COVIDX, layouts.covidx, "train.txt", "1 a.jpg negative rsna", "2 a.png positive cohen", r"row 2: says other"),
]  # fmt: skip


@pytest.mark.parametrize(("adapter", "layout", "name", "old", "new", "message"), BAD_CELLS)
def test_a_bad_cell_names_file_and_row(tmp_path, adapter, layout, name, old, new, message):
    file = layout(tmp_path / "source") / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"{re.escape(Path(name).name)}:? {message}") as error:
        adapter.build(tmp_path / "source", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert "; " in str(error.value), "no remedy"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("adapter", "layout"), [DATASETS[0], DATASETS[1], DATASETS[2], DATASETS[4], DATASETS[6]])
def test_a_damaged_image_stops_the_build_by_name(tmp_path, adapter, layout):
    source = layout(tmp_path / "source")
    image = next(f for f in sorted(source.rglob("*")) if f.suffix in (".dcm", ".dicom", ".png", ".jpg"))
    image.write_bytes(b"not an image")
    with pytest.raises(ImageError, match=rf"{re.escape(image.name)}: is no "):
        adapter.build(source, tmp_path / "out")


def test_nih_file_names_name_patients_as_the_nih_adapter_does():
    assert nih_patient("00000001_000.png") == "nih-cxr14:1"
    assert nih_patient("00012345_010") == "nih-cxr14:12345"
    assert nih_patient("36001.png") is None
    assert nih_patient("100000001_000.png") is None


@pytest.mark.parametrize(
    ("text", "message"), [("{}", "is no list"), ("[" * 100_000, "is not JSON"), ("[1}", "is not JSON")]
)
def test_json_that_is_no_list(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_json_list(tmp_path / "x.json", card="chestx-det")
