"""The entity-conditioned model: an image embedding that depends on the entity asked for, and a reranker of pairs.

Retrieval asks for cases like the query with respect to an entity that the query shows. A candidate is as similar as its
conditioned embedding is, times the probability that it shows the entity at all.

Shapes: B images, E entities, P patches, C width of the image tower, D shared dimension, H width of the head, K length
of the conditioned embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lgdea.comparison.entity.reranker import PairReranker
from lgdea.errors import ConfigError
from lgdea.models.heads import Projection, cosine, l2_normalize
from lgdea.models.lgdea_model import LgdeaModel


class Features(NamedTuple):
    """What the pretrained model makes of B images and E entities; the head stands on it."""

    patches: Tensor
    """(B, P, C) of the image tower."""
    seen: Tensor
    """(B, E, P) cosine of each patch with each entity, in the space in which the model compares them."""
    prior: Tensor
    """(B, E) its own logits that the image shows the entity."""


class Conditioned(NamedTuple):
    """Outputs of :class:`EntityHead` for B images and E entities."""

    embedding: Tensor
    """(B, E, K), unit length, float32."""
    attention: Tensor
    """(B, E, P) of the last layer, rows sum to 1."""
    presence: Tensor
    """(B, E) logits that the image shows the entity."""


def similarity(queries: Tensor, candidates: Tensor, presence: Tensor) -> Tensor:
    """Similarity of queries with candidates with respect to an entity that the queries show.

    Definition: p_c (1 + cos(u_q, u_c)) / 2 in [0, 1], with p_c the probability that the candidate shows the entity.
    It is the cosine of the unit vectors [u_q, 1, 0] / sqrt(2) and [p_c u_c / sqrt(2), p_c / sqrt(2), sqrt(1 - p_c^2)],
    so that any index of inner products can search by it.

    Shapes:
        queries (..., Q, K), candidates (..., C, K), unit length; presence (..., C) logits; result (..., Q, C).
    """
    cosines = queries.float() @ candidates.float().transpose(-1, -2)
    return presence.float().sigmoid().unsqueeze(-2) * (1 + cosines) / 2


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


class EntityHead(nn.Module):
    """Entity-conditioned embeddings, presence and reranking, on the features of a pretrained model.

    Args:
        patch_width: C.
        dim: D.
        grid: Rows and columns of patches.
        width: H.
        length: K.
        layers: Layers of cross-attention.
        heads: Attention heads; must divide ``width``.
        evidence: Evidence tokens of the reranker; 0 leaves it at the similarity.
    """

    def __init__(
        self, patch_width: int, dim: int, grid: tuple[int, int], *, width: int = 128, length: int = 128,
        layers: int = 2, heads: int = 4, evidence: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.settings = {"width": width, "length": length, "layers": layers, "heads": heads, "evidence": evidence}
        self.from_patches = nn.Sequential(nn.LayerNorm(patch_width), nn.Linear(patch_width, width))
        self.from_entity = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))
        self.nothing = nn.Parameter(torch.randn(dim) * dim**-0.5)
        """Stands for no entity: the unconditioned embedding."""
        self.layers = nn.ModuleList(CrossAttention(width, heads) for _ in range(layers))
        self.project = Projection(width, length)
        self.project_phrase = Projection(dim, length)
        self.presence = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        self.prior = nn.Parameter(torch.tensor([1.0, 0.0]))
        """Weight and bias of the pretrained model's logit in that of presence."""
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.reranker = PairReranker(patch_width, dim, grid, evidence)

    def forward(self, features: Features, z: Tensor) -> Conditioned:
        """Look at B images with respect to E entities.

        Args:
            features: Of the images and entities.
            z: ``(E, D)`` embeddings of the entities.
        """
        values = self.from_patches(features.patches)
        entities = self.from_entity(z).expand(len(values), -1, -1)
        entities, attention = self._attend(entities, values, features.seen)
        weight, bias = self.prior
        presence = self.presence(entities).squeeze(-1).float() + weight * features.prior.float() + bias
        return Conditioned(self.project(entities), attention, presence)

    def unconditioned(self, features: Features) -> Tensor:
        """Embeddings (B, K) of images without an entity, unit length."""
        values = self.from_patches(features.patches)
        nothing = self.from_entity(self.nothing).expand(len(values), 1, -1)
        blank = torch.zeros_like(features.seen[:, :1])
        return self.project(self._attend(nothing, values, blank)[0])[:, 0]  # type: ignore[no-any-return]

    def _attend(self, entities: Tensor, values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        attention = seen
        for layer in self.layers:
            entities, attention = layer(entities, values, seen)
        return entities, attention

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
        return cls(base, EntityHead(int(base.image_tower.dim), base.dim, base.grid, **settings))

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
    def features(self, images: Tensor, z: Tensor) -> Features:
        """The pretrained model's view of preprocessed images (B, 1, S, S) and entities z (E, D), without gradient."""
        base = self.base
        tower = base.image_tower(images)
        patches = tower["patches"]
        if base.scoring == "presence":
            out = base.forward_features(tower)
            evidence = l2_normalize(base.retrieval_head.patches(out["patches"]))
            prior = base.image_logits(out, z)
        else:
            pooled = base.project_pooled(tower["pooled"])
            evidence = (base.project_pooled if base.scoring == "global" else base.project_patches)(patches)
            prior = base.global_logit_scale * cosine(pooled, z)
        return Features(patches, cosine(evidence, z).transpose(1, 2), prior)

    def forward(self, images: Tensor, z: Tensor) -> Conditioned:
        """Look at preprocessed images (B, 1, S, S) with respect to entities z (E, D)."""
        out: Conditioned = self.head(self.features(images, z), z)
        return out

    @torch.no_grad()
    def embed_phrases(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (T, D) of entities and phrases in the space in which the model compares them with images."""
        if self.base.scoring == "presence":
            return self.base.embed_phrases(texts)
        return self.base.forward_text(**self.base.tokenize(texts))["pooled"]
