"""Experiment tracking and extra callbacks: by short name, by class path, or as objects."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from lgdea.errors import ConfigError
from lgdea.training.trainer_block import LOGGERS

T = TypeVar("T", Logger, Callback)


def make_loggers(specs: Any, *, folder: Path, first_step: int = 0) -> list[Logger]:
    """Make the loggers of ``trainer.logger``.

    Args:
        specs: None; one of, or a list of: a short name of :data:`LOGGERS`, a class path, a mapping with ``class_path``
            and ``init_args``, or a Lightning logger. A logger that takes a ``save_dir`` and is given none writes
            below the run folder.
        folder: The run folder.
        first_step: Step at which training starts: TensorBoard hides what a killed run logged from there on.

    Raises:
        ConfigError: A class cannot be imported, is not a logger, or refuses its arguments.
    """
    # Newer versions of MLflow keep no runs in folders: a database below the run folder.
    mlflow = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve() / 'mlflow.db'}"
    defaults: dict[str, dict[str, Any]] = {
        "tensorboard": {"name": "tensorboard", "version": "", "default_hp_metric": False, "purge_step": first_step},
        "mlflow": {"experiment_name": "lgdea", "run_name": folder.name, "tracking_uri": mlflow},
        "wandb": {"project": "lgdea", "name": folder.name},
    }
    loggers = []
    for spec in _as_list(specs):
        if isinstance(spec, str) and spec in LOGGERS:
            given: Any = {"class_path": LOGGERS[spec], "init_args": defaults[spec]}
        else:
            given = spec
        loggers.append(_make(given, Logger, "trainer.logger", save_dir=folder))  # type: ignore[type-abstract]
    return loggers


def make_callbacks(specs: Any) -> list[Callback]:
    """Make the callbacks of ``trainer.callbacks``.

    Args:
        specs: None; one of, or a list of: a class path, a mapping with ``class_path`` and ``init_args``, or a callback.

    Raises:
        ConfigError: A class cannot be imported, is not a callback, or refuses its arguments.
    """
    return [_make(spec, Callback, "trainer.callbacks") for spec in _as_list(specs)]


def _as_list(specs: Any) -> list[Any]:
    if specs is None or specs is False:
        return []
    many = isinstance(specs, Iterable) and not isinstance(specs, str | Mapping)
    return list(specs) if many else [specs]


def _make(spec: Any, base: type[T], setting: str, **defaults: Any) -> T:
    """Return an object as it is, or make one of the class that is named; ``defaults`` are for arguments that it has."""
    if isinstance(spec, base):
        return spec
    path = spec if isinstance(spec, str) else spec.get("class_path") if isinstance(spec, Mapping) else None
    if not isinstance(path, str):
        raise ConfigError(f"{setting}: {spec!r} is not a {base.__name__}", remedy="give a class_path or an object")
    cls = _import_class(path, base, setting)
    arguments = dict(spec.get("init_args") or {}) if isinstance(spec, Mapping) else {}
    known = inspect.signature(cls).parameters
    arguments = {name: value for name, value in defaults.items() if name in known} | arguments
    try:
        made: T = cls(**arguments)
    except ImportError as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{setting}: {path} lacks a package ({first})", remedy=f"install it, or remove {setting}"
        ) from None
    except Exception as error:
        raise ConfigError(f"{setting}: {path} refuses its arguments ({error})", remedy="change its init_args") from None
    return made


def _import_class(path: str, base: type[T], setting: str) -> type[T]:
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{setting}: {path} cannot be imported ({error})", remedy="check the class path") from None
    # Before it is called: a configuration may name loggers and callbacks, not run anything that can be imported.
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ConfigError(
            f"{setting}: {path} is not a Lightning {base.__name__}", remedy=f"name a {base.__name__} class"
        )
    return cls
