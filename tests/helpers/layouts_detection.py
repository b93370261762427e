"""Tiny datasets in exactly the layouts of published detection sets. All ids are made up; headers hold private words."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.helpers.dataset_layouts import picture

PRIVATE = "MARKER^PRIVATE"  # stands in every header where a name or a free text may
RSNA_IDS = [f"{n:08x}-aaaa-4bbb-8ccc-0123456789ab" for n in range(5)]
SIIM_IDS = [f"1.2.276.0.7230010.3.1.4.0.{n}.1500000000.1" for n in range(5)]
VINDR_IDS = [f"{n:032x}" for n in range(5)]


def dicom(file: Path, pixels: np.ndarray, *, compress: bool = False, **attributes: Any) -> None:
    """A one-channel file of the pixels' depth, as JPEG baseline where ``compress`` says so."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import (
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        JPEGBaseline8Bit,
        generate_uid,
    )

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if compress else ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName = dataset.PatientComments = dataset.ImageComments = dataset.InstitutionName = PRIVATE
    dataset.StudyDescription = dataset.ReferringPhysicianName = dataset.AccessionNumber = PRIVATE
    dataset.Rows, dataset.Columns = pixels.shape
    bits = pixels.dtype.itemsize * 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ages without a unit, as the challenges have them
        for key, value in attributes.items():
            setattr(dataset, key, value)
    if compress:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
        dataset.PixelData = encapsulate([buffer.getvalue()])
    else:
        dataset.PixelData = pixels.tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)


def rsna(folder: Path) -> Path:
    """Three training images (two boxes, normal, neither) and one that is absent; one test image. Two of one patient."""
    folder.mkdir(parents=True)
    boxed, normal, other, absent, test = RSNA_IDS
    (folder / "stage_2_train_labels.csv").write_text(
        "patientId,x,y,width,height,Target\n"
        f"{boxed},2.0,3.0,10.0,12.0,1\n{boxed},30.0,3.0,8.0,20.0,1\n"
        f"{normal},,,,,0\n{other},,,,,0\n{absent},,,,,0\n"
    )
    (folder / "stage_2_detailed_class_info.csv").write_text(
        "patientId,class\n"
        f"{boxed},Lung Opacity\n{boxed},Lung Opacity\n{normal},Normal\n"
        f"{other},No Lung Opacity / Not Normal\n{absent},Normal\n"
    )
    mappings = [
        {"subset_img_id": own, "img_id": nih, "orig_labels": ["No Finding"], "SOPInstanceUID": "1.2.3"}
        for own, nih in ((boxed, "00090042_001.png"), (other, "00090042_007.png"), (test, "00090007_000.png"))
    ]
    (folder / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(mappings))
    rng = np.random.default_rng(0)
    for number, (name, age) in enumerate([(boxed, "051"), (normal, "148"), (other, "051"), (test, "006")]):
        side = "test" if name == test else "train"
        dicom(
            folder / f"stage_2_{side}_images" / f"{name}.dcm", rng.integers(0, 256, (48, 40), dtype=np.uint8),
            compress=True, PatientID=name, PatientSex="FM"[number % 2], PatientAge=age, Modality="CR",
            ViewPosition=("PA", "AP")[number % 2],
        )  # fmt: skip
    return folder


def siim(folder: Path) -> Path:
    """Two masks (one of two rows), one image without pneumothorax, one without annotation, one test, one absent."""
    folder.mkdir(parents=True)
    two, one, none, unread, test = SIIM_IDS
    (folder / "train-rle.csv").write_text(  # both headers and cells begin with blanks in the original
        "ImageId, EncodedPixels\n"
        f"{two},33 4 28 4\n{two},700 2 30 3\n"  # columns 1 and 2, rows 1-4 of 32; far away another one
        f"{one}, 0 1\n{none}, -1\n{SIIM_IDS[0]}9, -1\n"
    )
    rng = np.random.default_rng(1)
    for number, name in enumerate([two, one, none, unread, test]):
        study, series = f"1.2.276.0.7230010.3.1.2.0.{number}", f"1.2.276.0.7230010.3.1.3.0.{number}"
        side = "test" if name == test else "train"
        dicom(
            folder / f"dicom-images-{side}" / study / series / f"{name}.dcm",
            rng.integers(0, 256, (32, 40), dtype=np.uint8), compress=True,
            PatientID=f"{PRIVATE}{number // 2}", PatientSex="M", PatientAge="35", ViewPosition="PA", Modality="CR",
        )  # fmt: skip
    return folder


VINDR_LABELS = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema",
    "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
    "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture",
    "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding",
)  # fmt: skip


def vindr_row(*names: str) -> str:
    return ",".join("1" if label in names else "0" for label in VINDR_LABELS)


