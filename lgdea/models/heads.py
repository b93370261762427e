"""The parts of the model between its towers and the evidence space: projections, lesion queries, prototypes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lgdea.errors import ConfigError

ATTENTION_TEMPERATURE = 4.0
"""GLoRIA's temp1: how sharply a word looks at patches."""
WORD_TEMPERATURE = 5.0
"""GLoRIA's temp2: how much the best words of a report count."""
CHUNK = 16
"""Images compared at once: the attention of all words on all patches is never held whole."""


class Projection(nn.Module):
    """Layer norm, a linear map with a small non-linear correction, unit length.

    Args:
        source: Width of the tower.
        target: The shared width D.
    """

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(source)
        self.linear = nn.Linear(source, target)
        self.hidden = nn.Linear(source, target)
        self.out = nn.Linear(target, target)

    def forward(self, x: Tensor) -> Tensor:
        """Project.

        Shapes:
            x (..., source); result (..., target), float32, unit length.
        """
        x = self.norm(x)
        return l2_normalize(self.linear(x) + self.out(F.gelu(self.hidden(x))))


class LesionQueries(nn.Module):
    """L learned queries that look at the patches, each with the probability that it found something.

    Multi-head cross-attention (METHOD.md section 2); the attention given back is the mean over the heads.

    Args:
        width: Width of the patch tokens.
        queries: L.
        heads: Attention heads; must divide ``width``.
    """

    def __init__(self, width: int, queries: int, heads: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"the image tower's width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(queries, width) * width**-0.5)
        self.norm = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width)
        self.to_key = nn.Linear(width, width)
        self.to_value = nn.Linear(width, width)
        self.to_out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.presence = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, patches: Tensor) -> dict[str, Tensor]:
        """Look at ``patches``.

        Shapes:
            patches (B, P, C); lesions (B, L, C); attention (B, L, P), rows sum to 1; presence (B, L) in (0, 1).
        """
        patches = self.norm(patches)
        query = self._split(self.to_query(self.queries)[None].expand(patches.shape[0], -1, -1))
        key, value = self._split(self.to_key(patches)), self._split(self.to_value(patches))
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = scores.float().softmax(dim=-1)
        found = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        lesions = self.queries + self.to_out(found)
        lesions = lesions + self.feed_forward(lesions)
        presence = self.presence(lesions).squeeze(-1).float().sigmoid()
        return {"lesions": lesions, "attention": weights.mean(dim=1), "presence": presence}

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(1, 2)


class Prototypes(nn.Module):
    """K directions of the evidence space that a histogram counts (METHOD.md section 1, equations 4 and 5).

    ``weight`` is the free parameter; everything that uses it makes it unit length first.
    """

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(l2_normalize(torch.randn(count, dim)))

    def assign(self, z: Tensor, temperature: float) -> Tensor:
        """p(k | z) over these prototypes, see :func:`assign_prototypes`."""
        return assign_prototypes(z, self.weight, temperature)


def assign_prototypes(z: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """Soft assignment of embeddings to prototypes.

    Definition: p(k | z) = softmax_k(z . mu_k / tau), METHOD equation 4.

    Args:
        z: Unit embeddings ``(..., D)``.
        prototypes: mu ``(K, D)`` of any length; only their direction counts.
        temperature: tau; small is sharp.

    Returns:
        Probabilities ``(..., K)`` in float32; rows sum to 1.
    """
    return (cosine(z, l2_normalize(prototypes)) / temperature).softmax(dim=-1)


def l2_normalize(x: Tensor) -> Tensor:
    """Scale ``x`` to unit length along its last axis, in float32."""
    return F.normalize(x.float(), dim=-1)


def matmul_fp32(a: Tensor, b: Tensor) -> Tensor:
    """Multiply ``(..., D)`` by ``(N, D)`` transposed, in float32 also under autocast; ``(..., N)``.

    bfloat16 keeps 8 bits: near 1 it cannot tell cosines apart that differ by less than 0.004, and a unit vector's
    cosine with itself need not be 1.
    """
    with torch.autocast(a.device.type, enabled=False):
        return a.float() @ b.float().t()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarities of unit vectors, ``(..., D), (N, D) -> (..., N)``, in float32 (:func:`matmul_fp32`).

    The arguments are not normalised again: the towers' projections and :func:`l2_normalize` have done so.
    """
    return matmul_fp32(a, b)


def smooth_max(x: Tensor, sharpness: float) -> Tensor:
    """A maximum over the last axis that also teaches the runners-up: log-mean-exp.

    It lies between the mean and the maximum, and does not grow with the number of items.

    Shapes:
        x (..., N); result (...).
    """
    return (torch.logsumexp(x * sharpness, dim=-1) - math.log(x.shape[-1])) / sharpness


def local_similarity(patches: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Similarity of each image's patches with each report's words, ``(B, C)`` in [-1, 1] (GLoRIA, equations 3 to 6).

    Every word attends to the patches; the image's similarity with the report is the log-mean-exp over words of the
    cosine of the word and what it attends to. The mean, where the paper has the sum, makes reports of different
    lengths comparable.

    Args:
        patches: Unit vectors ``(B, P, D)``.
        tokens: Unit vectors ``(C, T, D)``.
        mask: ``(C, T)`` 1 for words, 0 for padding; at least one word each.

    Source: Huang et al. 2021 (GLoRIA).
    """
    return torch.cat([local_similarity_at_once(part, tokens, mask) for part in patches.split(CHUNK)])


def local_similarity_at_once(patches: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """:func:`local_similarity` without its loop, for few images and for graphs of any number of them."""
    patches, tokens, words = patches.float(), tokens.float(), mask.float().sum(dim=1).clamp_min(1.0)
    # Under autocast in bfloat16: this is by far the largest product of a step, and rounding averages out over D.
    attention = (ATTENTION_TEMPERATURE * torch.einsum("bpd,ctd->bctp", patches, tokens)).softmax(dim=-1)
    attended = l2_normalize(torch.einsum("bctp,bpd->bctd", attention, patches))
    relevance = (attended * tokens).sum(dim=-1).masked_fill(mask[None] == 0, float("-inf"))
    return ((WORD_TEMPERATURE * relevance).logsumexp(dim=-1) - words.log()) / WORD_TEMPERATURE
