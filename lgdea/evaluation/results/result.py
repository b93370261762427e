"""Result of an evaluation task and its two files: ``<task>.json`` and, per item, ``<task>.parquet``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lgdea import runs
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.results.identity import ids_sha256, item_ids
from lgdea.manifests import check_file, read_manifest, seal
from lgdea.version import __version__


@dataclass(frozen=True)
class Value:
    """One number with its 95% percentile bootstrap interval, its number of items and the id of its definition."""

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    definition: str = ""


class TableKey(NamedTuple):
    """Key that results of one table share."""

    task: str
    definition: str
    archive: str
    split: str
    suite: str
    ids_sha256: str


@dataclass(frozen=True)
class Result:
    """The outcome of one task for one model on one part of an archive."""

    task: str
    definition: str
    model: str
    archive: str
    split: str
    metrics: dict[str, Value]
    per_class: dict[str, dict[str, Value]]
    config: dict[str, Any]
    items: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    """One row per scored item; columns as documented by the task."""
    skipped: list[dict[str, str]] = field(default_factory=list)
    """``{"id", "reason"}`` of everything that should have been scored and could not be."""
    notes: list[str] = field(default_factory=list)
    """Notes for the reader: classes left out, queries without truth."""
    lgdea_version: str = __version__
    suite: str | None = None
    """``name@version`` of the benchmark suite, null for a free evaluation."""
    model_hash: str = ""
    """See :func:`~lgdea.evaluation.results.identity.model_identity`; empty where the model's origin is unknown."""
    ids_sha256: str = ""
    """Hash of the scored ids (:func:`~lgdea.evaluation.results.identity.item_ids`); from the items if not given."""
    n_ids: int = 0
    evidence_sha256: str | None = None
    """See :func:`~lgdea.evaluation.results.identity.evidence_sha256`; None where it is not known."""

    def __post_init__(self) -> None:
        if not self.ids_sha256 and (ids := item_ids(self.items)):
            object.__setattr__(self, "ids_sha256", ids_sha256(ids))
            object.__setattr__(self, "n_ids", len(ids))

    @property
    def table_key(self) -> TableKey:
        """Results with another key are never put in one table with this one."""
        return TableKey(self.task, self.definition, self.archive, self.split, self.suite or "", self.ids_sha256)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: a number that is not defined is null."""
        return {
            "task": self.task,
            "definition": self.definition,
            "model": self.model,
            "archive": self.archive,
            "split": self.split,
            "suite": self.suite,
            "ids_sha256": self.ids_sha256,
            "n_ids": self.n_ids,
            "model_hash": self.model_hash,
            "evidence_sha256": self.evidence_sha256,
            "metrics": {name: _value_to_dict(value) for name, value in self.metrics.items()},
            "per_class": {
                name: {metric: _value_to_dict(value) for metric, value in values.items()}
                for name, values in self.per_class.items()
            },
            "config": self.config,
            "n_items": len(self.items),
            "n_skipped": len(self.skipped),
            "skipped": self.skipped,
            "notes": self.notes,
            "lgdea_version": self.lgdea_version,
        }


def write_result(result: Result, folder: str | Path) -> Path:
    """Write ``<task>.parquet``, then ``<task>.json``, each atomically; returns the JSON file.

    The JSON file is last, so its presence says that the result is whole.
    """
    folder = Path(folder)
    file = folder / f"{result.task}.json"
    file.unlink(missing_ok=True)  # it seals the table
    with runs.atomic(file.with_suffix(".parquet")) as temporary:
        result.items.to_parquet(temporary, index=False)
    runs.write_json(file, seal(result.to_dict(), folder, [f"{result.task}.parquet"]))
    return file


def read_result(path: str | Path, task: str | None = None) -> Result:
    """Read a result back.

    Args:
        path: A ``<task>.json`` file, or a results folder.
        task: Which task's, when the folder holds several.

    Raises:
        UsageError: There is no such result, or several and ``task`` does not say which.
        DataError: The file is not a result.
    """
    path = Path(path)
    file = path if path.suffix == ".json" else _only_result(path, task)
    if not file.exists():
        raise UsageError("no such result", file=file, remedy="make it with `lgdea eval`")
    table = file.with_suffix(".parquet")
    content = read_manifest(file, what="result", remedy="make it again with `lgdea eval`")
    check_file(table, content, file.parent)
    try:
        parts = {key: content[key] for key in ("task", "definition", "model", "archive", "split", "config")}
        metrics = {name: _value_from_dict(value) for name, value in content["metrics"].items()}
        per_class = {
            c: {m: _value_from_dict(v) for m, v in values.items()} for c, values in content["per_class"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"is not a result of lgdea ({error})", file=file, remedy="make it with `lgdea eval`") from None
    return Result(
        **parts,
        metrics=metrics,
        per_class=per_class,
        items=pd.read_parquet(table) if table.exists() else pd.DataFrame(),
        skipped=content.get("skipped", []),
        notes=content.get("notes", []),
        lgdea_version=content.get("lgdea_version", ""),
        # Results older than these keys are about the ids of their items, which the constructor finds.
        suite=content.get("suite"),
        model_hash=content.get("model_hash", ""),
        ids_sha256=content.get("ids_sha256", ""),
        n_ids=content.get("n_ids", 0),
        evidence_sha256=content.get("evidence_sha256"),
    )


def list_results(folder: str | Path) -> list[str]:
    """The tasks whose results a folder holds, sorted."""
    folder = Path(folder)
    return sorted(file.stem for file in folder.glob("*.json") if file.with_suffix(".parquet").exists())


def values(names: list[str], interval: Any, n: list[int] | int, definitions: list[str]) -> dict[str, Value]:
    """Name the columns of an :class:`~lgdea.statistics.bootstrap.Interval` of arrays (M,)."""
    counts = [n] * len(names) if isinstance(n, int) else n
    columns = zip(names, *(np.atleast_1d(part).astype(float) for part in interval), counts, definitions, strict=True)
    return {name: Value(float(v), float(low), float(high), int(k), d) for name, v, low, high, k, d in columns}


def _only_result(folder: Path, task: str | None) -> Path:
    if task is not None:
        return folder / f"{task}.json"
    if not folder.is_dir():
        raise UsageError("no such results folder", file=folder, remedy="make it with `lgdea eval`")
    tasks = list_results(folder)
    if len(tasks) != 1:
        found = f"holds results of {', '.join(tasks)}" if tasks else "holds no results"
        raise UsageError(found, file=folder, remedy="name the task" if tasks else "make them with `lgdea eval`")
    return folder / f"{tasks[0]}.json"


def _value_to_dict(value: Value) -> dict[str, Any]:
    def number(x: float) -> float | None:
        return float(x) if math.isfinite(x) else None

    return {
        "value": number(value.value),
        "low": number(value.low),
        "high": number(value.high),
        "n": value.n,
        "definition": value.definition,
    }


def _value_from_dict(content: dict[str, Any]) -> Value:
    value, low, high = (math.nan if content[key] is None else float(content[key]) for key in ("value", "low", "high"))
    return Value(value, low, high, int(content["n"]), content.get("definition", ""))
