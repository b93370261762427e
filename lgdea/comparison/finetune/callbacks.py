"""What happens in the steps of a fine-tuning: numbers to ``metrics.csv``, a check of the loss, whole checkpoints."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from lgdea import runs
from lgdea.errors import DataError, TrainingError
from lgdea.manifests import changed_files, missing_files, read_manifest, seal
from lgdea.training.csv_logger import CsvLogger

STATE = "trainer_state.json"
"""The file of a checkpoint that is written last."""
SEALED = "sealed.json"
"""The hashes of a checkpoint's files."""
ARGUMENTS = "training_args.bin"
"""A pickle of the arguments in every checkpoint, which nothing reads."""
_LOGGED = {"loss": "loss", "learning_rate": "lr", "grad_norm": "grad_norm", "mean_token_accuracy": "token_accuracy"}

_log = logging.getLogger(__name__)


class RunLog(TrainerCallback):
    """Writes the numbers of a run and stops it when the loss is none.

    Args:
        run: Run folder.
        metrics: Name of the CSV in it.
        steps: Steps of the run.
    """

    def __init__(self, run: Path, metrics: str, steps: int) -> None:
        self.run = run
        self.steps = steps
        self._csv = CsvLogger(run / metrics)
        self._told = 0.0

    def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ARG002
        """Keep the numbers of some steps."""
        logs: dict[str, Any] = more["logs"]
        if "loss" not in logs:
            return
        if not math.isfinite(float(logs["loss"])):
            raise TrainingError(
                f"the loss became {logs['loss']} at step {state.global_step}", file=self.run,
                remedy="start a new run with a smaller optimizer.lr, or precision=fp32",
            )  # fmt: skip
        self._csv.log_metrics(
            {name: float(logs[key]) for key, name in _LOGGED.items() if key in logs}, state.global_step
        )
        if state.global_step >= self._told + self.steps / 10:
            self._told = state.global_step
            _log.info("step %d of %d: loss %.3f", state.global_step, self.steps, float(logs["loss"]))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Leave no pickle in a checkpoint that is not read with ``weights_only``, and seal the rest."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (folder / ARGUMENTS).unlink(missing_ok=True)
        if state.is_world_process_zero and folder.is_dir():
            files = [file.name for file in folder.iterdir() if file.is_file() and file.name != SEALED]
            runs.write_json(folder / SEALED, seal({"step": state.global_step}, folder, files))


def newest_checkpoint(folder: Path) -> tuple[Path | None, int]:
    """The newest checkpoint that is whole and as it was written, and its step; (None, 0) when there is none.

    Its weights are safetensors; the states of optimiser, schedule and random numbers are pickles of tensors, which
    transformers reads with ``weights_only=True``.
    """
    found = [(int(path.parent.name.rpartition("-")[2]), path.parent) for path in folder.glob(f"checkpoint-*/{STATE}")]
    for step, checkpoint in sorted(found, reverse=True):
        if _is_unchanged(checkpoint):
            return checkpoint, step
        _log.warning("%s is not as it was written; an older checkpoint is taken", checkpoint)
    return None, 0


def _is_unchanged(checkpoint: Path) -> bool:
    """Whether a checkpoint fits its seal; one without was killed before it was sealed, and is whole."""
    if not (checkpoint / SEALED).exists():
        return True
    try:
        manifest = read_manifest(checkpoint / SEALED)
    except DataError:
        return False
    return not missing_files(manifest, checkpoint) and not changed_files(manifest, checkpoint)
