"""Greedy choices beside the best of all choices, on sets small enough to try them all."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from lgdea.errors import UsageError
from lgdea.graph.coverage import cover_graph, coverage, facility_location, k_centre, weighted_cover


def _vectors(seed: int, count: int, dim: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim))


@given(st.integers(0, 10_000), st.integers(4, 10), st.integers(1, 4))
def test_facility_location_is_within_its_guarantee_of_the_best(seed: int, count: int, budget: int) -> None:
    W = cover_graph(_vectors(seed, count), count - 1)
    chosen, gains = facility_location(W, budget)
    best = max(coverage(W, s).sum() for s in combinations(range(count), budget))
    assert len(set(chosen)) == budget
    assert coverage(W, chosen).sum() == pytest.approx(gains.sum())
    assert gains.sum() >= (1 - 1 / np.e) * best - 1e-9


@given(st.integers(0, 10_000), st.integers(5, 30), st.integers(1, 5), st.booleans())
def test_lazy_evaluation_chooses_as_plain_greedy_does(seed: int, count: int, budget: int, grouped: bool) -> None:
    W = cover_graph(_vectors(seed, count), 4)
    rng = np.random.default_rng(seed)
    there = rng.choice(count, 2, replace=False)
    pool = np.setdiff1d(np.arange(count), there)[: max(budget, count - 4)]
    budget = min(budget, len(pool))
    groups = rng.integers(0, 3, count) if grouped else np.arange(count)
    state, used, want = coverage(W, there), set(), []
    for _ in range(budget):
        open_ = [n for n in pool if n not in want and groups[n] not in used]
        if not open_:
            used, open_ = set(), [n for n in pool if n not in want]
        gains = [np.maximum(W[:, [n]].toarray().ravel() - state, 0).sum() for n in open_]
        node = open_[int(np.argmax(np.round(gains, 10)))]
        state = np.maximum(state, W[:, [node]].toarray().ravel())
        used.add(groups[node])
        want.append(node)
    got, _ = facility_location(W, budget, candidates=pool, covered=coverage(W, there), groups=groups)
    assert coverage(W, [*there, *got]).sum() == pytest.approx(state.sum())


@given(st.integers(0, 10_000), st.integers(4, 9), st.integers(1, 4))
def test_weighted_cover_is_within_its_guarantee_of_the_best(seed: int, count: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    members, weight = rng.random((count, 5)) < 0.4, rng.random(5)
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, count + 1))])

    def worth(chosen) -> float:
        return float((weight * harmonic[members[list(chosen)].sum(axis=0)]).sum())

    chosen, gains = weighted_cover(sparse.csr_array(members.astype(float)), weight, budget)
    best = max(worth(s) for s in combinations(range(count), budget))
    assert gains.sum() == pytest.approx(worth(chosen))
    assert worth(chosen) >= (1 - 1 / np.e) * best - 1e-9


@given(st.integers(0, 10_000), st.integers(4, 10), st.integers(1, 4))
def test_k_centre_is_at_most_twice_the_best_radius(seed: int, count: int, budget: int) -> None:
    vectors = _vectors(seed, count)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    apart = np.linalg.norm(unit[:, None] - unit[None], axis=2)

    def radius(centres) -> float:
        return float(apart[:, list(centres)].min(axis=1).max())

    chosen, distance = k_centre(vectors, budget)
    assert len(set(chosen)) == budget
    assert np.isinf(distance[0])
    assert radius(chosen) <= 2 * min(radius(s) for s in combinations(range(count), budget)) + 1e-9


def test_k_centre_takes_a_group_again_only_when_all_others_have_been() -> None:
    chosen, _ = k_centre(_vectors(0, 12), 9, groups=np.repeat(np.arange(4), 3))
    assert [sorted(part // 3) for part in (chosen[:4], chosen[4:8])] == [[0, 1, 2, 3]] * 2


def test_what_is_covered_already_is_not_chosen_again() -> None:
    twins = np.repeat(np.eye(3), 2, axis=0)
    W = cover_graph(twins, 2)
    chosen, gains = facility_location(W, 2, candidates=[1, 2, 4], covered=coverage(W, [0]))
    assert sorted(chosen) == [2, 4]
    assert gains.tolist() == [2, 2]


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="4 are to be chosen of 3"):
        facility_location(cover_graph(np.eye(3), 1), 4)
    with pytest.raises(UsageError, match="0 chooses nothing"):
        k_centre(np.eye(3), 0)


def test_a_hundred_thousand_nodes_take_seconds() -> None:
    rng = np.random.default_rng(0)
    W = sparse.random_array((100_000, 100_000), density=2e-4, format="csc", rng=rng)
    chosen, gains = facility_location(W, 500, groups=rng.integers(0, 40_000, 100_000))
    assert len(set(chosen)) == 500
    assert (np.diff(gains) <= 1e-9).all()
