"""The run of a head's training: folder, Trainer, resume, model folder. What is trained is the caller's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from lgdea import runs
from lgdea.comparison.config import ComparisonConfig
from lgdea.errors import TrainingError, UsageError
from lgdea.locks import locked
from lgdea.models.serialization import model_files
from lgdea.training.callbacks import checkpoint_step, newest_checkpoint
from lgdea.training.csv_logger import truncate_after
from lgdea.training.process_info import ProcessInfo, exclusive_lock
from lgdea.training.schedule import learning_rate
from lgdea.training.tracking import make_callbacks, make_loggers
from lgdea.training.trainer import CHECKPOINTS, METRICS, last_values, list_curves, make_trainer, quiet

FREE_KEYS = (
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.logger"),
    *("model", "data.archive", "data.evidence", "data.pairing", "data.image_cache", "data.cache_workers"),
)
"""Settings that a resumed run may change: devices, tracking, and paths, whose content is compared by its hash."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """What a run trains: a module, its batches from a step on, what is noted of the data, and how it is saved."""

    module: L.LightningModule
    batches: Callable[[int], DataLoader[Any]]
    """From the step that training starts at to the loader of its batches."""
    counts: dict[str, int]
    save: Callable[[Path], None]
    """Writes the model folder."""


def train_head(
    config: ComparisonConfig,
    out: str | Path,
    prepare: Callable[[Path, ProcessInfo], Training],
) -> Path:
    """Train a head; when ``out`` holds the same run, go on from its newest checkpoint.

    Args:
        config: The resolved configuration.
        out: Run folder: ``config.yaml env.json run.json metrics.csv checkpoints/ model/ _SUCCESS``.
        prepare: Builds what is trained, from the run folder and this process's place among several.

    Returns:
        The model folder, ``out/model``: the pretrained model and the head.

    Raises:
        UsageError: An input is missing, or ``out`` holds another run.
        TrainingError: The loss is not a number, no checkpoint can be read, or training was stopped.
    """
    out, data = Path(out), config.data
    inputs = {"model": config.model, "archive": data.archive, "evidence": data.evidence}
    if data.pairing is not None:
        inputs["pairing"] = data.pairing
    for name, path in inputs.items():
        if not path.exists():
            raise UsageError(f"no such {name}", file=path, remedy="check the path")
    start = newest_checkpoint(out / CHECKPOINTS)
    with quiet(), ExitStack() as stack:
        callbacks = make_callbacks(config.trainer.get("callbacks"))
        what, checkpoint_steps = f"training the {config.task} head", config.checkpoint.every_steps
        trainer = make_trainer(config.trainer, out, what=what, checkpoint_steps=checkpoint_steps, callbacks=callbacks)
        process = ProcessInfo(trainer.global_rank, trainer.world_size)
        if trainer.is_global_zero:
            stack.enter_context(locked(out))
        with exclusive_lock(out, process):
            resumed = runs.start(
                out,
                stage=f"compare {config.task}",
                config=config.model_dump(mode="json"),
                inputs=inputs,
                stated=config.model_dump(mode="json", exclude_defaults=True),
                free=FREE_KEYS,
                untrained=[METRICS] if start is None else None,
            )
        if resumed and runs.is_finished(out):
            _log.info("%s is finished already", out)
            return out / "model"
        L.seed_everything(config.seed, verbose=False)
        training = prepare(out, process)
        _fit(trainer, training, config, out, start)
        if trainer.is_global_zero:
            training.save(out / "model")
            files = [f"model/{name}" for name in model_files(out / "model")] + list_curves(out)
            runs.finish(out, files, steps=config.max_steps, counts=training.counts, metrics=last_values(out / METRICS))
        trainer.strategy.barrier()
    return out / "model"


def _fit(trainer: L.Trainer, training: Training, config: ComparisonConfig, out: Path, start: Path | None) -> None:
    step = checkpoint_step(start)
    if trainer.is_global_zero:
        (out / CHECKPOINTS).mkdir(exist_ok=True)
        truncate_after(out / METRICS, step)
        trainer.loggers += make_loggers(config.trainer.get("logger"), folder=out, first_step=step)
        _log.info("training on %s", ", ".join(f"{n:,} {what}" for what, n in training.counts.items()))
    if step >= config.max_steps:
        content = torch.load(start, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
        training.module.load_state_dict(content["state_dict"], strict=False)
        return
    if step and trainer.is_global_zero:
        _log.info("resuming %s at step %d of %d", out, step, config.max_steps)
    loader = training.batches(step * trainer.accumulate_grad_batches)
    try:
        trainer.fit(training.module, loader, ckpt_path=start, weights_only=True)
    except SystemExit:
        if trainer.interrupted:  # Lightning turns Ctrl-C into an exit; a caller wants the interrupt itself
            raise KeyboardInterrupt from None
        raise
    if trainer.global_step < config.max_steps:
        raise TrainingError(
            f"training stopped at step {trainer.global_step} of {config.max_steps}",
            file=out,
            remedy="repeat the command to resume",
        )


def step_loader(dataset: Any, start: int, config: ComparisonConfig) -> DataLoader[Any]:
    """Loader of a data set whose item n is the batch of step n.

    Args:
        dataset: The batches.
        start: First step.
        config: Its ``trainer`` says how many steps there are, and how many batches make one.
    """
    steps = range(start, config.max_steps * config.trainer.get("accumulate_grad_batches", 1))
    return DataLoader(dataset, batch_size=None, sampler=steps, pin_memory=torch.cuda.is_available())


def make_optimizer(module: L.LightningModule, config: ComparisonConfig) -> dict[str, Any]:
    """AdamW without decay of biases, norms and scales; warm-up, then cosine."""
    used = [p for p in module.parameters() if p.requires_grad]
    settings = config.optimizer
    groups = [
        {"params": [p for p in used if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in used if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)
    steps, warmup = config.max_steps, round(config.warmup_share * config.max_steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, steps=steps, warmup=warmup, final=config.final_lr_share)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
