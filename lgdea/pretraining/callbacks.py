"""Callbacks of pretraining alone: the check for a collapsed evidence space, and validation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from lgdea import runs
from lgdea.errors import TrainingError
from lgdea.pretraining.encode import data_of, inference
from lgdea.pretraining.module import Pretraining
from lgdea.pretraining.validation import zero_shot_auroc
from lgdea.training.callbacks import ends_step, is_readable

MIN_USAGE = 0.02
MIN_INFORMATION = 1e-5
BEST = "best.pt"
PATIENCE = 20
"""Logged steps in a row that must look collapsed before a run is stopped."""


class CollapseCheck(Callback):
    """Stop when the evidence space has collapsed.

    Collapse is: all evidence on one prototype, or every image with the same histogram, for 20 logged steps in a row
    in the second half of training. KL alone, which has no negatives, does this (METHOD section 4).

    Args:
        run: The run folder, named in errors.
        every_steps: How often numbers are logged.
    """

    def __init__(self, run: Path, every_steps: int) -> None:
        self.run = run
        self.every_steps = every_steps
        self.suspect = 0

    def on_train_batch_end(self, trainer: L.Trainer, _: Any, __: Any, ___: Any, batch_idx: int) -> None:
        """Look at the histograms of logged steps."""
        step = trainer.global_step
        if not ends_step(trainer, batch_idx) or step % self.every_steps or step <= trainer.max_steps // 2:
            return
        metrics = trainer.callback_metrics
        usage = float(metrics.get("prototype_usage", 1.0))
        information = float(metrics.get("image_information", 1.0))
        collapsed = usage < MIN_USAGE or information < MIN_INFORMATION
        self.suspect = self.suspect + 1 if collapsed else 0
        if self.suspect >= PATIENCE:
            what = "all evidence uses one prototype" if usage < MIN_USAGE else "all images have the same histogram"
            raise TrainingError(
                f"the evidence space collapsed by step {trainer.global_step}: {what} "
                f"(prototype usage {usage:.3f}, image information {information:.2g} nats)",
                file=self.run,
                remedy="raise objective.weights.paired_histogram or report_evidence, or lower optimizer.lr",
            )


class Validation(Callback):
    """Log ``val/auroc`` of the averaged model every n steps and at the end, and keep the best one if asked to.

    Args:
        every_steps: n.
        best: File for the weights of the averaged model at its best check; None keeps none. That of a run which is
            resumed is only replaced by a better one.
    """

    def __init__(self, every_steps: int, best: Path | None = None) -> None:
        self.every_steps = every_steps
        self.best = best
        self.best_value = -math.inf

    def on_fit_start(self, trainer: L.Trainer, _: L.LightningModule) -> None:
        """Find the best check of a run that is resumed; what a run left that had no checkpoint yet is void."""
        if self.best is None or not trainer.is_global_zero:
            return
        if trainer.ckpt_path is None:
            self.best.unlink(missing_ok=True)
        elif is_readable(self.best):
            self.best_value = read_best(self.best)["auroc"]

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, _: Any, __: Any, batch_idx: int
    ) -> None:
        """Validate when it is time."""
        step = trainer.global_step
        is_due = ends_step(trainer, batch_idx) and (step % self.every_steps == 0 or step == trainer.max_steps)
        if not is_due or not trainer.is_global_zero:
            return
        data = data_of(trainer)
        if data.validation is None:
            return
        assert isinstance(module, Pretraining)
        with inference(trainer):
            value = zero_shot_auroc(module.ema_model, data.validation_inputs(), data.validation)
        for logger in trainer.loggers:
            logger.log_metrics({"val/auroc": value}, step=step - 1)
        if self.best is not None and value > self.best_value:
            self.best_value = value
            with runs.atomic(self.best) as temporary:
                torch.save({"auroc": value, "step": step, "state_dict": module.ema_model.state_dict()}, temporary)


def read_best(file: Path) -> dict[str, Any]:
    """Read ``auroc``, ``step`` and ``state_dict`` of a run's best check.

    Raises:
        TrainingError: The file is missing or damaged.
    """
    if not is_readable(file):
        raise TrainingError(
            "the weights of the best check cannot be read", file=file, remedy="remove the run folder and start anew"
        )
    content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return content
