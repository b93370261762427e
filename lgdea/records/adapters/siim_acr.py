"""SIIM-ACR Pneumothorax Segmentation: masks as run lengths (``data_cards/siim-acr.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lgdea.errors import DataError
from lgdea.imaging.dicom import DicomFacts
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.dicom_source import facts_of, image_row, require_images, study_row
from lgdea.records.adapters.run_lengths import component_boxes, decode
from lgdea.records.adapters.source import require_folder, rows_of
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv
from lgdea.records.patient_key import KEYED, PatientKey
from lgdea.records.split import split_by_patient
from lgdea.runs import writing
from lgdea.vocabulary import load_vocabulary

NAME = "siim-acr"
TABLES = ("stage_2_train.csv", "train-rle.csv")
FOLDERS = ("dicom-images-train", "dicom-images-test", "stage_2_images")
LABEL = "Pneumothorax"
LABELLER = "siim-acr-readers"
MASKS = "masks"


class SiimAcr:
    """Images of all folders, those without annotation as images without labels.

    Masks are written as PNG files into ``masks/`` of the archive, one per image that has a pneumothorax; a box stands
    for each of its components.
    """

    name = NAME
    card = NAME
    takes_patient_key = True

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the CSV file and image folders.

        The option ``patient_key``, a :class:`~lgdea.records.patient_key.PatientKey`, makes a patient's id a hash of the
        header's; without it the patient is known by the first of the studies.
        """
        key: PatientKey | None = options.pop("patient_key", None)
        refuse_options(self.name, options)
        source, out = require_folder(source), Path(out)
        table = next((source / name for name in TABLES if (source / name).is_file()), source / TABLES[-1])
        runs = read_runs(table)
        files = find_images(source)
        require_images(files, source, f"{FOLDERS[0]}/*/*/*.dcm")
        facts = facts_of(files, key)
        studies = {image: _study_id(file, image) for image, file in files.items()}
        masks = {i: _union_mask(runs[i], facts[i], table) for i in files if runs.get(i)}
        _write_masks(masks, out)
        patients = _patients(studies, facts, keyed=key is not None)
        rows = [study_row(studies[i], patients[i], NAME, facts[i]) for i in files]
        info = {
            "source": str(source),
            "annotations": table.name,
            "listed_images_that_are_absent": len(runs.keys() - files.keys()),
            "images_without_labels": len(files.keys() - runs.keys()),
            "patient_ids": KEYED if key else "each the id of the patient's first study",
        }
        return write_archive(
            out,
            self.name,
            {
                "studies": split_by_patient(pd.DataFrame(rows).drop_duplicates("study_id", ignore_index=True)),
                "images": [image_row(i, studies[i], file.relative_to(source), facts[i]) for i, file in files.items()],
                "boxes": [box for image, mask in masks.items() for box in _boxes(image, mask, out)],
                "labels": [_label(i, studies[i], bool(runs[i])) for i in files if i in runs],
            },
            source,
            info,
            patient_keys={NAME: key.fingerprint} if key else None,
        )


def read_runs(file: Path) -> dict[str, list[tuple[int, str]]]:
    """Rows and run lengths of each image id; the list of an image without pneumothorax is empty.

    Raises:
        DataError: A cell is empty, or an image is said to have a pneumothorax and none.
    """
    runs: dict[str, list[tuple[int, str]]] = {}
    empty: set[str] = set()
    for position, row in enumerate(rows_of(read_csv(file, ["ImageId", "EncodedPixels"], card=NAME)), start=1):
        image, code = f"{NAME}:{(row['ImageId'] or '').strip()}", (row["EncodedPixels"] or "").strip()
        if not code or image == f"{NAME}:":
            raise DataError("a cell is empty", file=file, row=position, remedy="-1 stands for no pneumothorax")
        runs.setdefault(image, [])
        if code == "-1":
            empty.add(image)
        else:
            runs[image].append((position, code))
        if image in empty and runs[image]:
            problem = "the image has a mask in one row and none (-1) in another"
            raise DataError(problem, file=file, row=position, remedy="keep one of them")
    return runs


def find_images(source: Path) -> dict[str, Path]:
    """DICOM files by image id, from ``<folder>/<study>/<series>/<image>.dcm`` or ``<folder>/<image>.dcm``."""
    return {
        f"{NAME}:{file.stem}": file
        for folder in FOLDERS
        for pattern in ("*/*/*.dcm", "*.dcm")
        for file in sorted((source / folder).glob(pattern))
    }


def _study_id(file: Path, image: str) -> str:
    return image if file.parent.name in FOLDERS else f"{NAME}:{file.parent.parent.name}"


def _patients(studies: dict[str, str], facts: dict[str, DicomFacts], *, keyed: bool) -> dict[str, str]:
    """Patient by image: the keyed hash, or else the first study of those whose header names the same patient."""
    first: dict[str, str] = {}
    result = {}
    for image, study in studies.items():
        own = facts[image].patient
        named = f"{NAME}:{own}" if own and keyed else study
        result[image] = first.setdefault(own, named) if own else named
    return result


def _union_mask(rows: list[tuple[int, str]], facts: DicomFacts, file: Path) -> np.ndarray:
    """Union of what an image's rows mark."""
    mask = np.zeros((facts.height, facts.width), dtype=bool)
    for position, code in rows:
        try:
            mask |= decode(code, facts.width, facts.height)
        except ValueError as error:
            problem = f"EncodedPixels is no run-length code of the image ({error})"
            raise DataError(problem, file=file, row=position, remedy="fetch it again") from None
        if not mask.any():
            problem = "EncodedPixels marks nothing"
            raise DataError(problem, file=file, row=position, remedy="-1 stands for no pneumothorax")
    return mask


def _mask_file(image: str, out: Path) -> Path:
    return out.resolve() / MASKS / f"{image.removeprefix(NAME + ':')}.png"


def _write_masks(masks: dict[str, np.ndarray], out: Path) -> None:
    with writing(out / MASKS):
        for image, mask in masks.items():
            file = _mask_file(image, out)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(file)


def _boxes(image: str, mask: np.ndarray, out: Path) -> list[dict[str, Any]]:
    return [
        {
            "box_id": f"{image}:component{number}",
            "image_id": image,
            "finding": load_vocabulary().from_code("siim", LABEL),
            "label": LABEL,
            "x_min": x_min,
            "y_min": y_min,
            "x_max": x_max,
            "y_max": y_max,
            "mask_path": str(_mask_file(image, out)),
        }
        for number, (x_min, y_min, x_max, y_max) in enumerate(component_boxes(mask), start=1)
    ]


def _label(image: str, study: str, present: bool) -> dict[str, Any]:
    finding = load_vocabulary().from_code("siim", LABEL)
    return {
        "study_id": study,
        "image_id": image,
        "finding": finding,
        "value": float(present),
        "labeller": LABELLER,
    }


ADAPTER = SiimAcr()
