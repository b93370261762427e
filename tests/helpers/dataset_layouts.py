"""Tiny datasets in exactly the layouts of the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

OPENI_XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <uId id="CXR{number}"/>
   <MedlineCitation><Article><Abstract>
         <AbstractText Label="COMPARISON"/>
         <AbstractText Label="INDICATION">{indication}</AbstractText>
         <AbstractText Label="FINDINGS">{findings}</AbstractText>
         <AbstractText Label="IMPRESSION">{impression}</AbstractText>
   </Abstract></Article></MedlineCitation>
   <MeSH>{majors}<automatic>granuloma</automatic></MeSH>
   <parentImage id="CXR{number}_IM-0001-1001"/>
</eCitation>"""


def openi(folder: Path) -> Path:
    """Three reports, the third without findings and impression, and the gold file for two of them."""
    reports = folder / "ecgen-radiology"
    reports.mkdir(parents=True)
    openi_report(
        reports / "2.xml", 2, "Cough.", "Heart size normal. The lungs are clear.", "No acute disease.", ["normal"]
    )
    openi_report(reports / "10.xml", 10, "", "Café au lait, 5 &lt; 7.", "", ["Opacity/lung/base/left", "Cardiomegaly"])
    openi_report(reports / "11.xml", 11, "Chest pain.", "", "", [])
    header = "filename,Atelectasis,Cardiomegaly,Effusion,Hernia,normal"
    (folder / "openi_gld_std14.csv").write_text(f"{header}\nCXR2,0,0,0,0,1\nCXR10,0,1,0,0,0\nCXR999,1,0,0,0,0\n")
    return folder


def openi_report(file: Path, number: int, indication: str, findings: str, impression: str, majors: list[str]) -> None:
    text = OPENI_XML.format(
        number=number,
        indication=indication,
        findings=findings,
        impression=impression,
        majors="".join(f"<major>{major}</major>" for major in majors),
    )
    file.write_text(text, encoding="utf-8")


def nih(folder: Path, size: int = 256) -> Path:
    """Four images of three patients, one of them not there; three boxes, one of an absent image."""
    (folder / "images").mkdir(parents=True)
    (folder / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
        "00000001_000.png,Cardiomegaly|Effusion,0,1,058Y,M,PA,2682,2749,0.143,0.143\n"
        "00000001_001.png,No Finding,1,1,59,M,AP,2894,2729,0.143,0.143\n"
        "00000002_000.png,Infiltration,0,2,414,F,PA,2500,2048,0.168,0.168\n"
        "00000003_000.png,Hernia,0,3,74,F,PA,2500,2048,0.168,0.168\n"
    )
    (folder / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000001_000.png,Effusion,512,256,256,128,,,\n"
        "00000002_000.png,Infiltrate,0.0,0.0,1024.0,512.5,,,\n"
        "00000003_000.png,Mass,1,2,3,4,,,\n"
    )
    rng = np.random.default_rng(0)
    for name in ("00000001_000", "00000001_001", "00000002_000"):
        picture(folder / "images" / f"{name}.png", rng, size, size)
    return folder


