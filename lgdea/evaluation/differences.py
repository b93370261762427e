"""A model minus the baseline on the same items: the difference, its interval, and whether it is beyond chance.

Both models are scored on the same drawn patients, so what is hard for both of them cancels out: the interval of the
difference is narrower than the two intervals of the values suggest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lgdea.evaluation.bootstrap import (
    Comparison,
    Statistic,
    class_means,
    cluster_bootstrap,
    permutation_test,
    side_by_side,
    swap_tests,
    weighted_mean,
    weighted_median,
)
from lgdea.evaluation.metrics import classification as metrics
from lgdea.evaluation.results import Result

Floats = NDArray[np.float64]
Name = tuple[str, str]
"""Class and metric; class ``""`` is the value over all classes."""

KEYS = {
    "zero-shot": ["image_id", "class"],
    "retrieval": ["direction", "query_id"],
    "grounding": ["image_id", "phrase"],
    "probe": ["image_id", "class"],
    "features": ["image_id"],
}
"""What identifies an item of a task."""

NO_SCORE = ("chance", "_prior", "_whole", "_centre", "_false")
"""In the names of references, which are the same for every model, and of counts where lower is better: not compared."""


@dataclass(frozen=True)
class Difference:
    """Model minus baseline; NaN where it was not computed."""

    value: float
    low: float = math.nan
    """Bounds of the 95% percentile bootstrap over patients, the same patients for both models."""
    high: float = math.nan
    p_value: float = math.nan
    """One-sided: is the model better than the baseline?"""
    p_holm: float = math.nan
    """``p_value`` corrected for the number of tests of the same metric: all classes of all models in the table."""
    n: int = 0
    """Items behind it."""


def differences(
    results: Mapping[str, Result], *, replicates: int = 1000, seed: int = 0
) -> dict[str, dict[Name, Difference]]:
    """Every model against the first one.

    Args:
        results: Label to result, all of the same task, definition, archive and split; the first is the baseline.
        replicates: Bootstrap replicates and permutations; 0 for none of either, which gives nothing.
        seed: Seed of both.

    Returns:
        Label to (class, metric) to difference, without the baseline. A model that scored other items than the
        baseline has none, and neither has a task without per-item scores.
    """
    labels = list(results)
    found: dict[str, dict[Name, Difference]] = {}
    for label in labels[1:] if replicates else []:
        both = shared_items(results[label], results[labels[0]])
        if both is not None:
            found[label] = _differences(both, results[label], results[labels[0]], replicates, seed)
    return _corrected(found)


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


def _corrected(found: dict[str, dict[Name, Difference]]) -> dict[str, dict[Name, Difference]]:
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


def _differences(both: pd.DataFrame, model: Result, base: Result, replicates: int, seed: int) -> dict[Name, Difference]:
    if model.task == "zero-shot":
        parts = _zero_shot(both, model, base, replicates, seed)
    else:
        by_task = {"retrieval": _retrieval, "probe": _probe, "features": _item_means}
        parts = by_task.get(model.task, _class_means)(both, model, replicates, seed)
    found: dict[Name, Difference] = {}
    for names, statistic, clusters, n, tests in parts:
        interval = cluster_bootstrap(statistic, clusters, replicates=replicates, seed=seed)
        for name, value, low, high, k in zip(names, *interval, n, strict=True):
            p_value = tests[name].p_value if name in tests else math.nan
            found[name] = Difference(float(value), float(low), float(high), float(p_value), n=int(k))
    return found


Part = tuple[list[Name], Statistic, NDArray[np.object_], list[int], dict[Name, Comparison]]
"""Names (M,), weights (R, N) to their differences (R, M), patients (N,), counts (M,), tests."""


def _zero_shot(both: pd.DataFrame, model: Result, base: Result, replicates: int, seed: int) -> Iterator[Part]:
    # The threshold of a class belongs to its model; where one has none, F1 and MCC have no difference.
    sides = {column: both.pivot(index="image_id", columns="class", values=column) for column in _SIDES}
    labels = both.pivot(index="image_id", columns="class", values="label")
    classes, truth = [str(c) for c in labels.columns], labels.to_numpy(float)
    clusters = _patients(both, labels.index)
    thresholds = {
        column: [_threshold(result, c) for c in classes] for column, result in zip(_SIDES, (model, base), strict=True)
    }
    columns = ("auroc", "auprc", "f1", "mcc")

    def statistic(weights: Floats) -> Floats:
        a, b = (_classify(sides[c].to_numpy(float), truth, thresholds[c], weights) for c in _SIDES)
        return np.asarray((a - b).reshape(-1, len(weights)).T)

    names = [(c, m) for c in classes for m in columns] + [("", f"{m}_macro") for m in columns]
    known = [int(k) for k in (~np.isnan(truth)).sum(axis=0)]
    counts = [k for k in [*known, len(truth)] for _ in columns]
    tested = auroc_tests(both, "score", replicates=replicates, seed=seed)
    tests = {(c, "auroc" if c else "auroc_macro"): test for c, test in tested.items()}
    yield names, statistic, clusters, counts, tests


_SIDES = ("score", "score_base")


def _probe(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[Part]:
    # With draws of the training patients a value is a mean over them, and chance is not in the scored patients alone.
    settings = [metric.removesuffix("/auroc_macro") for metric in model.metrics if metric.endswith("/auroc_macro")]
    for setting in settings:
        column = f"{setting}/0"
        if f"{column}_base" not in both or {f"{setting}/1", f"{setting}/1_base"} & set(both):
            continue
        labels = both.pivot(index="image_id", columns="class", values="label")
        truth = labels.to_numpy(float)
        sides = [
            both.pivot(index="image_id", columns="class", values=name).to_numpy(float)
            for name in (column, f"{column}_base")
        ]

        def statistic(weights: Floats, sides: list[Floats] = sides, truth: Floats = truth) -> Floats:
            a, b = (
                np.stack([metrics.weighted_auroc(side[:, c], truth[:, c], weights) for c in range(truth.shape[1])])
                for side in sides
            )
            table = np.concatenate([a - b, metrics.macro(a, axis=0)[None] - metrics.macro(b, axis=0)[None]])
            return np.asarray(table.T)

        classes = [str(c) for c in labels.columns]
        tested = auroc_tests(both, column, replicates=replicates, seed=seed)
        tests = {(c, f"{setting}/auroc" if c else f"{setting}/auroc_macro"): test for c, test in tested.items()}
        counts = [int(k) for k in (~np.isnan(truth)).sum(axis=0)] + [len(truth)]
        names = [*((c, f"{setting}/auroc") for c in classes), ("", f"{setting}/auroc_macro")]
        yield names, statistic, _patients(both, labels.index), counts, tests


def auroc_tests(both: pd.DataFrame, column: str, *, replicates: int = 1000, seed: int = 0) -> dict[str, Comparison]:
    """Is the AUROC of ``column`` better than that of its twin with ``_base``?

    Scores of two models share no scale, so each is ranked within its model and class before patients change sides.

    Args:
        both: Items with ``image_id, patient_id, class, label``, ``column`` and its twin.
        column: Of the scores.
        replicates: Random exchanges.
        seed: Seed of the exchanges.

    Returns:
        Class to test, and ``""`` to that of the mean over classes.
    """
    labels = both.pivot(index="image_id", columns="class", values="label")
    truth = labels.to_numpy(float)
    a, b = (
        both.pivot(index="image_id", columns="class", values=name).rank().to_numpy(float)
        for name in (column, f"{column}_base")
    )
    clusters = _patients(both, labels.index)
    tests = swap_tests(lambda ranks: _rank_auroc(ranks, truth), a, b, clusters, replicates=replicates, seed=seed)
    return dict(zip([*map(str, labels.columns), ""], tests, strict=True))


def _patients(both: pd.DataFrame, images: pd.Index) -> NDArray[np.object_]:
    return both.drop_duplicates("image_id").set_index("image_id")["patient_id"].reindex(images).to_numpy()


def _threshold(result: Result, name: str) -> float:
    found = result.per_class.get(name, {}).get("threshold")
    return math.nan if found is None else found.value


def _classify(scores: Floats, truth: Floats, thresholds: list[float], weights: Floats) -> Floats:
    """AUROC, AUPRC, F1 and MCC of each class and of their mean: (C + 1, 4, R)."""
    rows = []
    for c, threshold in enumerate(thresholds):
        area = metrics.weighted_auroc(scores[:, c], truth[:, c], weights)
        precision = metrics.weighted_auprc(scores[:, c], truth[:, c], weights)
        rows.append(
            np.stack([area, precision, *metrics.weighted_f1_mcc(scores[:, c], truth[:, c], threshold, weights)])
        )
    table = np.stack(rows)
    return np.concatenate([table, metrics.macro(table, axis=0)[None]])


def _rank_auroc(ranks: Floats, truth: Floats) -> Floats:
    """AUROC of each class and their mean (C + 1,) from midranks (N, C) and labels (N, C).

    The same number as :func:`lgdea.evaluation.metrics.classification.auroc`, but counted instead of sorted, because
    a permutation test asks for it thousands of times.
    """
    rows, classes = ranks.shape
    width = 2 * rows + 1
    codes = np.rint(2 * ranks).astype(np.int64) - 1 + np.arange(classes) * width
    positive, negative = (
        np.bincount(codes[truth == side], minlength=classes * width).reshape(classes, width) for side in (1, 0)
    )
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + 0.5 * negative)).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    areas = np.divide(wins, pairs, out=np.full(classes, np.nan), where=pairs > 0)
    return np.append(areas, metrics.macro(areas))


def _retrieval(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[Part]:
    for direction, rows in both.groupby("direction", sort=False):
        columns = [c for c in map(str, model.items) if f"{direction}/{c}" in model.metrics and _compared(c, both)]
        clusters = rows["patient_id"].to_numpy()
        a, b = rows[columns].to_numpy(float), rows[[f"{c}_base" for c in columns]].to_numpy(float)
        parts = [_subtract(weighted_mean(a), weighted_mean(b))]
        names = [("", f"{direction}/{c}") for c in columns]
        counts = [int(k) for k in (~np.isnan(a) & ~np.isnan(b)).sum(axis=0)]
        if {"first_positive_rank", "first_positive_rank_base"} <= set(rows):
            medians = (weighted_median(rows[c]) for c in ("first_positive_rank", "first_positive_rank_base"))
            parts.append(_column(_subtract(*medians)))
            names, counts = [*names, ("", f"{direction}/median_rank")], [*counts, len(rows)]
        tests = {
            name: permutation_test(a[:, i], b[:, i], clusters, replicates=replicates, seed=seed)
            for i, name in enumerate(names[: len(columns)])
        }
        yield names, side_by_side(*parts), clusters, counts, tests


def _item_means(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[Part]:
    """Metrics that are plain means of an item's column of the same name."""
    clusters = both["patient_id"].to_numpy()
    for metric in (m for m in map(str, model.metrics) if m in model.items and _compared(m, both)):
        a, b = both[metric].to_numpy(float), both[f"{metric}_base"].to_numpy(float)
        test = permutation_test(a, b, clusters, replicates=replicates, seed=seed)
        difference = _column(_subtract(weighted_mean(a), weighted_mean(b)))
        count = int((~np.isnan(a) & ~np.isnan(b)).sum())
        yield [("", metric)], difference, clusters, [count], {("", metric): test}


