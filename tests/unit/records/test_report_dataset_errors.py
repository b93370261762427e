from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.chexpert import ADAPTER as CHEXPERT
from lgdea.records.adapters.chexpert_plus import ADAPTER as PLUS
from lgdea.records.adapters.mimic_cxr import ADAPTER as MIMIC
from lgdea.records.adapters.ms_cxr import ADAPTER as MS
from lgdea.records.adapters.padchest import ADAPTER as PADCHEST
from lgdea.records.adapters.padchest_gr import ADAPTER as GR
from tests.helpers import layouts_reports as layouts
from tests.helpers.layouts_reports import MS_CSV, PADCHEST_CSV

D = layouts.DICOM
ADAPTERS = [
    (MIMIC, layouts.mimic),
    (MS, layouts.ms_cxr),
    (CHEXPERT, layouts.chexpert),
    (PLUS, layouts.chexpert_plus),
    (PADCHEST, layouts.padchest),
    (GR, layouts.padchest_gr),
]
METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-split.csv.gz"
PLUS_CSV, CHEXPERT_CSV = "df_chexpert_plus_240401.csv", "CheXpert-v1.0-small/train.csv"
RADIOLOGIST, REPORTS_JSON = "mimic-cxr-2.1.0-test-set-labeled.csv", "grounded_reports_20240819.json"


@pytest.mark.parametrize(("adapter", "layout"), ADAPTERS)
def test_a_wrong_source_is_one_clear_line(tmp_path, adapter, layout):
    layout(tmp_path / "source")
    (tmp_path / "nothing").mkdir()
    for source, message in [(tmp_path / "nowhere", "no such folder"), (tmp_path / "nothing", "no such file")]:
        with pytest.raises(UsageError, match=message) as error:
            adapter.build(source, tmp_path / "out")
        assert str(source) in str(error.value)
        assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="takes no option 'colour'"):
        adapter.build(tmp_path / "source", tmp_path / "out", colour=1)


