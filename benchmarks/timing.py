"""Timing of training steps, in turns on the same batches."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType

WARM_UP = 3
"""Batches that do not count: caches fill, kernels are chosen, or compiled."""


def alternate(
    works: Sequence[Callable[[Any], Any]],
    batches: Sequence[Any],
    warm: int = WARM_UP,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median seconds of each of ``works``, in turns on each batch; the first ``warm`` batches do not count."""
    times: list[list[float]] = [[] for _ in works]
    for number, batch in enumerate(batches):
        for measured, work in zip(times, works, strict=True):
            began = clock()
            work(batch)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= warm:
                measured.append(clock() - began)
    return [statistics.median(measured) for measured in times]


def optimiser_of(module: nn.Module) -> torch.optim.Optimizer:
    """AdamW on what is trained of ``module``, fused on a GPU as in training."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-4, fused=trained[0].is_cuda)


def descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """Backward pass and optimiser step."""
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def peak_gib(work: Callable[[], Any]) -> float:
    """The most memory of the GPU that was in use while ``work`` ran, what was there before it included, in GiB."""
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated() / 2**30


def gpu_kernels(work: Callable[[], Any]) -> dict[str, Any]:
    """Record what the GPU does while ``work`` runs.

    Returns:
        ``busy_seconds``, in which it computes; ``waits``, how often the program waits for it; ``kernels``, a table of
        what takes most of the time. Empty where the machine does not let one look.
    """
    try:
        with torch.profiler.profile() as profiler:
            work()
            torch.cuda.synchronize()
    except RuntimeError as error:
        warnings.warn(f"the GPU's kernels cannot be looked at ({error})", stacklevel=2)
        return {}
    events = profiler.key_averages()
    kernels = [e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation]
    return {
        "busy_seconds": sum(kernel.self_device_time_total for kernel in kernels) / 1e6,
        "waits": sum(e.count for e in events if e.key == "cudaStreamSynchronize"),
        "kernels": events.table(sort_by="self_device_time_total", row_limit=40, max_name_column_width=80),
    }
