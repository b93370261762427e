"""Datasets over an archive for your own training loop.

:class:`ArchiveDataset` is a map-style torch ``Dataset``, :class:`ArchiveDataModule` a ``LightningDataModule`` with its
three parts. An item never holds a pair whose link the pairing hides: image and report of such a study are two items.

Shapes: B items, S side of the square input, F findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from torch.utils.data import DataLoader

from lgdea.api.dataset import ArchiveDataset, Batch, Item, Transform, collate, open_evidence
from lgdea.api.evidence import Evidence
from lgdea.records.archive import Archive
from lgdea.records.pairing import make_pairing

__all__ = ["ArchiveDataModule", "ArchiveDataset", "Batch", "Item", "collate"]


class ArchiveDataModule(L.LightningDataModule):
    """Train, validation and test part of an archive, in batches.

    Args:
        archive: Archive or its folder; its studies must be split.
        evidence: As of :class:`ArchiveDataset`.
        pairing: Which training studies are linked: as of :class:`ArchiveDataset`, or the fraction of the training
            patients whose links are kept (:func:`lgdea.make_pairing` with ``seed``). Validation and test keep all.
        linked: As of :class:`ArchiveDataset`, of the training part; the others hold linked items only if it is True.
        batch_size: Items B of a batch; the last batch of a part may be smaller, that of training is left out.
        num_workers: Processes that load items; 0 loads them in this one.
        seed: Seed of the training order and of a pairing by fraction.
        transform: Random changes of training images, as of :class:`ArchiveDataset`.
        findings: As of :class:`ArchiveDataset`; by default those of all evidence, the same in each part.
        options: Further arguments of :class:`ArchiveDataset`: ``per``, ``image_size``, ``preprocess``, ``cache``, ...

    Attributes:
        train, val, test: The datasets, after :meth:`setup`.

    Raises:
        UsageError: An input is missing or unfinished, or the fraction is outside [0, 1].
        DataError: The pairing is of another archive.

    Example:
        >>> data = lgdea.data.ArchiveDataModule(archive, pairing=0.5, batch_size=4, image_size=64)
        >>> data.setup()
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch["image"].shape, len(batch["text"])
        (torch.Size([4, 1, 64, 64]), 4)
    """

    train: ArchiveDataset
    val: ArchiveDataset
    test: ArchiveDataset

    def __init__(
        self,
        archive: Archive | str | Path,
        *,
        evidence: Evidence | str | Path | None = None,
        pairing: pd.DataFrame | str | Path | float | None = None,
        linked: bool | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        transform: Transform | None = None,
        findings: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.archive = archive if isinstance(archive, Archive) else Archive.open(archive)
        self.evidence = None if evidence is None else open_evidence(evidence, self.archive)
        if isinstance(pairing, int | float):
            pairing = make_pairing(self.archive, pairing, seed)
        self.pairing, self.linked, self.transform = pairing, linked, transform
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        if findings is None and self.evidence is not None:
            findings = [str(name) for name in self.evidence.findings().columns]
        self.findings = list(findings or ())
        self._options = options

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002
        """Make the datasets; a Lightning ``Trainer`` calls this by itself."""
        shared: dict[str, Any] = {"evidence": self.evidence, "findings": self.findings or None, **self._options}
        held_out = {**shared, "linked": self.linked or None}
        self.train = ArchiveDataset(
            self.archive, "train", pairing=self.pairing, linked=self.linked, transform=self.transform, **shared
        )
        self.val = ArchiveDataset(self.archive, "val", **held_out)
        self.test = ArchiveDataset(self.archive, "test", **held_out)

    def train_dataloader(self) -> DataLoader[Item]:
        """Load training batches, each epoch in another order."""
        return self._loader(
            self.train, generator=torch.Generator().manual_seed(self.seed), shuffle=True, drop_last=True
        )

    def val_dataloader(self) -> DataLoader[Item]:
        """Load validation batches in the archive's order."""
        return self._loader(self.val)

    def test_dataloader(self) -> DataLoader[Item]:
        """Load test batches in the archive's order."""
        return self._loader(self.test)

    def _loader(self, dataset: ArchiveDataset, **how: Any) -> DataLoader[Item]:
        workers: dict[str, Any] = {"num_workers": self.num_workers, "persistent_workers": self.num_workers > 0}
        return DataLoader(dataset, self.batch_size, collate_fn=collate, **workers, **how)
