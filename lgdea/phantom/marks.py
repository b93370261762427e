"""Lesions, the marks that their painters leave on the picture, and the boxes and masks of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lgdea.phantom.anatomy import APEX
from lgdea.phantom.chest import Chest
from lgdea.phantom.scene import SIDES, Layer

VISIBLE_SHARE = 0.3
"""A pixel belongs to a lesion when the lesion changes it by this share of its strongest change."""


@dataclass(frozen=True)
class Lesion:
    """One finding of one patient on one day, as the picture has it.

    ``severity`` runs from 0 to 1; ``seed`` fixes place and texture over all visits, so only size and contrast change.
    """

    finding: str
    laterality: str
    zone: str | None
    severity: float
    seed: int
    change: str = "unspecified"
    chronic: bool = False

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides on which it is drawn; midline structures count as one."""
        if self.laterality == "bilateral":
            return ("right", "left")
        return (self.laterality,) if self.laterality in SIDES else ("midline",)


@dataclass(frozen=True)
class Mark:
    """One lesion instance on the canvas.

    Attributes:
        side: The patient's side, or midline.
        delta: What it adds to the density, ``(H, W)``.
        region: Where it counts as visible, soft ``(H, W)``; null means where ``delta`` is strong.
    """

    side: str
    delta: Layer
    region: Layer | None = None

    def mask(self) -> NDArray[np.bool_]:
        """The pixels that belong to this instance, ``(H, W)``."""
        if self.region is not None:
            return self.region > 0.5
        strength = np.abs(self.delta)
        return strength > VISIBLE_SHARE * max(float(strength.max()), 1e-6)


def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Half-open ``(x_min, y_min, x_max, y_max)`` of a mask, or None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


_ZONES = {"upper": (-0.56, -0.30), "middle": (-0.20, 0.04), "lower": (0.12, 0.30)}


def place(chest: Chest, side: str, zone: str | None, rng: np.random.Generator, margin: float) -> tuple[float, float]:
    """A point in one lung zone at least ``margin`` from the cage, heart and diaphragm where there is room."""
    a = chest.anatomy
    low, high = _ZONES[zone or "middle"]
    v = rng.uniform(low, high)
    inner = {"upper": 0.17, "middle": 0.20, "lower": 0.36 if side == "left" else 0.24}[zone or "middle"]
    outer = float(a.half_width(np.float32(v))) - 0.03 - margin
    x = inner + margin * 0.6 + rng.uniform() * max(outer - inner - margin * 0.6, 0.02)
    floor = float(a.dome(side, np.float32(x))) - 0.02 - 0.6 * margin
    v = max(min(v + a.inspiration * 0.7, floor), APEX + 0.1)
    return float(SIDES[side] * x + 0.6 * a.spine(np.float32(v))), float(v)
