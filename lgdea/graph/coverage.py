"""Choosing nodes that stand for the others: facility location, k-centre, weighted cover; greedy, with lazy evaluation.

Facility location and the weighted cover are monotone submodular, so the greedy choice is at least 1 - 1/e of the best
(Nemhauser, Wolsey, Fisher 1978); with one node per group it is at least 1/2 (Fisher, Nemhauser, Wolsey 1978). A
node's gain only falls as others are chosen, so a stale gain is a bound, and few nodes have to be looked at again
(Minoux 1978).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from lgdea.errors import UsageError
from lgdea.graph.neighbours import AFFINITY_POWER, Index, knn

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def cover_graph(
    vectors: np.ndarray, neighbours: int, *, power: float = AFFINITY_POWER, index: Index = "auto"
) -> sparse.csc_array:
    """Weights of how well each node stands for its neighbours.

    Args:
        vectors: (N, D) features; a zero vector stands for nothing but itself.
        neighbours: k of :func:`lgdea.graph.neighbours.knn`; an edge is kept when either end chose it.
        power: W = cosine ** power.
        index: FAISS index, see :func:`lgdea.graph.neighbours.knn`.

    Returns:
        W (N, N) CSC, symmetric, 1 on the diagonal: column j is what node j covers.

    Example:
        >>> cover_graph(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), 1, power=2).toarray().round(2)
        array([[1. , 0.5, 0. ],
               [0.5, 1. , 0.5],
               [0. , 0.5, 1. ]])
    """
    indices, cosine = knn(vectors, neighbours, index=index)
    edge = (indices >= 0) & (cosine > 0)
    rows = np.repeat(np.arange(len(indices)), edge.sum(axis=1))
    weight = cosine[edge].astype(np.float64) ** power
    directed = sparse.csr_array((weight, (rows, indices[edge])), shape=(len(indices),) * 2)
    both = sparse.csr_array(directed.maximum(directed.T))
    return sparse.csc_array(both.maximum(sparse.eye_array(len(indices), format="csr")))


def coverage(weights: sparse.csc_array, chosen: ArrayLike) -> Floats:
    """How well each node is covered by the chosen ones: max_j W_ij over the chosen j, 0 where none is near.

    Args:
        weights: W (N, N) of :func:`cover_graph`.
        chosen: Node numbers.

    Returns:
        (N,) in [0, 1].
    """
    found = np.zeros(weights.shape[0])
    for node in np.asarray(chosen, dtype=np.int64):
        rows, values = _column(weights, node)
        found[rows] = np.maximum(found[rows], values)
    return found


def facility_location(
    weights: sparse.csc_array,
    budget: int,
    *,
    candidates: ArrayLike | None = None,
    covered: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> tuple[Ints, Floats]:
    """Choose the nodes that together cover the graph best.

    Definition: greedy maximum of f(S) = sum_i max_{j in S} W_ij.

    Args:
        weights: W (N, N) of :func:`cover_graph`.
        budget: How many nodes to choose.
        candidates: Node numbers to choose from; default all.
        covered: (N,) coverage that is there already, see :func:`coverage`; default none.
        groups: (N,) group of each node (its patient): a group is chosen again only when all others have been.

    Returns:
        The chosen nodes (budget,), best first, and what each added to f.

    Raises:
        UsageError: There are fewer candidates than ``budget``.

    Example:
        >>> W = cover_graph(np.array([[1.0, 0.0], [1.0, 0.2], [1.0, -0.2], [0.0, -1.0]]), 3)
        >>> facility_location(W, 2)[0]  # the one in the middle, then the one far off
        array([0, 3])
    """
    state = np.zeros(weights.shape[0]) if covered is None else np.array(covered, dtype=np.float64)
    pool = np.arange(weights.shape[1]) if candidates is None else np.asarray(candidates, dtype=np.int64)

    def gain(node: int) -> float:
        rows, values = _column(weights, node)
        return float(np.maximum(values - state[rows], 0).sum())

    def take(node: int) -> None:
        rows, values = _column(weights, node)
        state[rows] = np.maximum(state[rows], values)

    return lazy_greedy(pool, gain, take, budget, groups=groups)


def weighted_cover(
    members: sparse.csr_array,
    weight: ArrayLike,
    budget: int,
    *,
    candidates: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> tuple[Ints, Floats]:
    """Choose the nodes whose elements are worth most; the n-th node with the same element is worth 1/n of the first.

    Definition: greedy maximum of f(S) = sum_u w_u H(n_u(S)), H the harmonic numbers, n_u(S) the nodes in S with u.

    Args:
        members: (N, U) CSR, the elements of each node; stored entries count as 1.
        weight: (U,) worth of each element, >= 0.
        budget: How many nodes to choose.
        candidates: Node numbers to choose from; default all.
        counts: (U,) nodes that are there already with each element; default none.
        groups: As of :func:`facility_location`.

    Returns:
        The chosen nodes (budget,), best first, and what each added to f.

    Raises:
        UsageError: There are fewer candidates than ``budget``.

    Example:
        >>> reports = sparse.csr_array(np.array([[1, 0], [1, 0], [1, 1]]))  # a common and a rare finding
        >>> weighted_cover(reports, [1.0, 2.0], 2)
        (array([2, 0]), array([3. , 0.5]))
    """
    worth = np.asarray(weight, dtype=np.float64)
    seen = np.zeros(members.shape[1]) if counts is None else np.array(counts, dtype=np.float64)
    pool = np.arange(members.shape[0]) if candidates is None else np.asarray(candidates, dtype=np.int64)

    def elements(node: int) -> Ints:
        return members.indices[members.indptr[node] : members.indptr[node + 1]]

    def gain(node: int) -> float:
        held = elements(node)
        return float((worth[held] / (1 + seen[held])).sum())

    def take(node: int) -> None:
        seen[elements(node)] += 1

    return lazy_greedy(pool, gain, take, budget, groups=groups)


def k_centre(
    vectors: np.ndarray,
    budget: int,
    *,
    candidates: ArrayLike | None = None,
    centres: ArrayLike = (),
    groups: ArrayLike | None = None,
) -> tuple[Ints, Floats]:
    """Choose centres so that the node farthest from all of them is as near as can be: farthest first.

    Definition: Gonzalez 1985; without groups, and with every node a candidate, the largest distance is at most twice
    the smallest possible one. Distances are Euclidean between unit vectors.

    Args:
        vectors: (N, D), any length.
        budget: How many centres to choose.
        candidates: Node numbers to choose from; default all.
        centres: Centres that are there already; without any the first is the candidate nearest to the mean.
        groups: As of :func:`facility_location`.

    Returns:
        The chosen nodes (budget,) in order, and how far each was from the centres before it, inf without any.

    Raises:
        UsageError: There are fewer candidates than ``budget``.

    Example:
        >>> k_centre(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1, centres=[0])
        (array([2]), array([1.41421356]))
    """
    unit = np.asarray(vectors, dtype=np.float64)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    unit = np.divide(unit, length, out=np.zeros_like(unit), where=length > 0)
    pool = np.arange(len(unit)) if candidates is None else np.asarray(candidates, dtype=np.int64)
    _check_budget(budget, len(pool))
    nearest = np.full(len(unit), np.inf)
    for node in np.asarray(centres, dtype=np.int64):
        nearest = np.minimum(nearest, _distances(unit, node))
    group = np.arange(len(unit)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    free = np.zeros(len(unit), dtype=bool)
    free[pool] = True
    fresh = np.ones(len(unit), dtype=bool)  # nodes of groups that this round has not chosen
    chosen, apart = [], []
    for _ in range(budget):
        if not (free & fresh).any():
            fresh[:] = True
        open_ = np.flatnonzero(free & fresh)
        if np.isinf(nearest).all():
            node = int(open_[np.argmin(np.linalg.norm(unit[open_] - unit.mean(axis=0), axis=1))])
        else:
            node = int(open_[np.argmax(nearest[open_])])
        chosen.append(node)
        apart.append(float(nearest[node]))
        nearest = np.minimum(nearest, _distances(unit, node))
        free[node] = False
        fresh[group == group[node]] = False
    return np.array(chosen, dtype=np.int64), np.array(apart)


def lazy_greedy(
    candidates: Sequence[int] | Ints,
    gain: Callable[[int], float],
    take: Callable[[int], None],
    budget: int,
    *,
    groups: ArrayLike | None = None,
) -> tuple[Ints, Floats]:
    """Take the candidate of the largest gain, again and again; of equal ones the first.

    Args:
        candidates: Node numbers.
        gain: What a node would add now; it must not grow as others are taken.
        take: Adds a node.
        budget: How many to take.
        groups: By node number; a group is taken again only when all others have been.

    Returns:
        The nodes in the order in which they were taken, and their gains.

    Raises:
        UsageError: There are fewer candidates than ``budget``.
    """
    _check_budget(budget, len(candidates))
    group = None if groups is None else np.asarray(groups)
    heap = [(-gain(int(node)), int(node)) for node in candidates]
    heapq.heapify(heap)
    chosen: list[int] = []
    gains: list[float] = []
    waiting: list[tuple[float, int]] = []  # of groups that have been taken in this round
    used: set[object] = set()
    while len(chosen) < budget:
        if not heap:
            heap, waiting = waiting, []
            heapq.heapify(heap)
            used.clear()
        bound, node = heapq.heappop(heap)
        if group is not None and group[node] in used:
            waiting.append((bound, node))
            continue
        now = gain(node)
        if heap and heap[0] < (-now, node):
            heapq.heappush(heap, (-now, node))
            continue
        take(node)
        chosen.append(node)
        gains.append(now)
        if group is not None:
            used.add(group[node])
    return np.array(chosen, dtype=np.int64), np.array(gains)


def _column(matrix: sparse.csc_array, node: int) -> tuple[Ints, Floats]:
    start, end = matrix.indptr[node : node + 2]
    return matrix.indices[start:end], matrix.data[start:end]


def _distances(unit: Floats, node: int) -> Floats:
    return np.asarray(np.linalg.norm(unit - unit[node], axis=1))


def _check_budget(budget: int, count: int) -> None:
    if budget < 1:
        raise UsageError(f"a budget of {budget} chooses nothing", remedy="ask for at least one")
    if budget > count:
        raise UsageError(f"{budget:,} are to be chosen of {count:,}", remedy="lower the budget")
