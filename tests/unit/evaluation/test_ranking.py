"""Ranking in blocks beside whole matrices and loops: ties, duplicates, several right answers, sets of evidence."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.evaluation.config import RetrievalConfig
from lgdea.evaluation.metrics import retrieval as m
from lgdea.evaluation.tasks import ranking
from lgdea.statistics.overlap import jaccard, jaccard_of_pairs
from tests.helpers.dense_retrieval import rank_densely

CONFIG = RetrievalConfig(recall_at=(1, 3, 10), evidence_at=(1, 3, 10))


def gallery(seed, studies=6, levels=2, dim=2, facts=3, graded=True):
    """Every study has one to three images and reports; whole numbers as vectors make exact ties, also below 0."""
    rng = np.random.default_rng(seed)
    sides = [np.repeat(np.arange(studies), rng.integers(1, 4, studies)) for _ in range(2)]
    images, reports = (rng.permutation(side) for side in sides)
    _, text = np.unique(rng.integers(0, max(2, studies - 2), len(reports)), return_inverse=True)
    return ranking.Gallery(
        image_vectors=rng.integers(-levels, levels + 1, (len(images), dim)).astype(np.float32),
        text_vectors=rng.integers(-levels, levels + 1, (text.max() + 1, dim)).astype(np.float32),
        image_study=images,
        report_study=reports,
        report_text=text,
        facts=rng.random((studies, facts)) < 0.4 if graded else None,
    )


def assert_like_whole_matrices(case, direction):
    """Priors are one list for all queries, and have a test of their own."""
    ours = ranking.rank(case, direction, CONFIG)
    expected = rank_densely(case, direction, CONFIG)
    pd.testing.assert_frame_equal(
        ours[[name for name in ours if "prior" not in name]], expected, check_dtype=False, rtol=1e-9
    )


@pytest.mark.parametrize("direction", ranking.DIRECTIONS)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_blocks_give_what_whole_matrices_give(direction, seed, studies, levels, graded):
    case = gallery(seed, studies, levels, graded=graded)
    assert_like_whole_matrices(case, direction)


@pytest.mark.parametrize("direction", ranking.DIRECTIONS)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_a_prior_is_the_best_of_all_lists_that_are_the_same_for_every_query(direction, seed, studies):
    case = gallery(seed, studies)
    images, reports = case.facts[case.image_study], case.facts[case.report_study]
    queries, candidates = (images, reports) if direction == "image_to_report" else (reports, images)
    known, ours = jaccard(queries, candidates), ranking.rank(case, direction, CONFIG)
    if known.any():
        for k in (1, 3):
            for name, of in (("precision", m.precision_at_k), ("ndcg", m.ndcg_at_k)):
                lists = permutations(range(len(candidates)), min(k, len(candidates)))
                best = max(np.nanmean(of(in_order(order, known.shape), known, k)) for order in lists)
                assert ours[f"evidence_{name}_prior@{k}"].mean() == pytest.approx(best)


def in_order(first, shape):
    """Similarities that put ``first`` first in every row, and tie the rest."""
    scores = np.zeros(shape[1])
    scores[list(first)] = range(len(first), 0, -1)
    return np.broadcast_to(scores, shape)


@pytest.mark.parametrize("direction", ranking.DIRECTIONS)
def test_a_larger_gallery_in_small_blocks(direction, monkeypatch):
    case = gallery(1, studies=150, levels=3, dim=8, facts=6)
    monkeypatch.setattr(ranking, "_CELLS", 2000)
    monkeypatch.setattr(ranking, "_PAIRS", 7)
    assert_like_whole_matrices(case, direction)


def test_all_cosines_negative():
    rng = np.random.default_rng(0)
    case = gallery(0, studies=20)
    away = ranking.Gallery(
        -1 - rng.integers(0, 3, case.image_vectors.shape).astype(np.float32),
        1 + rng.integers(0, 3, case.text_vectors.shape).astype(np.float32),
        case.image_study,
        case.report_study,
        case.report_text,
        case.facts,
    )
    for direction in ranking.DIRECTIONS:
        assert_like_whole_matrices(away, direction)


@given(st.integers(0, 10_000), st.integers(1, 400), st.integers(1, 12), st.integers(1, 50))
def test_the_top_pairs_hold_the_first_k_with_all_their_ties(seed, candidates, k, levels):
    scores = np.random.default_rng(seed).integers(-levels, 1, (3, candidates)) / 8
    rows, columns = m.top_pairs(scores, k)
    for query, row in enumerate(scores):
        kth = np.sort(row)[::-1][min(k, candidates) - 1]
        assert set(np.flatnonzero(row >= kth)) <= set(columns[rows == query])
        assert all(
            (row >= row[c]).sum() == (row[columns[rows == query]] >= row[c]).sum() for c in columns[rows == query]
        )


def test_few_pairs_are_graded_in_a_large_gallery():
    scores = np.random.default_rng(0).normal(size=(20, 50_000))
    rows, _ = m.top_pairs(scores, 10)
    assert 200 <= len(rows) < 600


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 4)), min_size=1), st.integers(1, 12))
def test_counted_grades_are_repeated_grades(items, k):
    grades, counts = (np.array(x) for x in zip(*items, strict=True))
    if counts.sum() == 0:
        counts[0] = 1
    whole = np.repeat(grades, counts)[None]
    np.testing.assert_allclose(m.ideal_gains(grades[None], k, counts), m.ideal_gains(whole, k))
    np.testing.assert_allclose(m.chance_gains(grades[None], k, counts), m.chance_gains(whole, k))


def test_grades_of_pairs_are_those_of_the_matrix():
    rng = np.random.default_rng(0)
    a, b = rng.random((9, 5)) < 0.3, rng.random((9, 5)) < 0.3
    np.testing.assert_array_equal(jaccard_of_pairs(a, b), np.diag(jaccard(a, b)))
