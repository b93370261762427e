"""Painters of findings of pleura, heart, aorta, diaphragm and bone, and the shape changes some of them need."""
# ruff: noqa: ARG001 - all painters share one signature

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from lgdea.phantom.anatomy import APEX, RIB_PITCH, Anatomy
from lgdea.phantom.chest import Chest
from lgdea.phantom.marks import Lesion, Mark
from lgdea.phantom.scene import SIDES, Stroke, bell, smooth

Generator = np.random.Generator


def reshape(anatomy: Anatomy, lesions: Iterable[Lesion]) -> Anatomy:
    """Apply the shape changes of ``lesions`` before the chest is drawn."""
    for lesion in lesions:
        s, a = lesion.severity, anatomy
        match lesion.finding:
            case "cardiomegaly":
                anatomy = replace(a, heart=a.heart * (1.16 + 0.24 * s))
            case "hyperinflation":
                anatomy = replace(
                    a, inspiration=a.inspiration + 0.09 + 0.05 * s, flattening=0.55 + 0.4 * s, heart=a.heart * 0.9
                )
            case "elevated_diaphragm" if lesion.laterality == "right":
                anatomy = replace(a, right_raise=a.right_raise + 0.13 + 0.12 * s)
            case "elevated_diaphragm":
                anatomy = replace(a, left_raise=a.left_raise + 0.15 + 0.12 * s)
            case "fibrosis":
                anatomy = replace(a, inspiration=a.inspiration - 0.03 - 0.04 * s)
            case "tortuous_aorta":
                anatomy = replace(a, unfolding=0.25 + 0.65 * s)
            case "scoliosis":
                anatomy = replace(a, scoliosis=(1 if lesion.seed % 2 else -1) * (0.05 + 0.07 * s))
    return anatomy


