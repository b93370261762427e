"""Frozen towers in a pretraining: their outputs are computed once, before the first step, and trained on."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from filelock import FileLock
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import nn

from lgdea.errors import UsageError
from lgdea.models.cached_rows import pack, row_width
from lgdea.objectives.gather import world_size
from lgdea.pretraining.batches import BatchBuilder, CachedTexts, Texts
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.data import PretrainData
from lgdea.pretraining.encode import data_of, inference
from lgdea.pretraining.module import Pretraining
from lgdea.training.feature_cache import FeatureCache

Halves = NDArray[np.float16]

IMAGES_PER_CHUNK = 16
TEXTS_PER_CHUNK = 64
LOG_SECONDS = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caches:
    """The caches of a run; None where a tower is trained.

    Attributes:
        images: Training images, each as it is and then its augmented views.
        validation: Validation images as they are.
        texts: Reports, wordings of phrases, and phrases, in this order.
    """

    images: FeatureCache | None = None
    validation: FeatureCache | None = None
    texts: FeatureCache | None = None


def plan_caches(config: PretrainConfig, module: Pretraining, data: PretrainData, root: Path, precision: str) -> Caches:
    """Say which caches the run needs, and check that they fit on the disk.

    Args:
        config: The run's configuration.
        module: Its towers have their weights.
        data: Its data.
        root: Folder of caches.
        precision: Of the trainer.

    Raises:
        UsageError: They do not fit.
    """
    model, builder = module.model, data.builder
    images = validation = texts = None
    if config.caches_images:
        tower, views = model.image_tower, config.image.cached_views
        recipe = {
            "tower": tower.describe(),
            "weights": _hash_weights(tower.backbone),
            "preprocess": data.preprocess.to_dict(),
            "precision": precision,
        }
        width, step = row_width(tower), 1 + views
        images = FeatureCache(
            root,
            {**recipe, "images": builder.pixels.fingerprint(), "augment": config.image.augment.model_dump()},
            rows=len(builder.pixels) * step,
            width=width,
            chunk=IMAGES_PER_CHUNK * step,
        )
        if data.validation_pixels is not None and len(data.validation_pixels):
            shown = hashlib.sha256(data.validation_pixels.tobytes()).hexdigest()
            rows = len(data.validation_pixels)
            validation = FeatureCache(root, {**recipe, "images": shown}, rows=rows, width=width, chunk=IMAGES_PER_CHUNK)
        images.require_space(
            f"the features of {len(builder.pixels):,} images in {step} views",
            "set data.feature_cache to a larger disk, or lower image.cached_views or image.size",
        )
    if config.caches_texts:
        tower = model.text_tower
        digest = hashlib.sha256()
        for text in _texts(builder):
            for part in text.pad(np.arange(len(text))):
                digest.update(part.numpy().tobytes())
        recipe = {"tower": tower.describe(), "weights": _hash_weights(tower.backbone), "precision": precision}
        rows = sum(map(len, _texts(builder)))
        recipe["texts"] = digest.hexdigest()
        texts = FeatureCache(root, recipe, rows=rows, width=row_width(tower), chunk=TEXTS_PER_CHUNK)
    return Caches(images, validation, texts)


class FillCaches(Callback):
    """Compute what is missing of the caches before the first step, and train on them.

    Every process computes its share; the files are on a disk that all of them see.
    """

    def __init__(self) -> None:
        self.caches = Caches()

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Fill the caches; towers are on their devices by now, and processes know of each other."""
        assert isinstance(module, Pretraining)
        data, model, caches = data_of(trainer), module.model, self.caches
        builder = data.builder
        if caches.images is not None:
            step = 1 + module.config.image.cached_views

            def encode(number: int, rows: slice) -> Halves:
                frames = builder.pixels[np.arange(rows.start // step, rows.stop // step)]
                return _encode_views(model.image_tower, data, frames, step - 1, seed=number)

            _fill(caches.images, encode, trainer, f"{len(builder.pixels):,} images in {step} views")
        if caches.validation is not None:
            pixels: Any = data.validation_pixels
            encode_shown = partial(_encode_shown, model.image_tower, data)
            _fill(caches.validation, encode_shown, trainer, f"{len(pixels):,} validation images")
        if caches.texts is not None:
            encode_texts = partial(_encode_texts, model.text_tower, _texts(builder), module.device)
            _fill(caches.texts, encode_texts, trainer, f"{caches.texts.rows:,} texts")
        use_caches(caches, module, data)


def use_caches(caches: Caches, module: Pretraining, data: PretrainData) -> None:
    """From now on train, validate and encode on filled caches."""
    builder = data.builder
    if caches.images is not None:
        builder.features, builder.views = caches.images, module.config.image.cached_views
    data.validation_features = caches.validation
    if caches.texts is not None:
        starts = np.cumsum([0, *map(len, _texts(builder))])
        builder.reports, builder.wordings, builder.phrases = (
            CachedTexts(caches.texts, slice(start, end)) for start, end in pairwise(starts)
        )


def _texts(builder: BatchBuilder) -> tuple[Texts, Texts, Texts]:
    """All texts of a run, in the order in which a cache has them."""
    return builder.reports, builder.wordings, builder.phrases


def _fill(cache: FeatureCache, encode: Callable[[int, slice], Halves], trainer: L.Trainer, what: str) -> None:
    lock = FileLock(cache.folder.parent / f".{cache.folder.name}.lock")
    if trainer.is_global_zero:  # runs that share a cache take turns
        try:
            cache.folder.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UsageError(
                "the cache of features cannot stand in a file",
                file=cache.folder.parent,
                remedy="set data.feature_cache",
            ) from None
        lock.acquire()
    try:
        if trainer.is_global_zero:
            cache.open()
        trainer.strategy.barrier()
        began = logged = time.monotonic()
        waiting = list(cache.waiting(trainer.global_rank, world_size()))
        if waiting and trainer.is_global_zero:
            _log.info("computing a frozen tower's features of %s once: %s in %s", what, cache.size, cache.folder)
        for place, (number, rows) in enumerate(waiting):
            with inference(trainer):
                cache.write(number, encode(number, rows))
            if trainer.is_global_zero and time.monotonic() - logged > LOG_SECONDS:
                logged = time.monotonic()
                _log.info("features: %d of %d parts in %.0f s", place + 1, len(waiting), logged - began)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            cache.finish()
        trainer.strategy.barrier()
    finally:
        if trainer.is_global_zero:
            lock.release()


def _encode_views(tower: Any, data: PretrainData, frames: Any, views: int, *, seed: int) -> Halves:
    """Packed features of frames (B, S, S): each as it is and ``views`` times augmented, (B * (1 + views), F)."""
    device = next(tower.parameters()).device
    images = torch.from_numpy(frames)[:, None].to(device)
    generator = torch.Generator(device).manual_seed(seed)
    every = [images, *(data.augment(images, generator) for _ in range(views))]
    # Joined outside torch: autocast to bfloat16 refuses to join float16 on a CPU.
    rows = [pack(tower.encode(data.preprocess.normalise(view))).cpu().numpy() for view in every]
    return np.stack(rows, axis=1).reshape(len(frames) * len(every), -1)


def _encode_shown(tower: Any, data: PretrainData, number: int, rows: slice) -> Halves:
    """Packed features of validation images as they are."""
    assert data.validation_pixels is not None
    return _encode_views(tower, data, data.validation_pixels[rows], 0, seed=number)


def _encode_texts(tower: Any, texts: Sequence[Texts], device: torch.device, _: int, rows: slice) -> Halves:
    """Packed outputs of the rows of ``texts``, one after the other."""
    parts, start = [], 0
    for text in texts:
        mine = np.arange(max(rows.start - start, 0), min(rows.stop - start, len(text)))
        if len(mine):
            ids, mask = text.pad(mine)
            parts.append(pack(tower.encode(ids.to(device), mask.to(device))).cpu().numpy())
        start += len(text)
    return np.concatenate(parts)


def _hash_weights(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
