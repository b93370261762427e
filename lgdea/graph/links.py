"""Soft links between images and reports from diffused seeds, and the histograms they give."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lgdea.errors import DataError
from lgdea.graph.diffusion import confidence_weight, top_per_row

BLOCK_ROWS = 2_000
MAX_REPORTS_PER_SEED = 256
"""Maximum number of reports kept per seed, the strongest; the rest could not be anyone's top link by it alone."""


def propagate(
    F_I: sparse.csr_array, F_R: sparse.csr_array, top: int = 16, *, reports_per_seed: int | None = MAX_REPORTS_PER_SEED
) -> sparse.csr_array:
    """Link images and reports that the same seeds reach.

    Definition: the largest entries of each row of P = F_I F_R^T (METHOD section 3); P itself is never made.

    Args:
        F_I: (N_I, S) of :func:`lgdea.graph.diffusion.diffuse` on the images.
        F_R: (N_R, S) on the reports.
        top: Links kept per image.
        reports_per_seed: Reports kept per seed, the strongest; it makes the cost linear in the images. None is exact.

    Returns:
        P (N_I, N_R) CSR, at most ``top`` entries per row, not normalised; the row of an unreached image is empty.

    Raises:
        DataError: The two sides do not have the same seeds.

    Example:
        >>> images, reports = sparse.csr_array([[0.9, 0.1]]), sparse.csr_array([[0.0, 0.5], [0.8, 0.0], [0.2, 0.0]])
        >>> propagate(images, reports, top=2).toarray().round(2)
        array([[0.  , 0.72, 0.18]])
    """
    _check(F_I, F_R)
    # Seed by seed, its strongest reports: an image holds at most m seeds, so a row of the product has at most
    # m x reports_per_seed entries, however many reports a popular seed reaches.
    by_seed = top_per_row(sparse.csr_array(F_R.T), reports_per_seed)
    blocks = [
        top_per_row(F_I[start : start + BLOCK_ROWS] @ by_seed, top) for start in range(0, F_I.shape[0], BLOCK_ROWS)
    ]
    if not blocks:
        return sparse.csr_array((F_I.shape[0], F_R.shape[0]))
    links = sparse.csr_array(sparse.vstack(blocks, format="csr"))
    links.sort_indices()
    return links


def propagated_histograms(P: sparse.csr_array, Q_R: np.ndarray) -> np.ndarray:
    """Average the report histograms over each image's links.

    Definition: Q_U(i) = sum_j P_ij Q_R(j), each row normalised to sum 1 (METHOD section 4, unpaired images).

    Args:
        P: (N_I, N_R) of :func:`propagate`.
        Q_R: (N_R, K) report histograms; a report without evidence has a zero row and adds nothing.

    Returns:
        (N_I, K) float32; zero rows for images that no link, or no link to a report with evidence, reaches.

    Example:
        >>> propagated_histograms(sparse.csr_array([[0.3, 0.1]]), np.eye(2))
        array([[0.75, 0.25]], dtype=float32)
    """
    return _normalise(P @ np.asarray(Q_R, dtype=np.float64))


def separable_histograms(F_I: sparse.csr_array, F_R: sparse.csr_array, Q_R: np.ndarray) -> np.ndarray:
    """Average the report histograms by the whole P = F_I F_R^T, computed as F_I (F_R^T Q_R): exact and cheaper still.

    Args:
        F_I: (N_I, S) of :func:`lgdea.graph.diffusion.diffuse` on the images.
        F_R: (N_R, S) on the reports.
        Q_R: (N_R, K) report histograms.

    Returns:
        (N_I, K) float32, as :func:`propagated_histograms`.
    """
    _check(F_I, F_R)
    return _normalise(F_I @ (F_R.T @ np.asarray(Q_R, dtype=np.float64)))


def link_weights(P: sparse.csr_array, F_I: sparse.csr_array) -> np.ndarray:
    """Weight each image's propagated histogram by the confidence of its diffused seeds, 0 where it has no link.

    Args:
        P: (N_I, N_R) of :func:`propagate`.
        F_I: (N_I, S) that made it.

    Returns:
        (N_I,) float32 in [0, 1].
    """
    return np.where(np.diff(sparse.csr_array(P).indptr) > 0, confidence_weight(F_I), 0).astype(np.float32)


def _normalise(histograms: np.ndarray) -> np.ndarray:
    total = histograms.sum(axis=1, keepdims=True)
    share: np.ndarray = np.divide(histograms, total, out=np.zeros_like(histograms), where=total > 0)
    return share.astype(np.float32)


def _check(F_I: sparse.csr_array, F_R: sparse.csr_array) -> None:
    if F_I.shape[1] != F_R.shape[1]:
        raise DataError(f"images were diffused from {F_I.shape[1]} seeds, reports from {F_R.shape[1]}")
