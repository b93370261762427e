import math

import pytest
import torch

from lgdea.objectives.presence import phrase_ranking, presence_loss, presence_targets
from lgdea.vocabulary.entailment import ABSENT, NOT_MENTIONED, PRESENT, UNCERTAIN


def bce(logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def test_targets_say_what_the_report_says():
    status = torch.tensor([[NOT_MENTIONED, ABSENT, UNCERTAIN, PRESENT]])
    target, weight = presence_targets(status, uncertain=0.6, uncertain_weight=0.4, unmentioned_weight=0.1)
    torch.testing.assert_close(target, torch.tensor([[0.0, 0.0, 0.6, 1.0]]))
    torch.testing.assert_close(weight, torch.tensor([[0.1, 1.0, 0.4, 1.0]]))


def test_without_balance_it_is_the_weighted_mean_of_binary_cross_entropies():
    logits, targets, weights = torch.randn(4, 3), torch.rand(4, 3), torch.rand(4, 3)
    total = mass = 0.0
    for i in range(4):
        for u in range(3):
            total += float(weights[i, u]) * bce(float(logits[i, u]), float(targets[i, u]))
            mass += float(weights[i, u])
    assert float(presence_loss(logits, targets, weights, balance=0.0)) == pytest.approx(total / mass, rel=1e-5)


def test_balance_gives_one_positive_among_many_negatives_half_of_the_say():
    logits = torch.randn(1, 50)
    targets = torch.zeros(1, 50)
    targets[0, 7] = 1
    got = presence_loss(logits, targets, torch.ones(1, 50), balance=1.0)
    negatives = [bce(float(logits[0, u]), 0.0) for u in range(50) if u != 7]
    assert float(got) == pytest.approx(0.5 * bce(float(logits[0, 7]), 1.0) + 0.5 * sum(negatives) / 49, rel=1e-5)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_one_sided_and_empty_batches_are_finite(balance):
    logits = torch.zeros(2, 3)
    only_negative = presence_loss(logits, torch.zeros(2, 3), torch.ones(2, 3), balance=balance)
    assert float(only_negative) == pytest.approx(math.log(2), rel=1e-5)
    assert float(presence_loss(logits, torch.ones(2, 3), torch.zeros(2, 3), balance=balance)) == 0.0


def test_loss_is_lowest_at_the_truth():
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weights = torch.ones(2, 2)
    right = presence_loss(20 * (targets - 0.5), targets, weights)
    wrong = presence_loss(-20 * (targets - 0.5), targets, weights)
    assert float(right) < 1e-3 < float(wrong)


def test_phrase_ranking_ignores_a_bias_per_phrase_and_skipped_images():
    logits = torch.randn(5, 3)
    targets = torch.zeros(5, 3)
    targets[0, 0] = targets[2, 0] = targets[4, 1] = 1
    weights = torch.ones(5, 3)
    weights[3, 0] = 0
    column0 = [0, 1, 2, 4]
    log_sum = math.log(sum(math.exp(float(logits[i, 0])) for i in column0))
    first = -(0.5 * (float(logits[0, 0]) - log_sum) + 0.5 * (float(logits[2, 0]) - log_sum))
    log_sum = math.log(sum(math.exp(float(logits[i, 1])) for i in range(5)))
    second = -(float(logits[4, 1]) - log_sum)
    got = phrase_ranking(logits, targets, weights)
    assert float(got) == pytest.approx((first + second) / 2, rel=1e-4)
    shifted = phrase_ranking(logits + torch.tensor([3.0, -2.0, 7.0]), targets, weights)
    assert float(shifted) == pytest.approx(float(got), rel=1e-4)
    assert float(phrase_ranking(logits, torch.zeros(5, 3), weights)) == 0.0
