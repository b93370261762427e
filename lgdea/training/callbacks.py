"""Callbacks of every training: checkpoints, the check of the loss, and progress."""

from __future__ import annotations

import signal
import threading
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.progress import TextColumn
from torch import Tensor

from lgdea.errors import StoppedError, TrainingError
from lgdea.progress import PlainProgress, make_bar
from lgdea.training.csv_logger import CsvLogger

KEEP_CHECKPOINTS = 2
SUFFIX = ".ckpt"


class Checkpoints(Callback):
    """Save every n steps and at the end, atomically, and keep the newest two.

    Args:
        folder: Where ``step-<n>.ckpt`` goes.
        every_steps: n.
        log_steps: How often numbers are logged.
    """

    def __init__(self, folder: Path, every_steps: int, log_steps: int) -> None:
        self.folder = folder
        self.every_steps = every_steps
        self.log_steps = log_steps

    def on_train_batch_end(self, trainer: L.Trainer, _: Any, __: Any, ___: Any, batch_idx: int) -> None:
        """Save when it is time."""
        step = trainer.global_step
        if ends_step(trainer, batch_idx) and (step % self.every_steps == 0 or step == trainer.max_steps):
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Save now; all processes must call this."""
        file = self.folder / f"step-{trainer.global_step:07d}{SUFFIX}"
        if file.exists():
            return
        self._log(trainer)
        temporary = file.with_name("." + file.name)
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(file)
            for old in list_checkpoints(self.folder)[KEEP_CHECKPOINTS:]:
                old.unlink()

    def _log(self, trainer: L.Trainer) -> None:
        """Log the numbers of this step: Lightning does so after this hook, and a run that goes on from here never."""
        every, step = self.log_steps, trainer.global_step
        for logger in trainer.loggers:
            if isinstance(logger, CsvLogger) and every and step % every == 0:
                logger.log_metrics({k: float(v) for k, v in trainer.logged_metrics.items()}, step - 1)


def ends_step(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether this batch is the last one of an optimiser's step; no checkpoint holds the gradients within one."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


class StopOnSignal(Callback):
    """Save a checkpoint and stop when the process is asked to end: by SIGTERM, or by SIGUSR1 as SLURM may send it.

    Args:
        run: The run folder, named in the error.
        checkpoints: The callback that saves.
        every_steps: How often several processes ask each other.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1) if hasattr(signal, "SIGUSR1") else (signal.SIGTERM,)

    def __init__(self, run: Path, checkpoints: Checkpoints, every_steps: int) -> None:
        self.run = run
        self.checkpoints = checkpoints
        self.every_steps = every_steps
        self._received = 0
        self._earlier: dict[int, Any] = {}

    def on_train_start(self, *_: Any) -> None:
        """Listen, in place of Lightning, which would lose the steps since the last checkpoint."""
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._receive) for number in self.SIGNALS}

    def on_train_batch_end(self, trainer: L.Trainer, _: Any, __: Any, ___: Any, batch_idx: int) -> None:
        """Save and stop.

        Raises:
            StoppedError: This process, or another of the run, was asked to end.
        """
        if not ends_step(trainer, batch_idx) or not self._is_to_stop(trainer):
            return
        self.checkpoints.save(trainer)
        number = self._received or signal.SIGTERM
        raise StoppedError(
            number,
            f"stopped by {signal.Signals(number).name} at step {trainer.global_step} of {trainer.max_steps}, saved",
            file=self.run,
            remedy="repeat the command to resume",
        )

    def on_train_end(self, *_: Any) -> None:
        """Leave the signals as they were."""
        for number, earlier in self._earlier.items():
            signal.signal(number, earlier)
        self._earlier = {}

    def on_exception(self, *_: Any) -> None:
        """Leave the signals as they were."""
        self.on_train_end()

    def _receive(self, number: int, _: Any) -> None:
        self._received = number

    def _is_to_stop(self, trainer: L.Trainer) -> bool:
        if trainer.world_size == 1:
            return self._received != 0
        if trainer.global_step % self.every_steps:
            return False
        return trainer.strategy.reduce_boolean_decision(self._received != 0, all=False)


