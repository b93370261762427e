"""Painters of devices and surgical traces: tubes, lines, a pacemaker, wires, clips, a valve."""
# ruff: noqa: ARG001 - all painters share one signature

from __future__ import annotations

import numpy as np

from lgdea.phantom.anatomy import APEX
from lgdea.phantom.chest import Chest
from lgdea.phantom.marks import Lesion, Mark
from lgdea.phantom.scene import SIDES, Layer, Stroke, curve

Generator = np.random.Generator


def endotracheal_tube(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A tube in the trachea whose tip ends above the carina."""
    tip = rng.uniform(-0.44, -0.34)
    mid = [
        (float(chest.anatomy.spine(np.float32(v))) + chest.anatomy.twist, float(v)) for v in np.linspace(-1.15, tip, 6)
    ]
    return [Mark("midline", contrast * 0.24 * _tube(chest, mid, 0.042))]


def nasogastric_tube(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A line down the oesophagus that bends into the stomach."""
    top = float(chest.anatomy.dome("left", np.float32(0.3)))
    path = [(0.015, -1.15), (0.02, -0.5), (0.01, 0.0), (0.07, top - 0.02), (0.20, top + 0.10), (0.30, top + 0.17)]
    path = [(u + rng.normal(0, 0.008), v) for u, v in path]
    return [Mark("midline", contrast * 0.21 * chest.canvas.strokes([Stroke(curve(path), 0.019)]))]


def central_line(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A catheter from the neck or under the clavicle to the superior vena cava."""
    sign, tip = SIDES[lesion.sides[0]], (-0.075, rng.uniform(-0.22, -0.05))
    if rng.random() < 0.5:
        start = [(sign * 0.21, -1.15), (sign * 0.17, -0.85), (sign * 0.12, -0.62)]
    else:
        start = [(sign * 0.72, -0.52), (sign * 0.45, -0.66), (sign * 0.2, -0.60)]
    bridge = [(-0.02, -0.50)] if sign > 0 else [(-0.10, -0.45)]
    path = curve([*start, *bridge, (-0.085, -0.3), tip])
    return [Mark(lesion.sides[0], contrast * 0.24 * chest.canvas.strokes([Stroke(path, 0.016)]))]


def pacemaker(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A generator below the clavicle and leads to the right heart."""
    sign, k = SIDES[lesion.sides[0]], chest.anatomy.heart
    u, v = sign * rng.uniform(0.46, 0.54), rng.uniform(-0.50, -0.42)
    box = curve(
        [
            (u + a * 0.085, v + b * 0.07)
            for a, b in (
                (-1, -0.6),
                (-0.6, -1),
                (0.6, -1),
                (1, -0.6),
                (1, 0.6),
                (0.4, 1),
                (-0.4, 1),
                (-1, 0.6),
                (-1, -0.6),
            )
        ],
        4,
    )
    apex = (0.20 * k, 0.34 + chest.anatomy.inspiration * 0.8)
    root = [(u - sign * 0.02, v - 0.06), (sign * 0.30, -0.62), (-0.02 if sign > 0 else -0.12, -0.48), (-0.085, -0.25)]
    leads = [
        Stroke(curve([*root, (-0.09, 0.12), (0.0, 0.33), apex]), 0.013, 0.75),
        Stroke(curve([*root, (-0.10, 0.05), (-0.06, 0.02)]), 0.013, 0.7),
    ]
    layer = chest.canvas.strokes([*leads, Stroke(box, 0, 0.75, closed=True), Stroke(box, 0.012, 1.0)])
    generator = chest.canvas.ellipse(u, v, 0.11, 0.095, 0, 0.01)
    # The leads reach across the chest; the box goes round generator and leads alike.
    return [
        Mark(
            lesion.sides[0],
            contrast * 0.5 * layer,
            np.maximum(layer > 0.35, generator * (layer > 0.3)).astype(np.float32),
        )
    ]


def chest_tube(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A thick drain with a bright stripe from the side wall towards the apex."""
    marks = []
    for side in lesion.sides:
        sign = SIDES[side]
        path = [
            (sign * 0.86, 0.30),
            (sign * 0.62, 0.16),
            (sign * 0.50, -0.10),
            (sign * 0.42, -0.35),
            (sign * 0.34, APEX + 0.17),
        ]
        path = [(u + sign * rng.normal(0, 0.012), v + rng.normal(0, 0.012)) for u, v in path]
        marks.append(Mark(side, contrast * 0.24 * _tube(chest, curve(path), 0.048)))
    return marks


def sternotomy_wires(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A column of twisted wire loops over the sternum."""
    strokes = []
    for k in range(6):
        u, v = chest.anatomy.twist + rng.normal(0, 0.008), -0.42 + 0.125 * k + rng.normal(0, 0.01)
        loop = [(u + 0.042 * np.cos(t), v + 0.026 * np.sin(t) + 0.01 * np.cos(t)) for t in np.linspace(0, 6.0, 14)]
        strokes += [Stroke(loop, 0.012), Stroke([(u - 0.01, v - 0.03), (u + 0.02, v - 0.045)], 0.013)]
    return [Mark("midline", contrast * 0.42 * chest.canvas.strokes(strokes))]


def surgical_clips(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A few tiny metal dashes beside the left heart border or at the axilla."""
    side = lesion.sides[0]
    u, v = (SIDES[side] * 0.22, -0.02) if rng.random() < 0.5 else (SIDES[side] * 0.70, -0.30)
    strokes = []
    for _ in range(5):
        a, b, turn = u + rng.normal(0, 0.045), v + rng.normal(0, 0.085), rng.uniform(0, np.pi)
        strokes.append(Stroke([(a, b), (a + 0.032 * np.cos(turn), b + 0.032 * np.sin(turn))], 0.015))
    return [Mark(side, contrast * 0.5 * chest.canvas.strokes(strokes))]


def prosthetic_valve(chest: Chest, lesion: Lesion, rng: Generator, contrast: float) -> list[Mark]:
    """A bright tilted ring inside the heart."""
    u, v = 0.055 + rng.uniform(-0.02, 0.03), 0.16 + chest.anatomy.inspiration * 0.8
    tilt = rng.uniform(-0.9, -0.4)
    ring = []
    for t in np.linspace(0, 2 * np.pi, 25):
        a, b = 0.062 * np.cos(t), 0.032 * np.sin(t)
        ring.append((u + a * np.cos(tilt) - b * np.sin(tilt), v + a * np.sin(tilt) + b * np.cos(tilt)))
    return [Mark("midline", contrast * 0.40 * chest.canvas.strokes([Stroke(ring, 0.019)]))]


def _tube(chest: Chest, path: list[tuple[float, float]], width: float) -> Layer:
    """A hollow tube: faint wall, bright marker stripe."""
    wall = chest.canvas.strokes([Stroke(path, width, 0.75), Stroke(path, 0.45 * width, 0.35)])
    return np.maximum(wall, chest.canvas.strokes([Stroke(path, 0.012, 1.0)]))
