"""Callbacks of pretraining alone: the check for a collapsed evidence space, and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from lgdea.errors import TrainingError
from lgdea.pretraining.encode import data_of, inference
from lgdea.pretraining.module import Pretraining
from lgdea.pretraining.validation import zero_shot_auroc
from lgdea.training.callbacks import ends_step

MIN_USAGE = 0.02
MIN_INFORMATION = 1e-5
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
    """Log ``val/auroc`` of the averaged model every n steps and at the end.

    Args:
        every_steps: n.
    """

    def __init__(self, every_steps: int) -> None:
        self.every_steps = every_steps

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
