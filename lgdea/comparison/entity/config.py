"""Settings of the training of an entity head (``lgdea compare train --config entity``)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from lgdea.comparison.config import ComparisonConfig, ComparisonData
from lgdea.config import Config
from lgdea.vocabulary import load_vocabulary


class EntityData(ComparisonData):
    """Inputs and what a batch is made of."""

    parts_per_device: PositiveInt = 4
    """Parts of a batch and device; each is about one entity."""
    images_per_part: int = Field(default=16, ge=4)
    """Images of a part, ranked among each other."""
    positive_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of a part's images that show the entity, where there are as many."""
    hard_share: float = Field(default=0.25, ge=0, lt=1)
    """Share that shows a finding that the entity is mistaken for, or the entity on the other side."""
    least_images: PositiveInt = 5
    """Entities that fewer training images show are not drawn."""
    held_out: tuple[str, ...] = ()
    """Vocabulary ids of findings that training never asks for, nor takes as hard negatives: the unseen entities."""

    @field_validator("held_out")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [finding for finding in value if finding not in load_vocabulary().findings]
        if unknown:
            raise ValueError(f"{unknown[0]} is no finding of the vocabulary")
        return value


class HeadConfig(Config):
    """The head."""

    width: PositiveInt = 128
    """Width of its tokens."""
    length: PositiveInt = 128
    """Length of the conditioned embedding."""
    layers: PositiveInt = 2
    """Layers of cross-attention."""
    heads: PositiveInt = 4
    """Attention heads; must divide ``width``."""


class EntityLosses(Config):
    """One weight per loss; 0 leaves the loss out."""

    ranking: NonNegativeFloat = 1.0
    """Smooth graded average precision of the conditioned embeddings."""
    unconditioned: NonNegativeFloat = 0.3
    """The same without an entity, graded by the overlap of the whole evidence: what conditioning is compared with."""
    contrast: NonNegativeFloat = 0.3
    """Conditioned embeddings against what the reports say of their entity."""
    presence: NonNegativeFloat = 0.5
    """Presence of the entity."""


class EntityConfig(ComparisonConfig):
    """Everything that shapes the training of an entity head."""

    stage: ClassVar[str | None] = "compare entity"

    task: Literal["entity"] = "entity"
    """Always ``entity``."""
    data: EntityData
    """Inputs and the composition of a batch."""
    head: HeadConfig = HeadConfig()
    """Size of the head."""
    losses: EntityLosses = EntityLosses()
    """Weights of the losses."""
    temperature: PositiveFloat = 0.05
    """Of the smooth average precision's sigmoid."""
    rerank_top: PositiveInt = 20
    """Candidates that are reranked."""
