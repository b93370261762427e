from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from lgdea.graph.transport import blocks, log_likelihood, transport_evidence, transport_plan


def test_likelihood_is_that_of_each_pair_by_hand():
    rng = np.random.default_rng(0)
    logits, stated = rng.normal(size=(3, 4)), rng.random((5, 4))
    p = 1 / (1 + np.exp(-logits))
    expected = [[(t * np.log(q) + (1 - t) * np.log(1 - q)).sum() for t in stated] for q in p]
    np.testing.assert_allclose(log_likelihood(torch.tensor(logits), torch.tensor(stated)), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5)])
def test_plan_gives_every_image_and_every_report_its_mass(shape):
    score = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plan = transport_plan(score.clone(), 200).numpy()
    np.testing.assert_allclose(plan.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(plan.sum(axis=0), shape[0] / shape[1], atol=1e-6)
    # Of all plans with these sums it is the one of the form diag(a) exp(score) diag(b).
    rest = np.log(plan) - score.numpy()
    np.testing.assert_allclose(rest - rest[:1] - rest[:, :1] + rest[0, 0], 0, atol=1e-9)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.integers(1, 7),
)
def test_blocks_hold_every_item_of_shared_groups_once(images, reports, size):
    sides = np.array(images), np.array(reports)
    seen: tuple[list[int], list[int]] = ([], [])
    for parts in blocks(*sides, size=size, seed=0):
        assert len({int(side[row]) for side, part in zip(sides, parts, strict=True) for row in part}) == 1
        assert all(len(part) for part in parts)
        smaller = min(np.sum(side == sides[0][parts[0][0]]) for side in sides)
        # Only where one side has too few items to go round are blocks larger.
        assert max(map(len, parts)) <= size or min(map(len, parts)) == 1 or smaller < len(parts[0]) + len(parts[1])
        for rows, part in zip(seen, parts, strict=True):
            rows.extend(part.tolist())
    both = np.intersect1d(*sides)
    for side, rows in zip(sides, seen, strict=True):
        assert sorted(rows) == np.flatnonzero(np.isin(side, both)).tolist()


def example(*, sharpness: float, images: int = 60, phrases: int = 5):
    """Images whose logits know their own report's evidence by ``sharpness``; reports stand in another order."""
    rng = np.random.default_rng(1)
    stated = (rng.random((images, phrases)) < 0.4).astype(np.float32)
    order = rng.permutation(images)
    logits = (sharpness * (2 * stated - 1)).astype(np.float32)
    return logits, stated[order], stated


@pytest.mark.parametrize("block", [16, 1000])
def test_a_model_that_knows_gets_its_own_evidence_and_one_that_does_not_the_rates(block):
    groups = np.zeros(60, np.int64), np.zeros(60, np.int64)
    settings = {"block": block, "iterations": 50, "seed": 0}
    logits, reports, truth = example(sharpness=10.0)
    found = transport_evidence(logits, reports, sparse.csr_array(reports), groups, **settings)
    right = ((found >= 0.5) == (truth >= 0.5)).mean()
    assert right > (0.99 if block == 1000 else 0.8)  # among few reports not every image has one like its own
    nothing = transport_evidence(0 * logits, reports, sparse.csr_array(reports), groups, **settings)
    np.testing.assert_allclose(nothing.mean(axis=0), reports.mean(axis=0), atol=1e-2)
    if block == 1000:
        np.testing.assert_allclose(nothing, np.tile(reports.mean(axis=0), (60, 1)), atol=1e-3)


def test_images_are_compared_with_their_group_alone():
    logits, reports, _ = example(sharpness=0.0)
    images = np.repeat([0, 1, 2], 20)
    groups = images, np.repeat([0, 1, 3], 20)
    found = transport_evidence(logits, reports, sparse.csr_array(reports), groups, block=100, iterations=20, seed=0)
    for group in (0, 1):
        rows = slice(20 * group, 20 * group + 20)
        np.testing.assert_allclose(found[rows], np.tile(reports[rows].mean(axis=0), (20, 1)), atol=1e-3)
    assert np.isnan(found[40:]).all()


def test_what_a_weak_model_says_is_sharpened_by_the_reports():
    """The claim the loss rests on: the plan ranks evidence better than the model that it was made with."""
    rng = np.random.default_rng(0)
    kinds = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]], np.float32)  # what stands together
    truth = kinds[rng.integers(3, size=300)]
    logits = ((2 * truth - 1) * 0.5 + rng.normal(size=truth.shape)).astype(np.float32)
    reports = truth[rng.permutation(300)]
    groups = np.zeros(300, np.int64), np.zeros(300, np.int64)
    found = transport_evidence(logits, reports, sparse.csr_array(reports), groups, block=300, iterations=50, seed=0)

    def area(scores: np.ndarray) -> float:
        higher = scores[truth == 1][:, None] > scores[truth == 0]
        return float(higher.mean())

    assert area(found.astype(np.float32)) > area(logits) + 0.05
