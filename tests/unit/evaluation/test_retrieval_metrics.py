from itertools import pairwise, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from lgdea.evaluation.metrics import retrieval as m
from lgdea.statistics.overlap import jaccard

small = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([-0.7, -0.2, 0.0, 0.4]), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 0.0, 0.25, 1.0]), min_size=n, max_size=n),
        st.integers(1, 7),
    )
)


def all_orders(scores):
    """Every order that is sorted by score, tied items in all ways."""
    return [p for p in permutations(range(len(scores))) if all(scores[a] >= scores[b] for a, b in pairwise(p))]


@given(small)
def test_recall_is_the_expectation_over_all_tied_orders(case):
    scores, grades, k = case
    right = np.array(grades) == 1.0
    hits = [any(right[i] for i in order[:k]) for order in all_orders(scores)]
    expected = np.mean(hits) if right.any() else np.nan
    assert m.recall_at_k([scores], [right], k)[0] == pytest.approx(expected, nan_ok=True)


@given(small)
def test_first_rank_is_the_expectation_over_all_tied_orders(case):
    scores, grades, _ = case
    right = np.array(grades) == 1.0
    ranks = [next((r for r, i in enumerate(order, 1) if right[i]), np.nan) for order in all_orders(scores)]
    assert m.first_positive_rank(*m.ties_at_best_positive([scores], [right]))[0] == pytest.approx(
        np.mean(ranks), nan_ok=True
    )


@given(small)
def test_evidence_precision_is_the_expectation_over_all_tied_orders(case):
    scores, grades, k = case
    values = [np.mean([grades[i] for i in order[:k]]) for order in all_orders(scores)]
    expected = np.mean(values) if max(grades) > 0 else np.nan
    assert m.precision_at_k([scores], [grades], k)[0] == pytest.approx(expected, nan_ok=True)


@given(small)
def test_ndcg_is_the_expectation_over_all_tied_orders_and_agrees_with_scikit_learn(case):
    scores, grades, k = case
    discount = 1 / np.log2(np.arange(2, len(scores) + 2))
    gains = [sum(grades[i] * d for i, d in zip(order[:k], discount, strict=False)) for order in all_orders(scores)]
    ideal = sum(np.sort(grades)[::-1][:k] * discount[:k])
    expected = np.mean(gains) / ideal if ideal > 0 else np.nan
    value = m.ndcg_at_k([scores], [grades], k)[0]
    assert value == pytest.approx(expected, nan_ok=True)
    if ideal > 0 and len(scores) > 1:
        assert value == pytest.approx(ndcg_score([grades], [scores], k=k))


@given(small)
def test_chance_is_what_a_constant_scorer_gets(case):
    _, grades, k = case
    grades = np.array([grades])
    scores = np.full(grades.shape, -0.5)
    right = grades == 1.0
    chance, ideal = m.chance_gains(grades, k), m.ideal_gains(grades, k)
    pairs = [
        (m.recall_at_k(scores, right, k), m.recall_chance(right.sum(axis=1), grades.shape[1], k)),
        (m.precision_at_k(scores, grades, k), m.precision_from_gains(chance, ideal, k)),
        (m.ndcg_at_k(scores, grades, k), m.ndcg_from_gains(chance, ideal, k)),
    ]
    for value, chance in pairs:
        assert value == pytest.approx(chance, nan_ok=True)


@given(small)
def test_deeper_gains_serve_every_smaller_k(case):
    scores, grades, k = case
    gains, ideal = m.expected_gains([scores], [grades], 7), m.ideal_gains([grades], 7)
    assert m.precision_from_gains(gains, ideal, k) == pytest.approx(
        m.precision_at_k([scores], [grades], k), nan_ok=True
    )
    assert m.ndcg_from_gains(gains, ideal, k) == pytest.approx(m.ndcg_at_k([scores], [grades], k), nan_ok=True)


def test_word_identical_reports_are_all_right_answers():
    # Reports 0 and 1 are the same text, so they tie: the query of either finds its report at rank 1.
    scores = np.array([[0.9, 0.9, 0.1], [0.9, 0.9, 0.1]])
    same = np.array([[True, True, False], [True, True, False]])
    np.testing.assert_allclose(m.recall_at_k(scores, same, 1), 1.0)
    # Were only the own report right, each query would be punished for the tie.
    np.testing.assert_allclose(m.recall_at_k(scores, np.eye(2, 3, dtype=bool), 1), 0.5)


def test_negative_similarities_are_retrieved_too():
    scores, right = np.array([[-0.9, -0.1]]), np.array([[False, True]])
    assert m.recall_at_k(scores, right, 1)[0] == 1.0
    assert m.ndcg_at_k(scores, right, 1)[0] == 1.0


def test_recall_chance_in_a_large_gallery():
    expected = 1 - comb(300_000 - 3, 10) / comb(300_000, 10)
    assert m.recall_chance([3], 300_000, 10)[0] == pytest.approx(expected, rel=1e-4)


def test_jaccard_by_sets():
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 7)) < 0.4, rng.random((6, 7)) < 0.4
    a[0] = b[0] = False
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            one, two = set(np.flatnonzero(x)), set(np.flatnonzero(y))
            expected = len(one & two) / len(one | two) if one | two else 0.0
            assert jaccard(a, b)[i, j] == pytest.approx(expected)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no candidates"):
        m.recall_at_k(np.zeros((2, 0)), np.zeros((2, 0), bool), 1)
    with pytest.raises(ValueError, match="not finite"):
        m.ndcg_at_k([[np.nan]], [[1.0]], 1)
    with pytest.raises(ValueError, match="must both be"):
        m.precision_at_k([[1.0, 2.0]], [[1.0]], 1)


def test_no_queries_give_no_values():
    assert m.recall_at_k(np.zeros((0, 3)), np.zeros((0, 3), bool), 1).shape == (0,)
    assert m.ndcg_at_k(np.zeros((0, 3)), np.zeros((0, 3)), 2).shape == (0,)