def cardiomegaly(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A wide heart; the region is the whole silhouette, as readers box it."""
    drop = chest.anatomy.inspiration
    low = smooth(chest.canvas.v + 0.08 - drop, 0.02)
    return [Mark("midline", chest.canvas.zeros(), chest.heart * low)]


def tortuous_aorta(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A swollen knob and a descending aorta that swings into the left lung."""
    c = chest.canvas
    near = smooth(chest.across - 0.03, 0.01) * smooth(c.v + 0.46, 0.02) * smooth(0.22 - c.v, 0.02)
    return [Mark("midline", c.zeros(), np.asarray((chest.mediastinum > 0.3) * near, np.float32))]


def scoliosis(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A curved spine."""
    c = chest.canvas
    column = smooth(0.095 - np.abs(c.u - chest.midline), 0.02) * smooth(c.v + 0.75, 0.02) * smooth(0.85 - c.v, 0.02)
    # The thoracic spine is faint on a normal film; a rotated one stands out.
    return [Mark("midline", contrast * 0.05 * column, column)]


def hyperinflation(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Long dark lungs over flat domes."""
    return [Mark(side, -contrast * 0.035 * chest.lungs[side], chest.lungs[side]) for side in SIDES]


def elevated_diaphragm(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """One dome stands too high; the region is the band between the normal and the raised dome."""
    c, a = chest.canvas, chest.anatomy
    normal = replace(a, right_raise=0.0, left_raise=0.0)
    marks = []
    for side in lesion.sides:
        x = chest.outward(side)
        band = smooth(c.v - a.dome(side, x), 0.01) * smooth(normal.dome(side, x) - c.v, 0.01)
        marks.append(Mark(side, c.zeros(), band * smooth(x - 0.08, 0.02) * smooth(chest.half_width - x, 0.02)))
    return marks


def pleural_effusion(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Fluid that hides dome and costophrenic angle, its surface rising to the side wall."""
    c, a, marks = chest.canvas, chest.anatomy, []
    for side in lesion.sides:
        x = chest.outward(side)
        wall = float(a.half_width(np.float32(0.5)))
        angle = float(a.dome(side, np.float32(wall - 0.03)))
        level = angle - 0.10 - 0.50 * lesion.severity
        surface = np.asarray(level + 0.05 + 0.20 * (1 - np.clip(x / wall, 0, 1.1) ** 2.5), np.float32)
        # Fluid takes the place of air, so it adds most where the lung is deep and little behind the heart.
        air = 0.36 * chest.depth * chest.lungs[side] + 0.06 * chest.field[side]
        fluid = smooth(c.v - surface, 0.06) * air
        marks.append(
            Mark(side, np.asarray(contrast * fluid, np.float32), smooth(c.v - surface, 0.02) * chest.field[side])
        )
    return marks


def pneumothorax(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Black space without vessels outside a thin pleural line, widest at the apex."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        gap = 0.055 + 0.16 * lesion.severity
        x = chest.outward(side)
        wall = chest.half_width - x
        top = (c.v - APEX) * 0.75
        weight = 0.35 + 0.65 * smooth(0.1 - c.v, 1.0)
        depth = np.minimum(wall / weight, top)  # distance from the chest wall, scaled so that the apex opens first
        space = smooth(gap - depth, 0.02) * chest.lungs[side]
        line = bell(depth - gap, max(0.007, 0.6 * c.pixel)) * chest.lungs[side]
        dark = -0.10 * space - 0.15 * chest.anatomy.vessels * chest.vessels * space
        marks.append(Mark(side, np.asarray(contrast * (dark + 0.13 * line), np.float32), space))
    return marks


def pleural_thickening(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A dense rind along part of the side wall."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        centre = {"upper": -0.42, "middle": -0.05, "lower": 0.22}[lesion.zone or "lower"]
        thick = max(0.028 + 0.03 * lesion.severity, 1.5 * c.pixel) * (1 + 0.2 * c.field(rng, 0.12))
        length = 0.16 + 0.08 * lesion.severity
        wall = chest.half_width - chest.outward(side)
        reach = smooth(length - np.abs(c.v - centre), 0.08)
        rind = smooth(thick - np.abs(wall - 0.01), 0.02) * reach * chest.field[side]
        marks.append(Mark(side, contrast * 0.20 * rind))
    return marks


def hiatal_hernia(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A rounded mass behind the heart with gas above a fluid level."""
    c = chest.canvas
    size = 0.11 + 0.05 * lesion.severity
    u, v = 0.05 + rng.uniform(-0.02, 0.03), 0.30 + chest.anatomy.inspiration * 0.8 - 0.4 * size
    sac = c.ellipse(u, v, size, 0.9 * size, 0, 0.025)
    gas = c.ellipse(u, v, 0.85 * size, 0.75 * size, 0, 0.025) * smooth(v + 0.1 * size - c.v, 0.015)
    return [Mark("midline", np.asarray(contrast * (0.11 * sac - 0.26 * gas), np.float32), sac)]


def rib_fracture(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A step in one lateral rib with a dark line across it and a rim of callus."""
    c, a, marks = chest.canvas, chest.anatomy, []
    for side in lesion.sides:
        v = {"upper": -0.35, "middle": -0.05, "lower": 0.22}[lesion.zone or "middle"] + rng.uniform(-0.06, 0.06)
        x = 0.80 * float(a.half_width(np.float32(v)))
        # Slide down to the middle of the nearest posterior rib.
        column = np.linspace(v, v + RIB_PITCH, 40, dtype=np.float32)
        u = SIDES[side] * x
        v = float(column[int(np.argmax(a_rib(chest, u, column)))])
        near = c.ellipse(u, v, 0.075, 0.065, 0, 0.05)
        shifted = chest.rib_layer(c.u, c.v + 0.035 * smooth((c.u - u) * SIDES[side], 0.012) * near)
        gap = bell(c.u - u, max(0.009, 0.6 * c.pixel)) * chest.ribs
        callus = 0.10 * c.ellipse(u, v, 0.05, 0.042, 0, 0.03)
        delta = 0.12 * (shifted - chest.ribs) * near + callus - 0.17 * gap * near
        marks.append(Mark(side, np.asarray(contrast * delta, np.float32), near))
    return marks


def a_rib(chest: Chest, u: float, heights: np.ndarray) -> np.ndarray:
    """Rib density along a vertical line at ``u``."""
    return chest.rib_layer(np.full_like(heights, u), heights)


def aortic_calcification(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A thin bright arc along the outer wall of the knob."""
    c, a = chest.canvas, chest.anatomy
    u, v = 0.075 + 0.05 * a.unfolding, -0.30 - 0.05 * a.unfolding
    size = a.knob * (1 + 0.35 * a.unfolding) * 0.93
    angles = np.linspace(-1.7, 0.9, 16)
    arc = [(u + size * np.cos(t), v + 1.08 * size * np.sin(t)) for t in angles]
    return [Mark("midline", contrast * (0.19 + 0.10 * lesion.severity) * c.strokes([Stroke(arc, 0.017)]))]


def subcutaneous_emphysema(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Dark feathery streaks in the soft tissue of the side wall."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        x = chest.outward(side)
        wall = smooth(x - chest.half_width - 0.035, 0.03) * smooth(chest.half_width + 0.17 - x, 0.06)
        region = wall * smooth(c.v + 0.55, 0.15) * smooth(0.25 + 0.2 * lesion.severity - c.v, 0.2)
        streaks = bell(c.field(rng, 0.05), 0.45)
        marks.append(Mark(side, -contrast * (0.14 + 0.08 * lesion.severity) * region * streaks, region))
    return marks


def pneumoperitoneum(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A black crescent of free air under the dome."""
    c, a, marks = chest.canvas, chest.anatomy, []
    for side in lesion.sides:
        x = chest.outward(side)
        below = c.v - a.dome(side, x)
        thick = (0.035 + 0.05 * lesion.severity) * np.clip(1 - ((x - 0.34) / 0.24) ** 2, 0, 1)
        crescent = smooth(below - 0.022, 0.012) * smooth(thick + 0.022 - below, 0.012) * smooth(thick - 0.005, 0.01)
        marks.append(Mark(side, -contrast * 0.36 * crescent))
    return marks
