from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.errors import ConfigError, DataError
from lgdea.graph.neighbours import affinity, knn, node_vectors


def cloud(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def brute(vectors: np.ndarray, k: int) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    return np.argsort(-cosine, axis=1)[:, :k]


def test_finds_what_brute_force_finds() -> None:
    vectors = cloud(200)
    indices, cosine = knn(vectors, 7)
    np.testing.assert_array_equal(indices, brute(vectors, 7))
    assert (np.diff(cosine, axis=1) <= 0).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(cosine, np.einsum("nd,nkd->nk", unit, unit[indices]), atol=1e-5)


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_approximate_search_recalls_most_true_neighbours(index: str) -> None:
    vectors = cloud(3000, 16)
    indices, _ = knn(vectors, 10, index=index)  # type: ignore[arg-type]
    truth = brute(vectors, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(indices, truth, strict=True)])
    assert recall > 0.85
    assert not (indices == np.arange(3000)[:, None]).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(2, 30))
def test_scaling_a_row_changes_nothing(seed: int, k: int, count: int) -> None:
    vectors = cloud(count, 5, seed)
    scale = np.random.default_rng(seed).uniform(0.01, 100, size=(count, 1)).astype(np.float32)
    indices, cosine = knn(vectors, k)
    scaled_indices, scaled_cosine = knn(vectors * scale, k)
    np.testing.assert_allclose(cosine, scaled_cosine, atol=1e-5)
    assert indices.shape == scaled_indices.shape == (count, k)
    assert ((indices >= 0).sum(axis=1) == min(k, count - 1)).all()


def test_duplicates_never_list_themselves() -> None:
    vectors = np.repeat(cloud(2), 20, axis=0)
    indices, cosine = knn(vectors, 5)
    assert not (indices == np.arange(40)[:, None]).any()
    np.testing.assert_allclose(cosine, 1, atol=1e-5)


def test_a_node_without_evidence_has_no_neighbours_and_is_nobodys() -> None:
    vectors = cloud(30)
    vectors[4] = 0
    indices, cosine = knn(vectors, 29)
    assert (indices[4] == -1).all()
    assert (cosine[4] == 0).all()
    assert 4 not in indices
    S = affinity(indices, cosine, "symmetric")
    assert S[[4]].nnz == 0


def test_bad_input_is_one_clear_line() -> None:
    broken = cloud(5)
    broken[1, 1] = np.nan
    with pytest.raises(DataError, match="finite"):
        knn(broken, 2)
    with pytest.raises(ConfigError, match="k >= 1"):
        knn(cloud(5), 0)
    with pytest.raises(ConfigError, match="mutual or symmetric"):
        affinity(*knn(cloud(5), 2), mode="both")  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["mutual", "symmetric"]))
def test_affinity_is_symmetric_with_spectral_radius_one(seed: int, mode: str) -> None:
    S = affinity(*knn(cloud(40, 4, seed), 5), mode=mode).toarray()  # type: ignore[arg-type]
    np.testing.assert_allclose(S, S.T, atol=1e-12)
    assert (S >= 0).all()
    assert (np.diag(S) == 0).all()
    assert np.abs(np.linalg.eigvalsh(S)).max() <= 1 + 1e-9


def test_mutual_keeps_only_edges_that_both_ends_chose() -> None:
    # 0 and 1 are close; 2 chooses 1, but 1 chooses 0.
    angles = np.radians([0, 1, 5])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mutual = affinity(*knn(vectors, 1), "mutual").toarray()
    symmetric = affinity(*knn(vectors, 1), "symmetric").toarray()
    assert mutual[0, 1] == pytest.approx(1)
    assert mutual[1, 2] == 0
    assert symmetric[1, 2] > 0
    # S = D^-1/2 W D^-1/2 by hand: node 0 has one edge, node 1 two.
    w01, w12 = np.cos(np.radians(1)) ** 3, np.cos(np.radians(4)) ** 3
    assert symmetric[0, 1] == pytest.approx(w01 / np.sqrt(w01 * (w01 + w12)), rel=1e-5)


def test_node_vectors_cosine_is_the_weighted_mean_of_both() -> None:
    rng = np.random.default_rng(1)
    histograms = rng.dirichlet(np.ones(6), size=4)
    pooled = rng.normal(size=(4, 5))
    joined = node_vectors(histograms, pooled, pooled_weight=0.25)
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    bhattacharyya = np.sqrt(histograms) @ np.sqrt(histograms).T
    np.testing.assert_allclose(joined @ joined.T, 0.75 * bhattacharyya + 0.25 * unit @ unit.T, atol=1e-5)
    np.testing.assert_allclose(node_vectors(histograms) @ node_vectors(histograms).T, bhattacharyya, atol=1e-5)


def test_node_vectors_of_a_node_without_evidence_are_zero() -> None:
    histograms = np.array([[0.5, 0.5], [0.0, 0.0]])
    assert (node_vectors(histograms, np.ones((2, 3)))[1] == 0).all()
