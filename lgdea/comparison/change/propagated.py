"""Evidence that propagates from linked pairs to unlinked images, by finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lgdea.comparison.change.labels import study_facts
from lgdea.graph.archive_graph import build_graph
from lgdea.graph.diffusion import confidence_weight
from lgdea.graph.neighbours import node_vectors
from lgdea.imaging.frames import ImageCache
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.vocabulary.entailment import PRESENT, UNCERTAIN
from lgdea.vocabulary.phrases import canonical_phrase

Floats = NDArray[np.float32]
BATCH = 256


@torch.no_grad()
def propagate_findings(
    model: LgdeaModel,
    images: pd.DataFrame,
    reports: pd.DataFrame,
    evidence: pd.DataFrame,
    linked: set[str],
    cache: ImageCache,
    findings: Sequence[str],
) -> tuple[Floats, Floats]:
    """Expected evidence of each image: P targets, P = F_I F_R^T of the linked pairs diffused over both graphs.

    Args:
        model: The pretrained model, in evaluation mode.
        images: N_I rows with ``image_id`` and ``study_id``.
        reports: N_R rows with ``report_id``, ``study_id`` and ``text``.
        evidence: Rows of ``Unit``.
        linked: Studies whose image and report are linked.
        cache: Frames of the images.
        findings: F vocabulary ids.

    Returns:
        (N_I, F) in [0, 1], and the confidence (N_I,); 0 for an image that is not reached.
    """
    place = {study: row for row, study in enumerate(reports["study_id"])}
    pairs = [(i, place[s]) for i, s in enumerate(images["study_id"]) if s in linked and s in place]
    status = study_facts(evidence, reports, list(reports["study_id"]), findings).status
    stated = np.where(status == PRESENT, 1.0, np.where(status == UNCERTAIN, 0.5, 0.0)).astype(np.float32)
    z = model.embed_phrases([canonical_phrase(finding) for finding in findings])
    assigned = model.prototypes.assign(z, model.lesion_temperature).cpu().numpy()
    image_vectors = node_vectors(*_images(model, images, cache))
    report_vectors = node_vectors(_normalised(stated @ assigned), _reports(model, reports["text"].tolist()))
    most = min(len(images), len(reports)) - 1
    graph = build_graph(image_vectors, report_vectors, pairs, neighbours=min(10, most))
    total = np.asarray(graph.image_seeds @ np.asarray(graph.report_seeds.sum(axis=0)).ravel()).ravel()
    expected = np.asarray(graph.image_seeds @ (graph.report_seeds.T @ stated))
    share = np.divide(expected, total[:, None], out=np.zeros_like(expected), where=total[:, None] > 0)
    return share.clip(0, 1).astype(np.float32), np.where(total > 0, confidence_weight(graph.image_seeds), 0).astype(
        np.float32
    )


def _images(model: LgdeaModel, images: pd.DataFrame, cache: ImageCache) -> tuple[Floats, Floats]:
    frames, histograms, pooled = cache.frames(images["image_id"]), [], []
    assert model.preprocess is not None  # a model folder has it
    for start in range(0, len(frames), BATCH):
        pixels = torch.from_numpy(np.asarray(frames[start : start + BATCH]))[:, None].to(model.device)
        out = model.forward_image(model.preprocess.normalise(pixels))
        histograms.append(model.image_histogram(out).cpu().numpy())
        pooled.append(out["pooled"].cpu().numpy())
    return np.concatenate(histograms), np.concatenate(pooled)


def _reports(model: LgdeaModel, texts: list[str]) -> Floats:
    parts = [model.forward_text(**model.tokenize(texts[i : i + BATCH]))["pooled"] for i in range(0, len(texts), BATCH)]
    pooled: Floats = torch.cat(parts).cpu().numpy()
    return pooled


def _normalised(histograms: Floats) -> Floats:
    total = histograms.sum(axis=1, keepdims=True)
    return np.divide(histograms, total, out=np.zeros_like(histograms), where=total > 0)
