"""A small phantom with its evidence, a base model that nobody has trained, and an entity head on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import lgdea
from lgdea.comparison.entity.config import EntityConfig
from lgdea.comparison.entity.train import train_entity_head
from lgdea.phantom import generate
from lgdea.records.archive import Archive

HELD_OUT = "pneumothorax"


@dataclass(frozen=True)
class Bench:
    """What a comparison needs."""

    folder: Path
    archive: Archive
    evidence: Path
    base: Path

    def config(self, **settings) -> EntityConfig:
        """A training of a few steps."""
        data = {"archive": self.archive.folder, "evidence": self.evidence, "image_cache": self.folder / "cache"}
        data |= {"images_per_part": 6, "parts_per_device": 2, "least_images": 3, "held_out": [HELD_OUT]}
        content = {
            "model": self.base,
            "data": data,
            "head": {"width": 32, "length": 24},
            "trainer": {"max_steps": 4, "accelerator": "cpu", "log_every_n_steps": 1},
            "checkpoint": {"every_steps": 2},
        }
        return EntityConfig.model_validate({**content, **settings})


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("comparison")
    archive = generate(folder / "archive", studies=120, size=64, difficulty="easy")
    evidence = lgdea.extract(archive, out=folder / "evidence").folder
    torch.manual_seed(0)
    base = lgdea.create_model(
        "test_resnet", texts=archive.reports["text"], image_size=64, hidden=32, layers=1, dim=16, prototypes=4
    )
    return Bench(folder, archive, evidence, lgdea.save_model(base, folder / "base"))


@pytest.fixture(scope="session")
def trained(bench: Bench) -> Path:
    """Model folder of an entity head after four steps."""
    return train_entity_head(bench.config(), bench.folder / "run")
