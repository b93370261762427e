"""Tiny datasets of images with reports in exactly the layouts of the published ones; every id is made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.dataset_layouts import picture

CLASSES = [
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
]  # fmt: skip
MS_CSV = "MS_CXR_Local_Alignment_v1.1.0.csv"
PADCHEST_CSV = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
DICOM = {n: "-".join([f"{n}0000000", *[f"{n}abcdef0"] * 4]) for n in range(1, 6)}


def classes(**given: str) -> str:
    """The fourteen cells, empty but for ``given`` (blanks of the names as underscores)."""
    return ",".join(given.get(name.replace(" ", "_"), "") for name in CLASSES)


def mimic(folder: Path, *, scale: int = 1) -> Path:
    """Four studies of two patients: one image absent, one report absent, one study with neither side."""
    rng = np.random.default_rng(0)
    studies = {1: ("10000101", "50000001"), 2: ("10000101", "50000001"), 3: ("10000101", "50000002"),
               4: ("11000102", "50000003"), 5: ("11000102", "50000004")}  # fmt: skip
    dates = {1: "21800506,213014.531", 2: "21800506,90001", 3: "21800616,1.5", 4: "21770101,120000", 5: "21770102,0"}
    views = {1: "PA", 2: "LATERAL", 3: "AP", 4: "", 5: "AP"}
    header = (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
        "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
    )
    lines = [f"{DICOM[n]},{p},{s},CHEST (PA AND LAT),{views[n]},40,30,{dates[n]},,," for n, (p, s) in studies.items()]
    folder.mkdir(parents=True, exist_ok=True)
    _gzipped(folder / "mimic-cxr-2.0.0-metadata.csv.gz", [header, *lines])
    sides = [f"{DICOM[n]},{s},{p},{'validate' if p == '11000102' else 'train'}" for n, (p, s) in studies.items()]
    _gzipped(folder / "mimic-cxr-2.0.0-split.csv.gz", ["dicom_id,study_id,subject_id,split", *sides])
    labels = [f"subject_id,study_id,{','.join(sorted(CLASSES))}"]
    columns = sorted(CLASSES)
    for (patient, study), given in {
        studies[1]: {"Cardiomegaly": "1.0", "Edema": "0.0", "Pneumonia": "-1.0"},
        studies[4]: {"No Finding": "1.0"},
        studies[5]: {"Fracture": "1.0"},
    }.items():
        labels.append(f"{patient},{study}," + ",".join(given.get(name, "") for name in columns))
    _gzipped(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", labels)
    (folder / "mimic-cxr-2.0.0-negbio.csv").write_text("\n".join([labels[0], labels[1].replace("-1.0", "0.0")]) + "\n")
    (folder / "mimic-cxr-2.1.0-test-set-labeled.csv").write_text(
        "study_id,Airspace Opacity,Cardiomegaly,Pleural Effusion\n50000003,1,0,\n"
    )
    texts = {1: "FINDINGS:\n Heart mildly enlarged.\n", 3: "IMPRESSION: Unchanged.\n"}
    for n, (patient, study) in studies.items():
        home = folder / f"files/p{patient[:2]}/p{patient}"
        (home / f"s{study}").mkdir(parents=True, exist_ok=True)
        if n in (1, 2, 4):
            picture(home / f"s{study}" / f"{DICOM[n]}.jpg", rng, 30 * scale, 40 * scale)
        if n in texts:
            (home / f"s{study}.txt").write_text(texts[n])
    return folder


def change(file: Path, old: str, new: str) -> None:
    """Replace ``old`` in a file, plain or gzipped."""
    packed = file.suffix == ".gz"
    text = (gzip.decompress(file.read_bytes()) if packed else file.read_bytes()).decode()
    assert old in text
    content = text.replace(old, new).encode()
    file.write_bytes(gzip.compress(content) if packed else content)


MS_HEADER = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split"


def ms_cxr(folder: Path, *, size: tuple[int, int] = (300, 400)) -> Path:
    """Three phrases of two images, one phrase with two boxes, and one of an absent image; CSV and COCO JSON alike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = {
        1: f"files/p10/p10000101/s50000001/{DICOM[1]}.jpg",
        2: f"files/p11/p11000102/s50000003/{DICOM[2]}.jpg",
        3: f"files/p11/p11000103/s50000005/{DICOM[3]}.jpg",
    }
    boxes = [
        (1, "Pneumonia", "left lower lobe pneumonia", [30, 40, 60, 80], "val"),
        (1, "Pneumonia", "left lower lobe pneumonia", [150, 200, 30, 40], "val"),
        (1, "Cardiomegaly", "heart is enlarged, mildly", [0, 0, 300, 400], "val"),
        (2, "Pleural Effusion", "small right effusion", [10, 20, 30, 40], "test"),
        (3, "Edema", "mild edema", [1, 2, 3, 4], "test"),
    ]
    lines = [
        f'{DICOM[n]},{name},"{text}",{paths[n]},{",".join(map(str, box))},300,400,{side}'
        for n, name, text, box, side in boxes
    ]
    (folder / MS_CSV).write_text("\n".join([MS_HEADER, *lines]) + "\n")
    names = sorted({box[1] for box in boxes})
    images = [{"id": n, "file_name": f"{DICOM[n]}.jpg", "width": 300, "height": 400, "num_slices": 1, "path": path}
              for n, path in paths.items()]  # fmt: skip
    annotations = [
        {"id": i, "image_id": n, "category_id": names.index(name), "bbox": box, "label_text": text, "split": side}
        for i, (n, name, text, box, side) in enumerate(boxes)
    ]
    content = {"info": {"version": "1.1.0"}, "licenses": [], "images": images, "annotations": annotations,
               "categories": [{"id": i, "name": name} for i, name in enumerate(names)]}  # fmt: skip
    (folder / "MS_CXR_Local_Alignment_v1.1.0.json").write_text(json.dumps(content))
    for n in (1, 2):
        (folder / paths[n]).parent.mkdir(parents=True, exist_ok=True)
        picture(folder / paths[n], rng, *size)
    return folder


