"""A small phantom with its evidence, and models that nobody has trained, with and without heads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import lgdea
from lgdea.app.bench import AppSettings, Bench
from lgdea.comparison.change.model import ChangeModel
from lgdea.comparison.entity.model import EntityModel
from lgdea.comparison.heads import save_head
from lgdea.phantom import generate


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``archive``, ``evidence``, ``base`` (a model), ``heads`` (with both heads) and ``global`` (cosines)."""
    folder = tmp_path_factory.mktemp("app")
    archive = generate(folder / "archive", studies=60, size=64)
    assert lgdea.extract(archive, out=folder / "evidence").folder
    torch.manual_seed(0)
    shape = {"image_size": 64, "hidden": 32, "layers": 1, "dim": 16, "prototypes": 4}
    base = lgdea.create_model("test_resnet", texts=archive.reports["text"], **shape)
    lgdea.save_model(base, folder / "base")
    shutil.copytree(folder / "base", folder / "heads")
    entity, change = EntityModel.create(base), ChangeModel.create(base)
    facts = {"mix": 0.5, "rerank_top": 5, "held_out": [], "entities": ["pleural effusion"]}
    save_head(folder / "heads", "entity", entity.head, {"settings": entity.head.settings, "facts": facts})
    known = {"settings": change.head.settings, "findings": ["pleural_effusion", "cardiomegaly"]}
    save_head(folder / "heads", "change", change.head, known)
    clip = lgdea.create_model("test_resnet", texts=archive.reports["text"], scoring="global", **shape)
    lgdea.save_model(clip, folder / "global")
    return folder


@pytest.fixture
def make_bench(folder: Path, tmp_path: Path):
    """A function (model, further settings) that opens a bench on the phantom."""

    def make(model: str = "base", **settings) -> Bench:
        given = {"evidence": folder / "evidence", "reviews": tmp_path / "reviews", **settings}
        return Bench(AppSettings(model=str(folder / model), archive=folder / "archive", **given))

    return make
