"""AUROC: of scores, of scores under bootstrap weights, and of ranks, counted for permutation tests.

Letters: N items, C classes, R rows of weights, T distinct scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs ranked rightly, a tie counting one half.

    Definition ``zero-shot/auroc-v1`` (Mann-Whitney; Hanley & McNeil 1982).

    Args:
        scores: (N,) higher means more present; any real range, cosines below 0 included.
        labels: (N,) 1, 0 or NaN.

    Returns:
        A value in [0, 1], NaN when a class is missing.

    Raises:
        ValueError: Shapes differ, a score is not finite, or a label is not 0, 1 or NaN.

    Example:
        >>> auroc([0.9, 0.1, 0.5], [1, 0, 0])
        1.0
    """
    scores, labels = check_scores(scores, labels)
    return float(weighted_auroc(scores, labels, np.ones((1, len(scores))))[0])


def weighted_auroc(scores: ArrayLike, labels: ArrayLike, weights: Floats) -> Floats:
    """:func:`auroc` for every row of ``weights`` (R, N): (R,)."""
    positive, negative = weight_by_score(scores, labels, weights)
    all_positive, all_negative = positive.sum(axis=1), negative.sum(axis=1)
    # A positive wins against the negatives that score lower, and half against those of its own score.
    below = all_negative[:, None] - np.cumsum(negative, axis=1)
    wins = np.sum(positive * (below + 0.5 * negative), axis=1)
    return divide_or_nan(wins, all_positive * all_negative)


def auroc_of_ranks(ranks: Floats, labels: Floats) -> Floats:
    """:func:`auroc` of each class from ranks, counted and not sorted: permutation tests need thousands.

    Args:
        ranks: (N, C) midranks within each class, from 1: multiples of one half.
        labels: (N, C) 1, 0 or NaN.

    Returns:
        (C,), NaN where a class of labels is missing.
    """
    rows, classes = ranks.shape
    # Twice a midrank is a whole number, so each (class, rank) has a bin of its own; all classes are counted at once.
    width = 2 * rows + 1
    codes = np.rint(2 * ranks).astype(np.int64) - 1 + np.arange(classes) * width
    positive, negative = (
        np.bincount(codes[labels == side], minlength=classes * width).reshape(classes, width) for side in (1, 0)
    )
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + 0.5 * negative)).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return divide_or_nan(wins, pairs)


def check_scores(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    """Scores (N,) and labels (N,) as float64.

    Raises:
        ValueError: Shapes differ, the score of a labelled item is not finite, or a label is not 0, 1 or NaN.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must both be (N,)")
    known = ~np.isnan(labels)
    if not np.isfinite(scores[known]).all():
        raise ValueError("a score is not finite")
    if not np.isin(labels[known], (0.0, 1.0)).all():
        raise ValueError("a label is not 0, 1 or NaN")
    return scores, labels


def weight_by_score(scores: ArrayLike, labels: ArrayLike, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, highest first: two (R, T)."""
    scores, labels = check_scores(scores, labels)
    known = np.flatnonzero(~np.isnan(labels))
    if len(known) == 0:
        return np.zeros((len(weights), 1)), np.zeros((len(weights), 1))
    # Equal scores are one threshold: their weights are summed, so the order within a tie cannot matter.
    order = known[np.argsort(-scores[known], kind="stable")]
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weights, present = weights[:, order], labels[order] == 1
    positive = np.add.reduceat(weights * present, starts, axis=1)
    return positive, np.add.reduceat(weights * ~present, starts, axis=1)


def divide_or_nan(top: Floats, bottom: Floats) -> Floats:
    """``top / bottom``, NaN where ``bottom`` is not positive."""
    top, bottom = np.broadcast_arrays(np.asarray(top, np.float64), np.asarray(bottom, np.float64))
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))
