"""Training of the reranker, when the embeddings are done: on the first candidates that they give.

What the reranker has to tell apart are candidates that are much alike. The parts of a batch hold few of those, so its
pairs are taken from whole rankings of training images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lgdea.comparison.entity.model import EntityModel
from lgdea.comparison.entity.ranking import EntityViews, Floats, GradedQueries
from lgdea.objectives.average_precision import smooth_average_precision

LISTS, QUERIES, CANDIDATES = 2, 12, 16
"""Entities of a step, query images of each, and candidates of each query."""
LEARNING_RATE, WEIGHT_DECAY, WARMUP = 3e-4, 0.05, 20
POINTWISE = 0.3
"""Weight of the cross entropy, which keeps probabilities of agreement, beside the ranking loss."""


def train_reranker(
    model: EntityModel, views: EntityViews, graded: Sequence[GradedQueries], *, top: int, steps: int, seed: int
) -> list[float]:
    """Train the reranker of a model on the first candidates of training images; nothing else of it changes.

    Args:
        model: The model, whose embeddings have been trained.
        views: Of training images.
        graded: Entities with their queries; drawn by the root of the number of queries.
        top: Candidates that are reranked; a fifth more are learned from.
        steps: Optimiser steps; 0 leaves the reranker at the similarity itself.
        seed: Of the draws.

    Returns:
        The loss of each step.
    """
    lists = [_first_candidates(views, one, round(1.2 * top)) for one in graded]
    lists = [one for one in lists if len(one[1]) and one[2].shape[1] > 1]
    if not lists or not steps:
        return []
    share = np.sqrt([len(queries) for _, queries, _, _ in lists])
    rng, device = np.random.default_rng(seed), model.base.device
    reranker = model.head.reranker.train()
    parameters = list(reranker.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARMUP) * max(0.05, 0.5 * (1 + np.cos(np.pi * step / steps)))
    )
    losses = []
    for _ in range(steps):
        chosen = rng.choice(len(lists), LISTS, p=share / share.sum())
        loss = torch.stack([_loss(model, views, *_draw(lists[i], rng), device) for i in chosen]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    reranker.eval()
    return losses


def _first_candidates(
    views: EntityViews, one: GradedQueries, count: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], Floats]:
    """Entity, queries (Q,), their first candidates (Q, T) and these grades; queries with too few are left out."""
    queries, grades, known = (part[one.known.sum(axis=1) >= 2] for part in (one.queries, one.grades, one.known))
    if not len(queries):
        return one.entity, queries, np.zeros((0, 0), np.int64), grades
    count = min(count, int(known.sum(axis=1).min()))
    scores = np.where(known, views.similarity(one.entity, queries), -1.0)
    place = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return one.entity, queries, place, np.take_along_axis(grades, place, axis=1)


def _draw(
    one: tuple[int, NDArray[np.int64], NDArray[np.int64], Floats], rng: np.random.Generator
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], Floats]:
    entity, queries, place, grades = one
    rows = rng.choice(len(queries), min(QUERIES, len(queries)), replace=False)
    columns = rng.choice(place.shape[1], min(CANDIDATES, place.shape[1]), replace=False)
    return entity, queries[rows], place[rows][:, columns], grades[rows][:, columns]


def _loss(
    model: EntityModel, views: EntityViews, entity: int, queries: NDArray[np.int64], place: NDArray[np.int64],
    grades: Floats, device: torch.device,
) -> Tensor:  # fmt: skip
    query = views.side(entity, np.repeat(queries, place.shape[1]), device)
    logits = model.head.reranker(query, views.side(entity, place.ravel(), device)).float().reshape(place.shape)
    wanted = torch.as_tensor(grades, device=device).float()
    ranking = smooth_average_precision(logits.sigmoid(), wanted, torch.ones_like(wanted, dtype=torch.bool))
    return ranking + POINTWISE * F.binary_cross_entropy_with_logits(logits, wanted)
