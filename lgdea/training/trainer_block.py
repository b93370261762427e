"""Check of the ``trainer:`` block: arguments of Lightning's ``Trainer``, loggers and callbacks by name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from inspect import signature
from typing import Any

LOGGERS = {
    "tensorboard": "lightning.pytorch.loggers.TensorBoardLogger",
    "wandb": "lightning.pytorch.loggers.WandbLogger",
    "mlflow": "lightning.pytorch.loggers.MLFlowLogger",
}
"""Short names of ``trainer.logger``."""
TAKEN_TRAINER_KEYS = {
    *("default_root_dir", "max_epochs", "num_sanity_val_steps"),
    *("enable_checkpointing", "enable_progress_bar", "use_distributed_sampler"),
}
COMMON_TRAINER_KEYS = {
    *("max_steps", "accelerator", "devices", "num_nodes", "strategy", "precision", "logger", "callbacks"),
    *("log_every_n_steps", "accumulate_grad_batches", "gradient_clip_val", "deterministic"),
}
"""Known without importing Lightning, which takes seconds."""


def check_trainer(value: dict[str, Any]) -> dict[str, Any]:
    """Check the keys of a ``trainer:`` block and add ``max_steps`` where it is missing.

    Raises:
        ValueError: A key is unknown or set by lgdea, or a logger's or callback's description is wrong.
    """
    value = {"max_steps": 1000, **value}
    steps = value["max_steps"]
    if not isinstance(steps, int) or steps < 1:
        raise ValueError("max_steps must be a whole number above 0")
    for key in value:
        if key in TAKEN_TRAINER_KEYS:
            raise ValueError(f"{key} is set by lgdea")
        if key not in COMMON_TRAINER_KEYS and key not in (known := _trainer_keys()):
            raise ValueError(f"Lightning's Trainer has no argument {key}{_nearest(key, known)}")
    for spec in _as_list(value.get("logger")):
        if isinstance(spec, bool) or (isinstance(spec, str) and "." not in spec and spec not in LOGGERS):
            raise ValueError(f"logger {spec} is not one of {', '.join(LOGGERS)}{_nearest(str(spec), LOGGERS)}")
    for key in ("logger", "callbacks"):
        for spec in _as_list(value.get(key)):
            if isinstance(spec, dict) and (set(spec) - {"class_path", "init_args"} or "class_path" not in spec):
                raise ValueError(f"an entry of {key} has the keys class_path and init_args, not {', '.join(spec)}")
    return value


def _trainer_keys() -> list[str]:
    from lightning import Trainer

    return [name for name in signature(Trainer.__init__).parameters if name not in {"self", *TAKEN_TRAINER_KEYS}]


def _nearest(wrong: str, known: Iterable[str]) -> str:
    near = get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _as_list(value: Any) -> list[Any]:
    return [] if value in (None, False) else value if isinstance(value, list) else [value]
