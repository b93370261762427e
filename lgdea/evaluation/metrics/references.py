"""Metrics of reading beside references: balanced accuracy and F1 of calls, of all methods at once, and their tests.

Letters: N images, C classes, M methods (the query alone first), R rows of weights. Labels are 1, 0, NaN unknown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lgdea.evaluation.metrics.classification import macro
from lgdea.statistics.bootstrap import PairedTest, Statistic, permutation_test
from lgdea.statistics.roc import divide_or_nan, weighted_auroc

Floats = NDArray[np.float64]
METRICS = ("balanced_accuracy", "f1", "auroc")


def method_statistic(scores: Floats, calls: Floats, truth: Floats) -> Statistic:
    """The statistic "metrics of each method and class, their macro means, and the methods' gains over the first".

    Args:
        scores: (M, N, C).
        calls: (M, N, C) 1 where the class is called present, else 0.
        truth: (N, C).

    Returns:
        Weights (R, N) to (R, 2 * M * 3 * (C + 1)): values, then values less those of the first method, each ordered by
        method, metric (:data:`METRICS`) and class, the macro mean last.
    """
    methods, rows, classes = scores.shape
    positive, negative = (truth == 1).astype(np.float64), (truth == 0).astype(np.float64)
    hits, false = ((calls * side).transpose(1, 0, 2).reshape(rows, methods * classes) for side in (positive, negative))

    def statistic(weights: Floats) -> Floats:
        shape = (len(weights), methods, classes)
        tp, fp = (weights @ part for part in (hits, false))
        tp, fp = tp.reshape(shape), fp.reshape(shape)
        p, n = ((weights @ side)[:, None, :] for side in (positive, negative))
        defined = (p > 0) & (n > 0)
        balanced = np.where(defined, (divide_or_nan(tp, p + 0 * tp) + 1 - divide_or_nan(fp, n + 0 * fp)) / 2, np.nan)
        f1 = np.where(defined, divide_or_nan(2 * tp, tp + fp + p), np.nan)
        area = np.stack(
            [np.stack([weighted_auroc(scores[m, :, c], truth[:, c], weights) for c in range(classes)], axis=1)
             for m in range(methods)], axis=1,
        )  # fmt: skip
        table = np.stack([balanced, f1, area], axis=2)  # (R, M, metrics, C)
        table = np.concatenate([table, macro(table, axis=3)[..., None]], axis=3)
        both = np.stack([table, table - table[:, :1]], axis=1)
        return np.asarray(both.reshape(len(weights), -1))

    return statistic


def balanced_accuracy_test(
    calls: Floats, base: Floats, truth: Floats, patients: NDArray[np.object_], *, replicates: int, seed: int
) -> PairedTest:
    """Paired permutation test of "the macro balanced accuracy of ``calls`` is greater than that of ``base``".

    Macro balanced accuracy is a mean of right answers that weigh 1 / (2 C n), with n the images of a class that have
    the same label.

    Args:
        calls: (N, C).
        base: (N, C).
        truth: (N, C).
        patients: (N,).
        replicates: Random sign patterns.
        seed: Seed of the patterns.
    """
    sides = [(truth == side).sum(axis=0) for side in (1, 0)]
    share = np.where(truth == 1, sides[0], sides[1]).astype(np.float64)
    known = ~np.isnan(truth)
    weight = known.sum() / (2 * truth.shape[1] * np.where(share > 0, share, np.inf))
    right = [((x == truth) * weight)[known] for x in (calls, base)]
    clusters = np.broadcast_to(patients[:, None], truth.shape)[known]
    return permutation_test(right[0], right[1], clusters, replicates=replicates, seed=seed)
