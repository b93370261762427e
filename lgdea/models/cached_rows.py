"""A frozen tower's outputs as one row per image, to be kept on disk and taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

LARGEST = torch.finfo(torch.float16).max


def pack(parts: Sequence[Tensor]) -> Tensor:
    """Outputs of ``tower.encode`` as float16 rows, (B, ...) each -> (B, F)."""
    flat = torch.cat([part.float().flatten(1) for part in parts], dim=1)
    return flat.clamp(-LARGEST, LARGEST).half()


def unpack(rows: Tensor, tower: Any) -> list[Tensor]:
    """Invert :func:`pack`, in the precision of the tower's weights.

    Args:
        rows: (B, F).
        tower: Has ``feature_shapes``, the shapes without B of what its ``encode`` gives.
    """
    sizes = [prod(shape) for shape in tower.feature_shapes]
    parts = rows.to(next(tower.parameters()).dtype).split(sizes, dim=1)
    return [part.reshape(len(rows), *shape) for part, shape in zip(parts, tower.feature_shapes, strict=True)]


def row_width(tower: Any) -> int:
    """F, the number of values that :func:`pack` gives per image."""
    return sum(prod(shape) for shape in tower.feature_shapes)
