"""LightningModule of an entity head's training.

Shapes: E parts (entities) of a batch, n images of a part, B = E n images, T phrases, K length of the embedding.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from lgdea.comparison.entity.batches import Batch
from lgdea.comparison.entity.config import EntityConfig
from lgdea.comparison.entity.model import EntityModel, similarity
from lgdea.comparison.run import make_optimizer
from lgdea.imaging.transforms import Augment
from lgdea.objectives.average_precision import smooth_average_precision
from lgdea.objectives.contrastive import soft_contrastive
from lgdea.objectives.presence import presence_loss, presence_targets


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
        # Of each image what it gives with respect to the entity of its own part.
        rows = torch.arange(parts * each, device=z.device)
        own = (rows, rows // each)
        embedding = out.embedding[own].reshape(parts, each, -1)
        found = similarity(embedding, embedding, out.presence[own].reshape(parts, each))
        known, temperature = batch["comparable"], self.config.temperature
        losses = {
            "ranking": smooth_average_precision(found, batch["grades"], known, temperature=temperature),
            "unconditioned": smooth_average_precision(
                whole @ whole.transpose(1, 2), batch["overlap"], known, temperature=temperature
            ),
            "contrast": self._contrast(out.embedding[own], batch),
            "presence": presence_loss(out.presence, *presence_targets(batch["status"]), balance=0.75),
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
