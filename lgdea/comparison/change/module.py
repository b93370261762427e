"""LightningModule of a change head's training."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from lgdea.comparison.change.batches import Batch
from lgdea.comparison.change.config import ChangeTrainingConfig
from lgdea.comparison.change.model import ChangeModel, StudyTokens, study_tokens
from lgdea.comparison.run import make_optimizer
from lgdea.imaging.transforms import Augment


class ChangeTraining(L.LightningModule):
    """Trains the head of a :class:`ChangeModel`; the model below it stays.

    Args:
        model: The model.
        config: The run's configuration.
        phrases: (F, D) evidence embeddings of the findings.
        shares: (6,) share of each state among what batches ask.
    """

    phrases: Tensor
    adjustment: Tensor

    def __init__(self, model: ChangeModel, config: ChangeTrainingConfig, phrases: Tensor, shares: Tensor) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.augment = Augment(**config.augment.model_dump())
        self.register_buffer("phrases", phrases, persistent=False)
        self.register_buffer("adjustment", config.balance * shares.float().log(), persistent=False)
        model.base.requires_grad_(False)

    def on_train_start(self) -> None:
        """Keep the model below the head in evaluation mode."""
        self.model.base.eval()

    def training_step(self, batch: Batch) -> Tensor:
        """Loss of a batch of :class:`~lgdea.comparison.change.batches.ChangeBatches`."""
        torch.manual_seed((self.config.seed * 1_000_003 + int(batch["step"])) * 1009 + self.global_rank)
        prior, current = (self._tokens(images) for images in (batch["prior"], batch["current"]))
        logits = self.model.head(prior, current, self.phrases[batch["finding"]])
        loss = change_loss(logits + self.adjustment, batch["target"])
        self.log("loss", loss.detach())
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return make_optimizer(self, self.config)

    def _tokens(self, images: Tensor) -> StudyTokens:
        preprocess: Any = self.model.base.preprocess
        with torch.no_grad():
            study = study_tokens(self.model.base, preprocess.normalise(self.augment(images)))
        count = study.tokens.shape[1]
        kept = torch.randperm(count, device=images.device)[: max(1, round(count * (1 - self.config.token_drop)))]
        return StudyTokens(study.tokens[:, kept], study.shared[:, kept])


def change_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of seven events: the six states, and "in both", which is any of worse, stable and better.

    Definition: - sum_k w_k log P(event k) / sum w, with P("in both") the sum of three states' probabilities. Adding the
    logarithm of the states' frequency to the logits in training alone makes the answers balanced (Menon et al. 2021,
    logit adjustment).

    Args:
        logits: (..., 6).
        target: (..., 7) weight of each event.

    Example:
        >>> round(float(change_loss(torch.zeros(1, 6), torch.eye(7)[6:])), 4)  # "in both" under equal logits: log 2
        0.6931
    """
    log_p = logits.float().log_softmax(dim=-1)
    both = log_p[..., 1:4].logsumexp(dim=-1, keepdim=True)
    return -(target * torch.cat([log_p, both], dim=-1)).sum() / target.sum().clamp_min(1e-6)
