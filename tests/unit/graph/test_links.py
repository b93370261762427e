from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lgdea.errors import DataError
from lgdea.graph.archive_graph import ArchiveGraph, build_graph
from lgdea.graph.diffusion import coupled, diffuse, seed_matrix
from lgdea.graph.links import link_weights, propagate, propagated_histograms, separable_histograms
from lgdea.graph.neighbours import affinity, knn

CLUSTERS = 10


def clustered(count: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around CLUSTERS orthogonal centres, and each one's cluster."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(count) % CLUSTERS
    return np.eye(CLUSTERS)[cluster] + noise * rng.normal(size=(count, CLUSTERS)), cluster


def clustered_graph(noise: float = 0.05, shuffle: bool = False) -> tuple[ArchiveGraph, np.ndarray, np.ndarray]:
    """400 images and 300 reports; 40 linked pairs, true ones or (shuffled) any."""
    images, image_cluster = clustered(400, noise, 1)
    reports, report_cluster = clustered(300, noise, 2)
    pairs = np.stack([np.arange(40), np.arange(40)], axis=1)
    if shuffle:
        pairs[:, 1] = np.random.default_rng(0).permutation(40)
    return build_graph(images, reports, pairs), image_cluster, report_cluster


def precision(graph: ArchiveGraph, image_cluster: np.ndarray, report_cluster: np.ndarray) -> float:
    links = graph.links.tocoo()
    return float(np.mean(image_cluster[links.row] == report_cluster[links.col]))


def test_pure_clusters_give_perfect_links() -> None:
    graph, images, reports = clustered_graph()
    assert precision(graph, images, reports) == 1.0
    assert (np.diff(graph.links.indptr) > 0).mean() > 0.9
    assert np.diff(graph.links.indptr).max() == 16


def test_shuffled_pairs_give_chance() -> None:
    values = []
    for seed in range(20):
        images, image_cluster = clustered(200, 0.05, 1)
        reports, report_cluster = clustered(200, 0.05, 2)
        pairs = np.random.default_rng(seed).integers(0, 200, size=(40, 2))
        values.append(precision(build_graph(images, reports, pairs), image_cluster, report_cluster))
    assert np.mean(values) == pytest.approx(1 / CLUSTERS, abs=0.03)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_links_are_the_largest_entries_of_the_product(seed: int) -> None:
    rng = np.random.default_rng(seed)
    F_I = sparse.random_array((30, 12), density=0.3, rng=rng, format="csr")
    F_R = sparse.random_array((25, 12), density=0.3, rng=rng, format="csr")
    P = F_I.toarray() @ F_R.toarray().T
    exact = propagate(F_I, F_R, top=25, reports_per_seed=None)
    np.testing.assert_allclose(exact.toarray(), P, atol=1e-12)
    top = propagate(F_I, F_R, top=3, reports_per_seed=None)
    np.testing.assert_allclose(top.max(axis=1).toarray().ravel(), P.max(axis=1), atol=1e-12)
    assert np.diff(top.indptr).max(initial=0) <= 3


def test_separable_links_rank_like_the_coupled_iteration() -> None:
    images, _ = clustered(60, 0.2, 3)
    reports, _ = clustered(50, 0.2, 4)
    S_I, S_R = (affinity(*knn(v, 5), "symmetric") for v in (images, reports))
    seeds = np.arange(20)
    F_I = diffuse(S_I, seed_matrix(seeds, 60), 0.8, keep=None)
    F_R = diffuse(S_R, seed_matrix(seeds, 50), 0.8, keep=None)
    separable = propagate(F_I, F_R, top=50, reports_per_seed=None).toarray()
    Y = np.zeros((60, 50))
    Y[seeds, seeds] = 1
    dense = coupled(S_I, S_R, Y, 0.8)
    assert np.corrcoef(separable.ravel(), dense.ravel())[0, 1] > 0.8
    seeded = np.arange(20)
    assert (separable[seeded].argmax(axis=1) == seeded).all()
    assert (dense[seeded].argmax(axis=1) == seeded).all()


def test_histograms_both_ways_agree_and_know_their_cluster() -> None:
    graph, images, reports = clustered_graph()
    Q = np.eye(CLUSTERS)[reports]
    everything = propagate(graph.image_seeds, graph.report_seeds, top=300, reports_per_seed=None)
    a = propagated_histograms(everything, Q)
    np.testing.assert_allclose(a, separable_histograms(graph.image_seeds, graph.report_seeds, Q), atol=1e-6)
    reached = np.diff(graph.links.indptr) > 0
    assert (a[reached].argmax(axis=1) == images[reached]).all()
    np.testing.assert_allclose(a[reached].sum(axis=1), 1, atol=1e-5)


def test_an_unreached_image_takes_no_part() -> None:
    images, cluster = clustered(100, 0.01, 1)
    reports, _ = clustered(100, 0.01, 2)
    pairs = [(i, i) for i in range(100) if cluster[i] < 5]
    graph = build_graph(images, reports, pairs, neighbours=5)
    weight = link_weights(graph.links, graph.image_seeds)
    assert (weight[cluster >= 5] == 0).all()
    assert (weight[cluster < 5] > 0).all()
    histograms = propagated_histograms(graph.links, np.eye(CLUSTERS)[cluster])
    assert (histograms[cluster >= 5] == 0).all()


def test_reports_without_evidence_add_nothing() -> None:
    P = sparse.csr_array(np.array([[0.9, 0.1], [0.9, 0.0]]))
    Q = np.array([[0.0, 0.0], [0.25, 0.75]])
    np.testing.assert_allclose(propagated_histograms(P, Q), [[0.25, 0.75], [0, 0]])


def test_no_pairs_give_no_links() -> None:
    images, _ = clustered(30, 0.1, 0)
    graph = build_graph(images, images, np.zeros((0, 2)))
    assert graph.links.nnz == 0
    assert (link_weights(graph.links, graph.image_seeds) == 0).all()


def test_sides_with_different_seeds_are_refused() -> None:
    with pytest.raises(DataError, match="3 seeds, reports from 2"):
        propagate(sparse.csr_array((4, 3)), sparse.csr_array((4, 2)))


def test_reach_bounds_the_work_and_keeps_the_best() -> None:
    graph, _, _ = clustered_graph()
    exact = propagate(graph.image_seeds, graph.report_seeds, top=4, reports_per_seed=None)
    bounded = propagate(graph.image_seeds, graph.report_seeds, top=4, reports_per_seed=16)
    assert (bounded.max(axis=1).toarray() > 0).sum() == (exact.max(axis=1).toarray() > 0).sum()
    assert 0.9 * exact.sum() < bounded.sum() <= exact.sum()
