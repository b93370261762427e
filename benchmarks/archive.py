"""The synthetic archives that benchmarks run on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from lgdea import runs
from lgdea.config import Config


class PhantomSettings(Config):
    """Settings of :func:`lgdea.phantom.generate`."""

    studies: PositiveInt = 4000
    """Number of studies."""
    size: PositiveInt = 128
    """Height of the pictures in pixels."""
    seed: int = 0
    """Seed of all random draws."""
    difficulty: Literal["easy", "standard", "hard"] = "hard"
    """Preset of the phantom."""


def make_archive(settings: PhantomSettings, folder: Path) -> Path:
    """The phantom of ``settings``; made on all cores when it is not there."""
    from lgdea.phantom import generate

    if not runs.is_finished(folder):
        options = settings.model_dump(exclude={"studies", "difficulty"})
        cores = os.cpu_count() or 1
        generate(folder, workers=cores, studies=settings.studies, difficulty=settings.difficulty, **options)
    return folder
