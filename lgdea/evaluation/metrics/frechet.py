"""Frechet distance between the Gaussian fits of classes (Dowson & Landau 1982; Heusel et al. 2017 for images).

Letters: N items, d dimensions, K classes, R rows of weights. Distances are squared, as in the FID. The fits are made in
few dimensions: with fewer items than dimensions two samples of one distribution look far apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lgdea.evaluation.metrics.separability import Codes

Floats = NDArray[np.float64]


class Gaussians(NamedTuple):
    """Means (..., d) and covariances (..., d, d); NaN where there were fewer than two items."""

    mean: Floats
    covariance: Floats


def fit_gaussian(points: Floats, weights: Floats) -> Gaussians:
    """Mean and unbiased covariance for every row of ``weights``, a weight being how often an item was drawn.

    Args:
        points: (N, d).
        weights: (R, N).

    Returns:
        Means (R, d) and covariances (R, d, d), as ``np.cov`` of the repeated items.

    Example:
        >>> import numpy as np
        >>> means, covariances = fit_gaussian(np.array([[0.0], [2.0]]), np.ones((1, 2)))
        >>> means, covariances
        (array([[1.]]), array([[[2.]]]))
    """
    mass = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights @ points) / mass[:, None]
        second = np.einsum("rn,ni,nj->rij", weights, points, points, optimize=True)
        covariance = (second - mass[:, None, None] * mean[:, :, None] * mean[:, None, :]) / (mass - 1)[:, None, None]
    few = mass < 2
    mean[few], covariance[few] = np.nan, np.nan
    return Gaussians(np.asarray(mean), np.asarray(covariance))


def frechet_distance(a: Gaussians, b: Gaussians) -> Floats:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), defined for singular covariances too.

    Definition ``features/frechet-v1``.

    Args:
        a: Means (..., d), covariances (..., d, d).
        b: Likewise.

    Returns:
        (...) distances >= 0, NaN where a fit is.

    Example:
        >>> one = Gaussians(np.zeros(1), np.ones((1, 1)))
        >>> float(frechet_distance(one, Gaussians(np.full(1, 3.0), np.full((1, 1), 4.0))))
        10.0
    """
    known = np.asarray(np.isfinite(a.covariance + b.covariance).all(axis=(-1, -2)))
    first = np.where(known[..., None, None], a.covariance, 0.0)
    second = np.where(known[..., None, None], b.covariance, 0.0)
    # tr (A B)^1/2 = tr (A^1/2 B A^1/2)^1/2, and the right side is symmetric: real eigenvalues, none below 0 but for
    # rounding, and no square root of a matrix that is not symmetric.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum(axis=-1)
    traces = np.einsum("...ii->...", first) + np.einsum("...ii->...", second)
    shift = np.square(a.mean - b.mean).sum(axis=-1)
    return np.asarray(np.where(known, np.clip(shift + traces - 2 * cross, 0, None), np.nan))


def class_pairs(count: int) -> list[tuple[int, int]]:
    """Every pair of classes once, in the order of :func:`weighted_frechet`."""
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def weighted_frechet(points: Floats, codes: Codes, weights: Floats) -> tuple[Floats, Floats]:
    """Distances of every pair of classes, and of each class from all others together, for every row of ``weights``.

    Args:
        points: (N, d), of few dimensions.
        codes: (N,) class 0 .. K-1, -1 where unknown.
        weights: (R, N).

    Returns:
        Pairs (R, K (K - 1) / 2) in the order of :func:`class_pairs`, and each class against the rest (R, K).
    """
    count = int(codes.max(initial=-1)) + 1
    fits = [fit_gaussian(points, weights * (codes == c)) for c in range(count)]
    rests = [fit_gaussian(points, weights * ((codes >= 0) & (codes != c))) for c in range(count)]
    pairs = [frechet_distance(fits[i], fits[j]) for i, j in class_pairs(count)]
    rest = [frechet_distance(fit, other) for fit, other in zip(fits, rests, strict=True)]
    empty = np.zeros((len(weights), 0))
    return (np.stack(pairs, axis=1) if pairs else empty), (np.stack(rest, axis=1) if rest else empty)