def chexpert(folder: Path, *, test: bool = False) -> Path:
    """Three training patients (one image absent), one of the validation set and, on request, one of the test set."""
    root = folder / "CheXpert-v1.0-small"
    root.mkdir(parents=True)
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(CLASSES)
    train = [
        f"train/patient90001/study1/view1_frontal.jpg,Female,68,Frontal,AP,{classes(Edema='1.0', Fracture='-1.0')}",
        f"train/patient90001/study1/view2_lateral.jpg,Female,68,Lateral,,{classes(Edema='1.0', Fracture='-1.0')}",
        f"train/patient90001/study2/view1_frontal.jpg,Female,0,Frontal,PA,{classes(No_Finding='1.0')}",
        f"train/patient90002/study1/view1_frontal.jpg,Unknown,40,Frontal,AP,{classes(Pneumonia='0.0')}",
        f"train/patient90003/study1/view1_frontal.jpg,Male,90,Frontal,AP,{classes(Pneumonia='1.0')}",
    ]
    everything = dict.fromkeys((name.replace(" ", "_") for name in CLASSES), "0.0")
    valid = [f"valid/patient94541/study1/view1_frontal.jpg,Male,73,Frontal,AP,{classes(**everything)}"]
    for name, rows in (("train.csv", train), ("valid.csv", valid)):
        (root / name).write_text("\n".join([header, *[f"CheXpert-v1.0-small/{row}" for row in rows]]) + "\n")
    rows = [*train[:4], *valid]
    if test:
        row = f"test/patient94741/study1/view1_frontal.jpg,{classes(**everything)}"
        (root / "test_labels.csv").write_text("\n".join(["Path," + ",".join(CLASSES), row]) + "\n")
        rows.append(row)
    _pictures(root, [row.split(",")[0] for row in rows], 32, 39)
    return folder


PLUS_HEADER = (
    "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,report,"
    "section_narrative,section_clinical_history,section_history,section_comparison,section_technique,"
    "section_procedure_comments,section_findings,section_impression,section_end_of_impression,section_summary,"
    "section_accession_number,age,sex,race,ethnicity,interpreter_needed,insurance_type,recent_bmi,deceased,split"
)


