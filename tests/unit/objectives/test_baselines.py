"""The baselines' losses against loops, limits and an exact assignment."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

from lgdea.objectives.baselines import caption_pseudo_label, keyword_pseudo_label, transport


def cosines(rows: int, columns: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(rows, 5, generator=generator), torch.randn(columns, 5, generator=generator)
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 100))
def test_the_plan_has_uniform_masses(rows: int, columns: int, seed: int):
    plan = transport(cosines(rows, columns, seed), temperature=0.2, iterations=300)
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(rows))
    torch.testing.assert_close(plan.mean(dim=0), torch.full((columns,), 1 / columns), atol=1e-3, rtol=0)


def test_a_cold_plan_is_the_best_assignment():
    similarity = cosines(6, 6, seed=3)
    rows, columns = linear_sum_assignment(-similarity.numpy())
    plan = transport(similarity, temperature=0.005, iterations=3000)
    assert plan.argmax(dim=1).tolist() == columns[rows.argsort()].tolist()
    assert float(plan.max(dim=1).values.min()) > 0.9


def test_caption_loss_is_the_cross_entropy_with_the_plan():
    logits, similarity = 5 * cosines(4, 3, seed=1), cosines(4, 3, seed=2).requires_grad_()
    plan = transport(similarity.detach())
    expected = 0.0
    for v in range(4):
        norm = math.log(sum(math.exp(logits[v, m]) for m in range(3)))
        expected -= sum(float(plan[v, m]) * (float(logits[v, m]) - norm) for m in range(3)) / 4
    loss = caption_pseudo_label(logits.requires_grad_(), similarity)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert similarity.grad is None


def test_keyword_loss_stays_within_the_candidates():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], requires_grad=True)
    candidates = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    e1, e2 = math.exp(1), 1.0
    share = e1 / (e1 + e2)
    norm = math.log(math.exp(2) + math.exp(1) + 1)
    expected = -(share * (1 - norm) + (1 - share) * (0 - norm))
    loss = keyword_pseudo_label(logits, candidates)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[1].any()
