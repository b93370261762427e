"""Retrieval: tie-aware, multi-positive Recall@k; evidence precision@k and nDCG@k with graded relevance; chance.

Letters: Q queries, N candidates, F evidence facts. All results are expectations over a random order of tied
candidates, so a constant scorer gets exactly chance, and scores may have any sign. Callers with large galleries pass
blocks of queries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]


def recall_at_k(scores: ArrayLike, positives: ArrayLike, k: int) -> Floats:
    """Probability that at least one positive is among the first k (instance recall, "hit rate").

    Definition ``retrieval/recall-v1``. With t candidates tied at the best positive's score, p of them positive and m
    places left, it is 1 - C(t-p, m) / C(t, m).

    Args:
        scores: (Q, N) finite similarities.
        positives: (Q, N) bool; word-identical reports are all positives.
        k: How many are looked at.

    Returns:
        (Q,) in [0, 1]; NaN for a query without a positive.

    Example:
        >>> recall_at_k([[0.2, 0.2, 0.1]], [[True, False, False]], 1)
        array([0.5])
    """
    return recall_from_ties(*ties_at_best_positive(scores, positives), k)


def recall_from_ties(above: Floats, tied: Floats, hits: Floats, k: int) -> Floats:
    """:func:`recall_at_k` from what :func:`ties_at_best_positive` counted, for several k at the price of one."""
    places = np.clip(k - above, 0, tied)
    return np.where(hits > 0, 1.0 - _none_drawn(tied, hits, places), np.nan)


def first_positive_rank(above: Floats, tied: Floats, hits: Floats) -> Floats:
    """Expected rank, from 1, of the best-ranked positive: (Q,), NaN without one; ``retrieval/median-rank-v1``.

    Args:
        above: (Q,) of :func:`ties_at_best_positive`.
        tied: (Q,) likewise.
        hits: (Q,) likewise.

    Example:
        >>> first_positive_rank(*ties_at_best_positive([[0.2, 0.2, 0.1]], [[True, False, False]]))
        array([1.5])
    """
    return np.where(hits > 0, above + (tied + 1) / (hits + 1), np.nan)


def recall_chance(n_positives: ArrayLike, n_candidates: int, k: int) -> Floats:
    """:func:`recall_at_k` of a random order: (Q,) from the numbers of positives (Q,)."""
    hits = np.asarray(n_positives, np.float64)
    total = np.full(hits.shape, float(n_candidates))
    return np.where(hits > 0, 1.0 - _none_drawn(total, hits, np.minimum(float(k), total)), np.nan)


def ties_at_best_positive(scores: ArrayLike, positives: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Candidates above the best positive, candidates tied with it, positives among the tied: three (Q,)."""
    scores, positives = _checked(scores, positives)
    positives = positives.astype(bool)
    best = np.where(positives, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    tied = scores == best
    above = np.count_nonzero(scores > best, axis=1)
    counts = np.count_nonzero(tied, axis=1), np.count_nonzero(tied & positives, axis=1)
    return above.astype(np.float64), counts[0].astype(np.float64), counts[1].astype(np.float64)


def precision_at_k(scores: ArrayLike, grades: ArrayLike, k: int) -> Floats:
    """Mean grade of the first k candidates (of all when there are fewer).

    Definition ``retrieval/evidence-precision-v1``.

    Args:
        scores: (Q, N) finite similarities.
        grades: (Q, N) relevance in [0, 1], e.g. :func:`jaccard` of the evidence.
        k: How many are looked at.

    Returns:
        (Q,) in [0, 1]; NaN when no candidate is relevant at all.

    Example:
        >>> precision_at_k([[3.0, 2.0, 1.0]], [[1.0, 0.5, 0.0]], 2)
        array([0.75])
    """
    return precision_from_gains(expected_gains(scores, grades, k), ideal_gains(grades, k), k)


def precision_from_gains(gains: Floats, ideal: Floats, k: int) -> Floats:
    """:func:`precision_at_k` from :func:`expected_gains` and :func:`ideal_gains` of at least k ranks."""
    return np.where(ideal[:, 0] > 0, gains[:, :k].mean(axis=1), np.nan)


def ndcg_at_k(scores: ArrayLike, grades: ArrayLike, k: int) -> Floats:
    """Normalised discounted cumulative gain with linear gain and discount 1 / log2(rank + 1).

    Definition ``retrieval/evidence-ndcg-v1`` (Jarvelin & Kekalainen 2002; ties as in McSherry & Najork 2008).
    Arguments and result as for :func:`precision_at_k`.

    Example:
        >>> ndcg_at_k([[3.0, 2.0, 1.0]], [[1.0, 0.5, 0.0]], 3)
        array([1.])
    """
    return ndcg_from_gains(expected_gains(scores, grades, k), ideal_gains(grades, k), k)


def ndcg_from_gains(gains: Floats, ideal: Floats, k: int) -> Floats:
    """:func:`ndcg_at_k` from :func:`expected_gains` and :func:`ideal_gains` of at least k ranks."""
    discount = 1.0 / np.log2(np.arange(2, gains[:, :k].shape[1] + 2))
    best = ideal[:, :k] @ discount
    return np.where(best > 0, gains[:, :k] @ discount / np.where(best > 0, best, 1.0), np.nan)


def chance_gains(grades: ArrayLike, k: int) -> Floats:
    """:func:`expected_gains` of a random order: the mean grade at every rank, (Q, min(k, N))."""
    grades = np.asarray(grades)
    mean = grades.mean(axis=1, dtype=np.float64)
    return np.repeat(mean[:, None], min(k, grades.shape[1]), axis=1)


def expected_gains(scores: ArrayLike, grades: ArrayLike, k: int) -> Floats:
    """Expected grade at ranks 1..k: (Q, min(k, N)). Tied candidates share the mean grade of their group.

    The gains at the first ranks do not depend on k, so one call serves every smaller k.
    """
    scores, grades = _checked(scores, grades)
    k = min(k, scores.shape[1])
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    top_scores = np.take_along_axis(scores, top, axis=1)
    order = np.argsort(-top_scores, axis=1, kind="stable")
    top_scores = np.take_along_axis(top_scores, order, axis=1)
    gains = np.take_along_axis(grades, np.take_along_axis(top, order, axis=1), axis=1).astype(np.float64)
    same = top_scores[:, :, None] == top_scores[:, None, :]
    shared = np.einsum("qij,qj->qi", same, gains) / same.sum(axis=2)
    # Only the last group may go on beyond rank k: its mean is taken over the whole row.
    last = top_scores[:, -1:]
    group = scores == last
    last_mean = np.sum(grades, axis=1, where=group, dtype=np.float64) / np.count_nonzero(group, axis=1)
    return np.asarray(np.where(top_scores == last, last_mean[:, None], shared))


def ideal_gains(grades: ArrayLike, k: int) -> Floats:
    """The k highest grades, descending: (Q, min(k, N))."""
    grades = np.asarray(grades)
    k = min(k, grades.shape[1])
    best = np.partition(grades, grades.shape[1] - k, axis=1)[:, grades.shape[1] - k :]
    return np.asarray(np.sort(best, axis=1)[:, ::-1], np.float64)


def jaccard(queries: ArrayLike, candidates: ArrayLike) -> NDArray[np.float32]:
    """Evidence overlap |A and B| / |A or B| of multi-hot evidence: (Q, F), (N, F) to (Q, N); 0 when both are empty.

    Example:
        >>> jaccard([[1, 1, 0]], [[1, 0, 0], [0, 0, 1]])
        array([[0.5, 0. ]], dtype=float32)
    """
    a, b = np.asarray(queries, np.float32), np.asarray(candidates, np.float32)  # counts are exact in float32
    both = a @ b.T
    either = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


def _none_drawn(total: Floats, hits: Floats, places: Floats) -> Floats:
    """C(total - hits, places) / C(total, places): no hit among ``places`` drawn without return."""
    miss = total - hits
    possible = miss >= places
    miss = np.where(possible, miss, places)
    log = gammaln(miss + 1) - gammaln(miss - places + 1) - gammaln(total + 1) + gammaln(total - places + 1)
    return np.where(possible, np.exp(log), 0.0)


def _checked(scores: ArrayLike, truth: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    scores, truth = np.asarray(scores), np.asarray(truth)
    if scores.ndim != 2 or scores.shape != truth.shape:
        raise ValueError(f"scores {scores.shape} and truth {truth.shape} must both be (Q, N)")
    if scores.shape[1] == 0:
        raise ValueError("there are no candidates")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return scores, truth