def vindr(folder: Path) -> Path:
    """Two training images of three readers each and one absent; two test images in consensus."""
    annotations = folder / "annotations"
    annotations.mkdir(parents=True)
    sick, clear, absent, test, unlisted = VINDR_IDS
    readings = [
        (sick, "R8", ("Cardiomegaly", "Nodule/Mass")), (sick, "R9", ("Cardiomegaly", "Other lesion")),
        (sick, "R10", ("Cardiomegaly", "Nodule/Mass", "Edema")),
        *((clear, reader, ("No finding",)) for reader in ("R1", "R2", "R3")),
        *((absent, reader, ("No finding",)) for reader in ("R1", "R2", "R3")),
    ]  # fmt: skip
    header = ",".join(VINDR_LABELS)
    (annotations / "image_labels_train.csv").write_text(
        f"image_id,rad_id,{header}\n" + "".join(f"{i},{r},{vindr_row(*names)}\n" for i, r, names in readings)
    )
    (annotations / "image_labels_test.csv").write_text(
        f"image_id,{header.replace('Other diseases', 'Other disease')}\n{test},{vindr_row('Pleural effusion')}\n"
    )
    (annotations / "annotations_train.csv").write_text(
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n"
        f"{sick},R8,Cardiomegaly,5,10,30,25\n{sick},R9,Cardiomegaly,6.5,10,31,25\n{sick},R9,Other lesion,1,1,4,4\n"
        f"{sick},R8,Nodule/Mass,3,3,6,6\n{sick},R10,Nodule/Mass,3,3,3,6\n"
        f"{clear},R1,No finding,,,,\n{absent},R1,No finding,,,,\n"
    )
    (annotations / "annotations_test.csv").write_text(
        "image_id,class_name,x_min,y_min,x_max,y_max\n" + f"{test},Pleural effusion,2,2,8,30\n"
    )
    rng = np.random.default_rng(2)
    for name, side in ((sick, "train"), (clear, "train"), (test, "test"), (unlisted, "test")):
        dicom(
            folder / side / f"{name}.dicom", rng.integers(0, 2**14, (36, 40)).astype("<u2"), BitsStored=14, HighBit=13,
            PhotometricInterpretation="MONOCHROME1", WindowCenter=8192, WindowWidth=16384, PatientSex="F",
            PatientAge="061Y", PatientID=PRIVATE,
        )  # fmt: skip
    return folder


def vindr_kaggle(folder: Path) -> Path:
    """The challenge's one table: an image of two readers who agree in part, one of three who find nothing."""
    folder.mkdir(parents=True)
    sick, clear = VINDR_IDS[:2]
    (folder / "train.csv").write_text(
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
        f"{sick},Aortic enlargement,0,R8,5,5,12,12\n{sick},Aortic enlargement,0,R9,5,6,12,13\n"
        f"{sick},ILD,5,R9,1,1,30,30\n{sick},ILD,5,R9,10,1,39,30\n"
        + "".join(f"{clear},No finding,14,{reader},,,,\n" for reader in ("R1", "R2", "R3"))
    )
    rng = np.random.default_rng(3)
    for name, side in ((sick, "train"), (clear, "train"), (VINDR_IDS[3], "test")):
        dicom(folder / side / f"{name}.dicom", rng.integers(0, 4096, (36, 40)).astype("<u2"), BitsStored=12, HighBit=11)
    return folder


def chestx_det(folder: Path, size: int = 64) -> Path:
    """ChestX-Det: two training images and an absent one, one test image of a patient of the training side."""
    folder.mkdir(parents=True)
    square = [[512, 0], [1024, 0], [1024, 512]]
    train = [
        {"file_name": "00090042_001.png", "syms": ["Effusion", "Diffuse Nodule"],
         "boxes": [[0, 512, 256, 1024], [512, 0, 1024, 512]], "polygons": [[[0, 512], [256, 1024], [0, 1024]], square]},
        {"file_name": "990001.png", "syms": [], "boxes": [], "polygons": []},
        {"file_name": "00090044_000.png", "syms": ["Mass"], "boxes": [[1, 2, 3, 4]], "polygons": [square]},
    ]  # fmt: skip
    test = [
        {"file_name": "00090042_002.png", "syms": ["Fracture", "Fracture"], "boxes": [[0, 0, 16, 32], [5, 5, 9, 5]],
         "polygons": [square, []]}
    ]  # fmt: skip
    (folder / "ChestX_Det_train.json").write_text(json.dumps(train))
    (folder / "ChestX_Det_test.json").write_text(json.dumps(test))
    rng = np.random.default_rng(4)
    for side, name in (("train", "00090042_001.png"), ("train", "990001.png"), ("test", "00090042_002.png")):
        (folder / f"{side}_data").mkdir(exist_ok=True)
        picture(folder / f"{side}_data" / name, rng, size, size)
    return folder


def chestx_det10(folder: Path) -> Path:
    """ChestX-Det10: the same without outlines, under the older names."""
    chestx_det(folder)
    for side in ("train", "test"):
        entries = json.loads((folder / f"ChestX_Det_{side}.json").read_text())
        for entry in entries:
            del entry["polygons"]
            entry["syms"] = [word.replace("Diffuse Nodule", "Nodule") for word in entry["syms"]]
        (folder / f"{side}.json").write_text(json.dumps(entries))
        (folder / f"ChestX_Det_{side}.json").unlink()
    return folder


def covidx(folder: Path) -> Path:
    """Lists of three sides; a patient who stands on two of them, one absent image, one file name with a blank."""
    lists = {
        "train": "1 a.png positive cohen\n1 a.jpg negative rsna\n7 seven.png negative cohen\n9 no.png positive sirm\n",
        "val": "ANON1 CR.1.2.3.png negative actmed\n",
        "test": "7 seven-b.png positive cohen\n\nCOVID 1 COVID 1 (2).png positive sirm\n",
    }
    rng = np.random.default_rng(5)
    names = {
        "train": ("a.png", "a.jpg", "seven.png"),
        "val": ("CR.1.2.3.png",),
        "test": ("seven-b.png", "COVID 1 (2).png"),
    }
    for side, text in lists.items():
        (folder / side).mkdir(parents=True)
        (folder / f"{side}.txt").write_text(text)
        for name in names[side]:
            picture(folder / side / name, rng, 24, 20)
    return folder
