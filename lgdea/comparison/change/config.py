"""Settings of the training of a change head (``lgdea compare train --config change``)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from lgdea.comparison.config import ComparisonConfig, ComparisonData
from lgdea.config import Config


class ChangeData(ComparisonData):
    """Inputs and what a batch is made of."""

    prefer: Literal["same-view", "latest"] = "latest"
    """Choice of the prior: the ``latest`` study is what a report compares with."""
    more_pairs: bool = True
    """If true, studies with others in between are pairs too; both reports together say what became of a finding."""
    pairs_per_device: PositiveInt = 48
    """Pairs per step and device."""
    entities_per_pair: PositiveInt = 6
    """Findings asked of a pair, those that change first."""
    unmentioned_weight: NonNegativeFloat = 0.2
    """Weight of what follows from a report that does not mention the finding."""
    graded_weight: NonNegativeFloat = 0.5
    """Weight of what follows from two words of severity."""
    propagated_weight: NonNegativeFloat = 0.2
    """Weight of what follows from the evidence that propagates to pairs of unlinked images; 0 leaves them out."""


class ChangeHeadConfig(Config):
    """The head."""

    width: PositiveInt = 96
    """Width of its tokens."""
    heads: PositiveInt = 4
    """Attention heads; must divide ``width``."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout probability."""


class ChangeTrainingConfig(ComparisonConfig):
    """Everything that shapes the training of a change head."""

    stage: ClassVar[str | None] = "compare change"

    task: Literal["change"] = "change"
    """Always ``change``."""
    data: ChangeData
    """Inputs and the composition of a batch."""
    head: ChangeHeadConfig = ChangeHeadConfig()
    """Size of the head."""
    token_drop: float = Field(default=0.25, ge=0, lt=1)
    """Share of an image's patches and lesions that a step does not see."""
    balance: float = Field(default=1.0, ge=0)
    """Strength of the logit adjustment by the states' frequency; 1 aims at balanced accuracy, 0 at accuracy."""
