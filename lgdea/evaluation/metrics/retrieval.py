"""Retrieval: tie-aware, multi-positive Recall@k; evidence precision@k and nDCG@k with graded relevance; chance.

Letters: Q queries, N candidates, F evidence facts, M (query, candidate) pairs, E distinct sets of facts. All results
are expectations over a random order of tied candidates, so a constant scorer gets exactly chance, and scores may have
any sign. Callers with large galleries pass blocks of queries with sparse right answers, and grade no more pairs than
:func:`top_pairs` names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.special import gammaln

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def recall_at_k(scores: ArrayLike, positives: ArrayLike, k: int) -> Floats:
    """Probability that at least one positive is among the first k (instance recall, "hit rate").

    Definition ``retrieval/recall-v1``. With t candidates tied at the best positive's score, p of them positive and m
    places left, it is 1 - C(t-p, m) / C(t, m).

    Args:
        scores: (Q, N) finite similarities.
        positives: (Q, N) bool; word-identical reports are all positives.
        k: Number of ranks.

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
    return np.where(hits > 0, 1.0 - _hypergeom_prob_no_hit(tied, hits, places), np.nan)


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
    """:func:`recall_at_k` of a random order: (Q,) from the numbers of positives (Q,).

    Args:
        n_positives: (Q,) relevant candidates of each query.
        n_candidates: N.
        k: Cut-off rank.

    Example:
        >>> recall_chance([1], 10, 2)
        array([0.2])
    """
    hits = np.asarray(n_positives, np.float64)
    total = np.full(hits.shape, float(n_candidates))
    return np.where(hits > 0, 1.0 - _hypergeom_prob_no_hit(total, hits, np.minimum(float(k), total)), np.nan)


def ties_at_best_positive(scores: ArrayLike, positives: ArrayLike | csr_matrix) -> tuple[Floats, Floats, Floats]:
    """Candidates above the best positive, candidates tied with it, positives among the tied: three (Q,).

    Args:
        scores: (Q, N) finite similarities.
        positives: (Q, N) bool, dense or sparse.

    Example:
        >>> ties_at_best_positive([[3.0, 2.0, 2.0]], [[False, True, False]])
        (array([1.]), array([2.]), array([1.]))
    """
    right = positives if isinstance(positives, csr_matrix) else csr_matrix(np.atleast_2d(np.asarray(positives, bool)))
    scores = _checked(scores, right)
    rows = np.repeat(np.arange(len(scores)), np.diff(right.indptr))
    found = scores[rows, right.indices]
    # A query without a positive keeps -inf: every candidate is above it, none tied, and there are no hits.
    best = np.full(len(scores), -np.inf, scores.dtype if scores.dtype.kind == "f" else np.float64)
    np.maximum.at(best, rows, found)
    hits = np.bincount(rows[found == best[rows]], minlength=len(scores))
    above = np.count_nonzero(scores > best[:, None], axis=1)
    tied = np.count_nonzero(scores == best[:, None], axis=1)
    return above.astype(np.float64), tied.astype(np.float64), hits.astype(np.float64)


