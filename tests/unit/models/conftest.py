"""Small models with random weights and stub towers; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from lgdea.imaging.transforms import Preprocess
from lgdea.models.image_tower import build_image_tower, sincos_position
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.text_tower import build_text_tower, train_tokenizer

CORPUS = [
    "Moderate left pleural effusion with compressive atelectasis.",
    "No pneumothorax. The heart is enlarged.",
    "Right upper lobe pneumonia, new since the prior study.",
]


class LocalMean(nn.Module):
    """A tower whose patch token is the patch's mean grey value m, as (m, 1 - m, 0, 0)."""

    def __init__(self, image_size: int = 96, stride: int = 8) -> None:
        super().__init__()
        self.dim = 4
        self.stride = stride
        self.grid = (image_size // stride, image_size // stride)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        mean = F.avg_pool2d(images, self.stride).flatten(2).transpose(1, 2)
        patches = torch.cat([mean, 1 - mean, torch.zeros_like(mean), torch.zeros_like(mean)], dim=-1)
        return {"pooled": patches.mean(1), "patches": patches}


class SmallConvNet(nn.Module):
    """Three convolutions; a patch of 8 pixels sees little more than itself, and knows its place."""

    def __init__(self, image_size: int = 64) -> None:
        super().__init__()
        self.dim = 32
        self.grid = (image_size // 8, image_size // 8)
        self.convolve = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=4), nn.GELU(), nn.Conv2d(16, 32, 2, stride=2), nn.GELU(), nn.Conv2d(32, 32, 1)
        )
        self.place = nn.Conv2d(16, 32, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.convolve(images) + self.place(sincos_position(*self.grid, 4))
        patches = features.flatten(2).transpose(1, 2)
        return {"pooled": patches.mean(1), "patches": patches}


class Unit(nn.Module):
    """A projection that only makes unit length."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(CORPUS, 300)


@pytest.fixture
def make_model(tokenizer: PreTrainedTokenizerFast) -> Callable[..., LgdeaModel]:
    def make(tower: str = "mobilenetv3_small_050", size: int = 64, stride: int = 16, **options: Any) -> LgdeaModel:
        torch.manual_seed(0)
        options = {"dim": 32, "lesion_queries": 4, "prototypes": 12, "preprocess": Preprocess(size), **options}
        text = build_text_tower("small-bert", False, tokenizer, hidden=64)
        return LgdeaModel(build_image_tower(tower, False, size, stride), text, tokenizer, **options)

    return make


@pytest.fixture
def conv_model(tokenizer: PreTrainedTokenizerFast) -> LgdeaModel:
    torch.manual_seed(0)
    text = build_text_tower("small-bert", False, tokenizer, hidden=64)
    return LgdeaModel(SmallConvNet(), text, tokenizer, dim=32, lesion_queries=4, prototypes=8)


@pytest.fixture
def brightness_model(tokenizer: PreTrainedTokenizerFast) -> Callable[[str], LgdeaModel]:
    """A model in which every phrase means "bright"."""

    def make(mode: str) -> LgdeaModel:
        text = build_text_tower("small-bert", False, tokenizer, hidden=64)
        preprocess = Preprocess(96, mean=0.0, std=1.0, mode=mode)  # type: ignore[arg-type]
        model = LgdeaModel(LocalMean(), text, tokenizer, preprocess=preprocess, dim=4, prototypes=3)
        model.project_patches = Unit()  # type: ignore[assignment]
        model.embed_phrases = lambda phrases: torch.tensor([[1.0, 0, 0, 0]] * len(phrases))  # type: ignore[method-assign]
        return model

    return make
