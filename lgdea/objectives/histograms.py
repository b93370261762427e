"""Losses between evidence histograms over prototypes.

Shapes: B items, U evidence units, K prototypes. A histogram is a probability vector; a report without evidence has
an all-zero one and takes no part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lgdea.models.heads import matmul_fp32

TINY = 1e-8


def report_histogram(assignments: Tensor, weights: Tensor, owner: Tensor, items: int) -> Tensor:
    """Q_R(k): the weighted mean of p(k | z) over a report's units, METHOD equation 8, from a flat list of units.

    Args:
        assignments: ``(U, K)`` p(k | z) of every unit in the batch.
        weights: ``(U,)`` 1 for present, 0.5 for uncertain, 0 for absent.
        owner: ``(U,)`` which item each unit belongs to, in ``[0, items)``.
        items: B.

    Returns:
        ``(B, K)``; rows sum to 1, or to 0 for an item without any weight.

    Example:
        >>> stated, weights = torch.eye(2), torch.tensor([1.0, 0.5])  # one unit present, one uncertain, of report 0
        >>> lgdea.losses.report_histogram(stated, weights, torch.tensor([0, 0]), 2)
        tensor([[0.6667, 0.3333],
                [0.0000, 0.0000]])
    """
    weights = weights.to(assignments.dtype)
    summed = assignments.new_zeros(items, assignments.shape[-1]).index_add(0, owner, assignments * weights[:, None])
    mass = weights.new_zeros(items).index_add(0, owner, weights)
    return summed / mass.clamp_min(TINY)[:, None]


def kl(target: Tensor, prediction: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Weighted mean over items of KL(target || prediction), METHOD equation 9; the gradient reaches both.

    Args:
        target: ``(B, K)`` histograms; detach them where they are to be a fixed teacher. All-zero rows are left out.
        prediction: ``(B, K)`` histograms.
        weight: ``(B,)`` non-negative, such as the confidence of a propagated target; 1 when not given.

    Returns:
        A scalar: sum_i w_i KL_i / sum_i w_i; exactly 0 when nothing takes part.

    Example:
        >>> round(float(lgdea.losses.kl(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]]))), 4)
        0.5108
    """
    target, prediction = target.float(), prediction.float()
    known = (target.sum(dim=-1) > 0.5).float()
    weight = known if weight is None else known * weight.float()
    each: Tensor = (torch.special.xlogy(target, target) - target * prediction.clamp_min(TINY).log()).sum(dim=-1)
    return (weight * each).sum() / weight.sum().clamp_min(TINY)


def histogram_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Bhattacharyya coefficient sum_k sqrt(p_k q_k) of all pairs of histograms.

    Args:
        first: ``(B, K)``.
        second: ``(C, K)``.

    Returns:
        ``(B, C)`` in [0, 1].

    Example:
        >>> lgdea.losses.histogram_similarity(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
        tensor([[1.0000, 0.7...]])
    """
    return matmul_fp32(first.float().clamp_min(TINY).sqrt(), second.float().clamp_min(TINY).sqrt())


def consistency(first: Tensor, second: Tensor) -> Tensor:
    """Mean Jensen-Shannon divergence, in nats, of two views' histograms of the same items.

    Args:
        first: ``(B, K)``.
        second: ``(B, K)``.

    Returns:
        A scalar in [0, log 2].

    Example:
        >>> round(float(lgdea.losses.consistency(torch.eye(2), torch.eye(2).flip(0))), 4)
        0.6931
    """
    middle = (first.float() + second.float()) / 2
    return (kl(first, middle) + kl(second, middle)) / 2
