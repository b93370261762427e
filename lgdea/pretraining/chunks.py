"""Batches larger than memory: a tower runs over a batch in chunks, and again, chunk by chunk, in the backward pass.

A contrastive loss needs the embeddings of the whole batch at once, but not the activations that made them. Gao et al.
2021 (GradCache) keep the embeddings, take the loss's gradient at them and run every chunk a second time to bring it
into the tower. Recomputing each chunk when its gradient arrives (activation checkpointing) is the same computation, and
autograd, DistributedDataParallel and mixed precision need no special case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Outputs = dict[str, Tensor]


def run_in_chunks(tower: nn.Module, size: int) -> None:
    """From now on ``tower`` takes at most ``size`` items at once while it trains; its parameters stay as they are.

    The result and its gradient are those of the whole batch, with two exceptions: batch normalisation takes its
    statistics from a chunk, and counts each chunk twice in its running ones.

    Args:
        tower: Takes tensors ``(B, ...)`` and gives a dict of tensors ``(B, ...)``.
        size: Items per chunk.
    """
    whole: Callable[..., Outputs] = tower.forward

    def forward(*inputs: Tensor) -> Outputs:
        if not torch.is_grad_enabled() or len(inputs[0]) <= size:
            return whole(*inputs)
        pieces = zip(*(tensor.split(size) for tensor in inputs), strict=True)
        parts: list[Any] = [checkpoint(whole, *piece, use_reentrant=False) for piece in pieces]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    tower.forward = forward  # type: ignore[method-assign]
