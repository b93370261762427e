"""Uncertainty: percentile bootstrap over patients, and paired permutation tests.

Patients, not images, are drawn: two images of one patient are not two observations. A replicate is a row of weights
(how often each item's patient was drawn), so a metric that takes weights is computed for many replicates at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lgdea.progress import track

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Weights (R, N) to values (R,) or (R, M)."""

_CELLS = 4_000_000  # weights held at once: about 32 MB


class Interval(NamedTuple):
    """Value on all items and the bounds of its interval; floats or arrays (M,)."""

    value: Floats
    low: Floats
    high: Floats


def cluster_bootstrap(
    statistic: Statistic,
    clusters: ArrayLike,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    centred: bool = False,
) -> Interval:
    """Percentile bootstrap over clusters (Efron & Tibshirani 1993, section 13).

    Args:
        statistic: Weights (R, N) to values (R,) or (R, M); NaN where a replicate leaves a value undefined.
        clusters: (N,) patient of each item.
        replicates: Bootstrap replicates; 0 gives no bounds.
        seed: Seed of the draws; the same seed draws the same patients for every model.
        level: Coverage.
        centred: If true, move the replicates so that their mean is the value: for a statistic that a sample with
            copies changes by itself, as it does a scatter between class means.

    Returns:
        The value with equal weights and its bounds, shaped as one row of the statistic. Bounds are NaN with fewer than
        two clusters; replicates where the value is undefined are left out.

    Example:
        >>> interval = cluster_bootstrap(weighted_mean([0.0, 1.0, 1.0, 0.0]), ["p", "q", "r", "s"])
        >>> float(interval.value), bool(interval.low < 0.5 < interval.high)
        (0.5, True)
    """
    clusters = np.asarray(clusters)
    value = np.asarray(statistic(np.ones((1, len(clusters)))), np.float64)[0]
    blank = np.full(np.shape(value), np.nan)
    if replicates == 0 or len(np.unique(clusters)) < 2:
        return Interval(value, blank, blank)
    blocks = track(cluster_weights(clusters, replicates, seed), "drawing patients for intervals", replicates, len)
    draws = np.concatenate([np.asarray(statistic(weights)) for weights in blocks])
    if centred:
        with np.errstate(invalid="ignore"):  # an infinite value has no bounds
            draws = draws + (value - _mean(draws))
    low, high = _quantiles(draws, ((1 - level) / 2, (1 + level) / 2))
    return Interval(value, low, high)


def cluster_weights(clusters: ArrayLike, replicates: int, seed: int) -> Iterator[Floats]:
    """Yield how often each item is drawn, in blocks (r, N) with ``replicates`` rows in all."""
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // max(len(codes), 1))
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        drawn = rng.integers(len(names), size=(rows, len(names)))
        drawn += np.arange(rows)[:, None] * len(names)
        counts = np.bincount(drawn.ravel(), minlength=rows * len(names)).reshape(rows, len(names))
        yield counts[:, codes].astype(np.float64)


def weighted_mean(items: ArrayLike) -> Statistic:
    """The statistic "mean over items": items (N,) or (N, M), NaN items left out.

    Args:
        items: (N,) or (N, M) values.

    Example:
        >>> weighted_mean([0.0, 1.0])(np.array([[1.0, 3.0]]))
        array([0.75])
    """
    items = np.asarray(items, np.float64)
    known = (~np.isnan(items)).astype(np.float64)
    filled = np.nan_to_num(items)

    def statistic(weights: Floats) -> Floats:
        total = weights @ known
        return np.asarray(np.divide(weights @ filled, total, out=np.full(total.shape, np.nan), where=total > 0))

    return statistic


def weighted_median(items: ArrayLike) -> Statistic:
    """The statistic "lower median": items (N,) to (R,), NaN items left out.

    Args:
        items: (N,) values.

    Example:
        >>> weighted_median([0.0, 1.0, 5.0])(np.ones((1, 3)))
        array([1.])
    """
    items = np.asarray(items, np.float64)
    order = np.argsort(items, kind="stable")[: int(np.sum(~np.isnan(items)))]

    def statistic(weights: Floats) -> Floats:
        if len(order) == 0:
            return np.full(len(weights), np.nan)
        total = np.cumsum(weights[:, order], axis=1)
        middle = np.argmax(total >= total[:, -1:] / 2, axis=1)
        return np.where(total[:, -1] > 0, items[order][middle], np.nan)

    return statistic


def class_means(items: ArrayLike, classes: ArrayLike) -> Statistic:
    """The statistic "mean of each class, then their mean": items (N,), classes (N,) to (R, classes + 1), macro last.

    Args:
        items: (N,) value of each item; NaN items are left out.
        classes: (N,) class of each item.

    Example:
        >>> class_means([1.0, 0.0, 1.0], ["a", "a", "b"])(np.ones((1, 3)))
        array([[0.5 , 1.  , 0.75]])
    """
    items, classes = np.asarray(items, np.float64), np.asarray(classes)
    parts = [(classes == name, weighted_mean(items[classes == name])) for name in np.unique(classes)]

    def statistic(weights: Floats) -> Floats:
        means = np.stack([mean(weights[:, rows]) for rows, mean in parts], axis=1)
        known = ~np.isnan(means)
        total = known.sum(axis=1)
        mean = np.divide(np.nan_to_num(means).sum(axis=1), total, out=np.full(total.shape, np.nan), where=total > 0)
        return np.concatenate([means, mean[:, None]], axis=1)

    return statistic


