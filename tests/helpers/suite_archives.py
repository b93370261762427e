"""Small archives in the shape of each dataset that a shipped suite is for, and a model that can be asked anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.records.adapters.nih_cxr14 import NihCxr14
from lgdea.records.adapters.openi import OpenI
from lgdea.records.archive import Archive, write_archive
from tests.helpers.dataset_layouts import openi_report, picture

FIVE = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
SIDE = 16


class Grey:
    """Answers from the mean grey value and the length of the text: finite, different, meaningless."""

    name = "grey"
    scoring = "global"

    def encode_images(self, images):
        return np.array([[image.mean(), image.std() + 0.1] for image in images])

    def encode_texts(self, texts):
        return np.array([[1.0, 1 + len(text) % 7] for text in texts])

    def score_phrases(self, images, phrases):
        return np.array([[image.mean() * (1 + len(phrase) % 5) for phrase in phrases] for image in images])

    def heat_maps(self, image, phrases):
        return [image for _ in phrases]


class Rows:
    """Rows of an archive, one image at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.tables: dict[str, list[dict[str, Any]]] = {
            t: [] for t in ("studies", "images", "reports", "boxes", "labels")
        }
        self.rng = np.random.default_rng(0)
        (folder / "pictures").mkdir(parents=True)

    def image(self, number: int, split: str, view: str | None = "PA", study: int | None = None) -> str:
        study_id = f"{self.name}:s{number if study is None else study}"
        if all(row["study_id"] != study_id for row in self.tables["studies"]):
            self.tables["studies"].append(
                {"study_id": study_id, "patient_id": study_id, "dataset": self.name, "split": split}
            )
        image_id, path = f"{self.name}:i{number}", f"{number}.png"
        picture(self.folder / "pictures" / path, self.rng, SIDE, SIDE)
        row = {"image_id": image_id, "study_id": study_id, "path": path, "width": SIDE, "height": SIDE, "view": view}
        self.tables["images"].append(row)
        return image_id

    def box(self, image_id: str, finding: str, phrase: str | None = None, corner: int = 2) -> None:
        edges = {"x_min": corner, "y_min": 3, "x_max": corner + 4, "y_max": 9}
        box_id = f"{image_id}:b{len(self.tables['boxes'])}"
        row = {"box_id": box_id, "image_id": image_id, "finding": finding, "label": finding, "phrase": phrase, **edges}
        self.tables["boxes"].append(row)

    def labels(self, number: int, values: dict[str, float], labeller: str = "truth") -> None:
        study_id = f"{self.name}:s{number}"
        self.tables["labels"] += [
            {"study_id": study_id, "finding": finding, "value": value, "labeller": labeller}
            for finding, value in values.items()
        ]

    def write(self, info: dict[str, Any] | None = None) -> Archive:
        return write_archive(self.folder / "archive", self.name, self.tables, self.folder / "pictures", info)


def ms_cxr(folder: Path) -> Archive:
    """Six images with a phrase each, the first with two boxes for it, one more image without any."""
    rows = Rows(folder, "ms-cxr")
    for number in range(7):
        image = rows.image(number, ("train", "val", "test")[number % 3])
        if number < 6:
            rows.box(image, "pneumothorax", f"apical pneumothorax number {number}")
    rows.box("ms-cxr:i0", "pneumothorax", "apical pneumothorax number 0", corner=9)
    return rows.write()


def ms_cxr_t(folder: Path) -> Archive:
    """Nine pairs with two labels each, and one pair without any."""
    rows, pairs, changes = Rows(folder, "ms-cxr-t"), [], []
    for number in range(10):
        images = [rows.image(2 * number + k, "test") for k in range(2)]
        studies = [row["study_id"] for row in rows.tables["studies"][-2:]]
        pair = {"image_prior": images[0], "image_current": images[1]}
        pairs.append({**pair, "study_prior": studies[0], "study_current": studies[1]})
        for k, finding in enumerate(("edema", "pneumonia") if number < 9 else ()):
            state = ("better", "stable", "worse")[(number + k) % 3]
            changes.append({**pair, "finding": finding, "state": state, "quality": "one_expert"})
    extra = {"pairs": pd.DataFrame(pairs), "changes": pd.DataFrame(changes)}
    return write_archive(folder / "archive", rows.name, rows.tables, folder / "pictures", None, extra)


