"""A pretraining run from its configuration to a model folder."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lgdea import runs
from lgdea.errors import DataError, TrainingError, UsageError
from lgdea.evidence.io import read_evidence
from lgdea.imaging.cache import Frames, ImageCache, build_cache
from lgdea.imaging.transforms import Augment
from lgdea.models.serialization import save_model
from lgdea.pretraining.batches import BatchBuilder
from lgdea.pretraining.build import build_model
from lgdea.pretraining.callbacks import Checkpoints, LossCheck, ProgressLine, Validation, list_checkpoints
from lgdea.pretraining.chunks import run_in_chunks
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.corpus import Corpus, build_corpus, without_images
from lgdea.pretraining.csv_logger import CsvLogger, truncate_after
from lgdea.pretraining.data import PretrainData
from lgdea.pretraining.encode import settle_comparison
from lgdea.pretraining.graph_refresh import Stages
from lgdea.pretraining.module import Pretraining
from lgdea.pretraining.process_info import DEVICE_KEYS, SINGLE_PROCESS, ProcessInfo, detect_rank, exclusive_lock
from lgdea.pretraining.propagation import evidence_targets
from lgdea.pretraining.sampler import MixedSampler, proportions
from lgdea.pretraining.sharding import FSDP, trainer_settings, whole_state
from lgdea.pretraining.validation import ValidationSet, validation_set
from lgdea.records.archive import Archive
from lgdea.records.pairing import read_pairing

STAGE = "pretrain"


@dataclass(frozen=True)
class Inputs:
    """Inputs read from disk: the training corpus with its pixels, and the validation images."""

    archive: Archive
    corpus: Corpus
    pixels: Frames
    validation: ValidationSet | None
    validation_pixels: NDArray[np.uint8]


def fit(config: PretrainConfig, out: Path) -> Path:
    """Pretrain a model; when ``out`` holds the same run, go on from its newest checkpoint.

    Args:
        config: The resolved configuration.
        out: Run folder: ``config.yaml env.json run.json metrics.csv checkpoints/ graph/ model/ _SUCCESS``.

    Returns:
        The model folder, ``out/model``.

    Raises:
        UsageError: An input is missing or unfinished, or ``out`` holds another run.
        DataError: The inputs do not fit each other.
        TrainingError: The loss is not a number, the evidence space collapsed, or no checkpoint can be read.
    """
    out = Path(out)
    _check_inputs(config)
    sources = {"archive": config.data.archive, "evidence": config.data.evidence, "pairing": config.data.pairing}
    if config.image.weights is not None:
        sources["image_weights"] = config.image.weights
    with _quiet():
        where = detect_rank(config)
        with exclusive_lock(out, where):
            settings = config.model_dump(mode="json")
            resumed = runs.start(out, stage=STAGE, config=settings, inputs=sources, free=DEVICE_KEYS)
        if resumed and runs.is_finished(out):
            return out / "model"
        L.seed_everything(config.seed, verbose=False)
        inputs = read_inputs(config, out)
        module, data = build(config, inputs, where)
        _train(config, out, module, data, inputs, processes=where.processes)
    if where.rank == 0:
        if module.average.scoring == "presence":
            with torch.no_grad():
                settle_comparison(module.average, data.builder, data.preprocess)
        _save(config, out, module, inputs)
    return out / "model"


def read_inputs(config: PretrainConfig, out: Path) -> Inputs:
    """Read archive, evidence and pairing, and bring all images to the model's frame (cached on disk)."""
    archive = Archive.open(config.data.archive)
    evidence = read_evidence(config.data.evidence)
    corpus = build_corpus(archive, evidence, read_pairing(config.data.pairing), source=config.data.pairing)
    validation = None
    if config.validation.max_images:
        settings = {"max_images": config.validation.max_images, "seed": config.seed}
        validation = validation_set(archive, evidence, **settings)
    wanted = corpus.image_ids + (validation.image_ids if validation else [])
    cache = _cache(config, out, archive, wanted)
    corpus = without_images(corpus, {image for image in corpus.image_ids if image not in cache})
    if validation is not None:
        readable = [image in cache for image in validation.image_ids]
        ids = [image for image, ok in zip(validation.image_ids, readable, strict=True) if ok]
        validation = ValidationSet(ids, validation.classes, validation.labels[readable])
    _check_corpus(config, corpus)
    empty = np.zeros((0, config.image.size, config.image.size), dtype=np.uint8)
    return Inputs(
        archive,
        corpus,
        cache.frames(corpus.image_ids),
        validation,
        np.asarray(cache[cache.index(validation.image_ids)]) if validation else empty,
    )