def chexpert_plus(folder: Path) -> Path:
    """Reports of three studies, one without a findings section, one without a report; CheXbert's files; PNG images."""
    labels = folder / "chexbert_labels"
    labels.mkdir(parents=True)
    rows = [
        ("train/patient90001/study1/view1_frontal", "Frontal,AP", "1", "Findings: wet.\nImpression: oedema.", "wet.",
         "oedema.", "train"),
        ("train/patient90001/study1/view2_lateral", "Lateral,", "1", "Findings: wet.\nImpression: oedema.", "wet.",
         "oedema.", "train"),
        ("train/patient90002/study1/view1_frontal", "Frontal,PA", "3", "Impression: clear.", "", "clear.", "train"),
        ("valid/patient94541/study1/view1_frontal", "Frontal,AP", "2", "", "", "", "valid"),
    ]  # fmt: skip
    lines = []
    for path, view, order, report, findings, impression, side in rows:
        patient = path.split("/")[1]
        cells = [f"{path}.jpg", f"{path}.dcm", view, patient, order, f'"{report}"', *[""] * 6, "", findings, impression,
                 "", "", "0", "61.0", "Female", *[""] * 6, side]  # fmt: skip
        del cells[12]
        lines.append(",".join(cells))
    (folder / "df_chexpert_plus_240401.csv").write_text("\n".join([PLUS_HEADER, *lines]) + "\n")
    for kind, given in {"findings": {"Edema": 1.0}, "impression": {"Edema": -1.0}, "report": {"Edema": 1.0}}.items():
        entries = [{"path_to_image": f"{row[0]}.jpg", **dict.fromkeys(CLASSES), **given} for row in rows]
        entries[2] |= {"Edema": None, "No Finding": 1.0}
        (labels / f"{kind}_fixed.json").write_text("\n".join(map(json.dumps, entries)) + "\n")
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(CLASSES)
    valid = f"CheXpert-v1.0/valid/patient94541/study1/view1_frontal.jpg,Male,73,Frontal,AP,{classes(Edema='1.0')}"
    (folder / "valid.csv").write_text(f"{header}\n{valid}\n")
    _pictures(folder / "PNG" / "PNG", [f"{row[0]}.png" for row in rows[1:]], 32, 39)
    return folder


PADCHEST_HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,"
    "WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,LabelsLocalizationsBySentence,"
    "labelCUIS,LocalizationsCUIS"
)


def padchest(folder: Path) -> Path:
    """Five images of four studies: two of one study, one marked EXCLUDE, one absent with its report."""
    folder.mkdir(parents=True)
    consolidation = "['consolidation', ' pleural effusion', 'gynecomastia']"
    places = "[['consolidation', 'loc basal', 'loc left'], ['pleural effusion'], ['gynecomastia']]"
    rows = [
        ("1_a.png", "0", "20140915", "1001", "p1", "1950.0", "PA", "condens basal", "Physician", consolidation, places),
        ("1_b.png", "0", "20140915", "1001", "p1", "1950.0", "L", "condens basal", "Physician", consolidation, places),
        ("2_a.png", "54", "20141001", "1002", "p1", "1950.0", "UNK", "sin cambi", "RNN_model",
         "['unchanged', 'nodule']", "[['unchanged'], ['nodule']]"),
        ("3_a.png", "54", "20100102", "1003", "p2", "", "EXCLUDE", "x", "Physician", "['exclude']", "[['exclude']]"),
        ("4_a.png", "7", "20110102", "1004", "p3", "2000.0", "AP", "normal", "Physician", "['normal', 'NSG Tube']",
         "[['normal'], ['nsg tube']]"),
    ]  # fmt: skip
    lines = []
    for i, (image, home, date, study, patient, birth, view, text, method, labels, by_sentence) in enumerate(rows):
        start = [
            str(i),
            f"90000{image}",
            home,
            date,
            f"90000{study}",
            f"80000{patient}",
            birth,
            "F",
            "X",
            view,
            "Manual",
        ]
        lines.append(",".join([*start, "No", "DX", *[""] * 15, f"4{study}", text, method, f'"{labels}"', "[]",
                               f'"{by_sentence}"', "[]", "[]"]))  # fmt: skip
        if home != "7":
            (folder / home).mkdir(exist_ok=True)
            _grey16(folder / home / f"90000{image}", i)
    (folder / PADCHEST_CSV).write_text("\n".join([PADCHEST_HEADER, *lines]) + "\n")
    return folder


