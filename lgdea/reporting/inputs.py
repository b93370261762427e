"""What a report is made of: run folders and results folders, read without judging them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lgdea.errors import DataError, UsageError
from lgdea.reporting.curves import read_metrics
from lgdea.runs import CONFIG, MANIFEST, is_finished


@dataclass(frozen=True)
class Run:
    """A pretraining run: its configuration, environment, manifest and training curves."""

    label: str
    folder: Path
    config_text: str
    config: dict[str, Any]
    environment: dict[str, Any]
    manifest: dict[str, Any]
    metrics: dict[str, tuple[np.ndarray, np.ndarray]]
    """Metric name -> (steps (N,), values (N,))."""
    finished: bool

    @property
    def model(self) -> Path | None:
        """The model folder, or None while there is none."""
        folder = self.folder / "model"
        return folder if (folder / "config.json").exists() else None


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval and the number of items behind it; unknown parts are None."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    chance: float | None = None


@dataclass(frozen=True)
class TaskResult:
    """One ``<task>.json`` of a results folder."""

    label: str
    task: str
    definition: str
    split: str
    model: str
    archive: str
    version: str
    metrics: dict[str, Interval]
    per_class: dict[str, dict[str, Interval]]
    config: dict[str, Any] = field(default_factory=dict)
    items: Path | None = None
    """The per-item Parquet file beside it, or None."""


def read_run(label: str, folder: Path) -> Run:
    """Read a run folder; what it lacks is empty.

    Raises:
        UsageError: There is no such folder, or it holds no run.
        DataError: One of its files is broken.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError("no such run folder", file=folder, remedy="check the path")
    config_file = folder / CONFIG
    if not config_file.exists() and not (folder / MANIFEST).exists():
        raise UsageError("holds no run", file=folder, remedy="point to a folder that `lgdea pretrain` wrote")
    text = config_file.read_text(encoding="utf-8") if config_file.exists() else ""
    try:
        config = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise DataError(f"is not valid YAML ({str(error).splitlines()[0]})", file=config_file) from None
    curves = folder / "metrics.csv"
    return Run(
        label=label,
        folder=folder,
        config_text=text,
        config=config if isinstance(config, dict) else {},
        environment=_read_json(folder / "env.json"),
        manifest=_read_json(folder / MANIFEST),
        metrics=read_metrics(curves) if curves.exists() else {},
        finished=is_finished(folder),
    )


def read_results(label: str, folder: Path) -> list[TaskResult]:
    """Read every ``<task>.json`` of a results folder, in the order of their names.

    Raises:
        UsageError: There is no such folder, or it holds no results.
        DataError: A file is not the JSON of a result.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError("no such results folder", file=folder, remedy="check the path")
    found = []
    for file in sorted(folder.glob("*.json")):
        content = _read_json(file)
        if "task" in content and "metrics" in content:
            found.append(_task_result(label, content, file))
    if not found:
        raise UsageError("holds no results", file=folder, remedy="make them with `lgdea eval`")
    return found


def _task_result(label: str, content: dict[str, Any], file: Path) -> TaskResult:
    items = file.with_suffix(".parquet")
    try:
        return TaskResult(
            label=label,
            task=str(content["task"]),
            definition=str(content.get("definition") or ""),
            split=str(content.get("split") or ""),
            model=str(content.get("model") or ""),
            archive=str(content.get("archive") or ""),
            version=str(content.get("lgdea_version") or ""),
            metrics=_intervals(content["metrics"]),
            per_class={str(k): _intervals(v) for k, v in (content.get("per_class") or {}).items()},
            config=dict(content.get("config") or {}),
            items=items if items.exists() else None,
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"is not a result ({error})", file=file, remedy="make it again with `lgdea eval`") from None


def _intervals(metrics: Mapping[str, Any]) -> dict[str, Interval]:
    return {str(name): _interval(content) for name, content in metrics.items()}


def _interval(content: Any) -> Interval:
    if not isinstance(content, Mapping):
        return Interval(value=_number(content))
    n = _number(content.get("n"))
    return Interval(
        value=_number(content.get("value")),
        low=_number(content.get("low")),
        high=_number(content.get("high")),
        n=None if n is None else int(n),
        chance=_number(content.get("chance")),
    )


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _read_json(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"is not valid JSON ({error})", file=file) from None
    return content if isinstance(content, dict) else {}
