import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.objectives.histograms import consistency, histogram_similarity, kl, report_histogram


def histograms(items: int, bins: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(items, bins, generator=torch.Generator().manual_seed(seed)).softmax(-1)


def test_report_histogram_is_the_weighted_mean_of_its_units():
    p = histograms(5, 3)
    weights = torch.tensor([1.0, 0.5, 0.0, 1.0, 1.0])
    owner = torch.tensor([0, 0, 0, 2, 2])
    got = report_histogram(p, weights, owner, items=3)
    torch.testing.assert_close(got[0], (p[0] + 0.5 * p[1]) / 1.5)
    torch.testing.assert_close(got[1], torch.zeros(3))
    torch.testing.assert_close(got[2], (p[3] + p[4]) / 2)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_report_histogram_does_not_depend_on_the_order_of_units(seed, units):
    generator = torch.Generator().manual_seed(seed)
    p, weights = histograms(units, 4, seed), torch.rand(units, generator=generator)
    owner = torch.randint(0, 3, (units,), generator=generator)
    order = torch.randperm(units, generator=generator)
    torch.testing.assert_close(
        report_histogram(p, weights, owner, 3), report_histogram(p[order], weights[order], owner[order], 3)
    )


def test_kl_matches_a_loop_and_leaves_out_empty_rows():
    target, prediction, weight = histograms(4, 5), histograms(4, 5, 1), torch.tensor([1.0, 2.0, 0.5, 3.0])
    target[3] = 0
    total = mass = 0.0
    for i in range(3):
        each = sum(float(target[i, k]) * math.log(float(target[i, k]) / float(prediction[i, k])) for k in range(5))
        total, mass = total + float(weight[i]) * each, mass + float(weight[i])
    assert float(kl(target, prediction, weight=weight)) == pytest.approx(total / mass, rel=1e-4)


def test_kl_is_zero_for_equal_histograms_and_for_nothing_at_all():
    h = histograms(3, 4)
    assert float(kl(h, h)) == pytest.approx(0.0, abs=1e-6)
    assert float(kl(torch.zeros(3, 4), h)) == 0.0
    assert float(kl(h, h.flip(0), weight=torch.zeros(3))) == 0.0


def test_kl_survives_a_prediction_of_zero():
    target = torch.tensor([[1.0, 0.0]])
    prediction = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = kl(target, prediction)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(prediction.grad).all()


def test_histogram_similarity_is_one_for_itself_and_zero_for_disjoint():
    sim = histogram_similarity(torch.eye(3), torch.eye(3))
    torch.testing.assert_close(sim, torch.eye(3), atol=1e-3, rtol=0)


def test_consistency_is_symmetric_and_bounded():
    a, b = histograms(6, 4), histograms(6, 4, 2)
    assert float(consistency(a, b)) == pytest.approx(float(consistency(b, a)), rel=1e-6)
    assert float(consistency(a, a)) == pytest.approx(0.0, abs=1e-6)
    assert float(consistency(torch.eye(2), torch.eye(2).flip(0))) == pytest.approx(math.log(2), rel=1e-3)