def precision_at_k(scores: ArrayLike, grades: ArrayLike, k: int) -> Floats:
    """Mean grade of the first k candidates (of all when there are fewer).

    Definition ``retrieval/evidence-precision-v1``.

    Args:
        scores: (Q, N) finite similarities.
        grades: (Q, N) relevance in [0, 1], e.g. :func:`~lgdea.statistics.overlap.jaccard` of the evidence.
        k: Number of ranks.

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

    Args:
        scores: (Q, N) finite similarities.
        grades: (Q, N) relevance in [0, 1].
        k: Cut-off rank.

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


GRADED = {"precision": precision_from_gains, "ndcg": ndcg_from_gains}
"""Metrics of the grades at the first k ranks, by name."""


def marginal_gain_weights(ideal: Floats, name: str, k: int) -> Floats:
    """Gain of a query's metric from a grade of 1 at the first rank: (Q,), 0 for a query that is left out.

    Multiplied by a candidate's grade and summed over the queries, it ranks candidates by their gain for all queries at
    once: the best list that is the same for every query has the candidates in descending order of that sum.

    Args:
        ideal: (Q, k or more) of :func:`ideal_gains`.
        name: A key of :data:`GRADED`.
        k: Ranks.
    """
    first = np.broadcast_to(np.eye(1, min(k, ideal.shape[1])), (len(ideal), min(k, ideal.shape[1])))
    return np.nan_to_num(GRADED[name](first, ideal, k))


def chance_gains(grades: ArrayLike, k: int, counts: ArrayLike | None = None) -> Floats:
    """:func:`expected_gains` of a random order: the mean grade at every rank, (Q, min(k, candidates)).

    Args:
        grades: (Q, N) grades, or (Q, E) with ``counts``.
        k: Ranks.
        counts: (E,) number of candidates with each grade; one by default.
    """
    grades = np.asarray(grades)
    many = np.ones(grades.shape[1]) if counts is None else np.asarray(counts, np.float64)
    total = many.sum()
    return np.repeat((grades @ many / total)[:, None], min(k, int(total)), axis=1)


def expected_gains(scores: ArrayLike, grades: ArrayLike, k: int) -> Floats:
    """Expected grade at ranks 1..k: (Q, min(k, N)). Tied candidates share the mean grade of their group.

    The gains at the first ranks do not depend on k, so one call serves every smaller k.
    """
    grades = np.asarray(grades)
    scores = _checked(scores, grades)
    rows, columns = top_pairs(scores, k)
    return gains_of_pairs(rows, scores[rows, columns], grades[rows, columns], len(scores), min(k, scores.shape[1]))


def top_pairs(scores: ArrayLike, k: int) -> tuple[Indices, Indices]:
    """Every (query, candidate) that can stand among the first k in some order of the ties, and a few more.

    Instead of sorting or partitioning whole rows, the candidates are cut into groups and each group's maximum is taken.
    The k-th highest maximum is never above the k-th highest score (k groups have a score that reaches it), so the
    candidates that reach it hold the first k and all that tie with the last of them.

    Args:
        scores: (Q, N) finite similarities.
        k: Ranks.

    Returns:
        Rows and columns, two (M,), by row; with every score its whole group of ties.
    """
    scores = np.asarray(scores)
    queries, candidates = scores.shape
    k = min(k, candidates)
    # At least 16 k groups: with fewer, the first k often share a group, the bound falls and too many pairs pass. At
    # least sqrt(N) groups, so that the maxima are few beside the scores even for a small k.
    width = max(1, candidates // max(16 * k, int(candidates**0.5)))
    groups = candidates // width
    # The candidates beyond the last whole group are in no maximum; that can only lower the bound.
    maxima = scores[:, : groups * width].reshape(queries, groups, width).max(axis=2)
    bound = np.partition(maxima, groups - k, axis=1)[:, groups - k]
    rows, columns = np.nonzero(scores >= bound[:, None])
    return rows, columns


def gains_of_pairs(rows: ArrayLike, scores: ArrayLike, grades: ArrayLike, queries: int, k: int) -> Floats:
    """:func:`expected_gains` from the pairs of :func:`top_pairs`: (Q, k).

    Args:
        rows: (M,) query of each pair, ascending; every query has k pairs or more.
        scores: (M,) their similarities.
        grades: (M,) their relevance.
        queries: Q.
        k: Ranks, no more than there are candidates.
    """
    rows, scores = np.asarray(rows), np.asarray(scores)
    if len(rows) == 0:
        return np.zeros((queries, k))
    # Query by query, highest score first; a run of equal scores within a query is one group of ties.
    order = np.lexsort((-scores, rows))
    rows, scores, grades = rows[order], scores[order], np.asarray(grades, np.float64)[order]
    opens = np.r_[True, (rows[1:] != rows[:-1]) | (scores[1:] != scores[:-1])]
    starts = np.flatnonzero(opens)
    # In a random order of the ties each rank of a group has the group's mean grade in expectation.
    means = np.add.reduceat(grades, starts) / np.diff(np.r_[starts, len(rows)])
    # The pairs of ranks 1..k stand behind the query's first pair; each looks up the mean of its group.
    first = np.searchsorted(rows, np.arange(queries))
    return np.asarray(means[(np.cumsum(opens) - 1)[first[:, None] + np.arange(k)]])


def ideal_gains(grades: ArrayLike, k: int, counts: ArrayLike | None = None) -> Floats:
    """The k highest grades, descending: (Q, min(k, candidates)); arguments as for :func:`chance_gains`."""
    grades = np.asarray(grades)
    if counts is None:
        k = min(k, grades.shape[1])
        best = np.partition(grades, grades.shape[1] - k, axis=1)[:, grades.shape[1] - k :]
        return np.asarray(np.sort(best, axis=1)[:, ::-1], np.float64)
    # Candidates are given as distinct grades with their numbers of copies, and never written out.
    counts = np.asarray(counts, np.int64)
    grades, counts = grades[:, counts > 0], counts[counts > 0]
    k, sets = min(k, int(counts.sum())), min(k, len(counts))
    top = np.argpartition(grades, len(counts) - sets, axis=1)[:, len(counts) - sets :]
    best = np.take_along_axis(grades, top, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")
    best, until = np.take_along_axis(best, order, axis=1), np.cumsum(counts[np.take_along_axis(top, order, axis=1)], 1)
    at = (until[:, :, None] <= np.arange(k)).sum(axis=1)  # rank r has the first grade whose copies reach beyond r
    return np.asarray(np.take_along_axis(best, at, axis=1), np.float64)


def _hypergeom_prob_no_hit(total: Floats, hits: Floats, places: Floats) -> Floats:
    """Hypergeometric probability of no hit among ``places`` draws: C(total - hits, places) / C(total, places)."""
    # C(a, m) / C(b, m) by logarithms of factorials: the binomials themselves overflow for large galleries.
    miss = total - hits
    possible = miss >= places  # with fewer misses than places a hit is certain
    miss = np.where(possible, miss, places)
    log = gammaln(miss + 1) - gammaln(miss - places + 1) - gammaln(total + 1) + gammaln(total - places + 1)
    return np.where(possible, np.exp(log), 0.0)


def _checked(scores: ArrayLike, truth: NDArray[Any] | csr_matrix) -> NDArray[Any]:
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape != truth.shape:
        raise ValueError(f"scores {scores.shape} and truth {truth.shape} must both be (Q, N)")
    if scores.shape[1] == 0:
        raise ValueError("there are no candidates")
    if scores.size and not np.isfinite([scores.min(), scores.max()]).all():  # NaN is both; no array of answers is made
        raise ValueError("a score is not finite")
    return scores
