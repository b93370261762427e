"""The presence loss: does this image show this evidence?

Shapes: B images (or reports), U phrases. A status says what a report asserts of a phrase.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lgdea.objectives.histograms import TINY
from lgdea.vocabulary.entailment import NOT_MENTIONED, PRESENT, UNCERTAIN


def presence_targets(
    status: Tensor, *, uncertain: float = 0.5, uncertain_weight: float = 0.5, unmentioned_weight: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Targets and weights of statuses: present -> 1, absent -> 0, uncertain -> soft, not mentioned -> a weak 0.

    Args:
        status: Integers ``(B, U)`` in {NOT_MENTIONED, ABSENT, UNCERTAIN, PRESENT}.
        uncertain: Target of uncertain evidence.
        uncertain_weight: Weight of uncertain evidence.
        unmentioned_weight: Weight of what the report does not mention; 0 leaves it out.

    Returns:
        ``(targets, weights)``, both ``(B, U)`` float32.

    Example:
        >>> lgdea.losses.presence_targets(torch.tensor([[0, 1, 2, 3]]))  # not mentioned, absent, uncertain, present
        (tensor([[0.0000, 0.0000, 0.5000, 1.0000]]), tensor([[0.2000, 1.0000, 0.5000, 1.0000]]))
    """
    # Not looked up in a table: bringing that to a GPU would wait for all work there.
    target = torch.where(status == UNCERTAIN, uncertain, (status == PRESENT).float())
    mentioned = torch.where(status == UNCERTAIN, uncertain_weight, 1.0)
    return target, torch.where(status == NOT_MENTIONED, unmentioned_weight, mentioned)


def presence_loss(logits: Tensor, targets: Tensor, weights: Tensor, *, balance: float = 1.0) -> Tensor:
    """Binary cross entropy over images and phrases, with positive and negative mass balanced.

    Positive mass is sum w t and negative mass sum w (1 - t). With ``balance`` 1 both sides count alike whatever
    their number; with 0 every weight counts as it stands; between, the sides' ratio is taken to that power.

    Args:
        logits: ``(B, U)``.
        targets: ``(B, U)`` in [0, 1].
        weights: ``(B, U)`` non-negative.
        balance: In [0, 1].

    Returns:
        A scalar; 0 when no element has weight.

    Example:
        >>> logits, targets = torch.tensor([[2.0, -2.0]]), torch.tensor([[1.0, 0.0]])
        >>> round(float(lgdea.losses.presence_loss(logits, targets, torch.ones(1, 2))), 4)
        0.1269
    """
    logits, targets, weights = logits.float(), targets.float(), weights.float()
    positive, negative = weights * targets, weights * (1 - targets)
    mass = torch.stack([positive.sum(), negative.sum()]).clamp_min(TINY)
    share = mass.pow(1 - balance)
    share = share * (torch.stack([positive.sum(), negative.sum()]) > TINY)
    share = share / share.sum().clamp_min(TINY)
    up = (positive * F.softplus(-logits)).sum() / mass[0]
    down = (negative * F.softplus(logits)).sum() / mass[1]
    return share[0] * up + share[1] * down


def phrase_ranking(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy, per phrase, of a softmax over the batch's images with its positives sharing the mass.

    It compares images with respect to one phrase, which is what AUROC and retrieval measure; a phrase's own bias
    cancels out.

    Args:
        logits: ``(B, U)``.
        targets: ``(B, U)`` in [0, 1]; phrases whose targets are all 0 are left out.
        weights: ``(B, U)``; an image with weight 0 for a phrase is not compared for it.

    Returns:
        A scalar; 0 when no phrase has a positive.

    Example:
        >>> logits, targets = torch.tensor([[2.0], [-2.0]]), torch.tensor([[1.0], [0.0]])  # two images, one phrase
        >>> round(float(lgdea.losses.phrase_ranking(logits, targets, torch.ones(2, 1))), 4)
        0.0181
    """
    logits, targets = logits.float(), targets.float() * (weights > 0)
    logits = logits.masked_fill(weights <= 0, -1e4)
    mass = targets.sum(dim=0)
    share = targets / mass.clamp_min(TINY)
    each = -(share * logits.log_softmax(dim=0)).sum(dim=0)
    weight = mass.clamp(max=1.0)
    return (weight * each).sum() / weight.sum().clamp_min(TINY)