def covid(folder: Path) -> Path:
    """Five X-rays of three patients (one of them of Hannover), one CT and one absent image."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    header = "patientid,offset,sex,age,finding,view,modality,folder,filename,clinical_notes,split_key\n"
    (folder / "metadata.csv").write_text(
        header
        + '7,3,M,54,COVID-19,PA,X-ray,images,a-pa.jpg,"Patchy opacity, right base.",covid_7\n'
        + '7,3,M,54,COVID-19,L,X-ray,images,a-l.jpg,"Patchy opacity, right base.",covid_7\n'
        + '7,9,M,54,"COVID-19, ARDS",AP Supine,X-ray,images,b.jpg,Worse.,covid_7\n'
        + "8,?,F,,todo,?,X-ray,images,c.jpg,Worse.,covid_8\n"
        + "9,0,M,60,Pneumonia/Viral/COVID-19,AP,X-ray,images,d.jpg,,mhh_abc\n"
        + "7,3,M,54,COVID-19,Axial,CT,images,ct.jpg,CT.,covid_7\n"
        + "8,4,F,,No Finding,PA,X-ray,images,gone.jpg,Gone.,covid_8\n"
    )
    (folder / "pathology_boxes.csv").write_text(
        "file,region,mask_file,component,x,y,w,h,area_px,image_width,image_height,image_side,patient_side\n"
        "images/a-pa.jpg,Ground Glass Opacities,masks/a__ggo.png,1,5,6,20,10,200,60,40,left,right\n"
        "images/gone.jpg,Consolidation,masks/g.png,1,5,6,20,10,200,60,40,left,right\n"
    )
    (folder / "regions.csv").write_text(
        "file,region,kind,mask_file,x,y,w,h,image_width,image_height,source,mask_fill\n"
        "images/a-pa.jpg,Right Lung,anatomy,,1.5,2.0,25.5,30.0,60,40,json,\n"
        "images/a-pa.jpg,Ground Glass Opacities,pathology,masks/a__ggo.png,5,6,20,10,60,40,json,0.5\n"
    )
    (folder / "pairs.csv").write_text(
        "patient_id,file_prior,file_current,day_prior,day_current,brixia_prior\n"
        "covid_7,images/a-pa.jpg,images/b.jpg,3,9,7.0\n"
        "covid_8,images/c.jpg,images/gone.jpg,0,4,\n"
    )
    rng = np.random.default_rng(1)
    for name in ("a-pa", "a-l", "b", "c", "d"):
        picture(folder / "images" / f"{name}.jpg", rng, 60, 40)
    picture(folder / "images" / "ct.jpg", rng, 60, 40)
    picture(folder / "masks" / "a__ggo.png", rng, 60, 40)
    return folder


def hannover(folder: Path) -> Path:
    """Two images of one patient and one that duplicates an image elsewhere."""
    (folder / "images").mkdir(parents=True)
    (folder / "data.csv").write_text(
        "file,image_id,patient_id,split_key,sex,admission_offset,modality,projection,crp_offset,crp_val,"
        "d-dimer_offset,d-dimer_val,duplicate_of\n"
        "images/aa.jpg,aa,mhh_abc,mhh_abc,m,0,CR,ap,0.0,5.0,,,\n"
        "images/bb.jpg,bb,mhh_abc,mhh_abc,m,-12,DX,pa,-1.0,-inf,2.0,0.4,\n"
        "images/cc.jpg,cc,mhh_abc,mhh_abc,m,-13,CR,ap,,,,,covid:d.jpg\n"
    )
    rng = np.random.default_rng(2)
    for name in ("aa", "bb", "cc"):
        picture(folder / "images" / f"{name}.jpg", rng, 30, 40)
    return folder


def picture(file: Path, rng: np.random.Generator, width: int, height: int) -> None:
    Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)).save(file)


def roco2(folder: Path) -> Path:
    """ROCOv2: three figures of three splits and a caption whose figure is not there."""
    rng = np.random.default_rng(3)
    for split, rows in {
        "train": [("000001", '"Head CT, left parotitis."'), ("000002", '"Chest X-ray, no effusion, ""clear""."')],
        "valid": [("000001", "Ultrasound of the liver.")],
        "test": [("000001", " "), ("000002", "Gone.")],
    }.items():
        (folder / f"{split}_images").mkdir(parents=True)
        names = [f"ROCOv2_2023_{split}_{number}" for number, _ in rows]
        lines = [f"{name},{caption}" for name, (_, caption) in zip(names, rows, strict=True)]
        (folder / f"{split}_captions.csv").write_text("\n".join(["ID,Caption", *lines]) + "\n")
        for name, (_, caption) in zip(names, rows, strict=True):
            if caption != "Gone.":
                picture(folder / f"{split}_images" / f"{name}.jpg", rng, 40, 30)
    (folder / "train_concepts.csv").write_text(
        "ID,CUIs\nROCOv2_2023_train_000001,C0040405;C0030583\nROCOv2_2023_train_000002,C0817096\n"
    )
    (folder / "train_concepts_manual.csv").write_text("ID,CUIs\nROCOv2_2023_train_000002,C1306645\n")
    (folder / "valid_concepts.csv").write_text("ID,CUIs\nROCOv2_2023_valid_000001,C0041618\n")
    (folder / "cui_mapping.csv").write_text("CUI,Canonical name\nC0040405,X-Ray Computed Tomography\nC0817096,Chest\n")
    return folder


def roco1(folder: Path) -> Path:
    """ROCO: one figure named by its id, one by its article, one not there."""
    rng = np.random.default_rng(4)
    for split, rows in {
        "train": [("ROCO_00002", " Thorax,\twith a tab."), ("ROCO_00003", "  Computed tomography.")],
        "validation": [("ROCO_00020", " Gone.")],
        "test": [("ROCO_00001", " Axial MRI.")],
    }.items():
        radiology = folder / "data" / split / "radiology"
        (radiology / "images").mkdir(parents=True)
        (radiology / "captions.txt").write_text("".join(f"{name}\t{caption}\n" for name, caption in rows))
    train, test = (folder / "data" / split / "radiology" for split in ("train", "test"))
    (train / "keywords.txt").write_text("ROCO_00002\tthorax\tradiograph\n")
    (train / "licences.txt").write_text("ROCO_ID,PMC_ID,CC\nROCO_00003,PMC99_fig-1.jpg,CC BY\n")
    picture(train / "images" / "ROCO_00002.jpg", rng, 40, 30)
    picture(train / "images" / "PMC99_fig-1.jpg", rng, 40, 30)
    picture(test / "images" / "ROCO_00001.jpg", rng, 40, 30)
    return folder
