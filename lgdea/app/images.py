"""One image and a phrase: where the model sees it, how probable it is, and what else it finds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lgdea.app.bench import Bench
from lgdea.app.fragments import bar, note, table
from lgdea.errors import UsageError
from lgdea.imaging.boxes import boxes_of_map
from lgdea.reporting.heatmaps import draw_heat_map
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.phrases import canonical_phrase

if TYPE_CHECKING:
    from PIL import Image

    from lgdea.evaluation.encoders.protocol import EvaluableModel

LONGEST_PHRASE = 300
LISTED = 12
"""Findings of the list."""
SMALLEST = 512
"""A smaller image is drawn larger, by a whole number, so that a phone shows it sharp."""
NOT_CALIBRATED = (
    "not calibrated: no model of lgdea is fitted so that a value is a frequency in your archive; it ranks images and "
    "findings of one model"
)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says of a phrase in an image."""

    phrase: str
    picture: Image.Image
    """The image with the map over it, each source pixel ``scale`` pixels wide, and a legend at the right."""
    scale: int
    score: float
    scoring: str
    low: float
    high: float
    """Of the map."""
    boxes: int
    """Warm regions."""


def ask(bench: Bench, pixels: np.ndarray, phrase: str) -> Answer:
    """Ask the model where an image shows what a phrase says, and how probable it is.

    Args:
        bench: Holds the model.
        pixels: (H, W) in [0, 1].
        phrase: Any words.

    Raises:
        UsageError: The phrase is empty or too long, or the model has no text side.
    """
    phrase = check_phrase(phrase)
    model = bench.model
    (heat,) = model.heat_maps(pixels, [phrase])
    score = float(model.score_phrases([pixels], [phrase])[0, 0])
    found = [b.box for b in boxes_of_map(heat)]
    scale = max(1, math.ceil(SMALLEST / max(pixels.shape)))
    picture = draw_heat_map(pixels, heat, phrase, found=found, max_side=scale * max(pixels.shape))
    seen = heat[np.isfinite(heat)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (math.nan, math.nan)
    return Answer(phrase, picture, scale, score, model.scoring, low, high, len(found))


def check_phrase(phrase: str) -> str:
    """The phrase on one line.

    Args:
        phrase: What was typed.

    Raises:
        UsageError: It is empty or too long.
    """
    phrase = " ".join(phrase.split())
    if not phrase:
        raise UsageError("the phrase is empty", remedy="name a finding, for example 'left pleural effusion'")
    if len(phrase) > LONGEST_PHRASE:
        raise UsageError(f"the phrase has {len(phrase)} characters, more than {LONGEST_PHRASE}", remedy="shorten it")
    return phrase


def answer_html(answer: Answer, source: str) -> str:
    """The probability of the phrase, what kind of number it is, and how to read the map.

    Args:
        answer: What the model says.
        source: Name of the image.
    """
    if answer.scoring == "presence":
        said = f"{answer.phrase}: probability {answer.score:.2f} ({NOT_CALIBRATED})"
    else:
        said = (
            f"{answer.phrase}: similarity {answer.score:.3f}, a cosine in [-1, 1] and no probability: compare it with "
            "that of the opposite phrase"
        )
    size = "in source pixels" if answer.scale == 1 else f"each source pixel drawn {answer.scale} x {answer.scale}"
    where = (
        f"{source}: map from {answer.low:.3f} to {answer.high:.3f}, {answer.boxes} warm region"
        f"{'' if answer.boxes == 1 else 's'}; picture {size}"
    )
    return note(said, where)


def list_findings(bench: Bench, pixels: np.ndarray, most: int = LISTED) -> list[tuple[str, float]]:
    """Findings of an image, most probable first, without that anybody named them (zero-shot).

    Args:
        bench: Holds the model.
        pixels: (H, W) in [0, 1].
        most: How many.

    Returns:
        (finding in words, score): probabilities, or of a model of cosines the difference to the opposite phrase.
    """
    from lgdea.evaluation.tasks.change_difference import finding_scores

    names = known_findings(bench.model)
    scores = finding_scores(bench.model, [pixels], names)[0]
    if bench.model.scoring == "presence":
        scores = 1 / (1 + np.exp(-scores))
    order = np.argsort(-scores, kind="stable")[:most]
    return [(canonical_phrase(names[i]), float(scores[i])) for i in order]


def known_findings(model: EvaluableModel) -> list[str]:
    """Vocabulary ids of what the model was trained on; of other models those that an X-ray can show.

    Args:
        model: The model.
    """
    inner = getattr(model, "_model", model)
    known = list(getattr(inner, "findings", ()) or ())
    vocabulary = load_vocabulary()
    known = known or [key for key, finding in vocabulary.findings.items() if "xray" in finding.modalities]
    return [key for key in known if key in vocabulary.findings and vocabulary.findings[key].kind != "normality"]


def findings_html(found: list[tuple[str, float]], scoring: str) -> str:
    """The list as a table that says what its numbers are.

    Args:
        found: Of :func:`list_findings`.
        scoring: Of the model.
    """
    if scoring == "presence":
        rows = [(name, bar(score)) for name, score in found]
        return table(
            f"The {len(rows)} most probable findings (zero-shot, not calibrated)", ("finding", "probability"), rows
        )
    rows = [(name, f"{score:+.3f}") for name, score in found]  # type: ignore[misc]
    return table(
        f"{len(rows)} findings, most alike first (zero-shot)", ("finding", "cosine less that of its opposite"), rows
    )