def one_finding(folder: Path, name: str, finding: str, labeller: str) -> Archive:
    """Ninety images, a third of them with the finding and a box, one of those also with a box of something else."""
    rows = Rows(folder, name)
    for number in range(90):
        image = rows.image(number, ("train", "val", "test")[number // 30])
        rows.labels(number, {finding: float(number % 3 == 0)}, labeller)
        if number % 3 == 0:
            rows.box(image, finding)
    rows.box(f"{name}:i0", "cardiomegaly")
    return rows.write()


def chexpert(folder: Path) -> Archive:
    """Forty training studies per competition finding, of five kinds: exclusive, with another finding, uncertain,
    lateral only, and exclusive but with nobody's word on the rest; eight exclusive ones that radiologists labelled."""
    rows, number = Rows(folder, "chexpert"), 0
    for finding in FIVE:
        others = [f for f in FIVE if f != finding]
        for kind in range(5):
            for _ in range(8):
                rows.image(number, "train", "Lateral" if kind == 3 else "Frontal AP")
                extra = {1: {"pneumothorax": 1.0}, 2: {others[0]: -1.0}}.get(kind, {})
                denied = {} if kind == 4 else dict.fromkeys(others, 0.0)
                rows.labels(number, {**denied, finding: 1.0, **extra}, "chexpert")
                number += 1
    for k in range(8):
        rows.image(number, "val", "Frontal PA")
        rows.labels(number, {finding: float(finding == FIVE[k % 5]) for finding in FIVE}, "radiologist")
        number += 1
    return rows.write()


def nih(folder: Path, *, official: bool = True, count: int = 80) -> Archive:
    """Built by the adapter: one image per patient, every second on the official test list, six of them boxed."""
    source = folder / "source"
    (source / "images").mkdir(parents=True)
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
    kinds = ("Effusion", "Cardiomegaly|Effusion", "No Finding", "Nodule")
    names = [f"{number:08d}_000.png" for number in range(count)]
    lines = [f"{name},{kinds[i // 2 % 4]},0,{i},50,F,PA\n" for i, name in enumerate(names)]
    (source / "Data_Entry_2017.csv").write_text(head + "".join(lines))
    boxes = [f"{name},Effusion,100,200,300,400,,,\n" for name in names[:12:2]]
    (source / "BBox_List_2017.csv").write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n" + "".join(boxes))
    if official:
        (source / "test_list.txt").write_text("\n".join(names[::2]) + "\n")
    rng = np.random.default_rng(0)
    for name in names:
        picture(source / "images" / name, rng, SIDE, SIDE)
    return NihCxr14().build(source, folder / "archive")


def openi(folder: Path, count: int = 120) -> Archive:
    """Built by the adapter: reports with an image each, every fifth report the same words, and the gold file."""
    source = folder / "source"
    (source / "ecgen-radiology").mkdir(parents=True)
    (source / "NLMCXR_png").mkdir()
    rng = np.random.default_rng(0)
    gold = ["filename,Atelectasis,Cardiomegaly,Effusion,Hernia,normal"]
    for number in range(1, count + 1):
        words = "The lungs are clear." if number % 5 == 0 else f"Finding {number}."
        openi_report(source / "ecgen-radiology" / f"{number}.xml", number, "Cough.", words, "", ["normal"])
        picture(source / "NLMCXR_png" / f"CXR{number}_IM-0001-1001.png", rng, SIDE, SIDE)
        gold.append(f"CXR{number},{number % 2},{number % 3 == 0:d},0,0,{number % 2 == 0 and number % 3 != 0:d}")
    (source / "openi_gld_std14.csv").write_text("\n".join(gold) + "\n")
    return OpenI().build(source, folder / "archive")


BUILDERS = {
    "ms-cxr": ms_cxr,
    "ms-cxr-t": ms_cxr_t,
    "chexpert": chexpert,
    "rsna-pneumonia": lambda folder: one_finding(folder, "rsna-pneumonia", "pneumonia", "rsna-readers"),
    "siim-acr": lambda folder: one_finding(folder, "siim-acr", "pneumothorax", "siim-acr-readers"),
    "nih-cxr14": nih,
    "openi": openi,
}
"""Dataset to what makes a small archive of it; the phantom makes its own."""
