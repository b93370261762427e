"""Jaccard index of multi-hot rows: the overlap of the evidence of two studies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def jaccard(queries: ArrayLike, candidates: ArrayLike) -> NDArray[np.float32]:
    """Evidence overlap |A and B| / |A or B| of multi-hot evidence: (Q, F), (N, F) to (Q, N); 0 when both are empty.

    Args:
        queries: (Q, F) 1 where an item has the evidence, else 0.
        candidates: (N, F) likewise.

    Example:
        >>> jaccard([[1, 1, 0]], [[1, 0, 0], [0, 0, 1]])
        array([[0.5, 0. ]], dtype=float32)
    """
    a, b = np.asarray(queries, np.float32), np.asarray(candidates, np.float32)  # counts are exact in float32
    both = a @ b.T
    either = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


def jaccard_of_pairs(queries: ArrayLike, candidates: ArrayLike) -> NDArray[np.float32]:
    """:func:`jaccard` of each row with its fellow: (M, F), (M, F) bool to (M,)."""
    a, b = np.asarray(queries, bool), np.asarray(candidates, bool)
    both = np.count_nonzero(a & b, axis=1).astype(np.float32)
    either = np.count_nonzero(a | b, axis=1).astype(np.float32)
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))
