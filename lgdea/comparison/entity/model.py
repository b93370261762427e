"""The entity-conditioned model: an image embedding that depends on the entity asked for, and a reranker of pairs.

Shapes: B images, E entities, P patches, C width of the image tower, D shared dimension, H width of the head, K length
of the conditioned embedding, M tokens chosen from an image, N pairs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lgdea.errors import ConfigError
from lgdea.models.heads import Projection, cosine, l2_normalize
from lgdea.models.lgdea_model import LgdeaModel


class Conditioned(NamedTuple):
    """Outputs of :class:`EntityHead` for every image and entity."""

    embedding: Tensor
    """(B, E, K), unit length, float32."""
    attention: Tensor
    """(B, E, P) of the last layer, rows sum to 1."""
    presence: Tensor
    """(B, E) logits that the image shows the entity."""
    values: Tensor
    """(B, P, H) tokens of the patches."""


class CrossAttention(nn.Module):
    """A layer in which entities look at the patches of an image.

    Besides the usual product of query and key a head looks where the evidence space sees the entity, by a learned
    weight of the patch's cosine with it: an entity that this training has never named is looked for where
    pretraining has learned to see it.

    Args:
        width: H.
        heads: Attention heads; must divide ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"the head's width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_query, self.to_key = nn.Linear(width, width), nn.Linear(width, width)
        self.to_value, self.to_out = nn.Linear(width, width), nn.Linear(width, width)
        self.evidence_weight = nn.Parameter(torch.linspace(0.0, 10.0, heads))
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, entities: Tensor, patches: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Look at the patches.

        Shapes:
            entities (B, E, H); patches (B, P, H); evidence (B, E, P) cosines; result (B, E, H) and the attention
            (B, E, P), the mean over the heads.
        """
        query = self._split(self.to_query(self.norm(entities)))
        key, value = self._split(self.to_key(patches)), self._split(self.to_value(patches))
        scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
        weights = (scores + self.evidence_weight[:, None, None] * evidence[:, None]).softmax(dim=-1)
        found = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        entities = entities + self.to_out(found)
        return entities + self.feed_forward(entities), weights.mean(dim=1)

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(1, 2)


class PairReranker(nn.Module):
    """Probability that two images agree on an entity, from the tokens that the entity's attention chose in both.

    Args:
        width: H.
        length: K.
        tokens: M.
        heads: Attention heads.
        layers: Transformer layers.
    """

    def __init__(self, width: int, length: int, *, tokens: int = 6, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.tokens = tokens
        self.from_embedding = nn.Linear(length, width)
        self.segment = nn.Parameter(torch.randn(4, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Sequential(
            nn.LayerNorm(width + 2 * length), nn.Linear(width + 2 * length, width), nn.GELU(), nn.Linear(width, 1)
        )

    def choose(self, out: Conditioned) -> Tensor:
        """The M most attended tokens of each image and entity, scaled by their attention, (B, E, M, H)."""
        weight, place = out.attention.topk(min(self.tokens, out.attention.shape[-1]), dim=-1)
        rows = torch.arange(len(place), device=place.device)[:, None, None]
        share = weight / weight.sum(dim=-1, keepdim=True)
        return out.values[rows, place] * (0.5 + share[..., None].to(out.values.dtype))

    def forward(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
        """Logits (N,) of pairs; each side is its conditioned embedding (N, K) and its chosen tokens (N, M, H)."""
        (a, a_tokens), (b, b_tokens) = first, second
        a_head, b_head = self.from_embedding(a)[:, None], self.from_embedding(b)[:, None]
        parts = (a_head, a_tokens, b_head, b_tokens)
        sequence = torch.cat([part + self.segment[i] for i, part in enumerate(parts)], dim=1)
        pooled = self.encoder(sequence).mean(dim=1)
        logits: Tensor = self.out(torch.cat([pooled, a * b, (a - b).abs()], dim=-1)).squeeze(-1)
        return logits


class EntityHead(nn.Module):
    """Entity-conditioned embeddings, presence and reranking, on the features of a pretrained model.

    Args:
        patch_width: C.
        dim: D.
        width: H.
        length: K.
        layers: Layers of cross-attention.
        heads: Attention heads; must divide ``width``.
        tokens: M.
    """

    def __init__(
        self, patch_width: int, dim: int, *, width: int = 128, length: int = 128, layers: int = 2, heads: int = 4,
        tokens: int = 6,
    ) -> None:  # fmt: skip
        super().__init__()
        self.settings = {"width": width, "length": length, "layers": layers, "heads": heads, "tokens": tokens}
        self.from_patches = nn.Sequential(nn.LayerNorm(patch_width), nn.Linear(patch_width, width))
        self.from_entity = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))
        self.nothing = nn.Parameter(torch.randn(dim) * dim**-0.5)
        """Stands for no entity: the unconditioned embedding."""
        self.layers = nn.ModuleList(CrossAttention(width, heads) for _ in range(layers))
        self.project = Projection(width, length)
        self.project_phrase = Projection(dim, length)
        self.presence = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.reranker = PairReranker(width, length, tokens=tokens, heads=heads)

    def forward(self, patches: Tensor, evidence: Tensor, z: Tensor) -> Conditioned:
        """Look at images with respect to entities; every image has its own E entities.

        Shapes:
            patches (B, P, C) of the image tower; evidence (B, P, D), the same in the evidence space; z (B, E, D).
        """
        values = self.from_patches(patches)
        seen = torch.einsum("bpd,bed->bep", evidence.float(), l2_normalize(z))
        entities = self.from_entity(z)
        attention = seen
        for layer in self.layers:
            entities, attention = layer(entities, values, seen)
        presence = self.presence(entities).squeeze(-1).float()
        return Conditioned(self.project(entities), attention, presence, values)

    def unconditioned(self, patches: Tensor, evidence: Tensor) -> Tensor:
        """Embeddings (B, K) of images without an entity."""
        z = self.nothing.expand(len(patches), 1, -1)
        return self(patches, evidence, z).embedding[:, 0]  # type: ignore[no-any-return]

    def phrase_logits(self, embedding: Tensor, z: Tensor) -> Tensor:
        """Scaled cosines of conditioned embeddings (N, K) with what a report says of the entity, z (T, D): (N, T)."""
        return self.log_scale.exp().clamp(max=100.0) * cosine(embedding, self.project_phrase(z))


class EntityModel(nn.Module):
    """A pretrained model and its entity head.

    Args:
        base: The pretrained model; its weights stay as they are.
        head: The head on it.
        facts: What training noted: ``mix`` (a of the score), ``held_out`` findings, ...
    """

    def __init__(self, base: LgdeaModel, head: EntityHead, facts: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.head = head
        self.facts = dict(facts or {})

    @classmethod
    def create(cls, base: LgdeaModel, **settings: Any) -> EntityModel:
        """A model with an untrained head; ``settings`` are those of :class:`EntityHead`."""
        return cls(base, EntityHead(int(base.image_tower.dim), base.dim, **settings))

    @property
    def mix(self) -> float:
        """Weight a of the cosine in a reranked score a cos + (1 - a) p."""
        return float(self.facts.get("mix", 0.5))

    def train(self, mode: bool = True) -> EntityModel:
        """Set the head's mode; the base always infers."""
        super().train(mode)
        self.base.eval()
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (B, P, C) of preprocessed images and the same in the evidence space (B, P, D), without gradient."""
        patches = self.base.image_tower(images)["patches"]
        return patches, self.base.retrieval_head.patches(self.base.project_patches(patches))

    def forward(self, images: Tensor, z: Tensor) -> Conditioned:
        """Look at preprocessed images (B, 1, S, S) with respect to their entities z (B, E, D)."""
        out: Conditioned = self.head(*self.features(images), z)
        return out

    @torch.no_grad()
    def embed_phrases(self, texts: list[str]) -> Tensor:
        """Evidence embeddings (T, D) of entities and phrases, without gradient."""
        z: Tensor = F.normalize(self.base.embed_phrases(texts), dim=-1)
        return z
