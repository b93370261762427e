"""Rank images by their similarity with respect to an entity, and rerank the first candidates.

Shapes: N images, E entities, Q queries, K length of the conditioned embedding, T evidence tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgdea.comparison.entity.model import EntityModel, similarity
from lgdea.comparison.entity.reranker import Side

Floats = NDArray[np.float32]
PAIRS = 4096
"""Pairs that the reranker compares at once."""


class GradedQueries(NamedTuple):
    """The queries of one entity among N images, and their agreement with all of them."""

    entity: int
    """Column of the entity in the views."""
    queries: NDArray[np.int64]
    """(Q,) rows of images that show it."""
    grades: Floats
    """(Q, N)."""
    known: NDArray[np.bool_]
    """(Q, N) which images are candidates: those of other patients and of the query's modality."""


@dataclass(frozen=True)
class EntityViews:
    """What is kept of N images to rank them by any of E entities, on the CPU."""

    embedding: Tensor
    """(N, E, K) float16, unit length."""
    presence: Tensor
    """(N, E) logits that the image shows the entity."""
    unconditioned: Tensor
    """(N, K) float32, unit length."""
    evidence: Tensor
    """(N, T) float32, strengths of the evidence tokens."""
    attention: Tensor
    """(E, T) of the entities to the evidence tokens."""

    @classmethod
    @torch.inference_mode()
    def encode(cls, model: EntityModel, batches: Iterable[Tensor], entities: Sequence[str]) -> EntityViews:
        """Encode preprocessed images, batch by batch, with respect to entities."""
        device = model.base.device
        z = model.embed_phrases(list(entities))
        reader = model.head.reranker.reader
        attention, parts = reader.attend(z).cpu(), []
        for images in batches:
            features = model.features(images.to(device), z)
            out = model.head(features, z)
            whole, read = model.head.unconditioned(features).float(), reader(features.patches)
            parts.append(cls(out.embedding.half().cpu(), out.presence.cpu(), whole.cpu(), read.cpu(), attention))
        return cls.join(parts)

    @classmethod
    def join(cls, parts: Sequence[EntityViews]) -> EntityViews:
        """The views of all parts' images, in their order, with respect to the same entities."""
        names = ("embedding", "presence", "unconditioned", "evidence")
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        return cls(**joined, attention=parts[0].attention)

    def similarity(self, entity: int, queries: NDArray[np.int64]) -> Floats:
        """Similarities (Q, N) of some images, which show the entity, with all."""
        vectors = self.embedding[:, entity].float()
        found = similarity(vectors[torch.as_tensor(queries)], vectors, self.presence[:, entity])
        return np.asarray(found.numpy(), np.float32)

    def side(self, entity: int, rows: NDArray[np.int64], device: torch.device) -> Side:
        """Images as one side of pairs for the reranker."""
        index = torch.as_tensor(rows)
        parts = (self.embedding[index, entity], self.evidence[index], self.presence[index, entity])
        return Side(*(part.float().to(device) for part in parts))


@torch.inference_mode()
def rerank(
    model: EntityModel,
    views: EntityViews,
    entity: int,
    queries: NDArray[np.int64],
    scores: Floats,
    *,
    top: int,
    mix: float | None = None,
) -> Floats:
    """Score the first candidates of each query by a s + (1 - a) p; the others keep their order behind them.

    Args:
        model: Its reranker gives p, the probability that two images agree on the entity.
        views: Of all images.
        entity: Column of the entity in ``views``.
        queries: (Q,) rows of the queries.
        scores: (Q, N) similarities, -inf for images that are no candidates.
        top: Candidates that are reranked.
        mix: Weight a of the similarity; by default the one that training has chosen.

    Returns:
        (Q, N) scores; those that were reranked lie above all others of their query.
    """
    mix = model.mix if mix is None else mix
    top = min(top, scores.shape[1])
    place = np.argpartition(-scores, top - 1, axis=1)[:, :top]
    row = np.repeat(np.arange(len(queries)), top)
    candidate, known = place.ravel(), np.isfinite(scores[np.arange(len(queries))[:, None], place]).ravel()
    row, candidate = row[known], candidate[known]
    device = model.base.device
    attention = views.attention[entity].to(device)
    probability = np.empty(len(row), np.float32)
    for start in range(0, len(row), PAIRS):
        part = slice(start, start + PAIRS)
        sides = [views.side(entity, rows[part], device) for rows in (queries[row], candidate)]
        probability[part] = model.head.reranker(*sides, attention).float().sigmoid().cpu().numpy()
    reranked = scores - 2.0  # similarities, probabilities and their mixtures lie in [0, 1]: behind every reranked one
    reranked[row, candidate] = mix * scores[row, candidate] + (1 - mix) * probability
    return reranked


def choose_mix(
    model: EntityModel,
    views: EntityViews,
    graded: Iterable[GradedQueries],
    *,
    top: int,
    choices: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> float:
    """Choose the weight a by the mean grade of the first candidate.

    Args:
        model: The model.
        views: Of validation images.
        graded: Entities with their queries.
        top: Candidates that are reranked.
        choices: Weights to choose from; of equals the first.

    Returns:
        The weight; the middle one where no query has a relevant candidate.
    """
    found: list[list[float]] = [[] for _ in choices]
    for entity, queries, grades, known in graded:
        asked = (grades * known).max(axis=1, initial=0) > 0
        if not asked.any():
            continue
        scores = np.where(known, views.similarity(entity, queries), -np.inf)[asked].astype(np.float32)
        for weight, values in zip(choices, found, strict=True):
            best = rerank(model, views, entity, queries[asked], scores, top=top, mix=weight).argmax(axis=1)
            values.extend(grades[asked][np.arange(len(best)), best].tolist())
    means = [float(np.mean(values)) if values else 0.0 for values in found]
    return choices[int(np.argmax(means))] if any(means) else choices[len(choices) // 2]