def build(
    config: PretrainConfig, inputs: Inputs, where: ProcessInfo = SINGLE_PROCESS
) -> tuple[Pretraining, PretrainData]:
    """Build the module and its data for this process."""
    rank, processes = where.rank, where.processes
    corpus = inputs.corpus
    spec = config.objective.spec
    pool = (len(corpus.pairs), len(corpus.unpaired_images), len(corpus.unpaired_reports))
    linked, images, reports = proportions(
        batch_size=config.data.batch_size_per_device,
        paired_share=config.data.paired_share,
        reports=config.data.unpaired_reports_per_device,
        pool=(pool[0] // processes, pool[1] // processes * spec.images, pool[2] // processes * spec.reports),
    )
    model = build_model(config, corpus, inputs.pixels)
    if config.speed.channels_last:
        model.image_tower.to(memory_format=torch.channels_last)
    targets = evidence_targets(corpus) if config.propagates else None
    module = Pretraining(model, config, linked=linked, evidence_targets=targets)
    torch.set_float32_matmul_precision("high" if config.speed.tf32 else "highest")
    if config.speed.chunk_size is not None:  # after the moving average was copied, which needs no gradient
        for tower in (model.image_tower, model.text_tower):
            run_in_chunks(tower, config.speed.chunk_size)
    if config.speed.compile:  # after the moving average was copied, which is used too seldom to compile it
        model.image_tower.compile()
        model.text_tower.compile()
    builder = BatchBuilder(
        corpus,
        inputs.pixels,
        model.tokenizer,
        max_tokens=config.text.max_tokens,
        phrases_per_step=config.objective.phrases_per_step * spec.evidence,
        seed=config.seed,
        images_from=module.evidence_steps * config.trainer.get("accumulate_grad_batches", 1),
        rank=rank,
        processes=processes,
    )
    sampler = MixedSampler(
        pairs=pool[0],
        images=pool[1],
        reports=pool[2],
        per_step=(linked * processes, images * processes, reports * processes),
        steps=config.max_steps * config.trainer.get("accumulate_grad_batches", 1),
        seed=config.seed,
    )
    assert model.preprocess is not None
    augment = Augment(**config.image.augment.model_dump())
    data = PretrainData(
        builder=builder, sampler=sampler, augment=augment, preprocess=model.preprocess, linked=linked, seed=config.seed
    )
    return module, data


def _train(
    config: PretrainConfig, out: Path, module: Pretraining, data: PretrainData, inputs: Inputs, *, processes: int
) -> None:
    settings = {"accelerator": "auto", "log_every_n_steps": 10, "enable_model_summary": False, **config.trainer}
    callbacks: list[L.Callback] = [
        Stages(out / "graph"),
        LossCheck(out, settings["log_every_n_steps"]),
        Checkpoints(out / "checkpoints", config.checkpoint.every_steps),
        ProgressLine(),
    ]
    if config.objective.name != "lgdea":
        del callbacks[0]
    if inputs.validation is not None:
        callbacks.insert(-2, Validation(inputs.validation, inputs.validation_pixels, config.validation.every_steps))
    if settings.get("strategy", "auto") in ("auto", "ddp") and processes > 1:
        # The stages of lgdea use different parts of the model: the first has no images.
        settings["strategy"] = "ddp_find_unused_parameters_true"
    trainer = L.Trainer(
        **trainer_settings(settings),
        max_epochs=1,
        logger=CsvLogger(out / "metrics.csv"),
        callbacks=callbacks,
        default_root_dir=out,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    (out / "checkpoints").mkdir(exist_ok=True)
    start = newest_checkpoint(out / "checkpoints")
    if trainer.is_global_zero:
        truncate_after(out / "metrics.csv", checkpoint_step(start))
    if checkpoint_step(start) >= config.max_steps:
        content = torch.load(start, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
        module.load_state_dict(content["state_dict"])
        return
    whole = copy.deepcopy(module.average) if settings.get("strategy") == FSDP else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
    except SystemExit:
        if trainer.interrupted:  # Lightning turns Ctrl-C into an exit; a caller wants the interrupt itself
            raise KeyboardInterrupt from None
        raise
    if whole is not None:
        state = whole_state(module.average)
        if trainer.is_global_zero:
            whole.load_state_dict(state)
        module.average = whole
    if trainer.global_step < config.max_steps:
        raise TrainingError(
            f"training stopped at step {trainer.global_step} of {config.max_steps}",
            file=out,
            remedy="repeat the command to resume",
        )


def newest_checkpoint(folder: Path) -> Path | None:
    """Find the newest checkpoint that can be read.

    Raises:
        TrainingError: There are some, but none can be read.
    """
    files = list_checkpoints(folder)
    for file in files:
        try:
            torch.load(file, map_location="meta", weights_only=True)
        except Exception:
            continue
        return file
    if files:
        raise TrainingError("no checkpoint can be read", file=folder, remedy="remove the run folder and start anew")
    return None


def checkpoint_step(checkpoint: Path | None) -> int:
    """Step number in a checkpoint's name; 0 without one."""
    return int(checkpoint.stem.removeprefix("step-")) if checkpoint else 0


def _save(config: PretrainConfig, out: Path, module: Pretraining, inputs: Inputs) -> None:
    counts = inputs.corpus.counts()
    fields = {
        "name": f"{out.name} ({config.objective.name})",
        "data": {"archive": inputs.archive.name, **counts},
        "training": {
            "objective": config.objective.name,
            "steps": config.max_steps,
            "images per step and device": config.data.batch_size_per_device,
            "seed": config.seed,
        },
    }
    save_model(module.average.cpu(), out / "model", fields)
    runs.finish(out, steps=config.max_steps, counts=counts, metrics=last_values(out / "metrics.csv"))


def last_values(file: Path) -> dict[str, float]:
    """Read the last value of each metric; empty when the run was shorter than the logging interval."""
    if not file.exists():
        return {}
    table = pd.read_csv(file)
    last = table.groupby("name")["value"].last()
    return {str(name): float(value) for name, value in last.items() if np.isfinite(value)}


def _check_inputs(config: PretrainConfig) -> None:
    for name in ("archive", "evidence", "pairing"):
        path = getattr(config.data, name)
        if not path.exists():
            raise UsageError(f"no such {name}", file=path, remedy=f"set data.{name}")
    if config.image.weights is not None and not config.image.weights.is_file():
        raise UsageError(
            "no such file of weights", file=config.image.weights, remedy="set image.weights to a safetensors file"
        )


def _check_corpus(config: PretrainConfig, corpus: Corpus) -> None:
    if len(corpus.pairs) < 2:
        raise DataError(
            f"leaves {len(corpus.pairs)} linked training pairs, at least 2 are needed",
            file=config.data.pairing,
            remedy="pair a larger fraction",
        )
    if config.objective.spec.evidence and not len(corpus.phrases):
        raise DataError(
            "holds no evidence of the training reports",
            file=config.data.evidence,
            remedy="extract it from this archive with `lgdea extract`",
        )


def _cache(config: PretrainConfig, out: Path, archive: Archive, wanted: list[str]) -> ImageCache:
    folder = config.data.image_cache or out / "image_cache"
    items = [(image, archive.image_path(image)) for image in wanted]
    cache = build_cache(items, folder, config.image.size, config.data.cache_workers, mode=config.image.mode)
    if not any(image in cache for image in wanted):
        first = (cache.rejects() or [{"reason": "no images"}])[0]["reason"]
        raise DataError(f"no image can be read ({first})", file=archive.folder, remedy="check image_root")
    return cache


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's tips and expected warnings."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels: list[Any] = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*ckpt_path.*|.*num_workers.*|.*dataloader is not resumable.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
