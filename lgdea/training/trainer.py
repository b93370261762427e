"""The one Lightning Trainer of a run, set up as every training here needs it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lgdea.errors import ConfigError
from lgdea.training.callbacks import Checkpoints, LossCheck, ProgressLine, StopOnSignal
from lgdea.training.csv_logger import CsvLogger

METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"
LOG_EVERY_N_STEPS = 10


def make_trainer(
    block: Mapping[str, Any],
    out: Path,
    *,
    what: str,
    checkpoint_steps: int,
    own: Sequence[L.Callback] = (),
    callbacks: Sequence[L.Callback] = (),
) -> L.Trainer:
    """Make the Trainer of a run: ``metrics.csv``, checkpoints that a killed run goes on from, a progress bar.

    Args:
        block: The configuration's ``trainer:``; its loggers and callbacks are made by
            :mod:`lgdea.training.tracking`.
        out: Run folder.
        what: What is done, in the progress bar.
        checkpoint_steps: Steps between two checkpoints.
        own: Callbacks of this kind of training, before the user's.
        callbacks: The user's.

    Raises:
        ConfigError: Lightning refuses the block.
    """
    settings = {
        "accelerator": "auto",
        "log_every_n_steps": LOG_EVERY_N_STEPS,
        "enable_model_summary": False,
        **{key: value for key, value in block.items() if key not in ("logger", "callbacks")},
    }
    log_steps = settings["log_every_n_steps"]
    checkpoints = Checkpoints(out / CHECKPOINTS, checkpoint_steps, log_steps)
    every: list[L.Callback] = [
        *own,
        LossCheck(out, log_steps, checkpoint_steps),
        *callbacks,
        checkpoints,  # after all whose state it saves
        ProgressLine(what),
        StopOnSignal(out, checkpoints, log_steps),
    ]
    try:
        trainer = L.Trainer(
            **settings,
            max_epochs=1,
            logger=CsvLogger(out / METRICS),
            callbacks=every,
            default_root_dir=out,
            enable_checkpointing=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, RuntimeError, ValueError, TypeError) as error:
        wanted = settings["accelerator"]
        if wanted not in ("auto", "cpu") and "backend" in str(error):
            raise ConfigError(f"trainer: there is no {wanted} here", remedy="set trainer.accelerator=cpu") from None
        raise ConfigError(
            f"trainer: Lightning refuses it ({str(error).strip().splitlines()[0]})", remedy="change the trainer block"
        ) from None
    if isinstance(trainer.strategy, DDPStrategy):
        # A step may use a part of the model only. Lightning offers this under another strategy's name only, too early
        # to know whether there will be several processes.
        trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
    return trainer


def list_curves(run: Path) -> list[str]:
    """List the file of the metrics for ``run.json``, if anything was logged."""
    return [METRICS] if (run / METRICS).is_file() else []


def last_values(file: Path) -> dict[str, float]:
    """Read the last value of each metric; empty when the run was shorter than the logging interval."""
    if not file.exists():
        return {}
    table = pd.read_csv(file)
    last = table.groupby("name")["value"].last()
    return {str(name): float(value) for name, value in last.items() if np.isfinite(value)}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's tips and expected warnings."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels: list[Any] = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*ckpt_path.*|.*num_workers.*|.*dataloader is not resumable.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
