"""What every library's model is taken apart into: preprocessing, image side, text side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lgdea.evaluation.encoders.preprocessing import Recipe
from lgdea.evaluation.encoders.protocol import Pixels

SEED = 0
"""Of random weights."""
Tokens = dict[str, Tensor]


class Processor(Protocol):
    """Preprocessing of which only the outcome is known."""

    def batch(self, images: Sequence[Pixels]) -> Tensor:
        """(B, C, h, w) as the model takes it."""
        ...


@dataclass(frozen=True)
class TextSide:
    """The text side of a model."""

    tokenize: Callable[[list[str]], Tokens]
    """Texts as tensors on the CPU, cut to ``limit``."""
    overlong: Callable[[list[str]], list[bool]]
    """Which texts that cuts."""
    embed: Callable[[Tokens], Tensor]
    """Tokens to (T, D)."""
    limit: int


@dataclass(frozen=True)
class Parts:
    """A model, whichever library it comes from, in evaluation mode on its device."""

    recipe: Recipe | Processor
    embed_images: Callable[[Tensor], Tensor]
    """(B, C, h, w) to (B, D)."""
    device: torch.device
    text: TextSide | None = None
    embed_patches: Callable[[Tensor], Tensor] | None = None
    """(B, C, H, W) to (B, h, w, D) in the space of the texts."""
    patch_size: tuple[int, int] | None = None
    """Height and width of a patch; None: the patches cover the whole frame."""
    notes: tuple[str, ...] = ()


@contextmanager
def seeded(random: bool) -> Iterator[None]:
    """Random weights are the same every time, and nobody else's random numbers change."""
    if not random:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        yield


def noise(height: int, width: int) -> Pixels:
    """A picture in which a shift by one pixel shows."""
    return np.asarray(np.random.default_rng(SEED).random((height, width)), np.float32)
