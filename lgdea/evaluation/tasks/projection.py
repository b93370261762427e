"""Embeddings in few dimensions: principal components, and UMAP where umap-learn is installed."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def principal_components(vectors: Floats, count: int) -> tuple[Floats, float]:
    """Places along the first principal components, of vectors scaled to total variance 1.

    Args:
        vectors: (N, D).
        count: Components; those beyond the vectors' rank are 0.

    Returns:
        (N, count), each component's largest entry by size positive, so that a picture is always the same way up; and
        the share of the variance in them (NaN where there is none).
    """
    centred = vectors - vectors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    total = float(np.square(sizes).sum() / max(len(vectors) - 1, 1))
    places = np.zeros((len(vectors), count))
    if total <= 1e-20:  # rounding of unit vectors that are all the same
        return places, float("nan")
    found = (left * sizes)[:, :count] / np.sqrt(total)
    signs = np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
    places[:, : found.shape[1]] = found * signs
    return places, float(np.square(sizes[:count]).sum() / np.square(sizes).sum())


def umap_plane(vectors: Floats, seed: int, *, neighbours: int = 15) -> Floats | None:
    """Places (N, 2) by UMAP with cosine distance (McInnes et al. 2018); None where umap-learn is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from umap import UMAP
    except ImportError:
        return None
    near = min(neighbours, len(vectors) - 1)
    if near < 2:
        return np.zeros((len(vectors), 2))
    # With few images the spectral start has no solution; a random one is always there.
    start = "spectral" if len(vectors) > 2 * near else "random"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP says that a seed costs it its threads
        model = UMAP(n_components=2, n_neighbors=near, metric="cosine", init=start, random_state=seed, n_jobs=1)
        return np.asarray(model.fit_transform(vectors.astype(np.float32)), np.float64)
