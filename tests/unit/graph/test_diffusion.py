from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lgdea.errors import ConfigError, DataError
from lgdea.graph.diffusion import (
    closed_form,
    confidence,
    confidence_weight,
    coupled,
    diffuse,
    seed_matrix,
    top_per_row,
)
from lgdea.graph.neighbours import affinity, knn


def random_graph(count: int, seed: int = 0, k: int = 4) -> sparse.csr_array:
    vectors = np.random.default_rng(seed).normal(size=(count, 5))
    return affinity(*knn(vectors, k), "symmetric")


def random_seeds(count: int, pairs: int, seed: int = 0) -> sparse.csr_array:
    return seed_matrix(np.random.default_rng(seed).choice(count, pairs, replace=False), count)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.95), st.integers(1, 9))
def test_equals_the_closed_form(seed: int, alpha: float, pairs: int) -> None:
    S, E = random_graph(30, seed), random_seeds(30, pairs, seed)
    F = diffuse(S, E, alpha, steps=2000, tol=1e-10, keep=None)
    np.testing.assert_allclose(F.toarray(), closed_form(S, E, alpha), atol=1e-7)


def test_closed_form_of_two_nodes_by_hand() -> None:
    # One edge, S = [[0, 1], [1, 0]]: F = (1-a)/(1-a^2) [1, a].
    S = np.array([[0.0, 1.0], [1.0, 0.0]])
    F = closed_form(S, np.array([[1.0], [0.0]]), 0.5)
    np.testing.assert_allclose(F[:, 0], [0.5 / 0.75, 0.25 / 0.75])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, None]))
def test_renumbering_the_nodes_renumbers_the_result(seed: int, keep: int | None) -> None:
    S, E = random_graph(40, seed), random_seeds(40, 8, seed)
    order = np.random.default_rng(seed + 1).permutation(40)
    F = diffuse(S, E, 0.8, keep=keep).toarray()
    renumbered = diffuse(S[order][:, order], E[order], 0.8, keep=keep).toarray()
    np.testing.assert_allclose(renumbered, F[order], atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 50))
def test_is_linear_in_the_seeds(seed: int, factor: float) -> None:
    S, E = random_graph(30, seed), random_seeds(30, 5, seed)
    once = diffuse(S, E, 0.8, steps=400, tol=1e-12, keep=None).toarray()
    more = diffuse(S, E * factor, 0.8, steps=400, tol=1e-12, keep=None).toarray()
    np.testing.assert_allclose(more, once * factor, atol=1e-6 * factor)


def test_truncation_keeps_m_entries_and_stays_close() -> None:
    S, E = random_graph(300, k=6), random_seeds(300, 60)
    exact = closed_form(S, E, 0.8)
    F = diffuse(S, E, 0.8, keep=16)
    assert np.diff(F.indptr).max() == 16
    strongest = exact.argmax(axis=1)
    reached = exact.max(axis=1) > 1e-3
    agree = F.toarray().argmax(axis=1)[reached] == strongest[reached]
    assert agree.mean() > 0.97


def test_diffusion_over_several_blocks_equals_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    S, E = random_graph(100), random_seeds(100, 10)
    whole = diffuse(S, E, 0.8, keep=4).toarray()
    monkeypatch.setattr("lgdea.graph.diffusion.BLOCK_ROWS", 7)
    np.testing.assert_array_equal(diffuse(S, E, 0.8, keep=4).toarray(), whole)


def test_an_unreachable_node_has_no_mass_and_no_confidence() -> None:
    # Two components, one seed in the first.
    S = sparse.csr_array(sparse.block_diag([random_graph(10), random_graph(10, 1)]))
    F = diffuse(S, seed_matrix(np.array([3]), 20), 0.9)
    mass, entropy = confidence(F)
    assert (mass[10:] == 0).all()
    assert np.isinf(entropy[10:]).all()
    assert (confidence_weight(F)[10:] == 0).all()
    assert mass[3] == mass.max()


def test_confidence_by_hand() -> None:
    F = sparse.csr_array(np.array([[0.2, 0.2, 0.0, 0.0], [0.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    mass, entropy = confidence(F)
    np.testing.assert_allclose(mass, [0.4, 0.4, 0.0])
    np.testing.assert_allclose(entropy[:2], [np.log(2), 0.0], atol=1e-12)
    assert np.isinf(entropy[2])
    # 4 seeds: log 2 is half of the largest entropy; both reached rows have the mean mass.
    np.testing.assert_allclose(confidence_weight(F), [0.5, 1.0, 0.0], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.05, 1))
def test_top_per_row_equals_sorting_each_row(seed: int, keep: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.random((20, 70)) * (rng.random((20, 70)) < density * rng.random((20, 1)))
    expected = np.where(dense >= -np.sort(-dense, axis=1)[:, keep - 1 : keep], dense, 0)
    result = top_per_row(sparse.csr_array(dense), keep)
    np.testing.assert_array_equal(result.toarray(), expected)
    assert np.diff(result.indptr).max(initial=0) <= keep


def test_top_per_row_keeps_exactly_m_among_ties() -> None:
    result = top_per_row(sparse.csr_array(np.ones((3, 50))), 16)
    assert (np.diff(result.indptr) == 16).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.95))
def test_coupled_is_the_fixed_point(seed: int, alpha: float) -> None:
    S_I, S_R = random_graph(15, seed), random_graph(12, seed + 1)
    Y = np.zeros((15, 12))
    Y[[1, 5, 9], [2, 3, 11]] = 1
    P = coupled(S_I, S_R, Y, alpha)
    np.testing.assert_allclose(P, alpha * (S_I @ P @ S_R.toarray()) + (1 - alpha) * Y, atol=1e-9)


def test_coupled_equals_the_kronecker_solve() -> None:
    S_I, S_R = random_graph(7).toarray(), random_graph(6, 1).toarray()
    Y = np.eye(7, 6)
    system = np.eye(42) - 0.7 * np.kron(S_I, S_R.T)
    expected = 0.3 * np.linalg.solve(system, Y.ravel()).reshape(7, 6)
    np.testing.assert_allclose(coupled(S_I, S_R, Y, 0.7), expected, atol=1e-9)


def test_bad_input_is_one_clear_line() -> None:
    S, E = random_graph(10), random_seeds(10, 2)
    with pytest.raises(ConfigError, match="alpha"):
        diffuse(S, E, 1.0)
    with pytest.raises(ConfigError, match="alpha"):
        coupled(S, S, np.eye(10), 1.5)
    with pytest.raises(DataError, match="do not fit"):
        diffuse(S, random_seeds(11, 2), 0.5)
    with pytest.raises(DataError, match="node 10"):
        seed_matrix(np.array([10]), 10)
    with pytest.raises(ConfigError, match="one entry"):
        top_per_row(S, 0)
