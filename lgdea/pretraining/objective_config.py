"""What a pretraining minimises: objective and weights, and how links and evidence reach what is not linked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from lgdea.config import Config


class LossWeights(Config):
    """One weight per loss of objective ``lgdea``; 0 leaves the loss out."""

    reconstruction: NonNegativeFloat = 0.1
    """Prototypes rebuild evidence embeddings (METHOD equation 5)."""
    report_evidence: NonNegativeFloat = 1.0
    """A report's own embedding tells which evidence the report states; linked and unlinked reports."""
    paired_kl: NonNegativeFloat = 0.2
    """KL(Q_R || Q_I) of linked pairs (METHOD equation 9)."""
    paired_histogram: NonNegativeFloat = 0.2
    """InfoNCE over histograms of linked pairs."""
    image_evidence: NonNegativeFloat = 1.0
    """The linked image's pooled embedding tells which evidence its report states, as the report's own does."""
    presence: NonNegativeFloat = 1.0
    """Presence of each piece of evidence of the report in the linked image."""
    ranking: NonNegativeFloat = 0.5
    """Per piece of evidence, linked images that show it against those that do not."""
    global_evidence: NonNegativeFloat = 0.5
    """Linked images against all reports of the batch, targets from evidence similarity."""
    unpaired_images: NonNegativeFloat = 0.2
    """Confidence-weighted KL to the propagated report histogram."""
    unpaired_presence: NonNegativeFloat = 0.5
    """Presence, the target being what model and graph say together (:func:`lgdea.pretraining.losses.graph_targets`)."""
    transport: NonNegativeFloat = 0.0
    """Presence and ranking in unlinked images, by the evidence that optimal transport to unlinked reports has found
    (:mod:`lgdea.pretraining.transport`); docs/trials.md says what it is worth."""
    unpaired_reports: NonNegativeFloat = 0.1
    """Confidence-weighted KL from the propagated image histogram to that of the report's embedding."""
    higher_order: NonNegativeFloat = 0.2
    """Soft-target contrast of unlinked images and reports, targets are propagated links."""
    consistency: NonNegativeFloat = 0.2
    """An unlinked image's evidence is the same under two augmentations."""


PROPAGATED_LOSSES = ("unpaired_images", "unpaired_presence", "unpaired_reports", "higher_order")
"""Losses whose targets are made with the graph."""


@dataclass(frozen=True)
class ObjectiveSpec:
    """Requirements of an objective: items of the batch besides linked pairs, and how its model scores a phrase."""

    images: bool = False
    """Unlinked images."""
    reports: bool = False
    """Unlinked reports."""
    evidence: bool = False
    scoring: Literal["presence", "global", "local"] = "global"


OBJECTIVES = {
    "lgdea": ObjectiveSpec(images=True, reports=True, evidence=True, scoring="presence"),
    "clip": ObjectiveSpec(),
    "gloria": ObjectiveSpec(scoring="local"),
    "medclip": ObjectiveSpec(reports=True, evidence=True),
    "sclip": ObjectiveSpec(images=True, evidence=True),
}


class ObjectiveConfig(Config):
    """Objective: its name, its weights and its targets."""

    name: Literal["lgdea", "clip", "gloria", "medclip", "sclip"] = "lgdea"
    """The baselines are described in :mod:`lgdea.pretraining.baselines`."""
    weights: LossWeights = LossWeights()
    """Weight of each loss of ``lgdea``."""
    uncertain_target: float = Field(default=0.5, ge=0, le=1)
    """Target probability of evidence that the report states with doubt."""
    uncertain_weight: NonNegativeFloat = 0.5
    """Weight of such evidence beside that of certain evidence, which is 1."""
    unmentioned_weight: NonNegativeFloat = 0.2
    """Weight of evidence that the report does not mention, as a negative; 0 leaves it out."""
    balance: float = Field(default=0.75, ge=0, le=1)
    """1 gives positive and negative evidence the same say, 0 leaves their numbers as they are."""
    histogram_temperature: PositiveFloat = 0.1
    """Of the InfoNCE over histograms."""
    similarity_temperature: PositiveFloat = 0.1
    """Of the targets made from evidence similarity."""
    phrases_per_step: PositiveInt = 256
    """Phrases of the batch, filled up with others of the corpus as negatives."""

    @property
    def spec(self) -> ObjectiveSpec:
        """Requirements of the objective."""
        return OBJECTIVES[self.name]


class GraphConfig(Config):
    """Neighbours, propagation and when they are made anew; shares are of ``trainer.max_steps``."""

    first_share: float = Field(default=0.4, ge=0, le=1)
    """Time of the first graph."""
    every_share: float = Field(default=0.2, gt=0, le=1)
    """Time between two graphs."""
    neighbours: PositiveInt = 10
    """Number k of nearest neighbours of each node."""
    mode: Literal["mutual", "symmetric"] = "symmetric"
    """``mutual`` keeps an edge when both ends chose it, ``symmetric`` when one did."""
    alpha: float = Field(default=0.8, gt=0, lt=1)
    """Reach of the links; towards 0 they stay at the seeds."""
    steps: PositiveInt = 20
    """Iterations of the propagation."""
    keep: PositiveInt = 32
    """Seeds remembered per node."""
    top: PositiveInt = 10
    """Propagated links kept per image."""
    pooled_share: float = Field(default=0.5, ge=0, le=1)
    """Part of the pooled embedding, beside the histogram, in what neighbours are found by."""


class TransportConfig(Config):
    """Optimal transport between unlinked images and reports, before the first step."""

    within: list[Literal["site", "sex", "age"]] = Field(default_factory=list)
    """What an image and its report have in common, by the archive's studies: only images and reports of one site, one
    sex, one age (in bands of five years) are compared. Empty compares all with all."""
    block: PositiveInt = 4096
    """Images or reports that are compared at once, at most; memory grows with its square. Larger groups are divided at
    random."""
    iterations: PositiveInt = 30
    """Of Sinkhorn's algorithm."""
    temperature: PositiveFloat = 2.0
    """Logits are divided by it: what has learned from few links is too sure."""
    views: NonNegativeInt = 4
    """Augmented views of each image that the network learns from and judges by, beside the image as it is."""
    rounds: PositiveInt = 2
    """Times that a network learns from the evidence found, and evidence is found with it."""
