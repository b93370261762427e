"""LightningModule of an entity head's training.

Shapes: E parts (entities) of a batch, n images of a part, B = E n images, T phrases, K length of the embedding.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F

from lgdea.comparison.entity.batches import Batch
from lgdea.comparison.entity.config import EntityConfig
from lgdea.comparison.entity.model import Conditioned, EntityModel, Side, similarity
from lgdea.comparison.run import make_optimizer
from lgdea.imaging.transforms import Augment
from lgdea.objectives.average_precision import smooth_average_precision
from lgdea.objectives.contrastive import soft_contrastive
from lgdea.objectives.presence import presence_loss, presence_targets

HARDEST, RANDOM = 4, 2
"""Partners of each image that the reranker is trained on: the most similar, and any."""


class EntityTraining(L.LightningModule):
    """Trains the head of an :class:`EntityModel`; a part is ranked within itself, on whatever process it is.

    Args:
        model: The model; only its head is trained.
        config: The run's configuration.
        phrases: ``(T, D)`` evidence embeddings of the entities and of what reports say of them.
    """

    phrases: Tensor

    def __init__(self, model: EntityModel, config: EntityConfig, phrases: Tensor) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.augment = Augment(**config.augment.model_dump())
        self.register_buffer("phrases", phrases, persistent=False)

    def training_step(self, batch: Batch) -> Tensor:
        """Weighted sum of the losses of a batch of :class:`~lgdea.comparison.entity.batches.EntityBatches`."""
        parts, each = batch["grades"].shape[:2]
        z = self.phrases[batch["entity"]]
        features = self.model.features(self._views(batch), z)
        out = self.model.head(features, z)
        whole = self.model.head.unconditioned(features).reshape(parts, each, -1)
        mine = self._own(out, parts)
        embedding = _by_part(mine.embedding, parts)
        found = similarity(embedding, embedding, _by_part(mine.presence, parts))
        known, temperature = batch["comparable"], self.config.temperature
        losses = {
            "ranking": smooth_average_precision(found, batch["grades"], known, temperature=temperature),
            "unconditioned": smooth_average_precision(
                whole @ whole.transpose(1, 2), batch["overlap"], known, temperature=temperature
            ),
            "contrast": self._contrast(mine.embedding, batch),
            "presence": presence_loss(out.presence, *presence_targets(batch["status"]), balance=0.75),
            "reranking": self._reranking(mine, found, batch),
        }
        weights = self.config.losses.model_dump()
        total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        self.log_dict({f"loss/{name}": value.detach() for name, value in losses.items()})
        self.log("loss", total.detach())
        return total

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return make_optimizer(self, self.config)

    def _views(self, batch: Batch) -> Tensor:
        """Random views; the random state is set from the seed and the step, so that a resumed run is the same."""
        torch.manual_seed((self.config.seed * 1_000_003 + int(batch["step"])) * 1009 + self.global_rank)
        preprocess: Any = self.model.base.preprocess
        return preprocess.normalise(self.augment(batch["images"]))  # type: ignore[no-any-return]

    def _contrast(self, embedding: Tensor, batch: Batch) -> Tensor:
        """Images against what the reports of the batch say of their entity; what says the same shares the target."""
        said = batch["phrase"].flatten()
        same = said[:, None] == said[None, :]
        graded = torch.block_diag(*(batch["grades"] * (batch["grades"] == batch["grades"].transpose(1, 2)))) >= 1
        return soft_contrastive(self.model.head.phrase_logits(embedding, self.phrases[said]), (same | graded).float())

    def _reranking(self, mine: Side, found: Tensor, batch: Batch) -> Tensor:
        """Agreement of each image that shows its entity with its nearest neighbours, and with some others."""
        parts, each = found.shape[:2]
        near = found.detach().masked_fill(~batch["comparable"], -1.0)
        partner = near.topk(min(HARDEST, each), dim=-1).indices
        partner = torch.cat([partner, torch.randint(each, (parts, each, RANDOM), device=near.device)], dim=-1)
        shown = batch["grades"].new_tensor(0.0) < batch["grades"].amax(dim=-1)
        weight = (batch["comparable"].gather(2, partner) & shown[..., None]).flatten().float()
        first = torch.arange(parts * each, device=near.device).repeat_interleave(partner.shape[-1])
        second = (partner + torch.arange(parts, device=near.device)[:, None, None] * each).flatten()
        # The reranker learns from what the head gives; the embeddings are not bent to help it.
        given = Side(mine.embedding.detach(), mine.tokens, mine.presence.detach())
        query, candidate = (Side(*(part[rows] for part in given)) for rows in (first, second))
        logits = self.model.head.reranker(query, candidate).float()
        targets = batch["grades"].gather(2, partner).flatten().float()
        each_loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (each_loss * weight).sum() / weight.sum().clamp_min(1.0)

    def _own(self, out: Conditioned, parts: int) -> Side:
        """What each image gives with respect to the entity of its own part."""
        rows = torch.arange(len(out.presence), device=out.presence.device)
        part = rows // (len(rows) // parts)
        tokens = self.model.head.reranker.choose(out)
        return Side(out.embedding[rows, part], tokens[rows, part], out.presence[rows, part])


def _by_part(x: Tensor, parts: int) -> Tensor:
    return x.reshape(parts, -1, *x.shape[1:])
