"""Stored pictures of densities: the site's film look, exposure, blur, noise, electrodes, marks, collimation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from lgdea.phantom.anatomy import Anatomy
from lgdea.phantom.body import reshape
from lgdea.phantom.chest import Chest
from lgdea.phantom.config import PhantomConfig
from lgdea.phantom.marks import Lesion, Mark
from lgdea.phantom.painters import PAINTERS
from lgdea.phantom.scene import SIDES, Canvas, Layer, Pose, Stroke, curve


@dataclass(frozen=True)
class Site:
    """Look of one hospital's pictures.

    ``aspect`` is width by height; ``centre`` and ``slope`` shape the display curve; ``border`` is the chance of
    visible collimation, ``letters`` the style of the side mark.
    """

    name: str
    aspect: float
    centre: float
    slope: float
    blur: float
    noise: float
    border: float
    letters: str


SITES = {
    "harbour": Site("harbour", 1.0, 0.46, 4.2, 0.35, 0.013, 0.25, "filled"),
    "hillside": Site("hillside", 0.88, 0.50, 5.6, 0.75, 0.016, 0.7, "boxed"),
}


@dataclass(frozen=True)
class Visit:
    """Everything a picture depends on; equal visits give equal pictures."""

    anatomy: Anatomy
    lesions: tuple[Lesion, ...]
    site: str
    portable: bool
    seed: int


def render(visit: Visit, config: PhantomConfig) -> tuple[NDArray[np.uint8], list[tuple[Lesion, Mark]]]:
    """Draw one study.

    Returns:
        The picture ``(H, W)`` uint8, and every lesion instance with its mark on the same grid.
    """
    site = SITES[visit.site]
    draws = np.random.default_rng(visit.seed).spawn(4)
    canvas = Canvas(round(config.size * site.aspect), config.size, _pose(draws[0], config.nuisance))
    chest = Chest(canvas, reshape(visit.anatomy, visit.lesions))
    density, instances = chest.density(), []
    for lesion in visit.lesions:
        rng = np.random.default_rng(lesion.seed)
        for mark in PAINTERS[lesion.finding](chest, lesion, rng, config.lesion_contrast):
            density = density + mark.delta
            instances.append((lesion, mark))
    if draws[1].random() < (0.6 if visit.portable else 0.08) * config.nuisance:
        density = density + _electrodes(canvas, draws[1])
    picture = _expose(density, site, draws[2], config)
    return _annotate(picture, site, visit, draws[3], config.nuisance), instances


def _pose(rng: np.random.Generator, nuisance: float) -> Pose:
    return Pose(
        rotation=float(np.clip(rng.normal(0, 0.03), -0.08, 0.08)) * nuisance,
        scale=float(np.clip(1 + rng.normal(0.02, 0.05) * nuisance, 0.85, 1.15)),
        shift_u=float(np.clip(rng.normal(0, 0.03), -0.08, 0.08)) * nuisance,
        shift_v=float(np.clip(rng.normal(0.02, 0.035), -0.06, 0.10)) * nuisance,
    )


def _expose(density: Layer, site: Site, rng: np.random.Generator, config: PhantomConfig) -> Layer:
    """Display curve, blur and noise; values in 0..1. Dense parts get fewer photons and so more noise."""
    centre = site.centre + rng.normal(0, 0.03) * config.nuisance
    slope = site.slope * np.exp(rng.normal(0, 0.10) * config.nuisance)
    # Blur is the detector's, in pixels of a 256-pixel picture.
    sigma = site.blur * min(config.noise, 1.6) * config.size / 256
    if sigma > 0.15:
        density = np.asarray(gaussian_filter(density, sigma, mode="nearest", truncate=3), np.float32)
    grain = rng.standard_normal(density.shape, dtype=np.float32)
    coarse = gaussian_filter(grain, max(0.5, config.size / 256), truncate=2.5)
    quanta = np.sqrt(np.clip(density, 0.05, 1.5)) * (0.7 * grain + 1.2 * coarse)
    noisy = density + site.noise * config.noise * quanta
    return np.asarray(1 / (1 + np.exp(-slope * (noisy - centre))), np.float32)


def _electrodes(canvas: Canvas, rng: np.random.Generator) -> Layer:
    """ECG leads: snaps on the skin and wires that wander across the chest. No finding, only in the way."""
    strokes, snaps = [], canvas.zeros()
    for side in SIDES.values():
        u, v = side * rng.uniform(0.35, 0.62), rng.uniform(-0.45, 0.35)
        snaps = np.maximum(snaps, canvas.ellipse(u, v, 0.026, 0.026, 0, 0.02))
        path = [
            (u, v),
            (u - side * rng.uniform(0, 0.3), v + rng.uniform(0.1, 0.3)),
            (side * rng.uniform(0.0, 0.5), 0.75),
            (side * 0.5, 1.15),
        ]
        strokes.append(Stroke(curve(path, 10), 0.011, 0.6))
    return np.asarray(0.22 * np.maximum(snaps, canvas.strokes(strokes)), np.float32)


def _annotate(picture: Layer, site: Site, visit: Visit, rng: np.random.Generator, nuisance: float) -> NDArray[np.uint8]:
    """Side mark, bedside note, collimation: burnt in after exposure, as on real films."""
    height, width = picture.shape
    stored = np.round(picture * 250).astype(np.uint8)
    if rng.random() < site.border * min(nuisance, 1.2):
        top, left, bottom, right = (rng.uniform(0, 0.035, 4) * [height, width, height, width]).round().astype(int)
        framed = np.zeros_like(stored)
        framed[top : height - bottom, left : width - right] = stored[top : height - bottom, left : width - right]
        stored = framed
    board = Image.fromarray(stored)
    draw = ImageDraw.Draw(board)
    font = _font(max(7, round(height * 0.06)))
    if rng.random() < 0.85:
        # The letter names the patient's side: L stands at the picture's right.
        letter, at = ("L", 0.93) if rng.random() < 0.5 else ("R", 0.05)
        x, y = at * width - (font.getlength(letter) if letter == "L" else 0), rng.uniform(0.03, 0.09) * height
        box = draw.textbbox((x, y), letter, font=font)
        if site.letters == "boxed":
            draw.rectangle((box[0] - 2, box[1] - 2, box[2] + 1, box[3] + 1), outline=235)
        draw.text((x, y), letter, fill=250, font=font)
    if rng.random() < (0.7 if visit.portable else 0.1):
        note = "PORTABLE" if visit.portable else "PA"
        small = _font(max(6, round(height * 0.04)))
        y = (0.95 if site.letters == "boxed" else 0.015) * height
        draw.text(
            (0.5 * width - small.getlength(note) / 2, y - (small.size if y > height / 2 else 0)),
            note,
            fill=225,
            font=small,
        )
    return np.asarray(board, np.uint8)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]
