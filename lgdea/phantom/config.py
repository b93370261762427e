"""Settings of the phantom, its difficulty presets and its catalogue of findings."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import Field

from lgdea.config import Config


class PhantomConfig(Config):
    """Contents and difficulty of a phantom; the defaults are the ``standard`` difficulty."""

    studies: int = Field(2000, ge=1)
    """Number of studies."""
    size: int = Field(128, ge=64, le=2048)
    """Height of the pictures in pixels; one site's are narrower than high."""
    seed: int = Field(0, ge=0)
    """Seed of all random draws."""
    normal_share: float = Field(0.35, ge=0, le=1)
    """Share of studies without any finding."""
    prevalence: dict[str, float] = Field(default_factory=dict)
    """Finding id to a factor on its catalogue frequency; 0 removes the finding."""
    lesion_contrast: float = Field(1.0, gt=0)
    """Factor on the density of all lesions."""
    mild: float = Field(0.5, ge=0, le=1)
    """Pulls severities towards the mild end: 0 all severe, 1 all minimal, 0.5 even."""
    noise: float = Field(1.0, ge=0)
    """Factor on detector noise and blur."""
    nuisance: float = Field(1.0, ge=0)
    """Factor on pose, breath, exposure, electrodes and burnt-in marks."""
    report_errors: float = Field(0.04, ge=0, le=1)
    """Chance that a report carries one error: a wrong side, a missed or an invented finding."""
    uncertain: float = Field(0.12, ge=0, le=1)
    """Chance that a finding that is there is reported with doubt."""
    typos: float = Field(0.03, ge=0, le=1)
    """Chance that a sentence on a finding is misspelt."""
    revisits: float = Field(0.45, ge=0, lt=1)
    """Chance of a further study of the same patient after each one."""
    masks: bool = True
    """Write a PNG mask for every box."""


class CatalogueEntry(Config):
    """One finding of the catalogue (see the head of ``catalogue.yaml``)."""

    weight: float = Field(gt=0)
    """Frequency relative to the other findings."""
    anatomy: str
    """Structure that it is drawn in."""
    chronic: bool = False
    """If true, it stays once it is there."""
    side: Literal["midline", "bilateral"] | None = None
    """Side that a finding without a choice of side is reported with."""
    sides: tuple[float, float, float] | None = None
    """Relative frequency of right, left and both."""
    zones: tuple[float, float, float] | None = None
    """Relative frequency of the upper, middle and lower lung zone."""
    companions: dict[str, float] = Field(default_factory=dict, alias="with")
    """Factor on its frequency beside a finding that is already there."""
    never: tuple[str, ...] = ()
    """Findings that it cannot stand beside."""
    age: float = 0
    """Least age in years."""
    ap: bool = False
    """If true, it is mostly seen on bedside (AP) films."""


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """All findings of the phantom by vocabulary id."""
    return {name: CatalogueEntry.model_validate(entry) for name, entry in _shipped_yaml("catalogue.yaml").items()}


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Difficulty presets: name to the settings that differ from the defaults."""
    return _shipped_yaml("presets.yaml")


def _shipped_yaml(name: str) -> dict[str, Any]:
    text = (resources.files("lgdea.phantom") / name).read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))
