"""Evidence of the unlinked images before a pretraining, by optimal transport to the unlinked reports.

The eye of it is the image tower as training finds it: what a model knows after training on a few linked images it has
mostly memorised, and its logits are as sure of what it does not know. A small network on the frozen tower's features
learns the linked images; optimal transport to the reports corrects what it says of the unlinked ones; it learns from
all images; and so on for a few rounds.

Shapes: N images, F cues (phrases that images and reports are compared by), T phrases, C width of the image tower.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from lgdea import runs
from lgdea.errors import DataError
from lgdea.graph.transport import transport_evidence
from lgdea.manifests import check_file, read_manifest, seal
from lgdea.models.retrieval_head import shift_to_rates
from lgdea.pretraining.encode import data_of, encode_features, inference
from lgdea.pretraining.module import Pretraining
from lgdea.pretraining.objective_config import TransportConfig
from lgdea.statistics.roc import auroc
from lgdea.vocabulary.entailment import UNSPECIFIED

if TYPE_CHECKING:
    from lgdea.pretraining.corpus import Corpus

Floats = NDArray[np.float32]

LEAST_RATE = 0.002
"""A rarer phrase says next to nothing of which report an image belongs to."""
HIDDEN = 256
DROPOUT = 0.5
"""Of the network; it learns from a few hundred images."""
BATCH = 128
LINKED_STEPS, ALL_STEPS = 600, 1500
"""Optimiser steps on linked images, and on all."""
FILE = "transported.safetensors"
MANIFEST = "transported.json"

_log = logging.getLogger(__name__)


class TransportCallback(Callback):
    """Finds the evidence of unlinked images before the first step; a resumed run reads what it had found.

    Args:
        folder: The run's ``transport`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Every process encodes its share of the images; the first finds their evidence, which the others read."""
        assert isinstance(module, Pretraining)
        if not (self.folder / MANIFEST).exists():
            with inference(trainer):
                features = encode_features(module.model, data_of(trainer).builder, data_of(trainer).preprocess)
            if trainer.is_global_zero:
                self._find(trainer, module, features)
            trainer.strategy.barrier()
        module.transported = load(self.folder)

    def _find(self, trainer: L.Trainer, module: Pretraining, features: Floats) -> None:
        began = time.perf_counter()
        corpus, targets = data_of(trainer).builder.corpus, module.evidence_targets
        found = transported_evidence(features, targets, corpus, module.config.transport, module.config.seed)
        save(found, self.folder)
        measured = quality(found, corpus, targets)
        for logger in trainer.loggers:
            logger.log_metrics({f"transport/{name}": value for name, value in measured.items()}, step=0)
        count = int(np.isfinite(found[:, :1]).sum())
        _log.info("evidence of %d unlinked images by transport in %.0f s", count, time.perf_counter() - began)


def find_cues(corpus: Corpus, targets: sparse.csr_array) -> NDArray[np.int64]:
    """Phrases by which images and reports are compared: findings, and findings with their side, that reports state.

    Args:
        corpus: Its phrases and reports.
        targets: ``(N_R, T)`` of :func:`lgdea.pretraining.propagation.evidence_targets`.

    Returns:
        Their rows in ``corpus.phrases``.
    """
    rate = np.asarray(targets.mean(axis=0)).ravel()
    plain = [anatomy is None and severity == UNSPECIFIED for _, anatomy, _, severity in corpus.phrases.keys]
    return np.flatnonzero(np.array(plain, bool) & (rate >= LEAST_RATE))


