"""Classification from scores: AUPRC, F1 and MCC at a threshold, single-label accuracy.

AUROC is in :mod:`lgdea.statistics.roc`, which pretraining uses too.

Letters: N items, C classes, R rows of weights. Labels are 1 present, 0 absent, NaN no information (the item is left
out). A metric that is not defined, because only one class or nothing is labelled, is NaN and never 0 or an error.
Every metric has a form with weights (R, N), one row per bootstrap replicate; equal weights give the plain metric.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lgdea.statistics.roc import check_scores, divide_or_nan, weight_by_score

Floats = NDArray[np.float64]


def auprc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Average precision: sum over thresholds of (recall step) x precision; tied scores are one threshold.

    Definition ``zero-shot/auprc-v1``; the same as :func:`sklearn.metrics.average_precision_score`. Chance is the
    prevalence. Arguments, result and errors as for :func:`~lgdea.statistics.roc.auroc`.

    Args:
        scores: (N,) higher means more present.
        labels: (N,) 1, 0 or NaN.

    Example:
        >>> auprc([0.9, 0.8, 0.1], [1, 0, 1])
        0.8333333333333333
    """
    scores, labels = check_scores(scores, labels)
    return float(weighted_auprc(scores, labels, np.ones((1, len(scores))))[0])


def weighted_auprc(scores: ArrayLike, labels: ArrayLike, weights: Floats) -> Floats:
    """:func:`auprc` for every row of ``weights`` (R, N): (R,)."""
    positive, negative = weight_by_score(scores, labels, weights)
    found = np.cumsum(positive, axis=1)
    retrieved = found + np.cumsum(negative, axis=1)
    precision = np.divide(found, retrieved, out=np.zeros_like(found), where=retrieved > 0)
    all_positive = positive.sum(axis=1)
    defined = all_positive * negative.sum(axis=1) > 0
    return np.where(defined, divide_or_nan(np.sum(positive * precision, axis=1), all_positive), np.nan)


def choose_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """The threshold with the best F1, to be chosen on validation items only.

    An item is called present when its score is >= the threshold. The threshold lies half way to the next lower score,
    so that it does not hang on one validation item; of equally good ones the highest is taken.

    Args:
        scores: (N,) validation scores.
        labels: (N,) 1, 0 or NaN.

    Returns:
        The threshold, NaN when a class is missing.

    Example:
        >>> choose_threshold([1.0, 0.75, 0.25], [1, 1, 0])
        0.5
    """
    scores, labels = check_scores(scores, labels)
    known = ~np.isnan(labels)
    if len(np.unique(labels[known])) < 2:
        return float("nan")
    positive, negative = weight_by_score(scores, labels, np.ones((1, len(scores))))
    levels = np.unique(scores[known])[::-1]
    found = np.cumsum(positive[0])
    f1 = 2 * found / (found + np.cumsum(negative[0]) + positive.sum())
    best = int(np.argmax(f1))
    lower = levels[best + 1] if best + 1 < len(levels) else levels[best]
    return float((levels[best] + lower) / 2)


def choose_balanced_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """The threshold with the best balanced accuracy (Youden's index), to be chosen on validation items only.

    Rules of :func:`choose_threshold` otherwise.

    Args:
        scores: (N,) validation scores.
        labels: (N,) 1, 0 or NaN.

    Returns:
        The threshold, NaN when a class is missing.

    Example:
        >>> choose_balanced_threshold([1.0, 0.75, 0.25, 0.0], [1, 1, 0, 0])
        0.5
    """
    scores, labels = check_scores(scores, labels)
    known = ~np.isnan(labels)
    if len(np.unique(labels[known])) < 2:
        return float("nan")
    positive, negative = weight_by_score(scores, labels, np.ones((1, len(scores))))
    levels = np.unique(scores[known])[::-1]
    best = int(np.argmax(np.cumsum(positive[0]) / positive.sum() - np.cumsum(negative[0]) / negative.sum()))
    lower = levels[best + 1] if best + 1 < len(levels) else levels[best]
    return float((levels[best] + lower) / 2)


