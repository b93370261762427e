"""One patient's proportions, and how they differ from visit to visit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lgdea.phantom.scene import Layer

APEX = -0.74
"""Height of the lung apices."""
RIB_PITCH = 0.142


@dataclass(frozen=True)
class Anatomy:
    """One patient's chest in patient units; findings that change a shape change these numbers.

    ``inspiration`` lowers both domes, ``*_raise`` lifts one; ``flattening`` makes them flat; ``heart`` scales
    the silhouette; ``unfolding`` is the aorta's tortuosity; ``scoliosis`` is the spine's sideways swing.
    """

    sex: str = "F"
    age: float = 50
    chest_width: float = 0.70
    fat: float = 0.0
    heart: float = 1.0
    knob: float = 0.075
    unfolding: float = 0.0
    spine_sway: float = 0.0
    scoliosis: float = 0.0
    rib_shift: float = 0.0
    rib_slope: float = 1.0
    bone: float = 1.0
    breast: float = 0.0
    inspiration: float = 0.0
    right_raise: float = 0.0
    left_raise: float = 0.0
    flattening: float = 0.0
    twist: float = 0.0
    gas: float = 1.0
    vessels: float = 1.0
    seed: int = 0

    def spine(self, v: Layer | np.float32) -> Layer:
        """Sideways position of the spine at height ``v``."""
        sway = self.spine_sway * np.sin(2.2 * (v + 0.3)) + self.scoliosis * np.cos(2.6 * (v + 0.05))
        return np.asarray(sway - self.scoliosis * 0.3, np.float32)

    def half_width(self, v: Layer | np.float32) -> Layer:
        """Half the inner width of the rib cage at height ``v``."""
        t = np.clip((v - APEX) / 1.05, 0, 1)
        opening = np.sqrt(1 - (1 - t) ** 2.6)
        return np.asarray(0.27 + (self.chest_width - 0.27) * opening - 0.03 * np.clip(v - 0.4, 0, 1), np.float32)

    def dome(self, side: str, x: Layer | np.float32) -> Layer:
        """Height of a diaphragm dome at distance ``x`` from the midline."""
        top = 0.40 + self.inspiration + (0.035 if side == "left" else 0.0)
        top -= self.right_raise if side == "right" else self.left_raise
        off = np.asarray(x, np.float32) - 0.33
        bend = np.where(off > 0, 1.75, 0.65) * (1 - 0.75 * self.flattening)
        return np.asarray(top + 0.06 * self.flattening + bend * off * off, np.float32)


def draw_patient(rng: np.random.Generator) -> Anatomy:
    """Draw one patient's proportions; age and sex shape breasts, spine, aorta and bone."""
    sex = "F" if rng.random() < 0.48 else "M"
    age = float(np.clip(np.round(rng.normal(57, 18)), 18, 95))
    old = np.clip((age - 45) / 40, 0, 1)
    return Anatomy(
        sex=sex,
        age=age,
        chest_width=float(np.clip(rng.normal(0.69 if sex == "M" else 0.655, 0.03), 0.58, 0.77)),
        fat=float(np.clip(rng.gamma(2.0, 0.35), 0, 2.2)),
        heart=float(np.clip(rng.normal(0.98, 0.05), 0.86, 1.09)),
        knob=float(np.clip(rng.normal(0.062 + 0.018 * old, 0.006), 0.05, 0.095)),
        spine_sway=float(rng.normal(0, 0.01)),
        rib_shift=float(rng.uniform(-0.5, 0.5)) * RIB_PITCH,
        rib_slope=float(rng.uniform(0.8, 1.2)),
        bone=float(np.clip(rng.normal(1.05 - 0.3 * old, 0.1), 0.55, 1.3)),
        breast=float(rng.uniform(0.3, 1.2)) if sex == "F" else 0.0,
        gas=float(rng.uniform(0.2, 1.3)),
        vessels=float(rng.uniform(0.75, 1.25)),
        seed=int(rng.integers(2**31)),
    )


def draw_visit(patient: Anatomy, rng: np.random.Generator, portable: bool, nuisance: float) -> Anatomy:
    """Draw the same patient on another day: breath, a twist, stomach gas; a portable film magnifies the heart."""
    breath = rng.normal(-0.05 if portable else 0.0, 0.035 * nuisance)
    return replace(
        patient,
        inspiration=float(np.clip(breath, -0.13, 0.09)),
        twist=float(rng.normal(0, 0.012 * nuisance)),
        heart=patient.heart * (1.04 if portable else 1.0),
        gas=float(patient.gas * rng.uniform(0.4, 1.4)),
    )