def transported_evidence(
    features: Floats, targets: sparse.csr_array, corpus: Corpus, config: TransportConfig, seed: int
) -> NDArray[np.float16]:
    """Evidence of unlinked images: that of the unlinked reports, weighted by the transport plan.

    In each round a network learns the cues from the features of the linked images and, but for the first round, of
    the unlinked ones with the evidence found so far. Its logits are softened and shifted until their mean
    probabilities are the rates at which unlinked reports state the cues, and the plan says which report each unlinked
    image is likely to belong to.

    Args:
        features: ``(N_I, C')`` of all images.
        targets: ``(N_R, T)`` of :func:`lgdea.pretraining.propagation.evidence_targets`.
        corpus: Its links, the images and reports without one, and their groups.
        config: Settings.
        seed: Of the network and of the division into blocks.

    Returns:
        ``(N_I, T)`` in [0, 1]; NaN for linked images and where an image's group has no report.
    """
    images, reports, pairs = corpus.unpaired_images, corpus.unpaired_reports, corpus.pairs
    result = np.full((len(corpus.image_ids), targets.shape[1]), np.nan, np.float16)
    cues = find_cues(corpus, targets)
    if not all(map(len, (images, reports, pairs, cues))):
        return result
    deviation = features.std(axis=0)
    x = torch.from_numpy((features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1))
    told, stated = (targets[rows][:, cues].toarray().astype(np.float32) for rows in (pairs[:, 1], reports))
    groups = corpus.image_groups[images], corpus.report_groups[reports]
    settings: dict[str, Any] = {"block": config.block, "iterations": config.iterations, "seed": seed}
    rows, labels = pairs[:, 0], torch.from_numpy(told)
    for number in range(config.rounds):
        logits = _learn(x, rows, labels, LINKED_STEPS if number == 0 else ALL_STEPS, seed + number)[images]
        softened = logits / config.temperature
        calibrated = softened + shift_to_rates(softened, torch.from_numpy(stated.mean(axis=0)))
        found = transport_evidence(calibrated.numpy(), stated, targets[reports], groups, **settings)
        known = np.isfinite(found[:, 0])
        # Twice: what a linked image's report states is certain.
        rows = np.concatenate([pairs[:, 0], pairs[:, 0], images[known]])
        labels = torch.from_numpy(np.concatenate([told, told, found[known][:, cues].astype(np.float32)]))
    result[images] = found
    return result


def _learn(x: Tensor, rows: NDArray[np.int64], labels: Tensor, steps: int, seed: int) -> Tensor:
    """Logits (N, F) of all images, by a network that has learned the labels (B, F) of the images ``rows``."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(x.shape[1], HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, labels.shape[1]),
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            drawn = rng.integers(len(rows), size=BATCH)
            loss = F.binary_cross_entropy_with_logits(network(x[rows[drawn]]), labels[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    network.eval()
    with torch.no_grad():
        logits: Tensor = network(x)
    return logits


def quality(found: NDArray[np.float16], corpus: Corpus, targets: sparse.csr_array) -> dict[str, float]:
    """Measure the evidence found against the hidden links (which training never sees).

    Returns:
        ``evidence_auroc``: mean AUROC of the cues that some hidden report states and some does not; nothing where no
        link is hidden.
    """
    hidden = corpus.hidden_pairs[np.isfinite(found[corpus.hidden_pairs[:, 0], :1]).ravel()]
    cues = find_cues(corpus, targets)
    true = targets[hidden[:, 1]][:, cues].toarray() >= 1
    scores = found[hidden[:, 0]][:, cues].astype(np.float32)
    areas = [auroc(scores[:, k], true[:, k]) for k in range(len(cues)) if 0 < true[:, k].sum() < len(true)]
    return {"evidence_auroc": float(np.mean(areas))} if areas else {}


def save(found: NDArray[np.float16], folder: Path) -> None:
    """Write the evidence found, sealed."""
    folder.mkdir(exist_ok=True)
    with runs.atomic(folder / FILE) as temporary:
        save_file({"evidence": found}, temporary)
    runs.write_json(folder / MANIFEST, seal({}, folder, [FILE]))


def load(folder: Path) -> NDArray[np.float16]:
    """Read what :func:`save` wrote.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        check_file(folder / FILE, read_manifest(folder / MANIFEST), folder)
        return load_file(folder / FILE)["evidence"]
    except (SafetensorError, OSError, KeyError) as error:
        raise DataError(f"cannot be read ({error})", file=folder / FILE, remedy="start the run anew") from None
