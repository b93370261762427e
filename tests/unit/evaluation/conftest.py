"""A small archive with known truth; its contents are those of ``mini_archive``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from lgdea.records.archive import Archive, write_archive
from lgdea.records.schema import Box, Image, Label, Report, Study
from tests.helpers.mini_archive import FINDINGS, HEIGHT, STUDIES, WIDTH, box_of, text_of, truth_of


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """90 studies of 60 patients; image ``i`` holds its own number in its first pixels."""
    folder = tmp_path_factory.mktemp("mini")
    (folder / "pictures").mkdir()
    tables: dict[str, list] = {name: [] for name in ("studies", "images", "reports", "boxes", "labels")}
    for i in range(STUDIES):
        study, image, found = f"mini:{i}", f"mini:{i}-a", truth_of(i)
        patient = i if i < 60 else i - 60
        split = "train" if patient < 6 else "val" if patient < 24 else "test"
        tables["studies"].append(Study(study_id=study, patient_id=f"mini:p{patient}", dataset="mini", split=split))
        pixels = np.full((HEIGHT, WIDTH), 100, np.uint8)
        pixels[0, :2] = divmod(i, 256)
        Picture.fromarray(pixels).save(folder / "pictures" / f"{i}.png")
        tables["images"].append(Image(image_id=image, study_id=study, path=f"{i}.png", width=WIDTH, height=HEIGHT))
        tables["reports"].append(Report(report_id=f"{study}-r", study_id=study, text=text_of(i)))
        for finding in FINDINGS:
            value = 1.0 if finding in found else 0.0
            tables["labels"].append(Label(study_id=study, finding=finding, value=value, labeller="truth"))
        for finding in found:
            corners = dict(zip(("x_min", "y_min", "x_max", "y_max"), box_of(i, finding), strict=True))
            tables["boxes"].append(
                Box(box_id=f"{study}-{finding}", image_id=image, finding=finding, label=finding, **corners)
            )
    return write_archive(folder / "archive", "mini", tables, folder / "pictures", {})


@pytest.fixture
def damaged(mini: Archive, tmp_path: Path) -> Archive:
    """``mini`` with one test image missing and another cut short."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for file in mini.image_root.iterdir():
        if file.name != "30.png":
            content = file.read_bytes()
            (pictures / file.name).write_bytes(content[:40] if file.name == "31.png" else content)
    tables = {name: getattr(mini, name) for name in ("studies", "images", "reports", "boxes", "labels")}
    return write_archive(tmp_path / "archive", "mini", tables, pictures, {})


@pytest.fixture
def units(mini: Archive) -> pd.DataFrame:
    """Evidence of every report: the truth, with sides that differ between odd and even studies."""
    rows = []
    for i in range(STUDIES):
        side = "left" if i % 2 else "right"
        for finding in FINDINGS:
            assertion = "present" if finding in truth_of(i) else "absent"
            rows.append((f"mini:{i}-r", finding, assertion, side))
        if not truth_of(i):
            rows.append((f"mini:{i}-r", "no_finding", "present", "unspecified"))
    return pd.DataFrame(rows, columns=["report_id", "finding", "assertion", "laterality"])
