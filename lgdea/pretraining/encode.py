"""What a model says of a whole corpus, without gradient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgdea.imaging.transforms import Preprocess
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.objectives.histograms import report_histogram
from lgdea.objectives.prototypes import assign
from lgdea.pretraining.batches import BatchBuilder, Tokens
from lgdea.pretraining.data import PretrainData
from lgdea.pretraining.phrases import UNIT_WEIGHTS
from lgdea.pretraining.propagation import Nodes

CHUNK = 256


@contextmanager
def inference(trainer: L.Trainer) -> Iterator[None]:
    """No gradient, and the trainer's precision."""
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        yield


def data_of(trainer: L.Trainer) -> PretrainData:
    """The data module of a pretraining."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, PretrainData)
    return data


def encode_images(model: LgdeaModel, pixels: NDArray[np.uint8], preprocess: Preprocess) -> Nodes:
    """Histograms and pooled embeddings of frames ``(N, size, size)``."""
    histograms, pooled = [], []
    for start in range(0, len(pixels), CHUNK):
        frames = torch.from_numpy(pixels[start : start + CHUNK])[:, None].to(model.device)
        out = model.forward_image(preprocess.normalise(frames))
        histograms.append(model.image_histogram(out).cpu())
        pooled.append(out["pooled"].cpu())
    return Nodes(torch.cat(histograms).float().numpy(), torch.cat(pooled).float().numpy())


def encode_phrases(model: LgdeaModel, phrases: Tokens) -> Tensor:
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
    p = assign(encode_phrases(model, builder.phrases), model.prototypes.weight, temperature=temperature).cpu()
    histograms = report_histogram(
        p[torch.from_numpy(table.unit_phrase[flat])], torch.from_numpy(weight), torch.from_numpy(owner), len(units)
    )
    pooled = []
    for start in range(0, len(units), CHUNK):
        ids, mask = builder.reports.pad(np.arange(start, min(start + CHUNK, len(units))))
        pooled.append(model.forward_text(ids.to(model.device), mask.to(model.device))["pooled"].cpu())
    return Nodes(histograms.float().numpy(), torch.cat(pooled).float().numpy())
