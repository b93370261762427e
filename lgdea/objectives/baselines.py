"""Losses that the baselines add to the InfoNCE of linked pairs (:func:`lgdea.objectives.contrastive.info_nce`).

Shapes: M linked images and reports, V unlinked images, U keywords.
"""

from __future__ import annotations

import math

from torch import Tensor

from lgdea.objectives.contrastive import soft_cross_entropy
from lgdea.objectives.histograms import TINY


def transport(similarity: Tensor, *, temperature: float = 0.05, iterations: int = 20) -> Tensor:
    """Entropic optimal transport between unlinked and linked images with uniform masses (Sinkhorn, in logarithms).

    Args:
        similarity: ``(V, M)`` cosines; cost is their negative.
        temperature: Entropic regularisation; towards 0 each unlinked image has one partner.
        iterations: Of alternating normalisation.

    Returns:
        The plan with rows scaled to sum 1: for each unlinked image a distribution over linked ones.

    Example:
        >>> plan = lgdea.losses.transport(torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
        >>> plan.sum(dim=1), plan.argmax(dim=1)
        (tensor([1., 1.]), tensor([0, 1]))

    Source: Mo et al. 2023 (S-CLIP), caption-level pseudo-labels; Cuturi 2013.
    """
    plan = similarity.float() / temperature
    for _ in range(iterations):
        plan = plan - plan.logsumexp(dim=0, keepdim=True) - math.log(plan.shape[1])
        plan = plan - plan.logsumexp(dim=1, keepdim=True) - math.log(plan.shape[0])
    return plan.softmax(dim=1)


def caption_pseudo_label(logits: Tensor, similarity: Tensor) -> Tensor:
    """Cross entropy of unlinked images over the linked reports, targets by transport to the linked images.

    Args:
        logits: ``(V, M)`` scaled cosines of unlinked images and linked reports.
        similarity: ``(V, M)`` cosines of unlinked and linked images; no gradient flows into the targets.

    Returns:
        A scalar.

    Example:
        >>> round(float(lgdea.losses.caption_pseudo_label(5 * torch.eye(2), torch.eye(2))), 4)
        0.0067

    Source: Mo et al. 2023 (S-CLIP).
    """
    return soft_cross_entropy(logits, transport(similarity.detach()))


def keyword_pseudo_label(logits: Tensor, candidates: Tensor) -> Tensor:
    """Partial-label loss: of the candidate keywords, those that the model finds likeliest are the target.

    Args:
        logits: ``(V, U)`` scaled cosines of unlinked images and keywords.
        candidates: ``(V, U)`` booleans, the keywords of the nearest linked report; rows without any are left out.

    Returns:
        A scalar.

    Example:
        >>> logits, candidates = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[True, False, True]])
        >>> round(float(lgdea.losses.keyword_pseudo_label(logits, candidates)), 4)
        0.646

    Source: Mo et al. 2023 (S-CLIP).
    """
    probability = logits.detach().float().softmax(dim=-1) * candidates
    return soft_cross_entropy(logits, probability / probability.sum(dim=-1, keepdim=True).clamp_min(TINY))
