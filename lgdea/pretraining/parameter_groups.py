"""Groups of parameters that the optimiser treats alike: with or without weight decay, at the rate of their tower."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from lgdea.training.config import OptimizerConfig


def group_parameters(
    parameters: Iterable[nn.Parameter], towers: Iterable[tuple[nn.Module, float]], settings: OptimizerConfig
) -> list[dict[str, Any]]:
    """Group what is trained.

    Biases, norms, scales and position embeddings (at most one dimension) have no decay. Towers stand apart from the
    rest: where they are sharded no kernel takes both, and a run may go on elsewhere.

    Args:
        parameters: All of the model that are trained, in their order.
        towers: Each with the share of the learning rate that its published network (``backbone``) has; what lgdea adds
            to it has the whole.
        settings: Learning rate and decay.

    Returns:
        Groups as ``torch.optim`` takes them.
    """
    scales: dict[int, float] = {}
    for tower, scale in towers:
        scales |= {id(p): 1.0 for p in tower.parameters()}
        scales |= {id(p): scale for p in tower.get_submodule("backbone").parameters()}
    members: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for parameter in parameters:
        key = (id(parameter) in scales, scales.get(id(parameter), 1.0), parameter.ndim <= 1)
        members.setdefault(key, []).append(parameter)
    return [
        {"params": members[key], "weight_decay": 0.0 if key[2] else settings.weight_decay, "lr": settings.lr * key[1]}
        for key in sorted(members)
    ]
