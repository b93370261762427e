"""Train a change head on a pretrained model, and load the two together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lgdea.comparison.change.batches import ChangeBatches, distant_pairs
from lgdea.comparison.change.config import ChangeTrainingConfig
from lgdea.comparison.change.labels import EVENTS, linked_targets, propagated_targets
from lgdea.comparison.change.model import ChangeModel
from lgdea.comparison.change.module import ChangeTraining
from lgdea.comparison.change.pairs import choose_priors
from lgdea.comparison.change.propagated import propagate_findings
from lgdea.comparison.heads import keep_heads, load_with_head, save_head
from lgdea.comparison.images import cache_images, read_units
from lgdea.comparison.run import Training, step_loader, train_head
from lgdea.errors import DataError
from lgdea.imaging.frames import ImageCache
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import load_model, save_model
from lgdea.records.archive import Archive
from lgdea.records.pairing import read_pairing
from lgdea.training.process_info import ProcessInfo
from lgdea.vocabulary.phrases import canonical_phrase

HEAD = "change"
LEAST = 4
"""A finding of which fewer training pairs say anything is not asked for."""


def train_change_head(config: ChangeTrainingConfig, out: str | Path) -> Path:
    """Train a change head; the same call resumes a run that was stopped.

    Args:
        config: The resolved configuration.
        out: Run folder.

    Returns:
        The model folder, ``out/model``: the pretrained model and the head.

    Raises:
        UsageError: An input is missing or unfinished, or ``out`` holds another run.
        DataError: No training study has a prior, or no report says anything of a change.
        TrainingError: The loss is not a number, or training was stopped.
    """
    return train_head(config, out, lambda folder, process: _prepare(config, folder, process))


def load_change_model(folder: str | Path, device: str = "cpu") -> ChangeModel:
    """Load a model with its change head.

    Args:
        folder: Model folder that ``lgdea compare train --config change`` wrote.
        device: Torch device of the model (``cuda``).

    Returns:
        The model, in evaluation mode.

    Raises:
        UsageError: No such folder, or it has no change head.
        DataError: A file is damaged.
    """

    def build(base: LgdeaModel, content: dict[str, Any]) -> ChangeModel:
        model = ChangeModel.create(base, **content["settings"])
        model.findings = tuple(content["findings"])
        model.log_prior = tuple(content.get("log_prior", model.log_prior))
        return model

    return load_with_head(folder, HEAD, device, build)


def _prepare(config: ChangeTrainingConfig, out: Path, process: ProcessInfo) -> Training:
    base = load_model(config.model)
    assert base.preprocess is not None  # a model folder has it
    archive = Archive.open(config.data.archive)
    units = read_units(archive, config.data.evidence).drop(columns="study_id")
    chosen = choose_priors(archive, "train", prefer=config.data.prefer)
    pairs = pd.concat([chosen.table, *([distant_pairs(chosen.table)] if config.data.more_pairs else [])])
    pairs = pairs.reset_index(drop=True)
    if pairs.empty:
        first = next((f", e.g. {item['id']}: {item['reason']}" for item in chosen.refused or chosen.skipped), "")
        raise DataError(
            f"no training study has a prior{first}", file=archive.folder,
            remedy="a change needs two dated studies of one patient",
        )  # fmt: skip
    images = archive.images[archive.images["image_id"].isin([*pairs["image_prior"], *pairs["image_current"]])]
    images, cache = cache_images(archive, images, config.data, base.preprocess, out)
    readable = pairs["image_prior"].isin(images["image_id"]) & pairs["image_current"].isin(images["image_id"])
    pairs = pairs[readable].reset_index(drop=True)
    targets, findings, counts = _targets(config, base, archive, units, pairs, images, cache)
    used = targets.sum(axis=(1, 2)) > 0
    batches = ChangeBatches(
        pairs[used], targets[used], cache, pairs_per_step=config.data.pairs_per_device,
        asked=config.data.entities_per_pair, seed=config.seed, rank=process.rank,
    )  # fmt: skip
    torch.manual_seed(config.seed)
    model = ChangeModel.create(base, **config.head.model_dump())
    model.findings = tuple(findings)
    asked, natural = batches.event_shares(), batches.natural_shares()
    # Training has added balance log(asked) to the logits: exp(logits) asked^(balance - 1) is free of the batches' mix.
    model.log_prior = tuple((np.log(natural) + (config.balance - 1) * np.log(asked)).tolist())
    with torch.no_grad():
        phrases = base.eval().embed_phrases([canonical_phrase(finding) for finding in findings])
    module = ChangeTraining(model, config, phrases, torch.from_numpy(asked))

    def save(folder: Path) -> None:
        model.eval().cpu()
        save_model(base, folder, {"name": f"{out.name} (change head)", "change head": counts})
        content = {"settings": model.head.settings, "findings": findings, "log_prior": model.log_prior}
        keep_heads(config.model, folder)
        save_head(folder, HEAD, model.head, content)

    return Training(module, lambda start: step_loader(batches, start, config), counts, save)


def _targets(
    config: ChangeTrainingConfig, base: LgdeaModel, archive: Archive, units: pd.DataFrame, pairs: pd.DataFrame,
    images: pd.DataFrame, cache: ImageCache,
) -> tuple[NDArray[np.float32], list[str], dict[str, int]]:  # fmt: skip
    """Targets (N, F, 7) of linked pairs and of those that evidence propagates to, the findings, and counts."""
    data = config.data
    reports = archive.reports[
        archive.reports["study_id"].isin(archive.studies.loc[archive.studies["split"] == "train", "study_id"])
    ]
    linked = set(reports["study_id"])
    if data.pairing is not None:
        states = read_pairing(data.pairing).set_index("study_id")["state"]
        linked &= set(states.index[states == "paired"])
    findings = sorted(set(units.loc[units["report_id"].isin(reports["report_id"]), "finding"]) - {"no_finding"})
    both = (pairs["study_prior"].isin(linked) & pairs["study_current"].isin(linked)).to_numpy()
    known = reports[reports["study_id"].isin(linked)]
    targets = np.zeros((len(pairs), len(findings), len(EVENTS)), np.float32)
    weights = {"unmentioned_weight": data.unmentioned_weight, "graded_weight": data.graded_weight}
    targets[both] = linked_targets(pairs[both], units, known, findings, **weights)
    seen = (targets.sum(axis=2) - targets[..., EVENTS.index("absent")] > 0).sum(axis=0) >= LEAST
    if not seen.any():
        raise DataError(
            f"no finding changes or stays in {LEAST} pairs of linked training studies", file=data.evidence,
            remedy="link more studies, or extract the evidence again",
        )  # fmt: skip
    targets, findings = targets[:, seen], [f for f, kept in zip(findings, seen, strict=True) if kept]
    counts = {"linked pairs": int(both.sum()), "findings": len(findings)}
    if data.propagated_weight and not both.all() and both.any():
        reached, confidence = propagate_findings(base.eval(), images, reports, units, linked, cache, findings)
        place = pd.Index(images["image_id"])
        a, b = (place.get_indexer(pd.Index(pairs.loc[~both, c])) for c in ("image_prior", "image_current"))
        sure = data.propagated_weight * np.minimum(confidence[a], confidence[b])
        targets[~both] = propagated_targets(reached[a], reached[b], sure)
        counts["pairs with propagated evidence"] = int((sure > 0).sum())
    return targets, findings, counts
