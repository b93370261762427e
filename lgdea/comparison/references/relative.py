"""Evidence of a query relative to its healthy references: z-score and likelihood ratio, calibrated on validation.

Letters: N queries, K references. Scores are logits of one finding. NaN stands for a reference that a query lacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def reference_mean(references: ArrayLike) -> Floats:
    """Mean score of each query's references: (N, K) to (N,), NaN where it has none.

    Args:
        references: (N, K) scores.
    """
    references = np.asarray(references, np.float64)
    known = ~np.isnan(references)
    count = known.sum(axis=1)
    total = np.where(known, references, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def healthy_deviation(queries: ArrayLike, references: ArrayLike) -> float:
    """Standard deviation of a healthy person's score around the mean of endlessly many references.

    sqrt(mean((q - m)^2 / (1 + 1 / K))), the scale of :func:`z_scores`.

    Args:
        queries: (N,) scores of healthy queries, of validation.
        references: (N, K) scores of their references.

    Example:
        >>> healthy_deviation([1.0, -1.0], [[0.0], [0.0]]) ** 2
        0.5
    """
    queries, references = np.asarray(queries, np.float64), np.asarray(references, np.float64)
    count = (~np.isnan(references)).sum(axis=1)
    squares = np.square(queries - reference_mean(references)) / (1 + 1 / np.maximum(count, 1))
    squares = squares[count > 0]
    return float(np.sqrt(squares.mean())) if len(squares) else float("nan")


def z_scores(queries: ArrayLike, references: ArrayLike, deviation: float) -> Floats:
    """How many standard deviations a query lies above the mean of its references, z = (q - m) / (s sqrt(1 + 1 / K)).

    s is known from all healthy people of validation: the spread of the K references themselves, at most 30 values, is
    so noisy an estimate that it orders queries worse.

    Args:
        queries: (N,) scores.
        references: (N, K) scores of each query's references.
        deviation: s, from :func:`healthy_deviation`.

    Returns:
        (N,), NaN where a query has no reference.

    Example:
        >>> z_scores([3.0], [[1.0, 1.0, 1.0]], 1.0).round(3).tolist()
        [1.732]
    """
    queries, references = np.asarray(queries, np.float64), np.asarray(references, np.float64)
    count = np.maximum((~np.isnan(references)).sum(axis=1), 1)
    if not deviation > 0:
        return np.full(len(queries), np.nan)
    return np.asarray((queries - reference_mean(references)) / (deviation * np.sqrt(1 + 1 / count)))


def explained_share(queries: ArrayLike, references: ArrayLike) -> float:
    """Share of the variance of healthy people's scores that their references' mean explains: what there is to gain.

    Args:
        queries: (N,) scores of healthy queries.
        references: (N, K) scores of their references.

    Returns:
        Squared correlation of q and m, 0 where it is negative or either does not vary.

    Example:
        >>> explained_share([0.0, 1.0, 2.0], [[1.0], [2.0], [3.0]])
        1.0
    """
    mean = reference_mean(references)
    known = ~np.isnan(mean)
    if not known.any():
        return 0.0
    own, theirs = (x[known] - x[known].mean() for x in (np.asarray(queries, np.float64), mean))
    scale = float(np.sqrt(np.sum(own**2) * np.sum(theirs**2)))
    return float(max(float(own @ theirs) / scale, 0.0) ** 2) if scale > 0 else 0.0


@dataclass(frozen=True)
class LikelihoodRatio:
    """Two Gaussians of (q, m), a query's score and the mean of its references', with one covariance.

    log p(q, m | present) - log p(q, m | absent) is linear in both: slope_q q + slope_m m + offset (Fisher's
    discriminant). Where references tell nothing slope_m is that of noise, and the ratio orders as the score alone does.
    """

    slopes: Floats
    offset: float

    @classmethod
    def fit(cls, queries: ArrayLike, references: ArrayLike, labels: ArrayLike) -> LikelihoodRatio:
        """Fit on validation items.

        Args:
            queries: (N,) scores.
            references: (N, K) scores of each query's references.
            labels: (N,) 1 present, 0 absent, NaN left out.

        Raises:
            ValueError: One of the two kinds has no item.
        """
        pairs = np.stack([np.asarray(queries, np.float64), reference_mean(references)], axis=1)
        labels = np.asarray(labels, np.float64)
        known = ~np.isnan(labels) & ~np.isnan(pairs).any(axis=1)
        parts = [pairs[known & (labels == side)] for side in (0, 1)]
        if not all(len(part) for part in parts):
            raise ValueError("a likelihood ratio needs items that are present and items that are absent")
        absent, present = (part.mean(axis=0) for part in parts)
        inside = np.concatenate([parts[0] - absent, parts[1] - present])
        covariance = inside.T @ inside / max(1, len(inside) - 2)
        covariance += np.eye(2) * max(1e-6 * float(np.trace(covariance)), 1e-12)  # equal references have no spread
        slopes = np.linalg.solve(covariance, present - absent)
        return cls(slopes, float(-slopes @ (present + absent) / 2))

    def __call__(self, queries: ArrayLike, references: ArrayLike) -> Floats:
        """Log likelihood ratio (N,), NaN where a query has no reference."""
        pairs = np.stack([np.asarray(queries, np.float64), reference_mean(references)], axis=1)
        return np.asarray(pairs @ self.slopes + self.offset)
