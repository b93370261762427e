"""Heat maps of what each place adds to a phrase's score, for any model that scores phrases.

A model of images and reports may know what is in an image and not where: its patches look far around, and each tells of
the finding beside it. Hiding a place tells what the score owes to it (Zeiler & Fergus 2014), if what stands there
instead is itself no finding: the other side of the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lgdea.evaluation.encoders.protocol import EvaluableModel, Floats, Pixels
from lgdea.imaging.occlusion import occluded

CELLS = 8
"""Rows and columns of cells that are hidden one after the other."""
SIMILARITY_WEIGHT = 2.0
"""Weight of the model's own map beside the fall of the score, both of standard deviation 1."""
LONGEST = 512
"""Longest side in pixels of the pictures that a model is shown; larger ones are reduced first."""


def occlusion_maps(model: EvaluableModel, image: Pixels, phrases: Sequence[str], *, batch: int = 64) -> list[Floats]:
    """Join the fall of each phrase's score, where a place is hidden, with the model's own map.

    Definition: map = fall / sd(fall) + 2 (own - mean(own)) / sd(own); fall = score(image) - score(image with the cell
    replaced by that of the mirrored image), of 8 x 8 cells, linear between their centres; scores are logits where the
    model gives probabilities. A part that is the same everywhere counts as 0.

    Args:
        model: Scores and maps phrases.
        image: (H, W) in [0, 1].
        phrases: U texts.
        batch: Pictures given to the model at a time.

    Returns:
        U maps (H, W) in source pixels, NaN where the model's own map is.

    Source:
        Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks".
    """
    height, width = image.shape
    scale = min(1.0, LONGEST / max(height, width))
    picture = resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
    pictures = [picture, *occluded(picture, picture[:, ::-1], CELLS)]
    parts = [model.score_phrases(pictures[i : i + batch], phrases) for i in range(0, len(pictures), batch)]
    scores = np.concatenate([np.asarray(part, np.float64) for part in parts])
    if model.scoring == "presence":
        inside = scores.clip(1e-6, 1 - 1e-6)
        scores = np.log(inside / (1 - inside))
    falls = (scores[0] - scores[1:]).T.reshape(-1, CELLS, CELLS)
    own = model.heat_maps(image, phrases)
    return [
        _scaled(np.where(np.isnan(heat), np.nan, resize(fall, height, width)), centre=False)
        + SIMILARITY_WEIGHT * _scaled(np.asarray(heat, np.float64), centre=True)
        for fall, heat in zip(falls, own, strict=True)
    ]


def resize(picture: Floats, height: int, width: int) -> Pixels:
    """``picture`` at another size, linear where it grows and averaged where it shrinks, (height, width) float32."""
    source = np.ascontiguousarray(picture, np.float32)
    if source.shape == (height, width):
        return source
    return np.asarray(Image.fromarray(source).resize((width, height), Image.Resampling.BILINEAR))


def _scaled(heat: NDArray[np.float64], *, centre: bool) -> NDArray[np.float64]:
    spread = float(np.nanstd(heat))
    shifted = heat - np.nanmean(heat) if centre else heat
    return shifted / spread if spread > 1e-9 else 0 * heat
