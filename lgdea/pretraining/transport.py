"""Evidence of the unlinked images before a pretraining, by optimal transport to the unlinked reports.

The images are classified by the tower's backbone as training finds it: what a model knows after training on a few
linked images it has mostly memorised, and its logits are as sure of what it does not know. A small network on the
frozen backbone's features learns the linked images in several views, with a dropout that cross-validation chooses;
optimal transport to the reports corrects what it says of the unlinked ones; it learns from all images; and so on.

Shapes: N images, M of them linked, V views of each, F cues (phrases that images and reports are compared by), T
phrases, C width of the features.
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
"""Of a network that learns from all images."""
LINKED_DROPOUT = (0.5, 0.7, 0.8, 0.9)
"""Of one that learns from linked images alone; the fewer they are, the more it takes."""
FOLDS = 3
"""Of the cross-validation that chooses."""
SCALES = (0.25, 0.5, 1.0, 2.0)
"""Of logits, when the cross-validation judges them: how sure they are is not its question."""
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
            data, config = data_of(trainer), module.config
            linked = data.builder.corpus.pairs[:, 0]
            with inference(trainer):
                features = encode_features(module.model, data, linked, config.transport.views, config.seed)
            if trainer.is_global_zero:
                self._find(trainer, module, features)
            trainer.strategy.barrier()
        module.transported = load(self.folder)

    def _find(self, trainer: L.Trainer, module: Pretraining, features: tuple[Floats, Floats]) -> None:
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
    features: tuple[Floats, Floats],
    targets: sparse.csr_array,
    corpus: Corpus,
    config: TransportConfig,
    seed: int,
) -> NDArray[np.float16]:
    """Evidence of unlinked images: that of the unlinked reports, weighted by the transport plan.

    In each round a network learns the cues from the features of the linked images and, but for the first round, of
    the unlinked ones with the evidence found so far. Its logits are softened and shifted until their mean
    probabilities are the rates at which unlinked reports state the cues, and the plan says which report each unlinked
    image is likely to belong to.

    Args:
        features: ``(N, C)`` of all images, and ``(M, V, C)`` views of those in ``corpus.pairs``, of
            :func:`lgdea.pretraining.encode.encode_features`.
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
    x, linked = _standardised(*features)
    told, stated = (targets[rows][:, cues].toarray().astype(np.float32) for rows in (pairs[:, 1], reports))
    groups = corpus.image_groups[images], corpus.report_groups[reports]
    settings: dict[str, Any] = {"block": config.block, "iterations": config.iterations, "seed": seed}
    dropout = choose_dropout(linked, torch.from_numpy(told), corpus.image_patients[pairs[:, 0]], seed)
    network = _learn(linked, torch.from_numpy(told), LINKED_STEPS, dropout, seed)
    for number in range(1, config.rounds + 1):
        softened = _logits(network, x[images]) / config.temperature
        calibrated = softened + shift_to_rates(softened, torch.from_numpy(stated.mean(axis=0)))
        found = transport_evidence(calibrated.numpy(), stated, targets[reports], groups, **settings)
        if number < config.rounds:
            known = np.isfinite(found[:, 0])
            # Twice: what a linked image's report states is certain.
            rows = np.concatenate([pairs[:, 0], pairs[:, 0], images[known]])
            labels = torch.from_numpy(np.concatenate([told, told, found[known][:, cues].astype(np.float32)]))
            network = _learn(x[rows][:, None], labels, ALL_STEPS, DROPOUT, seed + number)
    result[images] = found
    return result


def choose_dropout(linked: Tensor, labels: Tensor, patients: NDArray[np.int64], seed: int) -> float:
    """Choose the dropout with which linked images tell most of others, by cross-validation.

    Args:
        linked: ``(M, V, C)``.
        labels: ``(M, F)`` in [0, 1].
        patients: ``(M,)`` numbers of their patients, by whom images are divided: a patient's studies are alike.
        seed: Of the folds and of the networks.

    Returns:
        That of ``LINKED_DROPOUT`` by which left-out images' labels are likeliest, their logits shifted to the labels'
        rates and scaled as is best for each; the strongest where there are too few patients to tell.
    """
    fold = _folds(patients, seed)
    if len(set(fold.tolist())) < FOLDS:
        return LINKED_DROPOUT[-1]
    losses = {}
    for dropout in LINKED_DROPOUT:
        logits = torch.zeros_like(labels)
        for number in range(FOLDS):
            learned, left = (torch.from_numpy(np.flatnonzero(side)) for side in (fold != number, fold == number))
            network = _learn(linked[learned], labels[learned], LINKED_STEPS, dropout, seed)
            logits[left] = _logits(network, linked[left].mean(dim=1))
        losses[dropout] = min(_calibrated_loss(scale * logits, labels) for scale in SCALES)
    return min(losses, key=losses.__getitem__)


def _calibrated_loss(logits: Tensor, labels: Tensor) -> float:
    """Cross entropy of logits (B, F) that are shifted until their mean probabilities are the labels' rates."""
    shifted = logits + shift_to_rates(logits, labels.mean(dim=0).clamp(1e-3, 1 - 1e-3))
    return float(F.binary_cross_entropy_with_logits(shifted, labels))


def _folds(patients: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Divide images into ``FOLDS``, those of one patient into the same."""
    unique, patient = np.unique(patients, return_inverse=True)
    return np.random.default_rng(seed).permutation(len(unique))[patient] % FOLDS


def _standardised(mean: Floats, linked: Floats) -> tuple[Tensor, Tensor]:
    """Bring the features of all images, and the views of linked ones, to mean 0 and deviation 1."""
    centre, deviation = mean.mean(axis=0), mean.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    return torch.from_numpy((mean - centre) / scale), torch.from_numpy((linked - centre) / scale)


def _learn(views: Tensor, labels: Tensor, steps: int, dropout: float, seed: int) -> nn.Module:
    """A network that has learned the labels (B, F) of images from their views (B, V, C)."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(views.shape[2], HIDDEN),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(HIDDEN, labels.shape[1]),
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows, view = (torch.from_numpy(rng.integers(size, size=BATCH)) for size in views.shape[:2])
            loss = F.binary_cross_entropy_with_logits(network(views[rows, view]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    return network.eval()


def _logits(network: nn.Module, x: Tensor) -> Tensor:
    """Logits (N, F) of images from their features (N, C), the mean over views."""
    with torch.no_grad():
        logits: Tensor = network(x)
    return logits


def _aurocs(scores: Floats, true: NDArray[np.bool_]) -> list[float]:
    """AUROC of the columns that hold both."""
    return [auroc(scores[:, k], true[:, k]) for k in range(true.shape[1]) if 0 < true[:, k].sum() < len(true)]


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
    aurocs = _aurocs(scores, true)
    return {"evidence_auroc": float(np.mean(aurocs))} if aurocs else {}


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
