"""LightningDataModule of a run: batches by step, augmented on the device."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from lgdea.imaging.transforms import Augment, Preprocess
from lgdea.objectives.gather import world_size
from lgdea.pretraining.batches import Batch, BatchBuilder
from lgdea.pretraining.sampler import MixedSampler
from lgdea.pretraining.validation import ValidationSet
from lgdea.training.feature_cache import FeatureCache

ON_CPU = ("step", "image_rows", "report_rows", "phrases")
"""Parts of a batch kept in main memory, where they choose rows: a read from a GPU would wait for all work there."""


class PretrainData(L.LightningDataModule):
    """Batches of a run as one endless epoch.

    Args:
        builder: Assembles a batch from a draw.
        sampler: Draws; told where to start when a run is resumed.
        augment: Random views.
        preprocess: Normalisation, the same as at inference.
        linked: Linked images per process and step; they stand first in a batch.
        seed: Of the random views.
        validation: Validation images' ids and labels.
        validation_pixels: ``(N, size, size)`` uint8 frames of them.
    """

    def __init__(
        self,
        *,
        builder: BatchBuilder,
        sampler: MixedSampler,
        augment: Augment,
        preprocess: Preprocess,
        linked: int,
        seed: int,
        validation: ValidationSet | None = None,
        validation_pixels: NDArray[np.uint8] | None = None,
    ) -> None:
        super().__init__()
        self.builder = builder
        self.sampler = sampler
        self.augment = augment
        self.preprocess = preprocess
        self.linked = linked
        self.seed = seed
        self.validation = validation
        self.validation_pixels = validation_pixels
        self.validation_features: FeatureCache | None = None
        """Outputs of a frozen image tower for them."""

    def validation_inputs(self) -> torch.Tensor:
        """Validation images as the image tower takes them: frames, or the cached outputs of a frozen one."""
        if self.validation_features is not None:
            return torch.from_numpy(self.validation_features[:])
        assert self.validation_pixels is not None
        return self.preprocess.normalise(torch.from_numpy(self.validation_pixels)[:, None])

    def train_dataloader(self) -> DataLoader[Batch]:
        """Load batches from the trainer's current step on."""
        if self.trainer is not None:
            self.sampler.start = self.trainer.global_step * self.trainer.accumulate_grad_batches
        return DataLoader(
            self.builder,  # type: ignore[arg-type]
            batch_size=None,
            sampler=self.sampler,  # type: ignore[arg-type]
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            pin_memory=torch.cuda.is_available(),  # else copying it would wait for the GPU
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move what the model takes to ``device``; ``ON_CPU`` stays."""
        moved = {name: part for name, part in batch.items() if name not in ON_CPU}
        return {**batch, **super().transfer_batch_to_device(moved, device, dataloader_idx)}

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Add ``views``, random views of all images, and ``clean``, the unlinked images as they are.

        The random state is set from the seed and the step, so that a resumed run continues bit for bit.
        """
        rank = torch.distributed.get_rank() if world_size() > 1 else 0
        torch.manual_seed((self.seed * 1_000_003 + int(batch["step"])) * 1009 + rank)
        if "images" in batch:
            images: Any = batch.pop("images")
            batch["views"] = self.preprocess.normalise(self.augment(images))
            batch["clean"] = self.preprocess.normalise(images[self.linked :])
        return batch


def _as_it_is(batch: Batch) -> Batch:
    return batch
