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
    """E (N, S): column s marks the node of seed pair s.

    Args:
        nodes: (S,) node index of each seed pair on this side.
        count: N.
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
    """F = (1-a) (I - a S)^-1 E, with at most ``keep`` entries per row.

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
    """
    _check(S, seeds, alpha)
    source = (1 - alpha) * sparse.csr_array(seeds)
    current = top_per_row(source, keep)
    for _ in range(steps):
        previous = current
        blocks = [
            top_per_row(alpha * (S[start : start + BLOCK_ROWS] @ previous) + source[start : start + BLOCK_ROWS], keep)
            for start in range(0, S.shape[0], BLOCK_ROWS)
        ]
        current = sparse.csr_array(sparse.vstack(blocks, format="csr")) if len(blocks) > 1 else blocks[0]
        moved = abs(current - previous)
        if moved.nnz == 0 or moved.max() <= tol * (1 - alpha):
            break
    return current


def top_per_row(matrix: sparse.csr_array, keep: int | None) -> sparse.csr_array:
    """The ``keep`` largest stored entries of each row; no Python loop over rows.

    Rows are taken together by the power of two of their length, so that each group can be padded to a small dense
    block and partitioned at once: linear in the stored entries, whatever the longest row.

    Args:
        matrix: CSR with entries >= 0.
        keep: Entries per row; None keeps everything.
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
    chosen = np.repeat(~long, lengths)
    bins = np.ceil(np.log2(lengths, where=long, out=np.zeros(len(lengths)))).astype(np.int64)
    for size in np.unique(bins[long]):
        rows = np.flatnonzero(long & (bins == size))
        width = int(lengths[rows].max())
        places = matrix.indptr[rows][:, None] + np.arange(width)
        inside = np.arange(width) < lengths[rows][:, None]
        values = np.where(inside, matrix.data[np.minimum(places, matrix.nnz - 1)], -np.inf)
        best = np.argpartition(values, width - keep, axis=1)[:, width - keep :]
        chosen[np.take_along_axis(places, best, 1).ravel()] = True
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, keep))]).astype(matrix.indptr.dtype)
    return sparse.csr_array((matrix.data[chosen], matrix.indices[chosen], indptr), shape=matrix.shape)


def closed_form(S: sparse.csr_array | np.ndarray, seeds: sparse.csr_array | np.ndarray, alpha: float) -> np.ndarray:
    """F = (1-a) (I - a S)^-1 E by a dense solve, (N, S): the reference of :func:`diffuse` on small graphs."""
    _check(S, seeds, alpha)
    dense, source = _dense(S), _dense(seeds)
    return np.asarray((1 - alpha) * np.linalg.solve(np.eye(len(dense)) - alpha * dense, source))


def coupled(
    S_I: sparse.csr_array | np.ndarray,
    S_R: sparse.csr_array | np.ndarray,
    Y: sparse.csr_array | np.ndarray,
    alpha: float,
) -> np.ndarray:
    """The fixed point of P <- a S_I P S_R + (1-a) Y, dense (N_I, N_R), for small graphs.

    Both affinities are symmetric, so in their eigenbases the equation is one division per entry.
    """
    if not 0 <= alpha < 1:
        raise ConfigError(f"alpha must lie in [0, 1), not {alpha}")
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
    """
    F = sparse.csr_array(F)
    mass = np.asarray(F.sum(axis=1)).ravel().astype(np.float64)
    rows = np.repeat(np.arange(F.shape[0]), np.diff(F.indptr))
    share = np.divide(F.data, mass[rows], out=np.zeros(F.nnz), where=mass[rows] > 0)
    terms = -share * np.log(share, where=share > 0, out=np.zeros_like(share))
    entropy = np.bincount(rows, weights=terms, minlength=F.shape[0])
    return mass, np.where(mass > 0, entropy, np.inf)


def confidence_weight(F: sparse.csr_array) -> np.ndarray:
    """One weight in [0, 1] per node: (1 - entropy / log S) * min(1, mass / mean mass of the reached nodes).

    The first factor is that of Iscen et al. (2019); the second keeps nodes far from every seed from counting fully.

    Args:
        F: (N, S) of :func:`diffuse`.

    Returns:
        (N,) float32, 0 where no seed reaches.
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
