"""Versions of the model folder's format, and how a model of an earlier one is brought to today's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Config = dict[str, Any]
Weights = dict[str, Tensor]

FORMAT_VERSION = 6
"""Version that is written. A new one gets an entry of :data:`MIGRATIONS`, and a stored folder of the old one in the
tests (``tests/unit/models/formats``)."""

HEAD = "retrieval_head."
OLD_HEAD = "whole."
"""Name of the retrieval head in formats 1 to 4."""


def migrate(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[Config, Weights]:
    """Bring configuration and weights of an earlier format to :data:`FORMAT_VERSION`, one version after the other.

    Args:
        config: Content of config.json; its ``format_version`` is one of 1 to :data:`FORMAT_VERSION`.
        weights: Tensors of model.safetensors.

    Returns:
        Both as today's lgdea would have written them.
    """
    today, tensors = dict(config), dict(weights)
    for version in range(int(today["format_version"]), FORMAT_VERSION):
        today, tensors = MIGRATIONS[version](today, tensors)
        today["format_version"] = version + 1
    return today, tensors


def _complete_head(config: Config, weights: Weights) -> tuple[Config, Weights]:
    """Bring the retrieval head of formats 1 to 3, of which there was none or a part, to that of format 4.

    What it lacks is 0, as before it is calibrated; what is no longer known is left out.
    """
    dim, findings = int(config["model"]["dim"]), len(config["model"].get("findings", ()))
    shapes = {
        "image_centre": (dim,), "report_centre": (dim,), "patch_centre": (dim,),
        "phrases": (findings, dim), "image_shift": (findings,), "report_shift": (findings,),
    }  # fmt: skip
    head = {f"{OLD_HEAD}{name}": torch.zeros(shape) for name, shape in shapes.items()}
    kept = {name: value for name, value in weights.items() if name in head or not name.startswith(OLD_HEAD)}
    return config, {**head, **kept}


def _rename_head(config: Config, weights: Weights) -> tuple[Config, Weights]:
    """Give the retrieval head the name of format 5."""
    return config, {re.sub(rf"^{re.escape(OLD_HEAD)}", HEAD, name): value for name, value in weights.items()}


def _same(config: Config, weights: Weights) -> tuple[Config, Weights]:
    """Leave all as it is: from format 6 on the weights of transformers' towers are stored under their published names,
    and before under those of the version that saved them, which :mod:`lgdea.models.published_names` reads too.
    """
    return config, weights


MIGRATIONS: dict[int, Callable[[Config, Weights], tuple[Config, Weights]]] = {
    1: _complete_head,
    2: _complete_head,
    3: _complete_head,
    4: _rename_head,
    5: _same,
}
"""Format to the step that brings it to the next one."""