def side_by_side(*statistics: Statistic) -> Statistic:
    """Concatenate statistics with values (R, M_i) into one with values (R, sum of M_i)."""

    def statistic(weights: Floats) -> Floats:
        return np.concatenate([each(weights) for each in statistics], axis=1)

    return statistic


class PairedTest(NamedTuple):
    """Difference A - B, the one-sided p-value of "A is better than B" and the number of items."""

    difference: float
    p_value: float
    n: int


def permutation_test(
    a: ArrayLike, b: ArrayLike, clusters: ArrayLike | None = None, *, replicates: int = 10_000, seed: int = 0
) -> PairedTest:
    """Paired permutation test on per-item scores of "the mean of A is greater than that of B".

    Under the null hypothesis A and B are exchangeable within a patient, so the sign of each patient's summed
    difference is free. All sign patterns are tried when they are no more than ``replicates``, else random ones.

    Args:
        a: (N,) scores of A, higher is better; NaN in either leaves the item out.
        b: (N,) scores of B for the same items.
        clusters: (N,) patient of each item; by default each item is its own.
        replicates: Random sign patterns.
        seed: Seed of the patterns.

    Returns:
        The difference of means, the p-value (NaN without items) and the number of items.

    Example:
        >>> permutation_test([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
        PairedTest(difference=1.0, p_value=0.125, n=3)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired scores must both be (N,), not {a.shape} and {b.shape}")
    known = ~(np.isnan(a) | np.isnan(b))
    n = int(known.sum())
    if n == 0:
        return PairedTest(float("nan"), float("nan"), 0)
    ids = np.arange(len(a)) if clusters is None else np.asarray(clusters)
    _, codes = np.unique(ids[known], return_inverse=True)
    sums = np.bincount(codes, weights=(a - b)[known])
    observed = sums.sum()
    slack = 1e-9 * (np.abs(sums).sum() + 1e-300)  # sums in another order differ in the last bits
    patterns = 2 ** len(sums) if len(sums) < 20 else None
    if patterns is not None and patterns <= replicates:
        signs = 1.0 - 2.0 * ((np.arange(patterns)[:, None] >> np.arange(len(sums))) & 1)
        return PairedTest(float(observed / n), float(np.mean(signs @ sums >= observed - slack)), n)
    rng = np.random.default_rng(seed)
    block, beyond = max(1, _CELLS // len(sums)), 0
    for start in range(0, replicates, block):
        signs = rng.choice([-1.0, 1.0], size=(min(block, replicates - start), len(sums)))
        beyond += int(np.sum(signs @ sums >= observed - slack))
    return PairedTest(float(observed / n), (1 + beyond) / (1 + replicates), n)


def swap_test(
    statistic: Callable[[Floats], float],
    a: Floats,
    b: Floats,
    clusters: ArrayLike,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> PairedTest:
    """:func:`permutation_test` for a statistic that is not a mean over items, such as AUROC.

    Args:
        statistic: Scores (N, ...) to a number, higher is better.
        a: (N, ...) scores of A on a scale shared with ``b`` (ranks, say).
        b: (N, ...) scores of B.
        clusters: (N,) patient of each item; a patient's scores change sides together.
        replicates: Random exchanges.
        seed: Seed of the exchanges.

    Returns:
        The difference ``statistic(a) - statistic(b)``, the one-sided p-value and the number of items.

    Example:
        >>> a, b = np.array([1.0, 1.0]), np.array([0.0, 0.0])
        >>> swap_test(lambda x: float(x.mean()), a, b, ["p", "q"], replicates=9).difference
        1.0
    """

    def one(scores: Floats) -> Floats:
        return np.array([statistic(scores)])

    return swap_tests(one, a, b, clusters, replicates=replicates, seed=seed)[0]


def swap_tests(
    statistic: Callable[[Floats], Floats],
    a: Floats,
    b: Floats,
    clusters: ArrayLike,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> list[PairedTest]:
    """:func:`swap_test` for several numbers at once: ``statistic`` gives (M,), and each has its own test.

    A number that is not defined (NaN) has p-value NaN.
    """
    if a.shape != b.shape:
        raise ValueError(f"paired scores differ in shape: {a.shape} and {b.shape}")
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    observed = np.asarray(statistic(a) - statistic(b), np.float64)
    rng = np.random.default_rng(seed)
    beyond = np.zeros(len(observed))
    count = replicates if not np.isnan(observed).all() else 0
    for _ in track(range(count), "exchanging models for tests", count):
        swap = rng.integers(2, size=len(names)).astype(bool)[codes].reshape(-1, *[1] * (a.ndim - 1))
        beyond += statistic(np.where(swap, b, a)) - statistic(np.where(swap, a, b)) >= observed - 1e-12
    p_values = np.where(np.isnan(observed), np.nan, (1 + beyond) / (1 + replicates))
    return [PairedTest(float(d), float(p), len(a)) for d, p in zip(observed, p_values, strict=True)]


def _mean(draws: Floats) -> Floats:
    """Mean down the first axis, NaN left out."""
    known = ~np.isnan(draws)
    count = known.sum(axis=0)
    total = np.where(known, draws, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0))


def _quantiles(draws: Floats, levels: tuple[float, float]) -> tuple[Floats, Floats]:
    """Quantiles down the first axis, NaN left out, without NumPy's warning when all are."""
    flat = draws.reshape(len(draws), -1)
    result = np.full((2, flat.shape[1]), np.nan)
    for column in range(flat.shape[1]):
        known = flat[~np.isnan(flat[:, column]), column]
        if len(known):
            result[:, column] = np.quantile(known, levels)
    low, high = result.reshape(2, *draws.shape[1:])
    return np.asarray(low), np.asarray(high)
