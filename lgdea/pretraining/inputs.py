"""Inputs of a pretraining run: archive, evidence and pairing, read from disk and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError
from lgdea.evidence.coverage import require_all_reports
from lgdea.evidence.io import read_evidence
from lgdea.evidence.schema import Unit
from lgdea.imaging.cache import build_cache
from lgdea.imaging.frames import Frames, ImageCache
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.corpus import Corpus, build_corpus, training_states, without_images
from lgdea.pretraining.validation import ValidationSet, validation_set
from lgdea.progress import show_progress
from lgdea.records.archive import Archive
from lgdea.records.pairing import read_pairing

IMAGE_CACHE = "image_cache"
"""Folder of the frames in a run, where the configuration names no other."""


@dataclass(frozen=True)
class Inputs:
    """Inputs read from disk: the training corpus with its pixels, and the validation images."""

    archive: Archive
    corpus: Corpus
    pixels: Frames
    validation: ValidationSet | None
    validation_pixels: NDArray[np.uint8]


def read_inputs(config: PretrainConfig, out: Path, before_images: Callable[[Corpus], None] | None = None) -> Inputs:
    """Read archive, evidence and pairing, and bring all images to the model's frame (cached on disk).

    Args:
        config: The resolved configuration.
        out: Run folder.
        before_images: Called with the corpus before any image is read, which may take hours: builds what may fail.
    """
    archive = Archive.open(config.data.archive)
    evidence = _read_evidence(config)
    pairing, within = read_pairing(config.data.pairing), config.transport.within
    corpus = build_corpus(archive, evidence, pairing, source=config.data.pairing, within=within)
    _check_corpus(config, corpus)
    if before_images is not None:
        before_images(corpus)
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


def input_files(config: PretrainConfig) -> dict[str, Path]:
    """Name the files and folders that a run reads."""
    files = {"archive": config.data.archive, "pairing": config.data.pairing}
    if config.data.evidence is not None:
        files["evidence"] = config.data.evidence
    if config.image.weights is not None:
        files["image_weights"] = config.image.weights
    return files


def check_inputs(config: PretrainConfig) -> None:
    """Refuse inputs that are missing or do not belong together.

    Raises:
        UsageError: An input is missing, or the evidence is not of all the archive's reports.
        DataError: As :func:`~lgdea.pretraining.corpus.training_states`.
    """
    for name, path in input_files(config).items():
        if name != "image_weights" and not path.exists():
            raise UsageError(f"no such {name}", file=path, remedy=f"set data.{name}")
    if config.objective.spec.evidence and config.data.evidence is None:
        raise UsageError(f"objective {config.objective.name} needs evidence", remedy="set data.evidence")
    if config.image.weights is not None and not config.image.weights.is_file():
        problem = "is a folder, not a file of weights" if config.image.weights.is_dir() else "no such file of weights"
        raise UsageError(problem, file=config.image.weights, remedy="set image.weights to a file, or to null")
    archive = Archive.open(config.data.archive)
    if config.data.evidence is not None:
        require_all_reports(config.data.evidence, archive)
    training_states(archive, read_pairing(config.data.pairing), source=config.data.pairing)


def _read_evidence(config: PretrainConfig) -> pd.DataFrame:
    if config.data.evidence is None:
        return pd.DataFrame(columns=list(Unit.model_fields))
    return read_evidence(config.data.evidence)


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
    folder = config.data.image_cache or out / IMAGE_CACHE
    items = [(image, archive.image_path(image)) for image in wanted]
    size, mode, workers = config.image.size, config.image.mode, config.data.cache_workers
    with show_progress("reading images") as progress:
        cache = build_cache(items, folder, size, workers, mode=mode, bits=archive.image_bits, progress=progress)
    if not any(image in cache for image in wanted):
        first = (cache.rejects() or [{"reason": "no images"}])[0]["reason"]
        raise DataError(f"no image can be read ({first})", file=archive.folder, remedy="check image_root")
    cache.warn_of_missing(wanted)
    return cache