def f1_mcc_at_threshold(scores: ArrayLike, labels: ArrayLike, threshold: float) -> tuple[float, float]:
    """F1 and Matthews correlation of the call ``score >= threshold``.

    Definitions ``zero-shot/f1-v1`` and ``zero-shot/mcc-v1``. MCC is 0 when every item gets the same call.

    Args:
        scores: (N,) scores.
        labels: (N,) 1, 0 or NaN.
        threshold: Chosen by :func:`choose_threshold` on other items; NaN makes both results NaN.

    Returns:
        F1 in [0, 1] and MCC in [-1, 1]; NaN when a class is missing.

    Example:
        >>> f1_mcc_at_threshold([0.9, 0.7, 0.1], [1, 1, 0], 0.4)
        (1.0, 1.0)
    """
    scores, labels = check_scores(scores, labels)
    f1, mcc = weighted_f1_mcc(scores, labels, threshold, np.ones((1, len(scores))))
    return float(f1[0]), float(mcc[0])


def weighted_f1_mcc(scores: ArrayLike, labels: ArrayLike, threshold: float, weights: Floats) -> tuple[Floats, Floats]:
    """:func:`f1_mcc_at_threshold` for every row of ``weights`` (R, N): two arrays (R,)."""
    scores, labels = check_scores(scores, labels)
    call = scores >= threshold
    cells = np.stack([call & (labels == 1), call & (labels == 0), ~call & (labels == 1), ~call & (labels == 0)], axis=1)
    tp, fp, fn, tn = (weights @ cells.astype(np.float64)).T
    defined = ((tp + fn) > 0) & ((fp + tn) > 0) & (not np.isnan(threshold))
    f1 = np.where(defined, divide_or_nan(2 * tp, 2 * tp + fp + fn), np.nan)
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    mcc = np.divide(tp * tn - fp * fn, spread, out=np.zeros_like(spread), where=spread > 0)
    return f1, np.where(defined, mcc, np.nan)


def multilabel(metric: Callable[[ArrayLike, ArrayLike], float], scores: ArrayLike, labels: ArrayLike) -> Floats:
    """``metric`` of every class: scores (N, C) and labels (N, C) to (C,).

    Args:
        metric: Function of scores (N,) and labels (N,), such as :func:`auprc`.
        scores: (N, C).
        labels: (N, C) 1, 0 or NaN.

    Example:
        >>> multilabel(auprc, [[0.9, 0.1], [0.2, 0.8]], [[1, 0], [0, 1]])
        array([1., 1.])
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must both be (N, C)")
    return np.array([metric(scores[:, c], labels[:, c]) for c in range(scores.shape[1])])


def macro(values: ArrayLike, axis: int = -1) -> Floats:
    """Mean over the classes where the metric is defined; NaN when it is defined for none.

    Args:
        values: One value per class along ``axis``; NaN where it is not defined.
        axis: Axis of the classes.

    Example:
        >>> float(macro([0.5, float("nan"), 1.0]))
        0.75
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    return np.asarray(
        divide_or_nan(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis).astype(np.float64))
    )


def top1_credit(scores: ArrayLike, targets: ArrayLike) -> Floats:
    """1 where the target class has the highest score, 1/t where t classes share it, else 0.

    Args:
        scores: (N, C) finite scores.
        targets: (N,) class indices.

    Returns:
        (N,) expected hits when ties are broken by chance.

    Example:
        >>> top1_credit([[0.9, 0.1], [0.5, 0.5]], [0, 1])
        array([1. , 0.5])
    """
    scores, targets = np.asarray(scores, np.float64), np.asarray(targets, np.int64)
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} must be (N, C) and targets {targets.shape} (N,)")
    if len(scores) == 0:
        return np.zeros(0)
    top = scores == scores.max(axis=1, keepdims=True)
    return np.asarray(top[np.arange(len(scores)), targets] / top.sum(axis=1), np.float64)


def single_label_accuracy(scores: ArrayLike, targets: ArrayLike) -> float:
    """Accuracy of the highest-scoring class, each class weighing the same, as in CheXpert 5x200 (Huang et al. 2021).

    Definition ``zero-shot/single-label-accuracy-v1``. With the same number of items per class it is plain accuracy;
    chance is 1/C. Arguments as for :func:`top1_credit`; NaN when there is no item.

    Args:
        scores: (N, C) finite scores.
        targets: (N,) class indices.

    Example:
        >>> single_label_accuracy([[0.9, 0.1], [0.8, 0.2]], [0, 1])
        0.5
    """
    targets = np.asarray(targets, np.int64)
    credit = top1_credit(scores, targets)
    return float(macro([credit[targets == c].mean() for c in np.unique(targets)])) if len(targets) else float("nan")
