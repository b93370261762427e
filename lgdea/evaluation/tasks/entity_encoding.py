"""Scores of images with respect to entities: conditioned, reranked, and baselines without the entity or the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lgdea.comparison.entity.model import EntityModel
from lgdea.comparison.entity.ranking import EntityViews, rerank
from lgdea.errors import DataError
from lgdea.evaluation.images import ImageSource
from lgdea.progress import track

Floats = NDArray[np.float32]


class EntityScores(Protocol):
    """Protocol of what ranks N encoded images by entities; needs no torch."""

    def scores(self, entity: int, queries: NDArray[np.int64], known: NDArray[np.bool_]) -> dict[str, Floats]:
        """Scores (Q, N) of each method.

        Args:
            entity: Number of the entity.
            queries: (Q,) rows of the query images.
            known: (Q, N) which images are candidates of each query; the scores of others are not looked at.
        """
        ...


class EncodedImages:
    """The N images of an evaluation as the model sees them: an :class:`EntityScores`.

    Args:
        model: Its reranker scores the first candidates.
        views: With respect to all entities.
        whole: (N, D) unit embeddings of the pretrained model.
        zero_shot: (N, E) its scores of the entities as phrases.
    """

    def __init__(self, model: EntityModel, views: EntityViews, whole: Floats, zero_shot: Floats) -> None:
        self.model, self.views, self.whole, self.zero_shot = model, views, whole, zero_shot

    def scores(self, entity: int, queries: NDArray[np.int64], known: NDArray[np.bool_]) -> dict[str, Floats]:
        """Scores of the methods ``conditioned``, ``reranked``, ``unconditioned``, ``whole_image`` and ``zero_shot``."""
        conditioned = self.views.similarity(entity, queries)
        candidates = np.where(known, conditioned, -np.inf).astype(np.float32)
        top = int(self.model.facts.get("rerank_top", 20))
        bare = self.views.unconditioned.numpy()
        return {
            "conditioned": conditioned,
            "reranked": rerank(self.model, self.views, entity, queries, candidates, top=top),
            "unconditioned": bare[queries] @ bare.T,
            "whole_image": self.whole[queries] @ self.whole.T,
            "zero_shot": np.broadcast_to(self.zero_shot[:, entity], conditioned.shape),
        }


@torch.inference_mode()
def encode_for_entities(
    model: EntityModel, source: ImageSource, images: pd.DataFrame, texts: Sequence[str], batch_size: int
) -> tuple[pd.DataFrame, EncodedImages]:
    """Encode the images of a table with respect to entities.

    Returns:
        The rows that could be read, and their encoding.

    Raises:
        DataError: No image can be read, or an output is not finite.
    """
    prepare: Any = model.base.preprocess
    done: list[str] = []
    views: list[EntityViews] = []
    whole: list[Floats] = []
    phrases: list[Floats] = []
    batches = source.batches(images["image_id"].tolist(), batch_size)
    for ids, pixels in track(batches, "encoding images", len(images), lambda batch: len(batch[0])):
        frames = torch.stack([prepare(image)[0] for image in pixels])
        views.append(EntityViews.encode(model, [frames], texts))
        on_device = frames.to(model.base.device)
        whole.append(model.base.embed_images(model.base.forward_image(on_device)).float().cpu().numpy())
        phrases.append(model.base.score_phrases(frames, list(texts)).float().cpu().numpy())
        done += ids
    if not done:
        raise DataError("no image can be read", remedy="check the archive's image_root")
    encoded = EncodedImages(model, EntityViews.join(views), np.concatenate(whole), np.concatenate(phrases))
    if not np.isfinite(encoded.whole).all() or not torch.isfinite(encoded.views.embedding).all():
        raise DataError("the model gave embeddings that are not finite", remedy="check its weights")
    return images[images["image_id"].isin(done)].reset_index(drop=True), encoded
