"""Train an entity head on a pretrained model, and load the two together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lgdea.comparison.entity.batches import EntityBatches
from lgdea.comparison.entity.config import EntityConfig
from lgdea.comparison.entity.entities import Entity, entities_of
from lgdea.comparison.entity.grades import StudyFacts, agreement
from lgdea.comparison.entity.model import EntityModel
from lgdea.comparison.entity.module import EntityTraining
from lgdea.comparison.entity.ranking import EntityViews, GradedQueries, choose_mix
from lgdea.comparison.entity.reranking import fit_reader, fit_weights
from lgdea.comparison.heads import keep_heads, load_with_head, save_head
from lgdea.comparison.images import cache_images, linked_images, read_units
from lgdea.comparison.run import Training, step_loader, train_head
from lgdea.errors import DataError
from lgdea.imaging.frames import Frames, ImageCache
from lgdea.imaging.transforms import Preprocess
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import load_model, save_model
from lgdea.records.archive import Archive
from lgdea.training.process_info import ProcessInfo
from lgdea.vocabulary.entailment import PRESENT

HEAD = "entity"
BATCH = 64
MAX_RERANKED = 3000
"""Training images that the reranker is fitted to; their views are held in memory."""
MAX_VALIDATION = 1000
"""Validation images on which the reranker's weight is chosen."""


def train_entity_head(config: EntityConfig, out: str | Path) -> Path:
    """Train an entity head; the same call resumes a run that was stopped.

    Args:
        config: The resolved configuration.
        out: Run folder.

    Returns:
        The model folder, ``out/model``: the pretrained model and the head.

    Raises:
        UsageError: An input is missing or unfinished, or ``out`` holds another run.
        DataError: The archive has no training images with reports, or their evidence names no entity often enough.
        TrainingError: The loss is not a number, or training was stopped.
    """
    return train_head(config, out, lambda folder, process: _prepare(config, folder, process))


def load_entity_model(folder: str | Path, device: str = "cpu") -> EntityModel:
    """Load a model with its entity head.

    Args:
        folder: Model folder that ``lgdea compare train --config entity`` wrote.
        device: Torch device of the model (``cuda``).

    Returns:
        The model, in evaluation mode.

    Raises:
        UsageError: No such folder, or it has no entity head.
        DataError: A file is damaged.
    """

    def build(base: LgdeaModel, content: dict[str, Any]) -> EntityModel:
        model = EntityModel.create(base, **content["settings"])
        model.facts = dict(content.get("facts", {}))
        return model

    return load_with_head(folder, HEAD, device, build)


def _prepare(config: EntityConfig, out: Path, process: ProcessInfo) -> Training:
    base = load_model(config.model)
    assert base.preprocess is not None  # a model folder has it
    archive = Archive.open(config.data.archive)
    units = read_units(archive, config.data.evidence)
    sides = [_images(archive, config, split) for split in ("train", "val")]
    every, cache = cache_images(archive, pd.concat(sides), config.data, base.preprocess, out)
    images, validation = (every[every["image_id"].isin(side["image_id"])].reset_index(drop=True) for side in sides)
    batches = EntityBatches(
        images, units, cache.frames(images["image_id"]), config.data, seed=config.seed, rank=process.rank
    )
    torch.manual_seed(config.seed)
    model = EntityModel.create(base, **config.head.model_dump(), evidence=len(batches.entities))
    module = EntityTraining(model, config, _embed_all(model, batches.phrases))
    counts = {"images": len(images), "entities": len(batches.entities), "phrases": len(batches.phrases)}

    def save(folder: Path) -> None:
        model.eval()
        _fit_reranker(model, config, batches, images, units, cache)
        mix = 0.5
        if len(validation):
            frames = cache.frames(validation["image_id"])
            ranked = _ranked(model, validation, units, frames, batches.entities)
            mix = choose_mix(model, *ranked, top=config.rerank_top)
        model.cpu()
        facts = {
            "mix": mix,
            "rerank_top": config.rerank_top,
            "held_out": sorted(config.data.held_out),
            "entities": [entity.text for entity in batches.entities],
        }
        save_model(base, folder, {"name": f"{out.name} (entity head)", "entity head": counts | {"mix": mix}})
        keep_heads(config.model, folder)
        save_head(folder, HEAD, model.head, {"settings": model.head.settings, "facts": facts})

    return Training(module, lambda start: step_loader(batches, start, config), counts, save)


