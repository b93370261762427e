"""Metrics of interval change: balanced accuracy, and agreement of the answers to a pair and to the exchanged pair.

Letters: N items (a finding of a pair of studies), F findings, R rows of weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lgdea.statistics.bootstrap import Statistic, class_means

Floats = NDArray[np.float64]


def balanced_accuracy(truth: ArrayLike, answers: ArrayLike) -> float:
    """Mean over the states that occur of the share of their items that are answered rightly.

    Definition ``change/balanced-accuracy-v1``; the same as :func:`sklearn.metrics.balanced_accuracy_score`.

    Args:
        truth: (N,) true states.
        answers: (N,) answered states.

    Example:
        >>> balanced_accuracy(["stable", "stable", "worse"], ["stable", "stable", "stable"])
        0.5
    """
    truth = np.asarray(truth)
    correct = (truth == np.asarray(answers)).astype(np.float64)
    return float(class_means(correct, truth)(np.ones((1, len(truth))))[0, -1])


def balanced_accuracies(
    correct: ArrayLike, truth: ArrayLike, findings: ArrayLike, scored: list[str], least: int = 1
) -> Statistic:
    """The statistic "balanced accuracy of each finding, their mean, and that of all items": to (R, F + 2).

    Args:
        correct: (N,) 1 where the answer is right, else 0.
        truth: (N,) true states.
        findings: (N,) finding of each item.
        scored: F findings.
        least: A state of a finding with fewer items does not count in that finding's value.
    """
    correct, truth, findings = np.asarray(correct, np.float64), np.asarray(truth), np.asarray(findings)
    parts: list[tuple[NDArray[np.bool_], Statistic]] = []
    for name in scored:
        rows = findings == name
        rows &= np.isin(truth, frequent_states(truth[rows], least))
        parts.append((rows, class_means(correct[rows], truth[rows])))
    whole = class_means(correct, truth)

    def statistic(weights: Floats) -> Floats:
        each = np.stack([part(weights[:, rows])[:, -1] for rows, part in parts], axis=1) if parts else None
        everything = whole(weights)[:, -1:]
        if each is None:
            return np.concatenate([np.full_like(everything, np.nan), everything], axis=1)
        known = ~np.isnan(each)
        count = known.sum(axis=1)
        mean = np.divide(np.nan_to_num(each).sum(axis=1), count, out=np.full(len(each), np.nan), where=count > 0)
        return np.concatenate([each, mean[:, None], everything], axis=1)

    return statistic


def frequent_states(truth: ArrayLike, least: int) -> list[str]:
    """States that at least ``least`` items have.

    Args:
        truth: (N,) states.
        least: Items.
    """
    names, counts = np.unique(np.asarray(truth, dtype=str), return_counts=True)
    return [str(name) for name, count in zip(names, counts, strict=True) if count >= least]


def swap_agreement(answers: ArrayLike, exchanged: ArrayLike) -> Floats:
    """1 where the answer to the exchanged pair mirrors the answer to the pair, else 0: (N,).

    Args:
        answers: (N,) states answered for (prior, current).
        exchanged: (N,) states answered for (current, prior).

    Example:
        >>> swap_agreement(["worse", "stable", "new"], ["better", "stable", "new"])
        array([1., 1., 0.])
    """
    from lgdea.comparison.change.states import MIRROR

    pairs = zip(np.asarray(answers, dtype=str), np.asarray(exchanged, dtype=str), strict=True)
    return np.array([float(MIRROR[a] == b) for a, b in pairs])
