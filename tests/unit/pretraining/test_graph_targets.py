"""Targets from teacher and graph together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lgdea.pretraining.losses import graph_targets


def test_by_hand():
    teacher, propagated, base_rate = torch.tensor([[0.5]]), torch.tensor([[0.8]]), torch.tensor([0.2])
    odds = (0.5 / 0.5) / (0.2 / 0.8)  # half way between 0.8 and 0.2, against the base rate of 0.2
    expected = torch.sigmoid(torch.tensor(0.5 + 0.3 * np.log(odds)))
    assert float(graph_targets(teacher, propagated, base_rate, torch.tensor([0.3]))) == pytest.approx(float(expected))


def test_a_graph_that_says_the_usual_or_has_no_confidence_changes_nothing():
    teacher, base_rate = torch.randn(4, 6), torch.rand(6)
    same = graph_targets(teacher, base_rate.expand(4, 6), base_rate, torch.ones(4))
    torch.testing.assert_close(same, teacher.sigmoid(), atol=1e-3, rtol=0)
    torch.testing.assert_close(graph_targets(teacher, torch.rand(4, 6), base_rate, torch.zeros(4)), teacher.sigmoid())


def test_certainty_of_the_graph_stays_finite():
    extreme = graph_targets(torch.zeros(2, 2), torch.tensor([[0.0, 1.0]] * 2), torch.tensor([0.0, 1.0]), torch.ones(2))
    assert torch.isfinite(extreme).all()
    above = graph_targets(torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([0.1]), torch.ones(1))
    below = graph_targets(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([0.1]), torch.ones(1))
    assert 0.5 < float(above) < 1
    assert 0 < float(below) < 0.5
