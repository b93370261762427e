"""k-nearest-neighbour graph by cosine (FAISS) and its normalised affinity."""

from __future__ import annotations

from typing import Any, Literal

import faiss
import numpy as np
from faiss.contrib.ivf_tools import add_preassigned
from scipy import sparse

from lgdea.errors import ConfigError, DataError

EXACT_LIMIT = 50_000
"""Up to this many nodes the search is exact: 50,000 x 50,000 x 128 products take about a minute on one core."""
# Iscen et al., Label Propagation for Deep Semi-supervised Learning (CVPR 2019), equation 9.
AFFINITY_POWER = 3.0

Index = Literal["auto", "exact", "ivf", "hnsw"]
Mode = Literal["mutual", "symmetric"]


def knn(
    vectors: np.ndarray, k: int, *, index: Index = "auto", probes: int = 32, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest other nodes of every node, by cosine.

    Args:
        vectors: (N, D), any length; a zero vector is a node that nothing is known of and gets no neighbours.
        k: Neighbours per node, without the node itself.
        index: ``exact``, ``ivf`` (inverted lists), ``hnsw``; ``auto`` is exact up to 50,000 nodes, then ``ivf``.
        probes: Inverted lists (``ivf``) or 1/4 of the candidates (``hnsw``) that a query visits.
        seed: Seed of the inverted lists' k-means.

    Returns:
        ``indices`` (N, k) int64, nearest first, -1 where there is no further neighbour, and ``cosine`` (N, k)
        float32, 0 there.

    Raises:
        ConfigError: ``k`` is not positive.
        DataError: ``vectors`` is not a finite (N, D) array.

    Example:
        >>> indices, cosine = knn(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1)
        >>> indices.ravel(), cosine.ravel().round(3)
        (array([1, 0, 1]), array([0.995, 0.995, 0.1  ], dtype=float32))
    """
    if k < 1:
        raise ConfigError(f"a graph needs k >= 1 neighbours, not {k}")
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise DataError("the vectors of a graph must be a finite (N, D) array", remedy="check training for NaN")
    count = len(vectors)
    length = np.linalg.norm(vectors, axis=1)
    known = length > 0
    unit = np.divide(vectors, length[:, None], out=np.zeros_like(vectors), where=known[:, None])
    indices = np.full((count, k), -1, dtype=np.int64)
    cosine = np.zeros((count, k), dtype=np.float32)
    rows = np.flatnonzero(known)
    if len(rows) < 2:
        return indices, cosine
    kind = ("exact" if len(rows) <= EXACT_LIMIT else "ivf") if index == "auto" else index
    width = min(k + 1, len(rows))
    score, found = _search(unit[rows], width, kind, probes, seed)
    # Each node finds itself, first or, among duplicates, anywhere: put it last and cut.
    itself = found == np.arange(len(rows))[:, None]
    missing = found < 0
    order = np.argsort(itself | missing, axis=1, kind="stable")[:, : min(k, width)]
    found = np.where(itself | missing, -1, found)
    found, score = np.take_along_axis(found, order, 1), np.take_along_axis(score, order, 1)
    indices[rows, : order.shape[1]] = np.where(found < 0, -1, rows[found])
    cosine[rows, : order.shape[1]] = np.where(found < 0, 0, score.clip(-1, 1))
    return indices, cosine


def affinity(
    indices: np.ndarray, cosine: np.ndarray, mode: Mode = "mutual", power: float = AFFINITY_POWER
) -> sparse.csr_array:
    """Affinity of a neighbour graph, symmetrically normalised.

    Definition: S = D^-1/2 W D^-1/2 with W = cosine ** power on the graph's edges and D the row sums of W. Source: Iscen
    et al. (CVPR 2019), equation 9 for W.

    Args:
        indices: (N, k) of :func:`knn`.
        cosine: (N, k) of :func:`knn`; negative similarities make no edge.
        mode: ``mutual`` keeps an edge when both ends chose it, ``symmetric`` when one did.
        power: W = cosine ** power; larger trusts the nearest more.

    Returns:
        (N, N) CSR, symmetric, spectral radius <= 1; the row of a node without edges is empty.

    Raises:
        ConfigError: ``mode`` is neither of the two.

    Example:
        >>> affinity(np.array([[1], [0], [1]]), np.array([[0.9], [0.9], [0.5]])).toarray()  # 1 did not choose 2
        array([[0., 1., 0.],
               [1., 0., 0.],
               [0., 0., 0.]])
    """
    if mode not in ("mutual", "symmetric"):
        raise ConfigError(f"no such graph mode {mode!r}", remedy="choose mutual or symmetric")
    count, k = indices.shape
    edge = (indices >= 0) & (cosine > 0)
    rows = np.repeat(np.arange(count), k)[edge.ravel()]
    weight = cosine[edge].astype(np.float64) ** power
    directed = sparse.csr_array((weight, (rows, indices[edge])), shape=(count, count))
    # Approximate search may give the two directions unequal scores, so take care that W is symmetric.
    both = directed.minimum(directed.T) if mode == "mutual" else directed.maximum(directed.T)
    both = sparse.csr_array(both)
    both.eliminate_zeros()
    degree: np.ndarray = np.asarray(both.sum(axis=1)).ravel()
    scale = np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    normalised = both.tocoo()
    data = normalised.data * scale[normalised.row] * scale[normalised.col]
    return sparse.csr_array((data, (normalised.row, normalised.col)), shape=both.shape)


def node_vectors(histograms: np.ndarray, pooled: np.ndarray | None = None, pooled_weight: float = 0.5) -> np.ndarray:
    """Feature vectors of nodes: sqrt histograms, optionally joined with pooled embeddings.

    The cosine of two sqrt histograms is their Bhattacharyya coefficient; with ``pooled`` the cosine is
    (1 - w) * that + w * the cosine of the pooled embeddings.

    Args:
        histograms: (N, K), rows sum to 1, or to 0 for a node without evidence.
        pooled: (N, D) or None.
        pooled_weight: w in [0, 1].

    Returns:
        (N, K) or (N, K + D) float32, unit rows, zero rows for nodes without evidence.

    Example:
        >>> a, b = node_vectors(np.array([[1.0, 0.0], [0.5, 0.5]]))
        >>> round(float(a @ b), 3)  # the Bhattacharyya coefficient: sqrt(1 . 0.5)
        0.707
    """
    root = _unit(np.sqrt(np.clip(histograms, 0, None)))
    if pooled is None:
        return root
    known = (np.linalg.norm(root, axis=1) > 0)[:, None]
    # Roots of the weights, so that the product of two rows carries each weight once; a node without evidence stays
    # zero, also in its pooled part, and so gets no neighbours.
    joined = [np.sqrt(1 - pooled_weight) * root, np.sqrt(pooled_weight) * _unit(pooled) * known]
    return np.concatenate(joined, axis=1).astype(np.float32)


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float32)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    result: np.ndarray = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    return result


def _search(unit: np.ndarray, width: int, kind: str, probes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    dim = unit.shape[1]
    index: Any
    if kind == "exact":
        index = faiss.IndexFlatIP(dim)
    elif kind == "ivf":
        return _search_lists(unit, width, probes, seed)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = max(4 * probes, 2 * width)
    else:
        raise ConfigError(f"no such index {kind!r}", remedy="choose auto, exact, ivf or hnsw")
    index.add(unit)
    score, found = index.search(unit, width)
    return score, found


def _search_lists(unit: np.ndarray, width: int, probes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Search inverted lists, list by list: nodes of one list look at the same lists, which then are in the cache.

    Shapes:
        unit (N, D) of unit rows; result scores (N, width) and rows (N, width), -1 where there is none.
    """
    count, dim = unit.shape
    lists = max(1, min(int(4 * count**0.5), count // 39))  # FAISS wants at least 39 points per list
    index: Any = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    # Better centres would not find more neighbours: with these, 1,000,000 vectors train in a minute, not in five.
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed, 8, 64
    index.train(unit)
    index.nprobe, index.parallel_mode = min(probes, lists), 3  # over queries; by default this search has one thread
    nearness, near = index.quantizer.search(unit, index.nprobe)  # once, for filling the lists and for looking at them
    order = np.argsort(near[:, 0], kind="stable")
    unit, nearness, near = unit[order], nearness[order], near[order]
    add_preassigned(index, unit, near[:, 0].copy(), ids=order)
    score = np.empty((count, width), dtype=np.float32)
    found = np.empty((count, width), dtype=np.int64)
    score[order], found[order] = index.search_preassigned(unit, width, near, nearness)
    return score, found
