"""ROCO and ROCOv2: figures of open-access articles with their captions (``data_cards/roco.md``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.imaging.read import read_size
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.source import require_folder, rows_of
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv, read_utf8

NAME = "roco"
SPLITS = {"train": "train", "valid": "val", "validation": "val", "test": "test"}
RADIOLOGY = "radiology"  # the first version's other half, non-radiology, is left out
# UMLS concepts of ROCOv2's modalities, as DICOM writes them.
MODALITIES = {
    "C1306645": "CR", "C0040405": "CT", "C0024485": "MR", "C0041618": "US", "C0002978": "XA", "C0032743": "PT",
    "C1699633": "PT",
}  # fmt: skip
OTHER = "OT"  # DICOM's word for any other modality: a row must not look like an X-ray because nobody said what it is


class Roco:
    """Each figure is a study of its own with its caption as report; the published split is kept.

    Extra table ``concepts`` (study_id, concept, name): UMLS concepts of ROCOv2, with their names where
    ``cui_mapping.csv`` is there; for the first version the keywords, without a concept. Extra table ``licences``
    (study_id, source, licence) where the licence file is there.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` is the folder of either version."""
        refuse_options(self.name, options)
        source = require_folder(source)
        second = any((source / f"{split}_captions.csv").is_file() for split in SPLITS)
        figures = list(_read_rocov2(source) if second else _read_roco(source))
        if not figures:
            raise UsageError("holds no captions", file=source, remedy=f"`lgdea data card {NAME}` shows the layouts")
        twice = pd.Series([f["id"] for f in figures]).duplicated()
        if twice.any():
            name = figures[int(twice.to_numpy().argmax())]["id"]
            raise DataError(f"the figure {name!r} has two captions", file=source, remedy="fetch the files again")
        present = [figure for figure in figures if figure["path"] is not None]
        if not present:
            raise UsageError("holds none of the figures that the captions name", file=source, remedy="fetch the images")
        concepts = [
            {"study_id": _id(f), "concept": concept, "name": name} for f in present for concept, name in f["concepts"]
        ]
        licences = [{"study_id": _id(f), **f["licence"]} for f in present if f["licence"]]
        extra = {"concepts": pd.DataFrame(concepts, columns=["study_id", "concept", "name"])}
        if licences:
            extra["licences"] = pd.DataFrame(licences, columns=["study_id", "source", "licence"])
        info = {
            "source": str(source),
            "version": "ROCOv2" if second else "ROCO",
            "absent_images": len(figures) - len(present),
            "empty_captions": sum(not f["caption"].strip() for f in present),
        }
        return write_archive(
            out,
            self.name,
            {
                "studies": [
                    {"study_id": _id(f), "patient_id": _id(f), "dataset": NAME, "split": f["split"]} for f in present
                ],
                "images": [_image(f, source) for f in present],
                "reports": [
                    {"report_id": _id(f), "study_id": _id(f), "text": f["caption"]}
                    for f in present
                    if f["caption"].strip()
                ],
            },
            source,
            info,
            extra,
        )


def _read_rocov2(source: Path) -> Iterator[dict[str, Any]]:
    """ROCOv2: ``train_captions.csv`` (ID, Caption), ``train_concepts.csv`` (ID, CUIs), ``train_images/ID.jpg``."""
    names = _concept_names(source / "cui_mapping.csv")
    for split, side in SPLITS.items():
        file = source / f"{split}_captions.csv"
        if not file.is_file():
            continue
        concepts = _concepts(source / f"{split}_concepts.csv")
        manual = _concepts(source / f"{split}_concepts_manual.csv")
        for position, row in enumerate(rows_of(read_csv(file, ["ID", "Caption"], card=NAME)), start=1):
            if not row["ID"]:
                raise DataError("has no ID", file=file, row=position, remedy="fetch the file again")
            found = list(dict.fromkeys([*manual.get(row["ID"], []), *concepts.get(row["ID"], [])]))
            paths = [Path(f"{split}_images") / f"{row['ID']}.jpg", Path(split) / f"{row['ID']}.jpg"]
            yield {
                "id": row["ID"],
                "caption": row["Caption"] or "",
                "split": side,
                "path": next((path for path in paths if (source / path).is_file()), None),
                "concepts": [(concept, names.get(concept)) for concept in found],
                "modality": next((MODALITIES[c] for c in found if c in MODALITIES), OTHER),
                "licence": None,
            }


def _concepts(file: Path) -> dict[str, list[str]]:
    """Concepts of each figure, separated by ``;``; nothing when there is no such file."""
    if not file.is_file():
        return {}
    rows = rows_of(read_csv(file, ["ID", "CUIs"], card=NAME))
    return {row["ID"]: [c.strip() for c in (row["CUIs"] or "").split(";") if c.strip()] for row in rows}


def _concept_names(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    frame = read_csv(file, ["CUI"], card=NAME)
    if frame.shape[1] < 2:
        raise DataError("has no column of names", file=file, remedy=f"`lgdea data card {NAME}` shows the layouts")
    return dict(zip(frame["CUI"], frame[frame.columns.drop("CUI")[0]], strict=True))


def _read_roco(source: Path) -> Iterator[dict[str, Any]]:
    """ROCO: ``data/train/radiology/captions.txt`` and ``keywords.txt`` with tabs, ``licences.txt``, ``images``."""
    root = next((f for f in (source / "data", source / "all_data", source) if (f / "train").is_dir()), source)
    for split, side in SPLITS.items():
        folder = root / split / RADIOLOGY
        if not (folder / "captions.txt").is_file():
            continue
        keywords = {row[0]: row[1:] for _, row in _tabbed(folder / "keywords.txt")}
        licences = _licences(folder / "licences.txt")
        for position, (name, *rest) in _tabbed(folder / "captions.txt"):
            if not rest:
                file = folder / "captions.txt"
                raise DataError("has no tab and caption", file=file, row=position, remedy="fetch the file again")
            licence = licences.get(name)
            files = [f"{name}.jpg", *([licence["source"]] if licence else [])]
            path = next((folder / "images" / f for f in files if (folder / "images" / f).is_file()), None)
            yield {
                "id": name,
                "caption": "\t".join(rest).strip(),
                "split": side,
                "path": None if path is None else path.relative_to(source),
                "concepts": [(None, word.strip()) for word in keywords.get(name, []) if word.strip()],
                "modality": OTHER,
                "licence": licence,
            }


def _tabbed(file: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of a file of tab-separated lines; nothing when there is no such file."""
    if file.is_file():
        for number, line in enumerate(read_utf8(file).split("\n"), start=1):
            if line.strip():
                first, *rest = line.rstrip("\r").split("\t")
                yield number, [first.strip(), *rest]


def _licences(file: Path) -> dict[str, dict[str, str]]:
    """Per figure its name in the article (``PMC..._x.jpg``) and the licence."""
    if not file.is_file():
        return {}
    rows = rows_of(read_csv(file, ["ROCO_ID", "PMC_ID", "CC"], card=NAME))
    return {row["ROCO_ID"]: {"source": row["PMC_ID"], "licence": row["CC"]} for row in rows}


def _id(figure: dict[str, Any]) -> str:
    return f"{NAME}:{figure['id']}"


def _image(figure: dict[str, Any], source: Path) -> dict[str, Any]:
    width, height = read_size(source / figure["path"])
    names = {"image_id": _id(figure), "study_id": _id(figure), "path": figure["path"].as_posix()}
    return names | {"width": width, "height": height, "modality": figure["modality"]}


ADAPTER = Roco()
