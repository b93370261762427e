"""Separability of classes in an embedding: silhouette, Fisher ratio, Davies-Bouldin index.

Letters: N items, D dimensions, K classes, R rows of weights. A class that is NaN or None is unknown and its item left
out. Every metric has a form with weights (R, N), one row per bootstrap replicate, computed from the items' inner
products or distances alone: its cost does not depend on D. A metric that is not defined is NaN, never an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lgdea.statistics.roc import divide_or_nan

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_POINT = 1e-12  # a share of the total variance below which a class is one point but for rounding


def silhouette(vectors: ArrayLike, classes: ArrayLike) -> float:
    """Mean silhouette with cosine distance (Rousseeuw 1987): (b - a) / max(a, b) over items.

    ``a`` is the mean distance to the other items of the item's class, ``b`` that to the nearest other class; an item
    that is alone in its class has 0. Definition ``features/silhouette-v1``; the same as
    ``sklearn.metrics.silhouette_score(..., metric="cosine")``.

    Args:
        vectors: (N, D) finite.
        classes: (N,) class of each item, or NaN.

    Returns:
        A value in [-1, 1], NaN with fewer than two classes.

    Example:
        >>> round(silhouette([[1, 0], [1, 0], [0, 1], [0, 1]], ["a", "a", "b", "b"]), 6)
        1.0
    """
    codes = class_codes(classes)
    return float(weighted_silhouette(cosine_distances(vectors), codes, np.ones((1, len(codes))))[0])


def fisher_ratio(vectors: ArrayLike, classes: ArrayLike) -> float:
    """Trace of the scatter between classes by that within them (Fukunaga 1990, section 10.2).

    Between: sum over classes of n_c |mean_c - mean|^2. Within: sum over items of |x - mean_c|^2. Definition
    ``features/fisher-ratio-v1``. It does not change with the scale of the vectors. Infinite when each class is one
    point, NaN with fewer than two classes. Arguments as for :func:`silhouette`.

    Args:
        vectors: (N, D) features.
        classes: (N,) class of each item.

    Example:
        >>> fisher_ratio([[0.0], [2.0], [10.0], [12.0]], ["a", "a", "b", "b"])
        25.0
    """
    codes = class_codes(classes)
    return float(weighted_fisher_ratio(gram(vectors), codes, np.ones((1, len(codes))))[0])


def davies_bouldin(vectors: ArrayLike, classes: ArrayLike) -> float:
    """Mean over classes of the worst (s_i + s_j) / d_ij (Davies & Bouldin 1979); lower is better.

    ``s`` is the mean distance of a class's items to their mean, ``d`` the distance of two means, both Euclidean.
    Definition ``features/davies-bouldin-v1``; as ``sklearn.metrics.davies_bouldin_score``, but NaN where two classes
    have the same mean, which sklearn calls 0, the best value. Arguments as for :func:`silhouette`.

    Args:
        vectors: (N, D) features.
        classes: (N,) class of each item.

    Example:
        >>> davies_bouldin([[0.0], [2.0], [10.0], [12.0]], ["a", "a", "b", "b"])
        0.2
    """
    codes = class_codes(classes)
    return float(weighted_davies_bouldin(gram(vectors), codes, np.ones((1, len(codes))))[0])


def centroid_distance(vectors: ArrayLike, classes: ArrayLike) -> float:
    """Mean Euclidean distance between the means of two classes, over all pairs of classes; NaN with fewer than two.

    Example:
        >>> centroid_distance([[0.0], [2.0], [10.0], [12.0]], ["a", "a", "b", "b"])
        10.0
    """
    codes = class_codes(classes)
    return float(weighted_centroid_distance(gram(vectors), codes, np.ones((1, len(codes))))[0])


def class_codes(classes: ArrayLike) -> Codes:
    """Classes as numbers 0 .. K-1 in sorted order, -1 where unknown."""
    column: Any = classes  # not through NumPy, which makes the text "nan" of a NaN among texts
    return np.asarray(pd.factorize(pd.Series(list(column), dtype=object), sort=True)[0], np.int64)


def cosine_distances(vectors: ArrayLike) -> Floats:
    """1 - cosine of every pair: (N, N) with a diagonal of exact zeros; a vector of zeros is at 1 from all others."""
    x = _checked(vectors)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(lengths > 0, lengths, 1.0)
    distances = np.clip(1.0 - x @ x.T, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    return np.asarray(distances)


def gram(vectors: ArrayLike) -> Floats:
    """Inner products (N, N) of the vectors less their mean, which moves no distance and saves digits."""
    x = _checked(vectors)
    x = x - x.mean(axis=0) if len(x) else x
    return np.asarray(x @ x.T)


def silhouette_samples(distances: Floats, codes: Codes, weights: Floats) -> Floats:
    """Silhouette of every item for every row of ``weights``: (R, N), NaN where unknown.

    A weight is how often an item was drawn; copies of one image are no pairs, or a bootstrap sample would look more
    compact than the sample it was drawn from.
    """
    result = np.full(weights.shape, np.nan)
    count = int(codes.max(initial=-1)) + 1
    rows = [np.flatnonzero(codes == c) for c in range(count)]
    sums = [weights[:, r] @ distances[r] for r in rows]  # (R, N) each
    mass = np.stack([weights[:, r].sum(axis=1) for r in rows], axis=1) if count else np.zeros((len(weights), 0))
    if count < 2:
        return result
    for c, own in enumerate(rows):
        # An item is no pair with itself, and neither are its copies in a bootstrap sample: all leave the mass of
        # its own class, and their distance of 0 adds nothing to the sum.
        others = mass[:, c, None] - weights[:, own]
        a = divide_or_nan(sums[c][:, own], others)
        apart = [divide_or_nan(sums[k][:, own], mass[:, k, None]) for k in range(count) if k != c]
        b = np.fmin.reduce(apart)
        longer = np.fmax(a, b)
        value = np.divide(b - a, longer, out=np.zeros_like(a), where=longer > 0)
        result[:, own] = np.where(others > 0, value, 0.0)  # NaN stays where no other class was drawn
    return result


def weighted_silhouette(distances: Floats, codes: Codes, weights: Floats) -> Floats:
    """:func:`silhouette` for every row of ``weights`` (R, N) from distances (N, N): (R,)."""
    samples = silhouette_samples(distances, codes, weights)
    known = weights * ~np.isnan(samples)
    defined = _classes_drawn(codes, weights) >= 2
    return np.where(defined, divide_or_nan((np.nan_to_num(samples) * known).sum(axis=1), known.sum(axis=1)), np.nan)


def weighted_fisher_ratio(products: Floats, codes: Codes, weights: Floats) -> Floats:
    """:func:`fisher_ratio` for every row of ``weights`` (R, N) from inner products (N, N): (R,)."""
    mass, means, spread = _centroids(products, codes, weights)
    total = mass.sum(axis=1)
    within = sum((np.clip(s, 0, None) * weights[:, codes == c]).sum(axis=1) for c, s in enumerate(spread))
    # sum_c n_c |m_c - m|^2 = sum_c n_c |m_c|^2 - |sum_c n_c m_c|^2 / n, from inner products of the class means alone:
    # no replicate touches the vectors.
    centre = np.einsum("rc,rk,rck->r", mass, mass, means)
    between = np.einsum("rc,rcc->r", mass, means) - divide_or_nan(centre, total)
    scale = np.asarray(within + between)
    ratio = np.where(within > _POINT * scale, divide_or_nan(between, np.asarray(within)), np.inf)
    return np.where((_classes_drawn(codes, weights) >= 2) & (scale > 0), np.maximum(ratio, 0.0), np.nan)


def weighted_davies_bouldin(products: Floats, codes: Codes, weights: Floats) -> Floats:
    """:func:`davies_bouldin` for every row of ``weights`` (R, N) from inner products (N, N): (R,)."""
    mass, means, spread = _centroids(products, codes, weights)
    count = mass.shape[1]
    if count < 2:
        return np.full(len(weights), np.nan)
    size = np.stack(
        [divide_or_nan((np.sqrt(np.clip(s, 0, None)) * weights[:, codes == c]).sum(axis=1), mass[:, c])
         for c, s in enumerate(spread)],
        axis=1,
    )  # fmt: skip
    apart = _between(means)
    drawn = (mass[:, :, None] > 0) & (mass[:, None, :] > 0) & ~np.eye(count, dtype=bool)
    # Class means that coincide, up to rounding at the scale of the data, have no ratio.
    same = (drawn & (apart <= 1e-9 * np.sqrt(np.trace(products) / max(len(products), 1)))).any(axis=(1, 2))
    ratios = np.divide(size[:, :, None] + size[:, None, :], apart, out=np.zeros_like(apart), where=drawn & (apart > 0))
    worst = np.where(mass > 0, ratios.max(axis=2), 0.0)
    classes = (mass > 0).sum(axis=1)
    return np.where((classes >= 2) & ~same, divide_or_nan(worst.sum(axis=1), classes.astype(np.float64)), np.nan)


def weighted_centroid_distance(products: Floats, codes: Codes, weights: Floats) -> Floats:
    """:func:`centroid_distance` for every row of ``weights`` (R, N) from inner products (N, N): (R,)."""
    mass, means, _ = _centroids(products, codes, weights)
    drawn = np.triu((mass[:, :, None] > 0) & (mass[:, None, :] > 0), 1)
    return divide_or_nan((_between(means) * drawn).sum(axis=(1, 2)), drawn.sum(axis=(1, 2)).astype(np.float64))


def _centroids(products: Floats, codes: Codes, weights: Floats) -> tuple[Floats, Floats, list[Floats]]:
    """Mass of each class (R, K), inner products of the class means (R, K, K), and per class its items' squared
    distances from its mean (R, N_c); a class that was not drawn has mean 0 and mass 0."""
    count = int(codes.max(initial=-1)) + 1
    rows = [np.flatnonzero(codes == c) for c in range(count)]
    mass = np.stack([weights[:, r].sum(axis=1) for r in rows], axis=1) if count else np.zeros((len(weights), 0))
    share = [weights[:, r] / np.where(mass[:, c] > 0, mass[:, c], 1.0)[:, None] for c, r in enumerate(rows)]
    means, spread = np.zeros((len(weights), count, count)), []
    for c, own in enumerate(rows):
        onto = share[c] @ products[own]  # (R, N): the mean of c with every item
        for k, other in enumerate(rows):
            means[:, c, k] = (onto[:, other] * share[k]).sum(axis=1)
        # |z - m|^2 = <z, z> - 2 <z, m> + <m, m>
        spread.append(products[own, own] - 2 * onto[:, own] + means[:, c, c, None])
    return mass, means, spread


def _between(means: Floats) -> Floats:
    """Distances (R, K, K) of the class means from their inner products."""
    square = np.einsum("rcc->rc", means)
    return np.sqrt(np.clip(square[:, :, None] + square[:, None, :] - 2 * means, 0, None))


def _classes_drawn(codes: Codes, weights: Floats) -> NDArray[Any]:
    count = int(codes.max(initial=-1)) + 1
    return sum(
        ((weights[:, codes == c].sum(axis=1) > 0).astype(int) for c in range(count)), np.zeros(len(weights), int)
    )


def _checked(vectors: ArrayLike) -> Floats:
    x = np.asarray(vectors, np.float64)
    if x.ndim != 2:
        raise ValueError(f"vectors {x.shape} must be (N, D)")
    if not np.isfinite(x).all():
        raise ValueError("a vector is not finite")
    return x
