"""Settings that the trainings of this room share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from lgdea.config import Config
from lgdea.training.config import AugmentConfig, CheckpointConfig, OptimizerConfig
from lgdea.training.trainer_block import check_trainer


class ComparisonData(Config):
    """Inputs of a training."""

    archive: Path
    """Archive folder, made by ``lgdea data build``; its studies must be split."""
    evidence: Path
    """Evidence folder of its reports, made by ``lgdea extract``."""
    pairing: Path | None = None
    """Parquet file of the linked studies, made by ``lgdea data pair``; null: all training studies keep their link."""
    image_cache: Path | None = None
    """Folder of resized images, shared by runs of one image size; null puts it into the run folder."""
    cache_workers: PositiveInt = 2
    """Processes that fill the image cache."""


class ComparisonConfig(Config):
    """Everything that shapes the training of a head on a pretrained model."""

    task: str
    """What is trained: ``entity`` or ``change``."""
    data: ComparisonData
    """Inputs and the composition of a batch."""
    seed: NonNegativeInt = 0
    """Seed of weights, batches and augmentation."""
    model: Path
    """Model folder of a pretrained lgdea model, which stays as it is."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of training images."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimiser: AdamW."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Linear warm-up of the learning rate, as a share of the steps; cosine decay follows."""
    final_lr_share: float = Field(default=0.02, ge=0, le=1)
    """Learning rate of the last step as a share of ``optimizer.lr``."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints that a stopped run is resumed from."""
    trainer: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Arguments of Lightning's ``Trainer``: ``max_steps`` (1000 when not given), ``accelerator``, ``devices``,
    ``precision``, ``logger``, ``callbacks`` ..., as those of ``lgdea pretrain``."""

    @field_validator("trainer")
    @classmethod
    def _check_trainer(cls, value: dict[str, Any]) -> dict[str, Any]:
        return check_trainer(value)

    @property
    def max_steps(self) -> int:
        """Optimiser steps of the run."""
        return int(self.trainer["max_steps"])
