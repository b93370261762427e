"""The one place where a loss meets other processes.

Every rank gathers what its loss compares and then computes the same loss over the whole batch. The gather's
backward pass sums the gradients that all W ranks send to a rank's rows; DistributedDataParallel then divides by W.
Together that is the gradient of one process with the whole batch, and losses need no factor of their own.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, local: Tensor) -> Tensor:  # noqa: ARG004
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        rows = len(total) // dist.get_world_size()
        return total[dist.get_rank() * rows : (dist.get_rank() + 1) * rows]


def world_size() -> int:
    """The number of processes; 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(local: Tensor) -> Tensor:
    """Concatenate over all processes in rank order; gradients flow to every rank.

    Without ``torch.distributed`` the tensor is returned as it is.

    Args:
        local: ``(B, ...)``; B must be the same everywhere.

    Returns:
        ``(W * B, ...)`` of W processes.

    Example:
        >>> lgdea.losses.gather(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if world_size() == 1:
        return local
    return _Gather.apply(local)  # type: ignore[no-any-return]
