"""Changes of one pair of images, entity by entity, with a confidence, a sentence and where the model looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgdea.comparison.change.model import ChangeModel
from lgdea.comparison.change.sentences import change_sentence
from lgdea.comparison.change.states import STATES
from lgdea.comparison.entity.entities import Entity, parse_entity
from lgdea.models.inference import ImageInput, to_pixels


@dataclass(frozen=True)
class ReadChange:
    """What has become of one entity."""

    entity: Entity
    state: str
    confidence: float
    """Probability of the state, given that one of the two images shows the entity."""
    shown: float
    """Probability that one of the two images shows the entity."""
    sentence: str
    maps: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Where the model looked in the prior and in the current image, (H, W) in source pixels, NaN outside the crop."""


def read_pair(
    model: ChangeModel,
    prior: ImageInput,
    current: ImageInput,
    entities: Sequence[str] | None = None,
    *,
    days: float | None = None,
    least: float = 0.5,
) -> list[ReadChange]:
    """Read the change of entities between two images of a patient.

    Args:
        model: A model with a change head.
        prior: The earlier image: path, PIL image or array.
        current: The later one.
        entities: What is asked for, in any words; None: the findings of the training that one of the images probably
            shows.
        days: Days between the two, for the sentence.
        least: Without ``entities``: findings that are shown with a smaller probability are left out.

    Returns:
        One per entity, with ``entities`` in their order, else most surely shown first.

    Raises:
        UsageError: An entity means nothing.
    """
    asked = [parse_entity(text) for text in entities] if entities else [Entity.of_finding(f) for f in model.findings]
    preprocess: Any = model.base.preprocess
    before, now = (preprocess(to_pixels(image)) for image in (prior, current))
    phrases = [entity.text for entity in asked]
    balanced = model.states(before[0][None], now[0][None], phrases)[0]
    table, likely = balanced.cpu().numpy().astype(float), model.shown(balanced).cpu().numpy()
    grids = [model.maps(image, phrases).cpu().numpy() for image, _ in (before, now)]
    found = []
    for row, entity in enumerate(asked):
        states, shown = table[row, :5], float(likely[row])
        state = STATES[int(states.argmax())]
        maps = tuple(
            geometry.map_to_source(grid[row]) for (_, geometry), grid in zip((before, now), grids, strict=True)
        )
        confidence = float(states.max() / max(states.sum(), 1e-12))
        sentence = change_sentence(state, entity.text, days)
        found.append(ReadChange(entity, state, confidence, shown, sentence, (maps[0], maps[1])))
    if entities:
        return found
    return sorted((item for item in found if item.shown >= least), key=lambda item: -item.shown)
