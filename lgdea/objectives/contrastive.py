"""Contrastive losses with hard and soft targets, between embeddings and between histograms.

Shapes: B images, C texts (B = C where pairs stand on the diagonal), D shared dimension, K prototypes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lgdea.objectives.histograms import TINY, histogram_similarity


def info_nce(logits: Tensor) -> Tensor:
    """Symmetric cross entropy of logits whose positives stand on the diagonal (CLIP, ConVIRT).

    Args:
        logits: ``(B, B)`` scaled cosines of images (rows) and texts (columns); row i and column i are a pair.

    Returns:
        A scalar.

    Example:
        >>> round(float(lgdea.losses.info_nce(5 * torch.eye(3))), 4)
        0.0134
    """
    logits = logits.float()
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over rows of -sum_c t_c log softmax(logits)_c, with every row of targets scaled to sum 1.

    Args:
        logits: ``(B, C)``.
        targets: ``(B, C)`` non-negative. A row of zeros has no positive and is left out; a row's mass before
            scaling, clipped to 1, is its weight, so that weakly supported rows count less.

    Returns:
        A scalar; exactly 0 when no row takes part.

    Example:
        >>> logits, targets = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
        >>> round(float(lgdea.losses.soft_cross_entropy(logits, targets)), 4)
        0.6269
    """
    mass = targets.float().sum(dim=-1)
    weight = mass.clamp(max=1.0)
    share = targets.float() / mass.clamp_min(TINY)[:, None]
    each = -(share * logits.float().log_softmax(dim=-1)).sum(dim=-1)
    return (weight * each).sum() / weight.sum().clamp_min(TINY)


def soft_contrastive(logits: Tensor, targets: Tensor) -> Tensor:
    """:func:`soft_cross_entropy` in both directions, averaged.

    This is the higher-order alignment loss when ``targets`` are propagated links P with 1 for linked pairs, and the
    global soft contrastive loss when they are evidence similarities.

    Args:
        logits: ``(B, C)``.
        targets: ``(B, C)`` non-negative.

    Returns:
        A scalar.

    Example:
        >>> round(float(lgdea.losses.soft_contrastive(5 * torch.eye(2), torch.eye(2))), 4)  # hard targets: info_nce
        0.0067
    """
    return (soft_cross_entropy(logits, targets) + soft_cross_entropy(logits.T, targets.T)) / 2


def similarity_targets(similarity: Tensor, *, temperature: float) -> Tensor:
    """Turn similarities ``(B, C)`` into soft targets: softmax over each row of similarity / temperature.

    Items of identical evidence share their mass equally, so identical reports are no negatives of each other.

    Args:
        similarity: ``(B, C)``.
        temperature: Of the softmax; towards 0 only the most similar counts.

    Returns:
        ``(B, C)``, rows sum to 1.

    Example:
        >>> lgdea.losses.similarity_targets(torch.tensor([[1.0, 1.0, 0.0]]), temperature=0.1).round(decimals=2)
        tensor([[0.5000, 0.5000, 0.0000]])
    """
    return (similarity.float() / temperature).softmax(dim=-1)


def evidence_contrastive(logits: Tensor, similarity: Tensor, *, temperature: float) -> Tensor:
    """Soft contrastive loss with a target distribution from evidence similarity in each direction.

    Args:
        logits: ``(B, C)`` scaled cosine of images and reports.
        similarity: ``(B, C)`` evidence similarity in [0, 1].
        temperature: Of the targets; towards 0 only the most similar counts.

    Returns:
        A scalar.

    Example:
        >>> same = torch.ones(2, 2)  # both reports state the same: no image should prefer one
        >>> loss = lgdea.losses.evidence_contrastive
        >>> float(loss(torch.zeros(2, 2), same, temperature=0.1)) < float(loss(5 * torch.eye(2), same, temperature=0.1))
        True
    """
    rows = soft_cross_entropy(logits, similarity_targets(similarity, temperature=temperature))
    columns = soft_cross_entropy(logits.T, similarity_targets(similarity.T, temperature=temperature))
    return (rows + columns) / 2


def histogram_info_nce(image: Tensor, report: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE over Bhattacharyya similarities of paired histograms ``(B, K)``: the negatives that KL alone lacks.

    Pairs whose reports have the same histogram share the target instead of being negatives. Items without evidence
    (all-zero report rows) are left out.

    Args:
        image: ``(B, K)`` histograms of images.
        report: ``(B, K)`` histograms of their reports.
        temperature: Of the similarities.

    Returns:
        A scalar; 0 when fewer than two reports have evidence.

    Example:
        >>> pairs = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
        >>> round(float(lgdea.losses.histogram_info_nce(pairs, pairs, temperature=0.1)), 4)
        0.0521
    """
    known = report.sum(dim=-1) > 0.5
    both = known[:, None] & known  # masked: to take rows out, the program would wait for the GPU to count them
    logits = histogram_similarity(image, report) / temperature
    same = (histogram_similarity(report, report) > 1 - 1e-4) & both
    return soft_contrastive(logits.masked_fill(~both, torch.finfo(logits.dtype).min), same.float())
