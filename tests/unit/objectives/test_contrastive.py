import math

import pytest
import torch
import torch.nn.functional as F

from lgdea.objectives.contrastive import (
    evidence_contrastive,
    histogram_info_nce,
    info_nce,
    similarity_targets,
    soft_contrastive,
    soft_cross_entropy,
)


def loop_info_nce(logits: torch.Tensor) -> float:
    size, total = len(logits), 0.0
    for i in range(size):
        row = sum(math.exp(float(logits[i, j])) for j in range(size))
        column = sum(math.exp(float(logits[j, i])) for j in range(size))
        total -= math.log(math.exp(float(logits[i, i])) / row) + math.log(math.exp(float(logits[i, i])) / column)
    return total / (2 * size)


def test_info_nce_matches_a_loop():
    logits = torch.randn(5, 5)
    assert float(info_nce(logits)) == pytest.approx(loop_info_nce(logits), rel=1e-5)
    assert float(info_nce(torch.zeros(7, 7))) == pytest.approx(math.log(7), rel=1e-5)


def test_soft_targets_on_the_diagonal_are_info_nce():
    logits = torch.randn(6, 6)
    torch.testing.assert_close(soft_contrastive(logits, torch.eye(6)), info_nce(logits))


def test_soft_cross_entropy_matches_a_loop_and_weighs_rows_by_support():
    logits = torch.randn(3, 4)
    targets = torch.tensor([[0.0, 2.0, 1.0, 0.0], [0.25, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    total, mass = 0.0, 0.0
    for i in range(3):
        support = float(targets[i].sum())
        if support == 0:
            continue
        log_sum = math.log(sum(math.exp(float(x)) for x in logits[i]))
        each = -sum(float(targets[i, j]) / support * (float(logits[i, j]) - log_sum) for j in range(4))
        total, mass = total + min(support, 1.0) * each, mass + min(support, 1.0)
    assert float(soft_cross_entropy(logits, targets)) == pytest.approx(total / mass, rel=1e-5)
    assert float(soft_cross_entropy(logits, torch.zeros(3, 4))) == 0.0


def test_identical_reports_share_the_target():
    similarity = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    targets = similarity_targets(similarity, temperature=0.05)
    torch.testing.assert_close(targets[0], torch.tensor([0.5, 0.5, 0.0]), atol=1e-4, rtol=0)
    # Exchanging the two identical reports costs nothing, where InfoNCE would punish it.
    logits = 10 * similarity
    swapped = logits[:, [1, 0, 2]]
    assert float(evidence_contrastive(logits, similarity, temperature=0.05)) == pytest.approx(
        float(evidence_contrastive(swapped, similarity[:, [1, 0, 2]], temperature=0.05)), rel=1e-6
    )


def test_evidence_contrastive_prefers_the_right_order():
    z = F.normalize(torch.randn(8, 16), dim=-1)
    right, wrong = 10 * z @ z.T, 10 * z @ z.roll(1, 0).T
    same = torch.eye(8)
    assert float(evidence_contrastive(right, same, temperature=0.05)) < float(
        evidence_contrastive(wrong, same, temperature=0.05)
    )


def test_histogram_info_nce_needs_negatives_and_skips_items_without_evidence():
    report = torch.eye(4)
    right = float(histogram_info_nce(report, report, temperature=0.1))
    constant = float(histogram_info_nce(torch.full((4, 4), 0.25), report, temperature=0.1))
    assert right < 0.01
    assert constant == pytest.approx(math.log(4), rel=1e-3)
    with_empty = torch.cat([report, torch.zeros(1, 4)])
    assert float(histogram_info_nce(torch.eye(5)[:, :4].clone(), with_empty, temperature=0.1)) == pytest.approx(
        right, abs=1e-4
    )
    for stated in (torch.eye(1, 4), torch.zeros(3, 4), torch.eye(3, 4) * torch.tensor([[0.0], [1.0], [0.0]])):
        image = torch.full((len(stated), 4), 0.25, requires_grad=True)
        loss = histogram_info_nce(image, stated, temperature=0.1)
        loss.backward()
        assert float(loss.detach()) == 0.0  # no two reports with evidence: no negatives
        assert not image.grad.any()


def test_histogram_info_nce_is_that_of_the_items_with_evidence():
    image, report = torch.rand(9, 5, dtype=torch.float64), torch.rand(9, 5, dtype=torch.float64)
    image, report = image / image.sum(1, keepdim=True), report / report.sum(1, keepdim=True)
    report[[0, 3, 8]] = 0
    known = report.sum(1) > 0
    parts = [(t.clone().requires_grad_(), t[known].clone().requires_grad_()) for t in (image, report)]
    losses = [histogram_info_nce(*inputs, temperature=0.1) for inputs in zip(*parts, strict=True)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses)
    for whole, taken in parts:
        torch.testing.assert_close(whole.grad[known], taken.grad, rtol=1e-5, atol=1e-5)
        assert not whole.grad[~known].any()
