"""An image tower from elsewhere: what all runs of a grid start from, as users start from public weights.

A classifier of chest X-rays, trained with the labels of another archive: what encoders trained on CheXpert or NIH
labels are to a hospital. It has seen neither the grid's patients nor any report, and no label for most of the findings
that the grid scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import PositiveFloat, PositiveInt
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.archive import PhantomSettings, make_archive
from lgdea import runs
from lgdea.config import Config
from lgdea.evaluation.tasks.common import label_matrix
from lgdea.imaging.cache import build_cache
from lgdea.imaging.transforms import Augment, Preprocess
from lgdea.models.image_tower import build_image_tower
from lgdea.pretraining.config import ImageConfig
from lgdea.records.archive import Archive
from lgdea.statistics.roc import auroc
from lgdea.training.schedule import learning_rate
from lgdea.vocabulary import load_vocabulary

WEIGHTS = "tower.safetensors"


class TowerConfig(Config):
    """The other archive and how long its labels are learned."""

    phantom: PhantomSettings = PhantomSettings(studies=8000, seed=1000)
    """The archive whose labels are learned."""
    classes: str = "chexpert14"
    """Its label scheme."""
    max_steps: PositiveInt = 2800
    """Optimiser steps."""
    batch_size: PositiveInt = 48
    """Images per step."""
    lr: PositiveFloat = 3e-3
    """Peak learning rate."""


class Classifier(nn.Module):
    """A tower with a linear layer on its pooled vector."""

    def __init__(self, tower: Any, classes: int) -> None:
        super().__init__()
        self.tower = tower
        self.head = nn.Sequential(nn.LayerNorm(tower.dim), nn.Linear(tower.dim, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(B, 1, H, W) -> (B, C)``."""
        logits: Tensor = self.head(self.tower(images)["pooled"])
        return logits


def make_tower(config: TowerConfig, image: ImageConfig, folder: Path) -> Path:
    """Train the tower of ``image``; nothing is done when ``folder`` has it.

    Returns:
        The safetensors file; ``tower.json`` beside it holds each class's AUROC on the other archive's test part.
    """
    if (folder / WEIGHTS).exists():
        return folder / WEIGHTS
    archive = Archive.open(make_archive(config.phantom, folder / "archive"))
    images = archive.images.merge(archive.studies[["study_id", "split"]], on="study_id")
    classes, labels = _labels(config, archive, images)
    cache = build_cache([(i, archive.image_path(i)) for i in images["image_id"]], folder / "image_cache", image.size)
    frames = torch.from_numpy(np.asarray(cache[cache.index(images["image_id"])]))[:, None]
    test = images["split"].to_numpy() == "test"
    model, preprocess = _train(config, image, frames[~test], labels[~test])
    scores = _score(model, preprocess, frames[test])
    told = {name: auroc(scores[:, k], labels[test, k]) for k, name in enumerate(classes)}
    known = {name: value for name, value in told.items() if np.isfinite(value)}
    runs.write_json(folder / "tower.json", {"config": config.model_dump(mode="json"), "auroc": known})
    with runs.atomic(folder / WEIGHTS) as temporary:
        save_file({k: v.contiguous() for k, v in model.tower.state_dict().items()}, temporary)
    return folder / WEIGHTS


def _labels(config: TowerConfig, archive: Archive, images: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Names of the classes that some image shows, and 1 or 0 for each image: the phantom labels all that it paints."""
    classes = load_vocabulary().classes(config.classes)
    labels = np.nan_to_num(label_matrix(archive.labels, images, classes))
    shown = np.flatnonzero(labels.any(axis=0))
    return [classes[k].name for k in shown], labels[:, shown]


def _train(
    config: TowerConfig, image: ImageConfig, frames: Tensor, labels: np.ndarray
) -> tuple[Classifier, Preprocess]:
    torch.manual_seed(0)
    values = frames.float() / 255
    preprocess = Preprocess(size=image.size, mean=float(values.mean()), std=float(values.std()), mode=image.mode)
    augment = Augment(**image.augment.model_dump())
    tower = build_image_tower(image.tower, image.pretrained, image.size, image.stride)
    model = Classifier(tower.to(memory_format=torch.channels_last), labels.shape[1])  # type: ignore[call-overload]
    target = torch.from_numpy(labels).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.05, betas=(0.9, 0.98))
    warmup = config.max_steps // 20
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, steps=config.max_steps, warmup=warmup, final=0.0)
    )
    for rows in _batches(len(frames), config.batch_size, config.max_steps):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(preprocess.normalise(augment(frames[rows])))
        loss = F.binary_cross_entropy_with_logits(logits.float(), target[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    return model.eval(), preprocess


def _batches(count: int, size: int, steps: int) -> Sequence[np.ndarray]:
    """Rows of each step: pass after pass through all items in another order."""
    rng = np.random.default_rng(0)
    passes = -(-steps * size // count)
    rows = np.concatenate([rng.permutation(count) for _ in range(passes)])
    return np.split(rows[: steps * size], steps)


def _score(model: Classifier, preprocess: Preprocess, frames: Tensor) -> np.ndarray:
    with torch.no_grad():
        parts = [model(preprocess.normalise(part)) for part in frames.split(256)]
    scores: np.ndarray = torch.cat(parts).numpy()
    return scores
