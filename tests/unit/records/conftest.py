"""Small synthetic archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from lgdea.records.archive import Archive, write_archive
from lgdea.records.schema import Box, Image, Label, Report, Study
from lgdea.records.split import patient_position


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., Archive]:
    """Archives of patients with two studies each; every third study lacks a report, every fifth an image."""

    def make(name: str = "toy", patients: int = 10, folder: Path | None = None, images: bool = True) -> Archive:
        folder = folder or tmp_path / name
        tables: dict[str, list] = {"studies": [], "images": [], "reports": [], "boxes": [], "labels": []}
        rng = np.random.default_rng(list(name.encode()))
        (folder / "images").mkdir(parents=True)
        for i in range(patients * 2):
            patient, study = f"{name}:p{i // 2}", f"{name}:s{i}"
            split = ("train", "val", "test")[min(2, int(patient_position(0, patient) * 3))]
            tables["studies"].append(Study(study_id=study, patient_id=patient, dataset=name, day=i % 2, split=split))
            if i % 3:
                text = f"Report number {i} of {name}: no focal consolidation."
                tables["reports"].append(Report(report_id=f"{study}:r", study_id=study, text=text))
            if i % 5:
                image = f"{name}:i{i}"
                if images:
                    pixels = rng.integers(0, 255, (12, 16), dtype=np.uint8)
                    PILImage.fromarray(pixels).save(folder / "images" / f"{i}.png")
                tables["images"].append(
                    Image(image_id=image, study_id=study, path=f"images/{i}.png", width=16, height=12, view="PA")
                )
                tables["boxes"].append(
                    Box(box_id=f"{image}:b", image_id=image, finding="opacity", label="Opacity",
                        x_min=1, y_min=2, x_max=9, y_max=10)
                )  # fmt: skip
                tables["labels"].append(
                    Label(study_id=study, image_id=image, finding="opacity", value=1, labeller="toy")
                )
        return write_archive(folder, name, tables, folder, {"source": "made up"})

    return make
