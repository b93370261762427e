"""A phantom archive with extracted evidence, and a small model with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lgdea
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.phantom import generate
from lgdea.records.archive import Archive

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return generate(tmp_path_factory.mktemp("phantom") / "archive", studies=240, size=64, difficulty="easy")


@pytest.fixture(scope="session")
def evidence(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence") / "evidence"
    extract(archive, get_backend("rules"), folder)
    return folder


@pytest.fixture(scope="session")
def model() -> LgdeaModel:
    torch.manual_seed(0)
    return lgdea.create_model("test_resnet", texts=["The heart is enlarged."], image_size=64, hidden=32, dim=32)


class Pixels:
    """Embeds an image as its pixels, coarsely."""

    name = "pixels"

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        small = [
            Image.fromarray(np.asarray(image, np.float32)).resize((10, 10), Image.Resampling.BOX) for image in images
        ]
        return np.stack([np.asarray(image, np.float32).ravel() for image in small])


@pytest.fixture(scope="session")
def pixels() -> Pixels:
    return Pixels()
