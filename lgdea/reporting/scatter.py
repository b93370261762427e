"""Embeddings in the plane: small SVG scatter plots whose classes differ by colour and by shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from lgdea.reporting.palette import series_index

SIDE, PAD, MARK = 300, 8, 3.4
SHAPES = (
    "M-{r},0a{r},{r} 0 1 0 {d},0a{r},{r} 0 1 0 -{d},0z",  # disc
    "M-{r},-{r}h{d}v{d}h-{d}z",  # square
    "M0,-{r}L{r},{r}H-{r}z",  # triangle
    "M0,-{r}L{r},0L0,{r}L-{r},0z",  # diamond
)


def scatter(title: str, places: np.ndarray, classes: Sequence[str], names: Sequence[str]) -> Markup:
    """An inline SVG of one mark per item.

    Both axes have one scale, so distances are what they look; they have no unit and no ticks.

    Args:
        title: What a screen reader says.
        places: (N, 2) finite.
        classes: (N,) class of each item.
        names: The classes in the order of their colours.
    """
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (SIDE - 2 * PAD) / max(float((high - low).max()), 1e-12)
    middle = (low + high) / 2
    at = (places - middle) * [scale, -scale] + SIDE / 2
    # Drawn in a fixed mixed order: class after class, the last one would hide the others.
    order = np.random.default_rng(0).permutation(len(places))
    index = {name: i for i, name in enumerate(names)}
    marks = [
        Markup('<use class="s{}" href="#mark-{}" x="{:.1f}" y="{:.1f}"/>').format(
            series_index(index[classes[i]]), index[classes[i]] % len(SHAPES), *at[i]
        )
        for i in order
    ]
    return Markup('<svg class="scatter" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        SIDE, SIDE, title, Markup("").join(marks)
    )


def shapes() -> Markup:
    """The marks' outlines, once per page."""
    paths = [
        Markup('<path id="mark-{}" d="{}"/>').format(i, shape.format(r=MARK, d=2 * MARK))
        for i, shape in enumerate(SHAPES)
    ]
    return Markup('<svg width="0" height="0" aria-hidden="true"><defs>{}</defs></svg>').format(Markup("").join(paths))


def key(position: int) -> Markup:
    """The mark of the class at ``position``, for a legend."""
    return Markup('<svg class="scatter-key" viewBox="-5 -5 10 10"><use class="s{}" href="#mark-{}"/></svg>').format(
        series_index(position), position % len(SHAPES)
    )
