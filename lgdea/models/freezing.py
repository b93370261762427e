"""Towers, or their first blocks, that training leaves as they are: no gradient, and no other batch statistics."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, TypeVar

from lgdea.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

Module = TypeVar("Module", bound="nn.Module")
FREEZE = r"none|all|all_but_last_[1-9][0-9]*"
"""What ``freeze`` can be."""


def freeze_tower(tower: nn.Module, freeze: str) -> None:
    """Freeze a tower's backbone: the network that was published. What lgdea adds to it is always trained.

    Frozen parts have no gradient and stay in evaluation mode, so that batch normalisation keeps its statistics and
    dropout is off (:func:`keep_frozen`).

    Args:
        tower: An image or a text tower.
        freeze: ``none``, ``all``, or ``all_but_last_N``: all that comes before the last N blocks, which are the layers
            of a transformer, or the stages of a hierarchical network.

    Raises:
        ConfigError: There is no such way, or the tower has fewer blocks.
    """
    if not re.fullmatch(FREEZE, freeze):
        raise ConfigError(f"freeze cannot be {freeze!r}", remedy="choose none, all, or all_but_last_N such as 2")
    backbone: Any = tower.backbone
    tower.freeze = freeze  # type: ignore[assignment]
    if freeze == "all":
        backbone.requires_grad_(False)
    elif freeze != "none":
        _freeze_before_last(backbone, int(freeze.rsplit("_", maxsplit=1)[1]), str(tower.name))  # type: ignore[arg-type]
    tower.frozen = _frozen_modules(backbone)  # type: ignore[assignment]
    keep_frozen(tower)


def keep_frozen(tower: nn.Module) -> None:
    """Bring the frozen parts of ``tower`` back to evaluation mode, after ``train()``."""
    for module in getattr(tower, "frozen", ()):
        module.eval()


def copy_unfrozen(model: Module) -> Module:
    """Copy a model; the copy's frozen parameters are those of the original, which never change."""
    frozen = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
    return copy.deepcopy(model, dict(frozen))


def _freeze_before_last(backbone: nn.Module, count: int, name: str) -> None:
    blocks = _blocks(backbone)
    if count > len(blocks):
        raise ConfigError(
            f"freeze: all_but_last_{count} wants more than the {len(blocks)} blocks of tower {name!r}",
            remedy=f"choose at most {len(blocks)}" if blocks else "choose none or all",
        )
    first = next(iter(blocks[-count].parameters()))
    for parameter in backbone.parameters():  # registered in the order in which they are used
        if parameter is first:
            break
        parameter.requires_grad_(False)


def _blocks(backbone: nn.Module) -> list[nn.Module]:
    """The nearest row of at least two modules with weights: layers of a transformer, stages of a convnet."""
    from torch import nn  # here, because configurations know FREEZE and need no torch

    level: list[nn.Module] = [backbone]
    while level:
        for module in level:
            if isinstance(module, nn.ModuleList | nn.Sequential | nn.ModuleDict):
                row = [child for child in module.children() if _is_block(child)]
                if len(row) > 1:
                    return row
        level = [child for module in level for child in module.children()]
    return []


def _is_block(module: nn.Module) -> bool:
    """It has weights, and parts: not a convolution or a norm between blocks."""
    return next(module.parameters(), None) is not None and next(module.children(), None) is not None


def _frozen_modules(module: nn.Module) -> list[nn.Module]:
    """The largest modules of which every parameter is frozen."""
    parameters = list(module.parameters())
    if not parameters:
        return []
    if not any(parameter.requires_grad for parameter in parameters):
        return [module]
    return [found for child in module.children() for found in _frozen_modules(child)]
