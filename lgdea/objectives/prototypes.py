"""Losses of the evidence prototypes: reconstruction, and two measures that show a collapse.

Shapes: U evidence units, K prototypes, D shared dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lgdea.models.heads import assign_prototypes, matmul_fp32


def reconstruction(embeddings: Tensor, prototypes: Tensor, *, temperature: float, shrinkage: float = 1e-4) -> Tensor:
    """mean_n ||z_n - sum_k p(k|z_n) mu_k||^2 + shrinkage . sum_k ||mu_k||^2, METHOD equation 5.

    Args:
        embeddings: Unit vectors ``(U, D)``.
        prototypes: ``(K, D)`` as they are stored; only the assignment normalises them.
        temperature: Of the assignment.
        shrinkage: The weight lambda of the second term.

    Returns:
        A scalar.

    Example:
        >>> z = torch.eye(2)
        >>> float(lgdea.losses.reconstruction(z, z, temperature=0.1)) < 1e-3  # every embedding is a prototype
        True
    """
    prototypes = prototypes.float()
    rebuilt = matmul_fp32(assign_prototypes(embeddings, prototypes, temperature), prototypes.T)
    error: Tensor = (embeddings.float() - rebuilt).square().sum(dim=-1).mean()
    return error + shrinkage * prototypes.square().sum()


def usage_entropy(assignments: Tensor) -> Tensor:
    """Entropy of the mean assignment, divided by log K: 1 is even use, 0 is one prototype for all.

    Args:
        assignments: ``(..., K)``, rows sum to 1.

    Returns:
        A scalar in [0, 1].

    Example:
        >>> float(lgdea.losses.usage_entropy(torch.tensor([[1.0, 0.0], [0.0, 1.0]])))
        1.0
    """
    usage = assignments.float().flatten(0, -2).mean(dim=0)
    entropy: Tensor = -torch.special.xlogy(usage, usage).sum()
    return entropy / math.log(usage.numel())


def histogram_information(histograms: Tensor) -> Tensor:
    """Mutual information between item and prototype: H(mean) - mean(H), in nats.

    It is 0 exactly when every item has the same histogram, which is how a KL-only objective collapses.

    Args:
        histograms: ``(B, K)``, rows sum to 1.

    Returns:
        A scalar in [0, log K].

    Example:
        >>> round(float(lgdea.losses.histogram_information(torch.eye(2))), 4)
        0.6931
        >>> float(lgdea.losses.histogram_information(torch.full((2, 2), 0.5)))
        0.0
    """
    histograms = histograms.float()
    mean = histograms.mean(dim=0)
    total: Tensor = -torch.special.xlogy(mean, mean).sum()
    within: Tensor = -torch.special.xlogy(histograms, histograms).sum(dim=-1).mean()
    return total - within
