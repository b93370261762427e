"""A phantom archive with extracted evidence, and a small model with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lgdea
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.phantom import generate
from lgdea.records.archive import Archive

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return generate(tmp_path_factory.mktemp("phantom") / "archive", studies=150, size=64, difficulty="easy")


@pytest.fixture(scope="session")
def evidence(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence") / "evidence"
    extract(archive, get_backend("rules"), folder)
    return folder


@pytest.fixture(scope="session")
def model() -> LgdeaModel:
    torch.manual_seed(0)
    return lgdea.create_model("test_resnet", texts=["The heart is enlarged."], image_size=64, hidden=32, dim=32)
