"""Difference between a model and the baseline on the same items, with its interval and p-value.

Both models are scored on the same drawn patients, so what is hard for both of them cancels out: the interval of the
difference is narrower than the two intervals of the values suggest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lgdea.evaluation.results import paired_readings, paired_tests
from lgdea.evaluation.results.paired_tests import Name
from lgdea.evaluation.results.result import Result
from lgdea.statistics.bootstrap import cluster_bootstrap

Floats = NDArray[np.float64]

KEYS = {
    "zero-shot": ["image_id", "class"],
    "retrieval": ["direction", "query_id"],
    "grounding": ["image_id", "phrase"],
    "probe": ["image_id", "class"],
    "features": ["image_id"],
    "entity-retrieval": ["image_id", "entity"],
    "change": ["pair_id", "class"],
    "answers": ["qid"],
    "references": ["image_id", "class"],
}
"""Columns that identify an item of a task."""


@dataclass(frozen=True)
class PairedDifference:
    """Model minus baseline; NaN where it was not computed."""

    value: float
    low: float = math.nan
    """Bounds of the 95% percentile bootstrap over patients, the same patients for both models."""
    high: float = math.nan
    p_value: float = math.nan
    """One-sided p-value of "the model is better than the baseline"."""
    p_holm: float = math.nan
    """``p_value`` corrected for the number of tests of the same metric: all classes of all models in the table."""
    n: int = 0
    """Items behind it."""


def differences(
    results: Mapping[str, Result], *, replicates: int = 1000, seed: int = 0
) -> dict[str, dict[Name, PairedDifference]]:
    """Compare every model with the first one.

    Args:
        results: Label to result, all of the same task, definition, archive and split; the first is the baseline.
        replicates: Bootstrap replicates and permutations; 0 for none of either, which gives nothing.
        seed: Seed of both.

    Returns:
        Label to (class, metric) to difference, without the baseline. A model that scored other items than the
        baseline has none, and neither has a task without per-item scores.
    """
    labels = list(results)
    found: dict[str, dict[Name, PairedDifference]] = {}
    for label in labels[1:] if replicates else []:
        both = shared_items(results[label], results[labels[0]])
        if both is not None:
            found[label] = _differences(both, results[label], results[labels[0]], replicates, seed)
    return _correct_p_values(found)


def shared_items(model: Result, base: Result) -> pd.DataFrame | None:
    """The items of both, the baseline's columns with ``_base``; None unless both scored exactly the same items."""
    key = KEYS.get(model.task)
    if key is None or model.items.empty or base.items.empty or not set(key) <= set(model.items) & set(base.items):
        return None
    both = model.items.merge(base.items, on=key, suffixes=("", "_base"), validate="one_to_one")
    return both if len(both) == len(model.items) == len(base.items) else None


def holm(p_values: ArrayLike) -> Floats:
    """Correct p-values for their number (Holm 1979, step-down): the chance of any false alarm stays at the level.

    Args:
        p_values: (M,) in [0, 1]; NaN is a test that was not made and does not count.

    Returns:
        (M,) corrected, NaN where it was.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, np.float64)
    corrected = np.full(p_values.shape, np.nan)
    made = np.flatnonzero(~np.isnan(p_values))
    order = made[np.argsort(p_values[made], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else []
    return corrected


def _correct_p_values(found: dict[str, dict[Name, PairedDifference]]) -> dict[str, dict[Name, PairedDifference]]:
    """Fill ``p_holm``; the value over all classes is one question of its own and is not corrected."""
    families: dict[str, list[tuple[str, Name]]] = {}
    for label, by_name in found.items():
        for name in by_name:
            if name[0]:
                families.setdefault(name[1], []).append((label, name))
    for members in families.values():
        adjusted = holm([found[label][name].p_value for label, name in members])
        for (label, name), p in zip(members, adjusted, strict=True):
            found[label][name] = replace(found[label][name], p_holm=float(p))
    return found


def _differences(
    both: pd.DataFrame, model: Result, base: Result, replicates: int, seed: int
) -> dict[Name, PairedDifference]:
    if model.task == "zero-shot":
        parts = paired_tests.zero_shot_differences(both, model, base, replicates, seed)
    else:
        by_task = {
            "retrieval": paired_tests.retrieval_differences,
            "probe": paired_tests.probe_differences,
            "features": paired_tests.item_mean_differences,
            "entity-retrieval": paired_tests.entity_differences,
            "change": paired_tests.change_differences,
            "answers": paired_tests.answer_differences,
            "references": paired_readings.reference_differences,
        }
        parts = by_task.get(model.task, paired_tests.class_mean_differences)(both, model, replicates, seed)
    found: dict[Name, PairedDifference] = {}
    for names, statistic, clusters, n, tests in parts:
        interval = cluster_bootstrap(statistic, clusters, replicates=replicates, seed=seed)
        for name, value, low, high, k in zip(names, *interval, n, strict=True):
            p_value = tests[name].p_value if name in tests else math.nan
            found[name] = PairedDifference(float(value), float(low), float(high), float(p_value), n=int(k))
    return found