def list_checkpoints(folder: Path) -> list[Path]:
    """List the complete checkpoints, newest first."""
    return sorted(folder.glob(f"step-*{SUFFIX}"), reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Find the newest checkpoint that can be read.

    Raises:
        TrainingError: There are some, but none can be read.
    """
    files = list_checkpoints(folder)
    for file in files:
        if is_readable(file):
            return file
    if files:
        raise TrainingError("no checkpoint can be read", file=folder, remedy="remove the run folder and start anew")
    return None


def is_readable(checkpoint: Path) -> bool:
    """Check that a file of ``torch.save`` is whole; ``torch.load`` compares no checksum."""
    try:
        with zipfile.ZipFile(checkpoint) as records:
            whole = records.testzip() is None
        torch.load(checkpoint, map_location="meta", weights_only=True)
    except Exception:
        return False
    return whole


def checkpoint_step(checkpoint: Path | None) -> int:
    """Step number in a checkpoint's name; 0 without one."""
    return int(checkpoint.stem.removeprefix("step-")) if checkpoint else 0


class LossCheck(Callback):
    """Stop at a loss that is not a number.

    Args:
        run: The run folder, named in errors.
        every_steps: How often numbers are logged.
        checkpoint_steps: How often checkpoints are saved, which must hold numbers.
    """

    def __init__(self, run: Path, every_steps: int, checkpoint_steps: int) -> None:
        self.run = run
        self.every_steps = every_steps
        self.checkpoint_steps = checkpoint_steps

    def on_train_batch_end(self, trainer: L.Trainer, _: L.LightningModule, outputs: Any, *__: Any) -> None:
        """Look at the loss, on a GPU only now and then."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is not None and self._looks_at(loss, trainer) and not torch.isfinite(loss.detach()).all():
            bad = [k for k, v in trainer.callback_metrics.items() if not torch.isfinite(torch.as_tensor(v))]
            raise TrainingError(
                f"the loss became {float(loss.detach())} at step {trainer.global_step}"
                + (f" ({', '.join(sorted(bad))})" if bad else ""),
                file=self.run,
                remedy="start a new run with a smaller optimizer.lr, or trainer.precision=32-true",
            )

    def _looks_at(self, loss: Tensor, trainer: L.Trainer) -> bool:
        """Decide whether to look at this step's loss: on a GPU that waits for the step, while no next batch is made."""
        step = trainer.global_step
        due = step % self.every_steps == 0 or step % self.checkpoint_steps == 0 or step == trainer.max_steps
        return due or loss.device.type == "cpu"


class ProgressLine(Callback):
    """Show a progress bar with the loss; where there is no terminal, a line now and then.

    Args:
        what: What is done.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._bar = make_bar(TextColumn("loss {task.fields[loss]}"), transient=False)
        self._lines: PlainProgress | None = None
        self._task: Any = None

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Show the bar."""
        if not trainer.is_global_zero:
            return
        if self._bar.disable:
            self._lines = PlainProgress(self.what, trainer.global_step)
            return
        self._task = self._bar.add_task(self.what, total=trainer.max_steps, completed=trainer.global_step, loss="-")
        self._bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, _: L.LightningModule, outputs: Any, *__: Any) -> None:
        """Move the bar."""
        step = trainer.global_step
        if self._task is not None and step % 5 == 0:
            self._bar.update(self._task, completed=step, loss=f"{_loss(outputs):.3f}")
        elif self._lines is not None and self._lines.is_due(step, trainer.max_steps):
            self._lines.update(step, trainer.max_steps, f", loss {_loss(outputs):.3f}")

    def on_train_end(self, *_: Any) -> None:
        """Leave the finished bar."""
        self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Restore the terminal."""
        self._bar.stop()


def _loss(outputs: Any) -> float:
    return float(outputs["loss"] if isinstance(outputs, dict) else outputs)
