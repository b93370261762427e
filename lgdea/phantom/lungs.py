"""Painters of findings inside the lungs. Each has its own look, so that a reader can tell them apart.

A painter takes the healthy chest, the lesion, the lesion's own random generator and the contrast, and returns marks.
"""

from __future__ import annotations

import numpy as np

from lgdea.phantom.chest import Chest
from lgdea.phantom.marks import Lesion, Mark, place
from lgdea.phantom.scene import SIDES, Layer, Stroke, bell, curve, smooth

Generator = np.random.Generator


def consolidation(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Fluffy airspace opacity with dark branching air bronchograms."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        size = 0.13 + 0.12 * lesion.severity
        u, v = place(chest, side, lesion.zone, rng, 0.6 * size)
        cloud, grain = c.field(rng, 0.10), c.field(rng, 0.045)
        radius = np.sqrt(c.radius(u, v, size, size * rng.uniform(0.75, 1.05), rng.uniform(-0.5, 0.5)))
        region = smooth(1.0 + 0.22 * cloud + 0.10 * grain - radius, 0.45) * chest.field[side]
        root = (SIDES[side] * 0.15, v - 0.35 * (v + 0.05))
        bronchi = []
        for turn in (-0.35, 0.0, 0.35):
            tip = (u + 0.5 * size * SIDES[side], v + turn * 2.2 * size)
            bronchi.append(
                Stroke(curve([root, ((root[0] + u) / 2, (root[1] + v) / 2), (u, v + turn * 0.8 * size), tip], 8), 0.017)
            )
        air = c.strokes(bronchi)
        amplitude = contrast * (0.15 + 0.10 * lesion.severity)
        marks.append(
            Mark(side, amplitude * region * (1 + 0.15 * grain) * (1 - 0.55 * air), region * chest.lungs[side] * 1.3)
        )
    return marks


def ground_glass_opacity(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Hazy veil with soft edges; vessels stay visible through it."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        size = 0.15 + 0.12 * lesion.severity
        u, v = place(chest, side, lesion.zone, rng, 0.6 * size)
        radius = np.sqrt(c.radius(u, v, size, 1.25 * size))
        region = smooth(1.05 + 0.2 * c.field(rng, 0.2) - radius, 0.9) * chest.lungs[side]
        marks.append(Mark(side, contrast * (0.075 + 0.05 * lesion.severity) * region, region * 1.15))
    return marks


def edema(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Butterfly haze around both hila, swollen vessels, short septal lines at the bases."""
    c, marks = chest.canvas, []
    for side in ("right", "left"):
        sign, reach = SIDES[side], 0.20 + 0.13 * lesion.severity
        radius = np.sqrt(c.radius(sign * 0.20, 0.0, reach, 1.45 * reach, sign * 0.2))
        grain = c.field(rng, 0.05)
        wing = smooth(1.0 + 0.12 * grain - radius, 1.0) * chest.lungs[side]
        septa = []
        for step in range(6):
            v = 0.06 + 0.05 * step
            x = float(chest.anatomy.half_width(np.float32(v))) - 0.03
            septa.append(Stroke([(sign * (x - 0.085), v - 0.012), (sign * x, v)], 0.010, 0.8))
        lines = c.strokes(septa) * chest.lungs[side]
        amplitude = contrast * (0.06 + 0.11 * lesion.severity)
        delta = amplitude * (wing * (1 + 0.2 * grain) + 0.6 * lines) + 0.025 * contrast * chest.vessels * wing
        marks.append(Mark(side, delta, wing * 1.4))
    return marks


def nodule(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Small round opacity with a sharp edge."""
    return [
        _ball(chest, lesion, side, rng, 0.034 + 0.022 * lesion.severity, 0.0, contrast * 0.20) for side in lesion.sides
    ]


def mass(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Large lobulated opacity with spicules."""
    return [
        _ball(chest, lesion, side, rng, 0.085 + 0.055 * lesion.severity, 0.13, contrast * 0.25) for side in lesion.sides
    ]


def _ball(chest: Chest, lesion: Lesion, side: str, rng: Generator, size: float, lobes: float, amplitude: float) -> Mark:
    c = chest.canvas
    u, v = place(chest, side, lesion.zone, rng, size)
    radius = np.sqrt(c.radius(u, v, size, size * rng.uniform(0.85, 1.0), rng.uniform(-1, 1)))
    angle = np.arctan2(c.v - v, c.u - u)
    if lobes:
        phase = rng.uniform(0, 6.3, 3)
        radius = radius * (1 + lobes * (np.sin(3 * angle + phase[0]) * 0.6 + np.sin(5 * angle + phase[1]) * 0.5))
        spicules = np.clip(np.sin(11 * angle + phase[2]), 0, 1) ** 4 * bell(radius - 1.15, 0.22)
    else:
        spicules = np.float32(0)
    edge = max(0.25, 1.5 * c.pixel / size)
    body = smooth(1 - radius, edge) * (0.75 + 0.25 * np.sqrt(np.clip(1 - radius * radius, 0, 1)))
    return Mark(side, np.asarray(amplitude * (body + 0.35 * spicules), np.float32))


def cavitation(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Thick-walled ring around air, with a fluid level."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        size = 0.085 + 0.05 * lesion.severity
        u, v = place(chest, side, lesion.zone, rng, size)
        radius = np.sqrt(c.radius(u, v, size, 0.92 * size)) * (1 + 0.06 * c.field(rng, 0.08))
        disc, hole = smooth(1 - radius, 0.25), smooth(0.66 - radius, 0.2)
        fluid = hole * smooth(c.v - v - 0.25 * size, 0.02)
        delta = contrast * (0.24 * (disc - hole) - 0.06 * hole + 0.22 * fluid)
        marks.append(Mark(side, delta, disc))
    return marks


def emphysema(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Dark upper lungs whose vessels are thinned out, with thin-walled bullae."""
    c, marks = chest.canvas, []
    for side in ("right", "left"):
        envelope = chest.lungs[side] * smooth(0.10 - c.v, 0.5)
        bullae = c.zeros()
        for _ in range(3):
            size = rng.uniform(0.06, 0.10) + 0.03 * lesion.severity
            u, v = place(chest, side, "upper", rng, 0.5 * size)
            radius = np.sqrt(c.radius(u, v, size, 1.15 * size))
            bullae = np.maximum(
                bullae, 0.09 * bell(radius - 1, max(0.10, c.pixel / size)) - 0.05 * smooth(0.95 - radius, 0.2)
            )
        thin = -(0.03 + 0.035 * lesion.severity) * envelope - 0.12 * chest.vessels * envelope * chest.anatomy.vessels
        marks.append(Mark(side, np.asarray(contrast * (thin + bullae * envelope), np.float32), envelope * 1.3))
    return marks


def interstitial_opacity(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A fine net over both lungs, vessels blurred by it."""
    return [
        _net(chest, side, rng, 0.034, contrast * (0.045 + 0.04 * lesion.severity), chest.lungs[side])
        for side in ("right", "left")
    ]


def fibrosis(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A coarse honeycomb along the bases and the outer lung."""
    c, marks = chest.canvas, []
    for side in ("right", "left"):
        x = chest.outward(side)
        outer = smooth(x - chest.half_width + 0.22, 0.3)
        base = smooth(c.v - 0.05, 0.5)
        envelope = chest.lungs[side] * np.clip(
            base * (0.35 + 0.75 * outer) + 0.35 * outer * smooth(c.v + 0.4, 0.4), 0, 1
        )
        marks.append(_net(chest, side, rng, 0.062, contrast * (0.13 + 0.08 * lesion.severity), envelope))
    return marks


def _net(chest: Chest, side: str, rng: Generator, cell: float, amplitude: float, envelope: Layer) -> Mark:
    c = chest.canvas
    cell = max(cell, 2.2 * c.pixel)
    net = bell(c.field(rng, cell), 0.35) + 0.8 * bell(c.field(rng, 1.4 * cell), 0.30)
    delta = amplitude * envelope * (net - 0.25)
    return Mark(side, np.asarray(delta, np.float32), envelope)


def atelectasis(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Plate-like bands at an angle, thicker when more lung is collapsed."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        u, v = place(chest, side, lesion.zone or "lower", rng, 0.10)
        plates = c.zeros()
        for k in range(2 if lesion.severity > 0.4 else 1):
            tilt = SIDES[side] * rng.uniform(-0.1, 0.45)
            half = rng.uniform(0.10, 0.15)
            thick = max(0.013 + 0.016 * lesion.severity, 0.8 * c.pixel)
            cos, sin = np.cos(tilt), np.sin(tilt)
            du, dv = c.u - u, c.v - v + k * 0.075 - 0.02
            along, across = cos * du + sin * dv, cos * dv - sin * du + 0.6 * du * du
            plates = np.maximum(
                plates, smooth(thick - np.abs(across), 1.2 * thick) * smooth(half - np.abs(along), 0.06)
            )
        marks.append(
            Mark(side, contrast * (0.17 + 0.08 * lesion.severity) * plates * np.maximum(chest.field[side], 0.3))
        )
    return marks


def scarring(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """Thin irregular strands that run together at one point, often at the apex."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        u, v = place(chest, side, lesion.zone or "upper", rng, 0.08)
        strands = []
        for angle in np.linspace(0, 2 * np.pi, 6, endpoint=False) + rng.uniform(0, 1):
            turn = angle + rng.normal(0, 0.4)
            length = rng.uniform(0.06, 0.13) * (0.8 + 0.5 * lesion.severity)
            middle = (u + 0.5 * length * np.cos(angle), v + 0.5 * length * np.sin(angle))
            strands.append(
                Stroke(
                    [
                        (u, v),
                        middle,
                        (middle[0] + 0.6 * length * np.cos(turn), middle[1] + 0.6 * length * np.sin(turn)),
                    ],
                    0.013,
                )
            )
        layer = np.maximum(c.strokes(strands), 0.8 * c.ellipse(u, v, 0.025, 0.02, 0, 0.02))
        marks.append(Mark(side, contrast * (0.15 + 0.05 * lesion.severity) * layer))
    return marks


def calcified_granuloma(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A tiny dot as dense as bone."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        u, v = place(chest, side, lesion.zone, rng, 0.05)
        size = max(rng.uniform(0.017, 0.024), 1.1 * c.pixel)
        marks.append(Mark(side, contrast * 0.46 * c.ellipse(u, v, size, 0.9 * size, 0, 0.8 * size)))
    return marks


def hilar_enlargement(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A hilum swollen by rounded lobes."""
    c, marks = chest.canvas, []
    for side in lesion.sides:
        sign, drop = SIDES[side], chest.anatomy.inspiration * 0.4
        lobes = c.zeros()
        for _ in range(4):
            u = sign * (0.185 + rng.uniform(-0.02, 0.05))
            v = (-0.075 if side == "left" else -0.03) + drop + rng.uniform(-0.09, 0.09)
            size = 0.055 + 0.03 * lesion.severity
            lobes = np.maximum(lobes, c.ellipse(u, v, size, size * rng.uniform(0.9, 1.2), 0, 0.04))
        marks.append(Mark(side, contrast * (0.16 + 0.05 * lesion.severity) * lobes))
    return marks
