"""Names of the weights of transformers' models, which differ between its versions.

Checkpoints keep the names that they were published under. From version 5 on transformers calls some weights otherwise
once they are loaded; a model folder that held those names could not be read with version 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

BACKBONES = ("image_tower.backbone", "text_tower.backbone", "backbone")
"""Where a model, or a tower, has another library's network."""


def published_names(model: nn.Module) -> dict[str, str]:
    """Map the name of each weight of a model to the one that it is stored under; most are the same.

    Args:
        model: An lgdea model, or a tower.
    """
    names = {name: name for name in model.state_dict()}
    inner = dict(model.named_modules())
    for place in BACKBONES:
        renamed = _published(inner[place]) if place in inner else {}
        names |= {f"{place}.{name}": f"{place}.{published}" for name, published in renamed.items()}
    return names


def with_own_names(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Give stored weights the names that they have in this version of transformers.

    Formats up to 5 stored whatever names the version had that saved the model: those are left as they are.
    """
    own = {published: name for name, published in published_names(model).items()}
    return {own.get(name, name): value for name, value in weights.items()}


def _published(backbone: nn.Module) -> dict[str, str]:
    """Own name to published name; empty where they are the same, or where weights are merged and not only renamed."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # transformers 4 keeps the published names
        return {}
    if not hasattr(backbone, "config"):  # one of timm's
        return {}
    # Copies, so that each has an address of its own by which it is known again.
    state: Any = {name: tensor.detach().clone() for name, tensor in backbone.state_dict().items()}
    places = {tensor.data_ptr(): name for name, tensor in state.items()}
    published = {places.get(t.data_ptr(), ""): name for name, t in revert_weight_conversion(backbone, state).items()}  # type: ignore[arg-type]
    whole = set(published) == set(state) and len(set(published.values())) == len(state)
    return published if whole else {}
