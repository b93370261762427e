"""Settings of the fine-tuning of a vision-language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from lgdea.config import Config
from lgdea.training.config import CheckpointConfig, OptimizerConfig


class LoraConfig(Config):
    """Low-rank adapters (Hu et al. 2021)."""

    rank: PositiveInt = 16
    """Rank of the update of each matrix."""
    alpha: PositiveInt = 32
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Dropout before the update."""
    target_modules: str | list[str] = "all-linear"
    """Modules that are adapted: names, a regular expression, or all-linear."""
    exclude_modules: str | None = r".*(vision|visual).*"
    """Regular expression of modules that stay as they are; null adapts the vision tower too."""


class FinetuneConfig(Config):
    """Everything that shapes the fine-tuning of a vision-language model."""

    stage: ClassVar[str | None] = "compare finetune"

    task: Literal["finetune"] = "finetune"
    """What is trained."""
    seed: NonNegativeInt = 0
    """Seed of adapters, dropout and the order of the rows."""
    model: str
    """Folder of a vision-language model, or its name on the Hugging Face Hub."""
    data: Path
    """Rows of prompt and completion, JSON lines: ``trl.jsonl`` of ``lgdea compare questions``."""
    image_root: Path | None = None
    """Folder of the pictures; null: what the ``report.json`` beside the rows names, else the folder of the rows."""
    max_images: PositiveInt | None = None
    """Most pictures that the model takes in one message; rows with more are refused. Null: the window is the limit."""
    shuffle: bool = True
    """If false, the rows are taken in the order of the file, so that easy ones can come first."""
    method: Literal["lora", "full"] = "lora"
    """Train adapters, or all weights."""
    lora: LoraConfig = LoraConfig()
    """The adapters."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the arithmetic; auto: bf16 on a GPU that has it, fp32 elsewhere."""
    rows_per_step: PositiveInt = 16
    """Rows of an optimiser step."""
    rows_per_device: PositiveInt = 4
    """Rows that are held in memory at once; gradients of several passes add up to a step."""
    max_steps: PositiveInt = 500
    """Optimiser steps."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-4)
    """Optimiser: AdamW."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Linear warm-up of the learning rate, as a share of the steps; cosine decay to zero follows."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints that a stopped run is resumed from."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """More arguments of TRL's ``SFTConfig``, such as ``dataloader_num_workers`` or ``gradient_checkpointing``."""
    merge: bool = False
    """If true, ``merged/`` is written too: the model with its adapter added, for programs that load no adapters."""
