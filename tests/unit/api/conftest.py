"""A phantom archive with its true evidence, shared by the tests of the Python front door."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lgdea.phantom import generate
from lgdea.records.archive import Archive

torch.set_num_threads(1)  # threads that wait for each other cost more than these tiny tensors


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A phantom of 60 studies, 64 px."""
    return generate(tmp_path_factory.mktemp("phantom") / "archive", studies=60, size=64)


@pytest.fixture(scope="session")
def evidence_folder(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evidence of its reports, extracted by rules."""
    from lgdea.evidence.backends.base import get_backend
    from lgdea.evidence.runner import extract

    folder = tmp_path_factory.mktemp("evidence") / "evidence"
    extract(archive, get_backend("rules"), folder)
    return folder
