"""Retrieval: tie-aware, multi-positive Recall@k; evidence precision@k and nDCG@k with graded relevance; chance.

Letters: Q queries, N candidates, F evidence facts. All results are expectations over a random order of tied
candidates, so a constant scorer gets exactly chance, and scores may have any sign. Callers with large galleries pass
blocks of queries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


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
    above, tied, hits = _at_best_positive(scores, positives)
    places = np.clip(k - above, 0, tied)
    return np.where(hits > 0, 1.0 - _none_drawn(tied, hits, places), np.nan)


def first_positive_rank(scores: ArrayLike, positives: ArrayLike) -> Floats:
    """Expected rank, from 1, of the best-ranked positive: (Q,), NaN without one; ``retrieval/median-rank-v1``."""
    above, tied, hits = _at_best_positive(scores, positives)
    return np.where(hits > 0, above + (tied + 1) / (hits + 1), np.nan)


def recall_chance(n_positives: ArrayLike, n_candidates: int, k: int) -> Floats:
    """:func:`recall_at_k` of a random order: (Q,) from the numbers of positives (Q,)."""
    hits = np.asarray(n_positives, np.float64)
    total = np.full(hits.shape, float(n_candidates))
    return np.where(hits > 0, 1.0 - _none_drawn(total, hits, np.minimum(float(k), total)), np.nan)


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
    gains = _expected_gains(scores, grades, k)
    return _where_relevant(gains.mean(axis=1), grades)


def precision_chance(grades: ArrayLike) -> Floats:
    """:func:`precision_at_k` of a random order, whatever k: (Q,)."""
    grades = np.asarray(grades, np.float64)
    return _where_relevant(grades.mean(axis=1), grades)


def ndcg_at_k(scores: ArrayLike, grades: ArrayLike, k: int) -> Floats:
    """Normalised discounted cumulative gain with linear gain and discount 1 / log2(rank + 1).

    Definition ``retrieval/evidence-ndcg-v1`` (Jarvelin & Kekalainen 2002; ties as in McSherry & Najork 2008).
    Arguments and result as for :func:`precision_at_k`.

    Example:
        >>> ndcg_at_k([[3.0, 2.0, 1.0]], [[1.0, 0.5, 0.0]], 3)
        array([1.])
    """
    gains = _expected_gains(scores, grades, k)
    return _where_relevant(gains @ _discounts(gains.shape[1]) / _ideal(grades, k), grades)


def ndcg_chance(grades: ArrayLike, k: int) -> Floats:
    """:func:`ndcg_at_k` of a random order: (Q,)."""
    grades = np.asarray(grades, np.float64)
    reachable = _discounts(min(k, grades.shape[1])).sum()
    return _where_relevant(grades.mean(axis=1) * reachable / _ideal(grades, k), grades)


def jaccard(queries: ArrayLike, candidates: ArrayLike) -> Floats:
    """Evidence overlap |A and B| / |A or B| of multi-hot evidence: (Q, F) and (N, F) to (Q, N); 0 when both are empty.

    Example:
        >>> jaccard([[1, 1, 0]], [[1, 0, 0], [0, 0, 1]])
        array([[0.5, 0. ]])
    """
    a, b = np.asarray(queries, np.float64), np.asarray(candidates, np.float64)
    both = a @ b.T
    either = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


def _at_best_positive(scores: ArrayLike, positives: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Candidates above the best positive, tied with it, and positives among the tied: three (Q,)."""
    scores, positives = _checked(scores, positives)
    positives = positives.astype(bool)
    best = np.where(positives, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    tied = scores == best
    above = np.sum(scores > best, axis=1)
    return above.astype(np.float64), tied.sum(axis=1).astype(np.float64), (tied & positives).sum(axis=1).astype(float)


def _none_drawn(total: Floats, hits: Floats, places: Floats) -> Floats:
    """C(total - hits, places) / C(total, places): no hit among ``places`` drawn without return."""
    miss = total - hits
    possible = miss >= places
    miss = np.where(possible, miss, places)
    log = gammaln(miss + 1) - gammaln(miss - places + 1) - gammaln(total + 1) + gammaln(total - places + 1)
    return np.where(possible, np.exp(log), 0.0)


def _expected_gains(scores: ArrayLike, grades: ArrayLike, k: int) -> Floats:
    """Expected grade at ranks 1..k: (Q, min(k, N)). Tied candidates share the mean grade of their group."""
    scores, grades = _checked(scores, grades)
    k = min(k, scores.shape[1])
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    top_scores = np.take_along_axis(scores, top, axis=1)
    order = np.argsort(-top_scores, axis=1, kind="stable")
    top_scores = np.take_along_axis(top_scores, order, axis=1)
    gains = np.take_along_axis(grades, np.take_along_axis(top, order, axis=1), axis=1)
    same = top_scores[:, :, None] == top_scores[:, None, :]
    shared = np.einsum("qij,qj->qi", same, gains) / same.sum(axis=2)
    # Only the last group may go on beyond rank k: its mean is taken over the whole row.
    last = top_scores[:, -1:]
    group = scores == last
    last_mean = np.sum(grades * group, axis=1) / group.sum(axis=1)
    return np.where(top_scores == last, last_mean[:, None], shared)


def _ideal(grades: ArrayLike, k: int) -> Floats:
    grades = np.asarray(grades, np.float64)
    k = min(k, grades.shape[1])
    best = -np.sort(np.partition(-grades, k - 1, axis=1)[:, :k], axis=1)
    total = best @ _discounts(k)
    return np.asarray(np.where(total > 0, total, 1.0))


def _discounts(k: int) -> Floats:
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)))


def _where_relevant(values: Floats, grades: ArrayLike) -> Floats:
    return np.asarray(np.where(np.asarray(grades, np.float64).max(axis=1, initial=0.0) > 0, values, np.nan))


def _checked(scores: ArrayLike, truth: ArrayLike) -> tuple[Floats, Floats]:
    scores, truth = np.asarray(scores), np.asarray(truth)
    if scores.ndim != 2 or scores.shape != truth.shape:
        raise ValueError(f"scores {scores.shape} and truth {truth.shape} must both be (Q, N)")
    if scores.shape[1] == 0:
        raise ValueError("there are no candidates")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return scores, truth
