"""Run folders, read without judging them: a run that stopped half way has a report too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lgdea.errors import DataError, UsageError
from lgdea.manifests import read_manifest
from lgdea.reading import parse_yaml, read_json, read_text
from lgdea.reporting.curves import read_metrics
from lgdea.runs import CONFIG, MANIFEST, check_description, check_output, is_finished


@dataclass(frozen=True)
class PretrainingRun:
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


def read_run(label: str, folder: Path) -> PretrainingRun:
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
    check_description(folder)
    text = read_text(config_file) if config_file.exists() else ""
    try:
        config = parse_yaml(text) or {}
    except ValueError as error:
        raise DataError(f"is not valid YAML ({error})", file=config_file) from None
    curves = folder / "metrics.csv"
    return PretrainingRun(
        label=label,
        folder=folder,
        config_text=text,
        config=config if isinstance(config, dict) else {},
        environment=_read_json(folder / "env.json"),
        manifest=read_manifest(folder / MANIFEST) if (folder / MANIFEST).exists() else {},
        metrics=read_metrics(check_output(curves)) if curves.exists() else {},
        finished=is_finished(folder),
    )


def _read_json(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    content = read_json(file)
    return content if isinstance(content, dict) else {}
