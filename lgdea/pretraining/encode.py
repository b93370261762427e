"""Encode a whole corpus without gradient, and calibrate the retrieval head on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgdea.imaging.transforms import Preprocess
from lgdea.models.image_tower import backbone_features
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.objectives.gather import gather, world_size
from lgdea.objectives.histograms import report_histogram
from lgdea.pretraining.batches import UNIT_WEIGHTS, BatchBuilder, Texts
from lgdea.pretraining.corpus import Corpus
from lgdea.pretraining.data import PretrainData
from lgdea.pretraining.propagation import Nodes
from lgdea.vocabulary.entailment import PRESENT
from lgdea.vocabulary.phrases import canonical_phrase

CHUNK = 256


@contextmanager
def inference(trainer: L.Trainer) -> Iterator[None]:
    """Run without gradient, in the trainer's precision."""
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        yield


def data_of(trainer: L.Trainer) -> PretrainData:
    """The data module of a pretraining."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, PretrainData)
    return data


def encode_images(model: LgdeaModel, builder: BatchBuilder, preprocess: Preprocess) -> Nodes:
    """Histograms and pooled embeddings of all N training images."""
    count = len(builder.pixels)
    histograms, pooled = [], []
    for rows in _chunks(count):
        out = model.forward_image(_images(model, builder, preprocess, rows))
        histograms.append(model.image_histogram(out))
        pooled.append(out["pooled"])
    return Nodes(_gather_rows(histograms, count), _gather_rows(pooled, count))


def encode_features(
    model: LgdeaModel, data: PretrainData, linked: NDArray[np.int64], views: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of all N training images by the image tower's backbone (:func:`backbone_features`).

    Args:
        model: Its image tower.
        data: The training images, their augmentation and normalisation.
        linked: Rows of the M images whose views are kept.
        views: V, augmented views of each image beside the image as it is; of a frozen tower at most those cached.
        seed: Of the augmentation.

    Returns:
        ``(N, 2 C)``, the mean over all views of each image, and ``(M, 1 + V, 2 C)``, all views of the linked ones.
    """
    builder = data.builder
    count, kept = len(builder.pixels), []
    mean: NDArray[np.float32] = np.zeros(1, np.float32)
    views = views if builder.features is None else min(views, builder.views)
    training = model.training
    model.eval()
    for view in range(1 + views):
        random = torch.Generator(model.device).manual_seed(seed * 1009 + view)
        parts = []
        for rows in _chunks(count):
            parts.append(backbone_features(model.image_tower, _view(model, data, rows, view, random)))
        features = _gather_rows(parts, count)
        mean = mean + features / np.float32(1 + views)
        kept.append(features[linked])
    model.train(training)
    return mean, np.stack(kept, axis=1)


def _images(model: LgdeaModel, builder: BatchBuilder, preprocess: Preprocess, rows: NDArray[np.int64]) -> Tensor:
    """Images as they are, as the image tower takes them: frames, or the cached outputs of a frozen one."""
    if builder.features is not None:
        return builder.cached(rows).to(model.device)
    return preprocess.normalise(torch.from_numpy(builder.pixels[rows])[:, None].to(model.device))


def _view(model: LgdeaModel, data: PretrainData, rows: NDArray[np.int64], view: int, random: torch.Generator) -> Tensor:
    """A view of images as the image tower takes it: 0 is the image as it is."""
    if view == 0:
        return _images(model, data.builder, data.preprocess, rows)
    if data.builder.features is not None:
        return data.builder.cached(rows, view).to(model.device)
    frames = torch.from_numpy(data.builder.pixels[rows])[:, None].to(model.device)
    return data.preprocess.normalise(data.augment(frames, random))


