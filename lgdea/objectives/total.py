"""From named losses to the number that is optimised."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def combine(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """``(total, parts)``: the weighted sum, and the unweighted losses, detached, for the log.

    Raises:
        KeyError: A loss has no weight; a weight of 0 has to be given.
    """
    total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    return total, {name: value.detach() for name, value in losses.items()}
