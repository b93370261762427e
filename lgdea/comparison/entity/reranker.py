"""The reranker of pairs: evidence tokens that an image offers, those that an entity attends to, and their agreement.

Shapes: B images, E entities, P patches, C width of the image tower, D shared dimension, K evidence tokens, N pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS = 12
"""Most rows and columns of the grid that patches are pooled to."""
SHARPNESS = 20.0
"""Of the attention of entities to evidence tokens."""
MARGIN = 0.005
"""Shares are kept this far from 0 and 1, where their logits are not finite."""


class Side(NamedTuple):
    """One side of N pairs of images, with respect to the entity of the pairs."""

    embedding: Tensor
    """(N, K') conditioned embeddings, unit length."""
    evidence: Tensor
    """(N, K) strength of the evidence tokens."""
    presence: Tensor
    """(N,) logits that the image shows the entity."""


class EvidenceReader(nn.Module):
    """Reads from patches and their places how strongly an image shows each of K entities: its evidence tokens.

    Patches of the pretrained tower do not tell where they lie, and what is seen where is much of a finding. So patches
    are pooled to a grid and all cells together are read by one linear map, fitted in closed form
    (:func:`~lgdea.comparison.entity.reranking.fit_reader`).

    Args:
        patch_width: C.
        dim: D.
        grid: Rows and columns of patches.
        count: K; 0 reads nothing.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    base_rate: Tensor
    phrases: Tensor

    def __init__(self, patch_width: int, dim: int, grid: tuple[int, int], count: int) -> None:
        super().__init__()
        self.grid = grid
        self.cells = (min(CELLS, grid[0]), min(CELLS, grid[1]))
        size = patch_width * self.cells[0] * self.cells[1]
        shapes = {"mean": (size,), "weight": (size, count), "base_rate": (count,), "phrases": (count, dim)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("scale", torch.ones(size))

    def pool(self, patches: Tensor) -> Tensor:
        """Means of the patches (B, P, C) in each cell, (B, cells C), float32."""
        maps = patches.float().transpose(1, 2).unflatten(2, self.grid)
        return F.adaptive_avg_pool2d(maps, self.cells).flatten(1)

    def forward(self, patches: Tensor) -> Tensor:
        """Strengths (B, K): logits of each entity's share, above that of its base rate."""
        shares = ((self.pool(patches) - self.mean) / self.scale) @ self.weight + self.base_rate
        return strength(shares, self.base_rate)

    def attend(self, z: Tensor) -> Tensor:
        """Attention (E, K) of entities z (E, D) to the evidence tokens, rows sum to 1; any words attend to some."""
        return (SHARPNESS * F.normalize(z.float(), dim=-1) @ F.normalize(self.phrases, dim=-1).T).softmax(dim=-1)


def strength(shares: Tensor, base_rate: Tensor) -> Tensor:
    """Logits of ``shares`` (..., K) above those of the base rates (K,).

    Example:
        >>> import torch
        >>> [round(float(e), 1) for e in strength(torch.tensor([0.5, 0.1]), torch.tensor([0.5, 0.5]))]
        [0.0, -2.2]
    """
    return shares.logit(MARGIN) - base_rate.logit(MARGIN)


class PairReranker(nn.Module):
    """Probability that two images agree on an entity, from the evidence tokens that the entity attends to in both.

    Args:
        patch_width: C.
        dim: D.
        grid: Rows and columns of patches.
        count: K.
    """

    weights: Tensor

    def __init__(self, patch_width: int, dim: int, grid: tuple[int, int], count: int) -> None:
        super().__init__()
        self.reader = EvidenceReader(patch_width, dim, grid, count)
        self.register_buffer("weights", torch.tensor([1.0, 0.0, 0.0, 0.0]))
        """Of the similarity, the candidate's strength, the agreement, and a bias; unfitted, the order is that of the
        similarity."""

    def forward(self, query: Side, candidate: Side, attention: Tensor) -> Tensor:
        """Logits (N,) that the candidate of each pair agrees with its query; attention (K,) of their entity."""
        logits: Tensor = self.compare(query, candidate, attention) @ self.weights[:3] + self.weights[3]
        return logits

    @staticmethod
    def compare(query: Side, candidate: Side, attention: Tensor) -> Tensor:
        """What the probability is made of, (N, 3): with attention a_k and strengths e_k of a query q and candidate c

        logit s(q, c);  sum_k a_k e_k(c);  sum_k a_k e_k(q) e_k(c).
        """
        cosine = (query.embedding * candidate.embedding).sum(dim=-1)
        alike = candidate.presence.sigmoid() * (1 + cosine) / 2
        strong = candidate.evidence @ attention
        agree = (query.evidence * candidate.evidence) @ attention
        return torch.stack([alike.logit(1e-4), strong, agree], dim=-1)