def _compared(column: str, both: pd.DataFrame) -> bool:
    return f"{column}_base" in both and not any(word in column for word in NO_SCORE)


def _class_means(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[Part]:
    """Metrics that are means of items: of each class, of the classes (macro) and of all items (micro)."""
    clusters = both["patient_id"].to_numpy()
    classes = both["class"].to_numpy(str) if "class" in both else np.full(len(both), "")
    present = [str(c) for c in np.unique(classes)]
    told = {*model.metrics, *(m for values in model.per_class.values() for m in values)}
    columns = [c for c in map(str, model.items) if {c, f"{c}_macro", f"{c}_micro"} & told and _compared(c, both)]
    for metric in columns:
        a, b = (both[c].replace([np.inf, -np.inf], np.nan).to_numpy(float) for c in (metric, f"{metric}_base"))
        statistic = side_by_side(
            _subtract(class_means(a, classes), class_means(b, classes)),
            _column(_subtract(weighted_mean(a), weighted_mean(b))),
        )
        names = [*((c, metric) for c in present), ("", f"{metric}_macro"), ("", f"{metric}_micro")]
        known = ~np.isnan(a) & ~np.isnan(b)
        counts = [int(known[classes == c].sum()) for c in present] + [int(known.sum())] * 2
        share = pd.Series(known).groupby(classes).transform("sum").to_numpy(float)
        weight = np.divide(known.sum(), share * len(present), out=np.zeros(len(share)), where=share > 0)
        tests = {}
        for name, rows, scale in [
            *(((c, metric), classes == c, np.ones(len(a))) for c in present),
            (names[-2], np.ones(len(a), bool), weight),  # a mean of means is a weighted mean of items
            (names[-1], np.ones(len(a), bool), np.ones(len(a))),
        ]:
            pair = (a * scale)[rows], (b * scale)[rows]
            tests[name] = permutation_test(*pair, clusters[rows], replicates=replicates, seed=seed)
        yield names, statistic, clusters, counts, tests


def _subtract(a: Statistic, b: Statistic) -> Statistic:
    return lambda weights: np.asarray(a(weights) - b(weights))


def _column(statistic: Statistic) -> Statistic:
    return lambda weights: statistic(weights).reshape(len(weights), -1)
