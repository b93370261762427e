"""Build the model of a run: towers, tokenizer, preprocessing and the findings that it knows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from lgdea.imaging.cache import Frames
from lgdea.imaging.transforms import Preprocess
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import load_image_tower
from lgdea.models.text_tower import SMALL_BERT, build_text_tower, load_tokenizer, train_tokenizer
from lgdea.objectives.presence import PRESENT
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.corpus import Corpus


def build_model(config: PretrainConfig, corpus: Corpus, pixels: Frames) -> LgdeaModel:
    """Build the model with random or pretrained weights; grey values are normalised by the archive's statistics."""
    torch.manual_seed(config.seed)
    if config.text.tower == SMALL_BERT:
        wordings = [text for i in range(len(corpus.phrases)) for text in corpus.phrases.wordings(i)]
        tokenizer = train_tokenizer([*corpus.report_texts, *wordings], config.text.vocab_size)
    else:
        tokenizer = load_tokenizer(config.text.tower)
    text = config.text
    sample = pixels[:: max(1, len(pixels) // 500)] / 255.0
    preprocess = Preprocess(
        size=config.image.size,
        mean=round(float(sample.mean()), 4),
        std=round(max(float(sample.std()), 0.01), 4),
        mode=config.image.mode,
    )
    options = config.model.model_dump(exclude={"evidence_temperature", "ema_decay"})
    image = config.image
    tower = build_image_tower(image.tower, image.pretrained and image.weights is None, image.size, image.stride)
    if image.weights is not None:
        load_image_tower(tower, image.weights)
    return LgdeaModel(
        tower,
        build_text_tower(
            text.tower,
            text.pretrained,
            tokenizer,
            hidden=text.hidden,
            layers=text.layers,
            dropout=text.dropout,
            pooling=text.pooling,
        ),
        tokenizer,
        preprocess=preprocess,
        scoring=config.objective.spec.scoring,
        max_tokens=text.max_tokens,
        findings=stated_findings(corpus),
        **options,
    )


def stated_findings(corpus: Corpus, least: int = 5) -> list[str]:
    """List the findings that at least ``least`` training units state as present."""
    phrases = corpus.phrases
    units = np.concatenate([*corpus.report_units, np.empty(0, np.int64)]).astype(np.int64)
    present = units[phrases.unit_status[units] == PRESENT]
    counts = Counter(phrases.keys[phrase][0] for phrase in phrases.unit_phrase[present])
    return sorted(finding for finding, count in counts.items() if count >= least)
