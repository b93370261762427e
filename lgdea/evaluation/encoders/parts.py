"""Components of an encoder, whichever library it comes from: preprocessing, image encoder, text encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lgdea.evaluation.encoders.preprocessing import Preprocessing
from lgdea.evaluation.encoders.protocol import Pixels

SEED = 0
"""Seed of random weights."""
Tokens = dict[str, Tensor]


class Processor(Protocol):
    """Preprocessing without a description: only its output is known."""

    def batch(self, images: Sequence[Pixels]) -> Tensor:
        """(B, C, h, w) as the model takes it."""
        ...


@dataclass(frozen=True)
class TextEncoder:
    """Text encoder of a model."""

    tokenize: Callable[[list[str]], Tokens]
    """Texts as tensors on the CPU, cut to ``limit``."""
    overlong: Callable[[list[str]], list[bool]]
    """For each text, whether ``tokenize`` cuts it."""
    embed: Callable[[Tokens], Tensor]
    """Tokens to (T, D)."""
    limit: int


@dataclass(frozen=True)
class EncoderComponents:
    """A model in evaluation mode on its device, as the components that evaluation calls."""

    preprocessing: Preprocessing | Processor
    embed_images: Callable[[Tensor], Tensor]
    """(B, C, h, w) to (B, D)."""
    device: torch.device
    text: TextEncoder | None = None
    embed_patches: Callable[[Tensor], Tensor] | None = None
    """(B, C, H, W) to (B, h, w, D) in the space of the texts."""
    patch_size: tuple[int, int] | None = None
    """Height and width of a patch; None: the patches cover the whole frame."""
    notes: tuple[str, ...] = ()


@contextmanager
def seeded(random: bool) -> Iterator[None]:
    """Fix torch's seed inside the block when ``random``, and restore its state after it."""
    if not random:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        yield


def noise(height: int, width: int) -> Pixels:
    """Image of uniform noise (height, width), in which a shift by one pixel shows."""
    return np.asarray(np.random.default_rng(SEED).random((height, width)), np.float32)