MASTER_HEADER = (
    "StudyID,ImageID,label,boxes_count,extra_boxes_count,locations,prior_study,progression_status,prior_imageID,"
    "sentence_en,sentence_es,study_is_benchmark,study_is_validation,split,PatientID,patient_is_benchmark,PatientBirth,"
    "PatientSex_DICOM,StudyDate_DICOM,StudyDate,PatientAge,label_group,Year"
)


def padchest_gr(folder: Path) -> Path:
    """Three studies: boxes of both readers, a normal one, and one whose image is absent."""
    folder.mkdir(parents=True)
    home = folder / "Padchest_GR_files" / "PadChest_GR"
    home.mkdir(parents=True)
    findings: list[list[dict[str, Any]]] = [
        [
            {"sentence_en": "Small left effusion.", "sentence_es": "Pequeño derrame izquierdo.", "abnormal": True,
             "boxes": [[0.5, 0.25, 1.0004, 0.75], [0, 0, 0.5, 0.5]], "extra_boxes": [[0.5, 0.5, 1, 1]],
             "labels": ["gynecomastia", "pleural effusion"], "locations": ["left", "pleural"], "progression": "stable"},
            {"sentence_en": "Gynecomastia.", "sentence_es": "Ginecomastia.", "abnormal": True,
             "boxes": [[0, 0, 1, 1]], "extra_boxes": [], "labels": ["gynecomastia"], "locations": [],
             "progression": None},
            {"sentence_en": "No pneumothorax.", "sentence_es": "Sin neumotórax.", "abnormal": False},
        ],
        [{"sentence_en": "Normal chest.", "sentence_es": "Tórax normal.", "abnormal": False}],
        [{"sentence_en": "Nodule.", "sentence_es": "Nódulo.", "abnormal": True, "boxes": [[0.1, 0.1, 0.2, 0.2]],
          "extra_boxes": [], "labels": ["nodule"], "locations": [], "progression": None}],
    ]  # fmt: skip
    entries = [
        {"StudyID": f"90000100{n}", "ImageID": f"90000100{n}_x.png", "PreviousStudyID": "900000999" if n == 1 else None,
         "PreviousImageID": "900000999_y.png" if n == 1 else None, "findings": sentences}
        for n, sentences in enumerate(findings, start=1)
    ]  # fmt: skip
    (folder / "grounded_reports_20240819.json").write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    master = [
        ("900001001", "pleural effusion", "train", "80000p1", "20140915", "64"),
        ("900001001", "gynecomastia", "train", "80000p1", "20140915", "64"),
        ("900001002", "Normal", "validation", "80000p2", "20120101", "30"),
        ("900001003", "nodule", "test", "80000p3", "20130101", "50"),
    ]
    lines = [
        f"{study},{study}_x.png,{label},0,0,,,,,,,True,False,{side},{patient},True,1950,F,{date},{date},{age},{label},2014"
        for study, label, side, patient, date, age in master
    ]
    (folder / "master_table.csv").write_text("\n".join([MASTER_HEADER, *lines]) + "\n")
    for n in (1, 2):
        _grey16(home / f"90000100{n}_x.png", n)
    return folder


def _grey16(file: Path, seed: int, width: int = 30, height: int = 40) -> None:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 4096, (height, width), dtype=np.uint16)
    Image.fromarray(pixels).save(file)


def _pictures(root: Path, paths: list[str], width: int, height: int) -> None:
    rng = np.random.default_rng(0)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        picture(root / path, rng, width, height)


def _gzipped(file: Path, lines: list[str]) -> None:
    file.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