@torch.no_grad()
def _fit_reranker(
    model: EntityModel, config: EntityConfig, batches: EntityBatches, images: pd.DataFrame, units: pd.DataFrame,
    cache: ImageCache,
) -> None:  # fmt: skip
    """Fit the reader of evidence tokens, one per entity of the training, and the reranker's weights."""
    reranker, entities = model.head.reranker, batches.entities
    rows = np.sort(np.random.default_rng(config.seed).permutation(len(images))[:MAX_RERANKED])
    sample = images.iloc[rows].reset_index(drop=True)
    frames = cache.frames(sample["image_id"])
    device = model.base.device
    reranker.reader.phrases.copy_(_embed_all(model, [entity.text for entity in entities]))
    towers = (model.base.image_tower(batch.to(device))["patches"] for batch in preprocessed(model, frames))
    pooled = torch.cat([reranker.reader.pool(patches).cpu() for patches in towers])
    status = np.stack([facts.status[batches.study[rows]] for facts in batches.facts], axis=1)
    strengths = fit_reader(reranker.reader, pooled, status, batches.patient[rows])
    views, graded = _ranked(model, sample, units, frames, entities)
    fit_weights(reranker, replace(views, evidence=strengths), graded, top=config.rerank_top)


def _images(archive: Archive, config: EntityConfig, split: str) -> pd.DataFrame:
    """Training images; validation images if there are any, for the reranker's weight."""
    try:
        images = linked_images(archive, config.data.pairing, split)
    except DataError:
        if split == "train":
            raise
        return pd.DataFrame(columns=["image_id", "study_id", "patient_id", "modality", "site"])
    return images if split == "train" else images.sample(min(len(images), MAX_VALIDATION), random_state=config.seed)


@torch.no_grad()
def _embed_all(model: EntityModel, texts: list[str]) -> Tensor:
    model.eval()
    return torch.cat([model.embed_phrases(texts[i : i + 256]) for i in range(0, len(texts), 256)])


def _ranked(
    model: EntityModel, images: pd.DataFrame, units: pd.DataFrame, frames: Frames, entities: list[Entity]
) -> tuple[EntityViews, list[GradedQueries]]:
    """Views of images, and the queries of each entity that they show with their grades."""
    studies = pd.Index(images["study_id"].unique())
    study = studies.get_indexer(pd.Index(images["study_id"])).astype(np.int64)
    facts = StudyFacts(units, studies)
    patient, modality = (pd.factorize(images[name])[0] for name in ("patient_id", "modality"))
    stated = set(entities_of(facts.present(), least=2))
    asked = [entity for entity in entities if entity in stated]
    views = EntityViews.encode(model, preprocessed(model, frames), [entity.text for entity in asked])
    graded = []
    for column, entity in enumerate(asked):
        of = facts.of(entity).take(study)
        queries = np.flatnonzero(of.status == PRESENT)
        grades = agreement(of.take(queries), of, anatomy=entity.kind == "anatomy")
        known = patient[queries][:, None] != patient[None, :]
        known &= modality[queries][:, None] == modality[None, :]
        graded.append(GradedQueries(column, queries, grades, known))
    return views, graded


def preprocessed(model: EntityModel, frames: Frames) -> Iterator[Tensor]:
    """Batches of cached frames as the model takes them."""
    preprocess = model.base.preprocess
    assert isinstance(preprocess, Preprocess)
    for start in range(0, len(frames), BATCH):
        yield preprocess.normalise(torch.from_numpy(np.asarray(frames[start : start + BATCH]))[:, None])
