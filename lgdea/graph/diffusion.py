"""Diffusion of the linked pairs over a neighbour graph (METHOD.md section 3).

Separable, so that it scales: every node is known by a sparse vector over the S seed pairs, F = (1-a) (I - a S)^-1 E,
computed by the power iteration F <- a S F + (1-a) E with the top m entries of each row kept. Its cost is linear in
nodes x neighbours x m. :func:`closed_form` and :func:`coupled` are the dense references for small graphs.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lgdea.errors import ConfigError, DataError

BLOCK_ROWS = 50_000
"""Rows of one sparse product, which bounds its memory to about BLOCK_ROWS x k x m x 12 bytes."""


def seed_matrix(nodes: np.ndarray, count: int) -> sparse.csr_array:
    """Indicator matrix E of the seeds: column s marks the node of seed pair s.

    Args:
        nodes: ``(S,)`` node index of each seed pair on this side.
        count: N.

    Returns:
        E ``(N, S)`` CSR, one entry per seed.

    Raises:
        DataError: A seed names a node that the graph does not have.

    Example:
        >>> seed_matrix(np.array([2, 0]), 3).toarray()
        array([[0., 1.],
               [0., 0.],
               [1., 0.]])
    """
    nodes = np.asarray(nodes, dtype=np.int64)
    if len(nodes) and (nodes.min() < 0 or nodes.max() >= count):
        raise DataError(f"a seed names node {nodes.max()}, the graph has {count} nodes")
    return sparse.csr_array((np.ones(len(nodes)), (nodes, np.arange(len(nodes)))), shape=(count, len(nodes)))


def diffuse(
    S: sparse.csr_array,
    seeds: sparse.csr_array,
    alpha: float = 0.9,
    *,
    steps: int = 50,
    tol: float = 1e-4,
    keep: int | None = 16,
) -> sparse.csr_array:
    """Diffuse the seeds over a graph, keeping at most ``keep`` entries per node.

    Definition: F = (1-a) (I - a S)^-1 E, the limit of F <- a S F + (1-a) E. METHOD section 3 [ours], after Zhou et al.
    2004, "Learning with local and global consistency"; the truncation is ours.

    Args:
        S: (N, N) symmetric affinity of :func:`lgdea.graph.neighbours.affinity`.
        seeds: E (N, S) of :func:`seed_matrix`.
        alpha: How far the seeds reach, in [0, 1).
        steps: Most power iterations.
        tol: Stop when no entry moved by more than this share of 1 - alpha, the mass that a seed holds for itself.
        keep: m; None keeps everything.

    Returns:
        F (N, S) CSR; a row that no seed reaches is empty.

    Raises:
        ConfigError: ``alpha`` is out of range.
        DataError: The shapes do not fit.

    Example:
        A chain of three nodes whose first is the seed: the further, the less.

        >>> from lgdea.graph.neighbours import affinity
        >>> S = affinity(np.array([[1, -1], [0, 2], [1, -1]]), np.array([[1.0, 0], [1, 1], [1, 0]]))
        >>> diffuse(S, seed_matrix(np.array([0]), 3), 0.5).toarray().ravel().round(2)
        array([0.58, 0.24, 0.08])
    """
    _check(S, seeds, alpha)
    source = (1 - alpha) * sparse.csr_array(seeds)
    current = top_per_row(source, keep)
    for _ in range(steps):
        previous = current
        # In blocks of rows: a product has up to neighbours x keep entries per row before they are cut again, and held
        # at once that would be the largest thing in memory.
        blocks = [
            top_per_row(alpha * (S[start : start + BLOCK_ROWS] @ previous) + source[start : start + BLOCK_ROWS], keep)
            for start in range(0, S.shape[0], BLOCK_ROWS)
        ]
        current = sparse.csr_array(sparse.vstack(blocks, format="csr")) if len(blocks) > 1 else blocks[0]
        # Relative to 1 - alpha, the largest entry there can be: with alpha near 1 all entries are small.
        moved = abs(current - previous)
        if moved.nnz == 0 or moved.max() <= tol * (1 - alpha):
            break
    return current


def top_per_row(matrix: sparse.csr_array, keep: int | None) -> sparse.csr_array:
    """Keep the largest stored entries of each row, without a Python loop over rows.

    Rows are taken together by the power of two of their length, so that each group can be padded to a small dense
    block and partitioned at once: linear in the stored entries, whatever the longest row.

    Args:
        matrix: CSR with entries >= 0.
        keep: Entries per row; None keeps everything.

    Returns:
        CSR of the same shape, its columns in the order that they had.

    Raises:
        ConfigError: ``keep`` is below 1.

    Example:
        >>> top_per_row(sparse.csr_array([[3.0, 1.0, 2.0], [0.0, 5.0, 0.0]]), 2).toarray()
        array([[3., 0., 2.],
               [0., 5., 0.]])
    """
    matrix = sparse.csr_array(matrix)
    if keep is None:
        return matrix
    if keep < 1:
        raise ConfigError(f"at least one entry per row must be kept, not {keep}")
    lengths = np.diff(matrix.indptr)
    long = lengths > keep
    if not long.any():
        return matrix
    # One flag per stored entry: those of short rows all stay, those of long rows are chosen below.
    chosen = np.repeat(~long, lengths)
    # Rows of 17 to 32 entries share a bin, those of 33 to 64 the next: padding to the longest of a bin at most doubles
    # the work, while padding all rows to the longest of all would make one hub's row as wide as the whole matrix.
    bins = np.ceil(np.log2(lengths, where=long, out=np.zeros(len(lengths)))).astype(np.int64)
    for size in np.unique(bins[long]):
        rows = np.flatnonzero(long & (bins == size))
        width = int(lengths[rows].max())
        # (rows, width) places in ``data``; beyond a row's end they point into the next row and are masked by -inf.
        places = matrix.indptr[rows][:, None] + np.arange(width)
        inside = np.arange(width) < lengths[rows][:, None]
        values = np.where(inside, matrix.data[np.minimum(places, matrix.nnz - 1)], -np.inf)
        # Partition, not sort: the order does not count. A row is longer than ``keep``, so no padding is chosen.
        best = np.argpartition(values, width - keep, axis=1)[:, width - keep :]
        chosen[np.take_along_axis(places, best, 1).ravel()] = True
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, keep))]).astype(matrix.indptr.dtype)
    return sparse.csr_array((matrix.data[chosen], matrix.indices[chosen], indptr), shape=matrix.shape)


def closed_form(S: sparse.csr_array | np.ndarray, seeds: sparse.csr_array | np.ndarray, alpha: float) -> np.ndarray:
    """Solve F = (1-a) (I - a S)^-1 E densely: the reference of :func:`diffuse` on small graphs.

    Args:
        S: ``(N, N)`` symmetric affinity.
        seeds: E ``(N, S)``.
        alpha: In [0, 1).

    Returns:
        F ``(N, S)``, dense.
    """
    _check(S, seeds, alpha)
    dense, source = _dense(S), _dense(seeds)
    return np.asarray((1 - alpha) * np.linalg.solve(np.eye(len(dense)) - alpha * dense, source))


def coupled(
    S_I: sparse.csr_array | np.ndarray,
    S_R: sparse.csr_array | np.ndarray,
    Y: sparse.csr_array | np.ndarray,
    alpha: float,
) -> np.ndarray:
    """Solve P = a S_I P S_R + (1-a) Y densely: the coupled propagation, for small graphs.

    Args:
        S_I: ``(N_I, N_I)`` symmetric affinity of the images.
        S_R: ``(N_R, N_R)`` symmetric affinity of the reports.
        Y: ``(N_I, N_R)``, 1 at linked pairs.
        alpha: In [0, 1).

    Returns:
        P ``(N_I, N_R)``, dense.
    """
    if not 0 <= alpha < 1:
        raise ConfigError(f"alpha must lie in [0, 1), not {alpha}")
    # S_I = U diag(u) U^T and S_R = V diag(v) V^T. With Q = U^T P V the equation reads Q = a u Q v + (1-a) U^T Y V,
    # entry by entry: one division each.
    value_i, basis_i = np.linalg.eigh(_dense(S_I))
    value_r, basis_r = np.linalg.eigh(_dense(S_R))
    rotated = basis_i.T @ _dense(Y) @ basis_r
    return np.asarray(basis_i @ ((1 - alpha) * rotated / (1 - alpha * np.outer(value_i, value_r))) @ basis_r.T)


def confidence(F: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Seed mass that reached each node, and its entropy over the seeds.

    Args:
        F: (N, S) of :func:`diffuse`.

    Returns:
        ``mass`` (N,), the row sums, 0 where no seed reaches; ``entropy`` (N,) in nats of the normalised row,
        infinite where no seed reaches: nothing is known there.

    Example:
        >>> mass, entropy = confidence(sparse.csr_array([[0.2, 0.2], [0.0, 0.0]]))
        >>> mass, entropy.round(3)
        (array([0.4, 0. ]), array([0.693,   inf]))
    """
    F = sparse.csr_array(F)
    mass = np.asarray(F.sum(axis=1)).ravel().astype(np.float64)
    rows = np.repeat(np.arange(F.shape[0]), np.diff(F.indptr))
    share = np.divide(F.data, mass[rows], out=np.zeros(F.nnz), where=mass[rows] > 0)
    terms = -share * np.log(share, where=share > 0, out=np.zeros_like(share))
    entropy = np.bincount(rows, weights=terms, minlength=F.shape[0])
    return mass, np.where(mass > 0, entropy, np.inf)


