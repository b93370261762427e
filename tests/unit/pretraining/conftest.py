"""A tiny archive on disk, made by hand: what the image shows stands at a place that its report names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Picture

from lgdea import runs
from lgdea.evidence.schema import Unit, unit_id
from lgdea.pretraining.config import PretrainConfig
from lgdea.records.archive import Archive, write_archive
from lgdea.records.pairing import make_pairing, write_pairing
from lgdea.records.schema import Image, Label, Report, Study
from lgdea.records.tables import write_table

SIZE = 32
KINDS = {
    "pleural_effusion": ("left", (22, 20)),
    "nodule": ("right", (8, 8)),
    "cardiomegaly": ("unspecified", (16, 14)),
}
STUDIES = 90
torch.set_num_threads(1)  # threads that wait for each other cost more than these tiny tensors


def draw(findings: list[str], rng: np.random.Generator) -> np.ndarray:
    pixels = rng.normal(80, 8, (SIZE, SIZE))
    for finding in findings:
        y, x = KINDS[finding][1]
        pixels[y - 3 : y + 3, x - 3 : x + 3] += 110
    return pixels.clip(0, 255).astype(np.uint8)


def unit(report: str, finding: str, assertion: str) -> Unit:
    side = KINDS[finding][0] if finding in KINDS and assertion == "present" else "unspecified"
    return Unit(
        unit_id=unit_id(report, 0, 1, finding, None, side),
        report_id=report,
        section="findings",
        quote="x",
        start=0,
        end=1,
        alignment="exact",
        finding=finding,
        finding_text=finding,
        assertion=assertion,
        laterality=side,
        run_id="test",
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``archive``, ``evidence`` and ``pairing.parquet``: 90 studies, 60 in train, half of them linked."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    tables: dict[str, list] = {"studies": [], "images": [], "reports": [], "labels": []}
    units = []
    (root / "pixels").mkdir()
    for i in range(STUDIES):
        study, split = f"toy:{i}", "train" if i < 60 else "val" if i < 75 else "test"
        findings = [f for f in KINDS if rng.random() < 0.5]
        Picture.fromarray(draw(findings, rng)).save(root / "pixels" / f"{i}.png")
        tables["studies"].append(Study(study_id=study, patient_id=f"p{i // 2}", dataset="toy", split=split))
        tables["images"].append(Image(image_id=f"{study}:i", study_id=study, path=f"{i}.png", width=SIZE, height=SIZE))
        words = [f"There is {KINDS[f][0]} {f.replace('_', ' ')}." for f in findings] or ["Normal chest."]
        tables["reports"].append(Report(report_id=f"{study}:r", study_id=study, text=" ".join(words)))
        for finding in KINDS:
            units.append(unit(f"{study}:r", finding, "present" if finding in findings else "absent"))
            tables["labels"].append(
                Label(study_id=study, finding=finding, value=float(finding in findings), labeller="toy")
            )
        if not findings:
            units.append(unit(f"{study}:r", "no_finding", "present"))
    archive = write_archive(root / "archive", "toy", tables, root / "pixels")
    write_pairing(make_pairing(archive, 0.5, seed=0), root / "pairing.parquet")
    reports = {"reports": archive.folder / "reports.parquet"}
    runs.start(root / "evidence", stage="extract", config={}, inputs=reports)
    write_table(root / "evidence" / "evidence.parquet", units, Unit)
    runs.finish(root / "evidence")
    return root


@pytest.fixture
def archive(world: Path) -> Archive:
    return Archive.open(world / "archive")


@pytest.fixture
def evidence(world: Path) -> pd.DataFrame:
    return pd.read_parquet(world / "evidence" / "evidence.parquet")


@pytest.fixture
def config(world: Path):
    """A function from changes to a small configuration over ``world``."""

    def make(name: str = "lgdea", steps: int = 12, **changes) -> PretrainConfig:
        settings = {
            "data": {
                "archive": world / "archive",
                "evidence": world / "evidence",
                "pairing": world / "pairing.parquet",
                "image_cache": world / "cache",
                "cache_workers": 1,
                "batch_size_per_device": 16,
                "unpaired_reports_per_device": 8,
            },
            "image": {"tower": "test_resnet", "size": SIZE, "stride": 4},
            "text": {"hidden": 32, "layers": 1, "vocab_size": 300},
            "model": {"dim": 16, "lesion_queries": 2, "prototypes": 6},
            "objective": {"name": name},
            "checkpoint": {"every_steps": 5},
            "validation": {"every_steps": 6},
            "trainer": {"max_steps": steps, "accelerator": "cpu", "log_every_n_steps": 2},
        }
        return PretrainConfig.model_validate({**settings, **changes})

    return make
