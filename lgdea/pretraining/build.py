"""Build the model of a run: towers, tokenizer, preprocessing and the findings that it knows."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import torch

from lgdea.imaging.frames import Frames
from lgdea.imaging.transforms import Augment, Preprocess
from lgdea.models.create import create_model
from lgdea.models.image_tower import names_weights
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import load_image_tower
from lgdea.pretraining.batches import BatchBuilder
from lgdea.pretraining.chunks import run_in_chunks
from lgdea.pretraining.compiled import compile_tower
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.corpus import Corpus
from lgdea.pretraining.data import PretrainData
from lgdea.pretraining.inputs import Inputs
from lgdea.pretraining.module import Pretraining
from lgdea.pretraining.propagation import evidence_targets
from lgdea.pretraining.sampler import MixedSampler, proportions
from lgdea.training.process_info import SINGLE_PROCESS, ProcessInfo
from lgdea.vocabulary.entailment import PRESENT

_log = logging.getLogger(__name__)


def build_model(config: PretrainConfig, corpus: Corpus) -> LgdeaModel:
    """Build the model with random or pretrained weights; :func:`set_preprocess` makes it whole."""
    torch.manual_seed(config.seed)
    image, text = config.image, config.text
    wordings = [wording for i in range(len(corpus.phrases)) for wording in corpus.phrases.wordings(i)]
    model = create_model(
        image.tower,
        text.tower,
        image_pretrained=image.pretrained if image.weights is None else False,
        text_pretrained=text.pretrained,
        texts=[*corpus.report_texts, *wordings],
        vocab_size=text.vocab_size,
        image_size=image.size,
        stride=image.stride,
        hidden=text.hidden,
        layers=text.layers,
        dropout=text.dropout,
        pooling=text.pooling,
        image_freeze=image.freeze,
        text_freeze=text.freeze,
        scoring=config.objective.spec.scoring,
        max_tokens=text.max_tokens,
        findings=stated_findings(corpus),
        **config.model.model_dump(exclude={"evidence_temperature", "ema_decay"}),
    )
    if image.weights is not None:
        load_image_tower(model.image_tower, image.weights)
    elif image.freeze != "none" and not (names_weights(image.tower) if image.pretrained is None else image.pretrained):
        _log.warning("image tower %r is frozen at random weights; set image.pretrained or image.weights", image.tower)
    return model


def set_preprocess(model: LgdeaModel, config: PretrainConfig, pixels: Frames) -> None:
    """Normalise grey values as the image tower's own processor says, else by the archive's statistics."""
    mean, std = model.image_tower.normalisation or _grey_values(pixels)
    model.preprocess = Preprocess(size=config.image.size, mean=mean, std=std, mode=config.image.mode)


def _grey_values(pixels: Frames) -> tuple[float, float]:
    """Mean and deviation of the archive's grey values."""
    sample = pixels[:: max(1, len(pixels) // 500)] / 255.0
    return round(float(sample.mean()), 4), round(max(float(sample.std()), 0.01), 4)


def stated_findings(corpus: Corpus, least: int = 5) -> list[str]:
    """List the findings that at least ``least`` training units state as present."""
    phrases = corpus.phrases
    units = np.concatenate([*corpus.report_units, np.empty(0, np.int64)]).astype(np.int64)
    present = units[phrases.unit_status[units] == PRESENT]
    counts = Counter(phrases.keys[phrase][0] for phrase in phrases.unit_phrase[present])
    return sorted(finding for finding, count in counts.items() if count >= least)


def build_training(
    config: PretrainConfig, inputs: Inputs, process: ProcessInfo = SINGLE_PROCESS, model: LgdeaModel | None = None
) -> tuple[Pretraining, PretrainData]:
    """Build the module and its data for this process, of a model that :func:`build_model` has made, or a new one."""
    rank, processes = process.rank, process.processes
    corpus = inputs.corpus
    spec = config.objective.spec
    pool = (len(corpus.pairs), len(corpus.unpaired_images), len(corpus.unpaired_reports))
    linked, images, reports = proportions(
        batch_size=config.data.batch_size_per_device,
        paired_share=config.data.paired_share,
        reports=config.data.unpaired_reports_per_device,
        pool=(pool[0] // processes, pool[1] // processes * spec.images, pool[2] // processes * spec.reports),
    )
    model = model or build_model(config, corpus)
    set_preprocess(model, config, inputs.pixels)
    if config.speed.channels_last:
        model.image_tower.to(memory_format=torch.channels_last)
    targets = evidence_targets(corpus) if config.propagates or config.transports else None
    module = Pretraining(model, config, linked=linked, evidence_targets=targets)
    torch.set_float32_matmul_precision("high" if config.speed.tf32 else "highest")
    if config.speed.chunk_size is not None:  # after the moving average was copied, which needs no gradient
        for tower in (model.image_tower, model.text_tower):
            run_in_chunks(tower, config.speed.chunk_size)
    if config.speed.compile:  # after the moving average was copied, which is used too seldom to compile it
        compile_tower(model.image_tower)
        compile_tower(model.text_tower)
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
        builder=builder,
        sampler=sampler,
        augment=augment,
        preprocess=model.preprocess,
        linked=linked,
        seed=config.seed,
        validation=inputs.validation,
        validation_pixels=inputs.validation_pixels,
    )
    return module, data
