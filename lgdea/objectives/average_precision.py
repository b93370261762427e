"""A smooth average precision of graded relevance, to train embeddings for retrieval.

Shapes: ... parts that are ranked apart, Q queries, C candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lgdea.objectives.histograms import TINY


def smooth_average_precision(
    similarity: Tensor, grades: Tensor, comparable: Tensor, *, temperature: float = 0.05
) -> Tensor:
    """One minus the mean graded average precision of the queries, with every step of a rank made a sigmoid.

    Definition: GAP_q = sum_i (g_i + sum_{j != i} min(g_i, g_j) s_ij) / (1 + sum_{j != i} s_ij) / sum_i g_i, with
    s_ij = sigmoid((x_qj - x_qi) / temperature): whether j stands before i. With grades of 0 and 1 this is SmoothAP;
    min(g_i, g_j) is the share of the thresholds in (0, 1] at which both are relevant, so that GAP is a mean over
    all ways of calling graded items relevant. As the temperature goes to 0 the ranks become exact.

    Args:
        similarity: ``(..., Q, C)`` of queries and candidates.
        grades: ``(..., Q, C)`` relevance in [0, 1].
        comparable: ``(..., Q, C)`` booleans: false for the query itself, its patient, and what is not known.
        temperature: Of the sigmoid; small is exact, large has gradients from afar.

    Returns:
        A scalar in [0, 1]; 0 when no query has a relevant candidate.

    Example:
        >>> grades, all_of_them = torch.tensor([[1.0, 0.5, 0.0]]), torch.ones(1, 3, dtype=torch.bool)
        >>> loss = lgdea.losses.smooth_average_precision
        >>> round(float(loss(torch.tensor([[0.9, 0.5, 0.1]]), grades, all_of_them, temperature=0.01)), 4)
        0.0
        >>> round(float(loss(torch.tensor([[0.1, 0.5, 0.9]]), grades, all_of_them, temperature=0.01)), 4)
        0.5

    Source: Brown et al. 2020 (Smooth-AP); Robertson et al. 2010, "Extending average precision to graded relevance
    judgments".
    """
    grades = grades.float() * comparable
    difference = (similarity.float().unsqueeze(-2) - similarity.float().unsqueeze(-1)) / temperature
    # before[..., q, i, j]: how far j stands before i; an item does not stand before itself.
    others = ~torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)
    before = difference.sigmoid() * (comparable.unsqueeze(-2) & others)
    both = torch.minimum(grades.unsqueeze(-2), grades.unsqueeze(-1))
    precision = (grades + (both * before).sum(dim=-1)) / (1 + before.sum(dim=-1))
    mass = grades.sum(dim=-1)
    average = (precision * (grades > 0)).sum(dim=-1) / mass.clamp_min(TINY)  # precision at i holds i's grade already
    asked = mass > 0
    missing: Tensor = ((1 - average) * asked).sum() / asked.sum().clamp_min(1)
    return missing