def confidence_weight(F: sparse.csr_array) -> np.ndarray:
    """Weight each node in [0, 1] by how surely seeds reach it.

    Definition: (1 - entropy / log S) * min(1, mass / mean mass of the reached nodes). The first factor is that of Iscen
    et al. (CVPR 2019); the second keeps nodes far from every seed from counting fully.

    Args:
        F: (N, S) of :func:`diffuse`.

    Returns:
        (N,) float32, 0 where no seed reaches.

    Example:
        >>> confidence_weight(sparse.csr_array([[0.4, 0.0], [0.2, 0.2], [0.0, 0.0]]))  # one seed, two alike, none
        array([1., 0., 0.], dtype=float32)
    """
    mass, entropy = confidence(F)
    reached = mass > 0
    weight = np.zeros(len(mass), dtype=np.float32)
    if reached.any():
        certainty = 1 - entropy[reached] / np.log(max(2, F.shape[1]))
        weight[reached] = certainty.clip(0, 1) * np.minimum(1, mass[reached] / mass[reached].mean())
    return weight


def _check(S: sparse.csr_array | np.ndarray, seeds: sparse.csr_array | np.ndarray, alpha: float) -> None:
    if not 0 <= alpha < 1:
        raise ConfigError(f"alpha must lie in [0, 1), not {alpha}", remedy="0.9 reaches far, 0.5 stays near")
    if S.shape[0] != S.shape[1] or seeds.shape[0] != S.shape[0]:
        raise DataError(f"a graph of shape {S.shape} and seeds of shape {seeds.shape} do not fit")


def _dense(matrix: sparse.csr_array | np.ndarray) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.todense())
