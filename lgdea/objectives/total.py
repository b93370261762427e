"""From named losses to the number that is optimised."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lgdea.objectives.contrastive import info_nce


def combine(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """``(total, parts)``: the weighted sum, and the unweighted losses, detached, for the log.

    Raises:
        KeyError: A loss has no weight; a weight of 0 has to be given.
    """
    total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    return total, {name: value.detach() for name, value in losses.items()}


def clip_objective(images: Tensor, reports: Tensor, *, scale: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The ``clip`` baseline: plain symmetric InfoNCE of linked pairs, nothing else.

    Args:
        images: Unit embeddings ``(B, D)``.
        reports: Unit embeddings ``(B, D)``, row by row the reports of ``images``.
        scale: Inverse temperature, a scalar.

    Source: Radford et al. 2021 (CLIP); Zhang et al. 2020 (ConVIRT).
    """
    return combine({"clip": info_nce(scale * images.float() @ reports.float().T)}, {"clip": 1.0})
