"""Named values with their intervals and chance levels, as the parts of the task ``features`` hand them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.evaluation.config import FeaturesConfig
from lgdea.evaluation.results.result import Value, values
from lgdea.statistics.bootstrap import Statistic, cluster_bootstrap

Codes = NDArray[np.int64]
Tables = tuple[dict[str, Value], dict[str, dict[str, Value]]]
"""Overall metrics, and those of each class (or pair of classes)."""


def intervals(
    statistic: Statistic,
    items: pd.DataFrame,
    config: FeaturesConfig,
    names: list[str],
    counts: list[int] | int,
    *definitions: str,
    centred: bool = False,
) -> dict[str, Value]:
    """Values of a statistic's columns with their intervals by patient; one definition may serve all columns.

    ``centred`` is for statistics that rise or fall because a bootstrap sample holds copies.
    """
    interval = cluster_bootstrap(
        statistic,
        items["patient_id"].to_numpy(),
        replicates=config.bootstrap_replicates,
        seed=config.seed,
        centred=centred,
    )
    ids = list(definitions) if len(definitions) > 1 else list(definitions) * len(names)
    return values(names, interval, counts, ids)


def permuted(
    names: list[str], statistic: Callable[[Codes], NDArray[Any]], codes: Codes, config: FeaturesConfig
) -> dict[str, Value]:
    """Means over shuffled classes, named as the chance level of each metric."""
    rng = np.random.default_rng(config.seed)
    draws = np.array([statistic(rng.permutation(codes)) for _ in range(config.permutations)])
    found: dict[str, Value] = {}
    for name, value in zip(names, draws.mean(axis=0), strict=True):
        key = name.replace("_macro", "_chance_macro") if name.endswith("_macro") else f"{name}_chance"
        found[key] = Value(float(value), n=len(codes), definition="features/permuted-v1")
    return found


def join(per_class: dict[str, dict[str, Value]], more: dict[str, dict[str, Value]]) -> None:
    """Add the metrics of each class in ``more``."""
    for name, found in more.items():
        per_class[name] = per_class.get(name, {}) | found


def definition_id(metric: str) -> str:
    """The id of the definition of a metric."""
    return f"features/{metric.replace('_', '-')}-v1"