@pytest.mark.parametrize(
    ("adapter", "layout", "name", "old", "new", "message"),
    [
        (MIMIC, layouts.mimic, METADATA, "subject_id", "patient", "lacks the column 'subject_id'; `lgdea data card"),
        (MIMIC, layouts.mimic, METADATA, "21800616", "June", "row 3: StudyDate is 'June', not a date as YYYYMMDD"),
        (MIMIC, layouts.mimic, METADATA, f"{D[4]},1", f"{D[4]},x", "row 4: subject_id is 'x1000102', not an id"),
        (MIMIC, layouts.mimic, METADATA, "AP,40,30", "AP,tall,30", "row 3: Rows is 'tall', not a number of pixels"),
        (MIMIC, layouts.mimic, SPLIT, "validate", "valid", "row 4: split is 'valid', none of train, validate, test"),
        (MIMIC, layouts.mimic, SPLIT, ",50000003,", ",59999999,", "row s50000003: has no row for this study"),
        (MIMIC, layouts.mimic, "mimic-cxr-2.0.0-negbio.csv", "1.0", "maybe", "row 1: Cardiomegaly is 'maybe', not 1"),
        (MIMIC, layouts.mimic, RADIOLOGIST, "Cardiomegaly", "Big heart", "has the unknown column 'Big heart'"),
        (MS, layouts.ms_cxr, MS_CSV, "label_text", "text", "lacks the column 'label_text'"),
        (MS, layouts.ms_cxr, MS_CSV, ",30,40,60,", ",left,40,60,", "row 1: x is 'left', not a number"),
        (MS, layouts.ms_cxr, MS_CSV, ",10,20,30,", ",10,20,0,", "row 4: a width or height is not above 0"),
        (MS, layouts.ms_cxr, MS_CSV, ",Edema,", ",Oedema,", "row 5: the category 'Oedema' is no CheXpert class"),
        (MS, layouts.ms_cxr, MS_CSV, "files/p11/p11000103", "files/x", "row 5: path is .*, not like files/p10"),
        (MS, layouts.ms_cxr, MS_CSV, ",test\n", ",dev\n", "row 4: split is 'dev', none of train, val, test"),
        (CHEXPERT, layouts.chexpert, CHEXPERT_CSV, "Edema", "Oedema", "train.csv: lacks the column 'Edema'"),
        (CHEXPERT, layouts.chexpert, CHEXPERT_CSV, "-1.0", "-2.0", "row 1: Fracture is '-2.0', not 1, 0 or -1"),
        (CHEXPERT, layouts.chexpert, CHEXPERT_CSV, "90002/study1", "90002/1", "row 4: Path is .*, not like train/pat"),
        (PLUS, layouts.chexpert_plus, PLUS_CSV, "section_findings", "findings", "lacks the column 'section_findings'"),
        (PLUS, layouts.chexpert_plus, PLUS_CSV, ",valid\n", ",dev\n", "row 4: split is 'dev', none of train, valid"),
        (PLUS, layouts.chexpert_plus, "chexbert_labels/findings_fixed.json", '"Edema": null', '"Edema": }',
         "findings_fixed.json row 3: is no JSON object"),
        (PLUS, layouts.chexpert_plus, "chexbert_labels/report_fixed.json", '"Edema": 1.0', '"Edema": "yes"',
         "report_fixed.json row 1: Edema is 'yes', not 1, 0 or -1"),
        (PADCHEST, layouts.padchest, PADCHEST_CSV, "MethodLabel", "Method", "lacks the column 'MethodLabel'"),
        (PADCHEST, layouts.padchest, PADCHEST_CSV, "NSG Tube", "NSG Tub", "row 5: the label 'NSG Tub' is none of Pad"),
        (PADCHEST, layouts.padchest, PADCHEST_CSV, "\"['unchanged', 'nodule']\"", "nodule", "row 3: Labels is not a"),
        (PADCHEST, layouts.padchest, PADCHEST_CSV, "RNN_model", "GPT", "row 3: MethodLabel is 'GPT', not Physician or"),
        (PADCHEST, layouts.padchest, PADCHEST_CSV, ",54,20141001", ",x,20141001", "row 3: ImageDir is 'x', not a fold"),
        (PADCHEST, layouts.padchest, PADCHEST_CSV, "20141001", "2014-10", "row 3: StudyDate_DICOM is '2014-10', not a"),
        (GR, layouts.padchest_gr, "master_table.csv", "PatientID", "Patient", "lacks the column 'PatientID'"),
        (GR, layouts.padchest_gr, "master_table.csv", "validation", "dev", "row 3: split is 'dev', none of train"),
        (GR, layouts.padchest_gr, "master_table.csv", "900001003,", "1,", "row 900001003: has no row for this study"),
        (GR, layouts.padchest_gr, REPORTS_JSON, "[0, 0, 0.5, 0.5]", '[0, 0, "a", 1]', "row 1: the box .* is not four"),
        (GR, layouts.padchest_gr, REPORTS_JSON, "[0, 0, 0.5, 0.5]", "[0, 0, 50, 50]", "row 1: the box .* is not four"),
        (GR, layouts.padchest_gr, REPORTS_JSON, '"nodule"', '"nodul"', "row 3: the label 'nodul' is none of PadChest"),
        (GR, layouts.padchest_gr, REPORTS_JSON, '"findings"', '"sentences"', "row 1: lacks 'findings'"),
    ],
)  # fmt: skip
def test_a_bad_cell_names_its_file_and_row(tmp_path, adapter, layout, name, old, new, message):
    source = layout(tmp_path / "source")
    layouts.change(source / name, old, new)
    with pytest.raises(DataError, match=message) as error:
        adapter.build(source, tmp_path / "out")
    assert Path(name).name in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", r"is no COCO file \(KeyError: 'categories'\)"),
        (b"[", r"is no COCO file \(JSONDecodeError"),
    ],
)
def test_a_broken_coco_file(tmp_path, content, message):
    source = layouts.ms_cxr(tmp_path / "source")
    (source / MS_CSV).unlink()
    file = source / "MS_CXR_Local_Alignment_v1.1.0.json"
    whole = json.loads(file.read_text())
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        MS.build(source, tmp_path / "out")
    del whole["annotations"][1]["bbox"]
    file.write_text(json.dumps(whole))
    with pytest.raises(DataError, match=r"row 2: is no annotation of a box and a phrase \(KeyError: 'bbox'\)"):
        MS.build(source, tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"dicom_id,split\n" * 99)[:-12], gzip.compress(b"")],
    ids=["other", "cut", "empty"],  # the bytes hold the time of day
)
def test_a_damaged_gzip_file_is_named(tmp_path, content):
    source = layouts.mimic(tmp_path / "source")
    (source / METADATA).write_bytes(content)
    with pytest.raises(DataError, match=rf"{METADATA}: (cannot be read|is empty).*; fetch it again"):
        MIMIC.build(source, tmp_path / "out")
    (source / METADATA).write_bytes(gzip.compress("dicom_id\nMüller".encode("latin-1")))
    with pytest.raises(DataError, match=rf"{METADATA} row 1: is not UTF-8 \(byte 0xfc\)"):
        MIMIC.build(source, tmp_path / "out")