def calibrate_retrieval_head(
    model: LgdeaModel, builder: BatchBuilder, preprocess: Preprocess, max_items: int = 2000
) -> None:
    """Calibrate the retrieval head on a sample of training items (:mod:`lgdea.models.retrieval_head`).

    Args:
        model: In evaluation mode; every process may do this by itself.
        builder: Holds the training images and reports.
        preprocess: As at inference.
        max_items: Images and reports in the sample, each evenly spread over the archive.
    """
    z = model.embed_phrases([canonical_phrase(finding) for finding in model.findings])
    pooled, image_logits, patches, reports, report_logits = [], [], [], [], []
    for rows in _spread(len(builder.pixels), max_items):
        out = model.forward_image(_images(model, builder, preprocess, rows))
        pooled.append(out["pooled"])
        image_logits.append(model.image_logits(out, z))
        patches.append(out["patches"].mean(dim=1))
    for rows in _spread(len(builder.reports), max_items):
        ids, mask = builder.reports.pad(rows)
        out = model.forward_text(ids.to(model.device), mask.to(model.device))
        reports.append(out["pooled"])
        report_logits.append(model.report_logits(out, z))
    model.retrieval_head.calibrate(
        images=torch.cat(pooled),
        image_logits=torch.cat(image_logits),
        reports=torch.cat(reports),
        report_logits=torch.cat(report_logits),
        patches=torch.cat(patches),
        phrases=z,
        rates=finding_rates(builder.corpus, model.findings).to(model.device),
    )


def finding_rates(corpus: Corpus, findings: Sequence[str]) -> Tensor:
    """Share of the training reports that state each of F findings as present, (F,)."""
    table = corpus.phrases
    place = {finding: i for i, finding in enumerate(findings)}
    count = torch.zeros(len(findings))
    for units in corpus.report_units:
        present = table.unit_phrase[units[table.unit_status[units] == PRESENT]]
        stated = {table.keys[phrase][0] for phrase in present}
        count[[place[finding] for finding in stated if finding in place]] += 1
    return count / max(len(corpus.report_units), 1)


def _spread(count: int, most: int) -> Iterator[NDArray[np.int64]]:
    rows = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def encode_phrases(model: LgdeaModel, phrases: Texts) -> Tensor:
    """Evidence embeddings z ``(T, D)`` of all phrases, on the model's device."""
    rows = np.arange(len(phrases))
    parts = []
    for start in range(0, len(rows), CHUNK):
        ids, mask = phrases.pad(rows[start : start + CHUNK])
        parts.append(model.forward_evidence(ids.to(model.device), mask.to(model.device)))
    return torch.cat(parts)


def encode_reports(model: LgdeaModel, builder: BatchBuilder, temperature: float) -> Nodes:
    """Histograms of the extracted evidence and pooled embeddings of all training reports."""
    table, units = builder.corpus.phrases, builder.corpus.report_units
    flat = np.concatenate([np.zeros(0, dtype=np.int64), *units])
    owner = np.repeat(np.arange(len(units)), [len(u) for u in units])
    weight = UNIT_WEIGHTS[table.unit_status[flat]]
    p = model.prototypes.assign(encode_phrases(model, builder.phrases), temperature).cpu()
    histograms = report_histogram(
        p[torch.from_numpy(table.unit_phrase[flat])], torch.from_numpy(weight), torch.from_numpy(owner), len(units)
    )
    pooled = []
    for rows in _chunks(len(units)):
        ids, mask = builder.reports.pad(rows)
        pooled.append(model.forward_text(ids.to(model.device), mask.to(model.device))["pooled"])
    return Nodes(histograms.float().numpy(), _gather_rows(pooled, len(units)))


def _chunks(count: int) -> Iterator[NDArray[np.int64]]:
    """This process's rows: every W-th, the last ones repeated so that all processes have as many."""
    processes = world_size()
    rank = torch.distributed.get_rank() if processes > 1 else 0
    rows = np.minimum(np.arange(rank, -(-count // processes) * processes, processes), count - 1)
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _gather_rows(parts: list[Tensor], count: int) -> NDArray[np.float32]:
    """Gather all processes' rows in their order, ``(count, ...)``."""
    mine = torch.cat(parts).float()
    everyone = gather(mine).reshape(world_size(), len(mine), -1)
    result: NDArray[np.float32] = everyone.transpose(0, 1).flatten(0, 1)[:count].cpu().numpy()
    return result
