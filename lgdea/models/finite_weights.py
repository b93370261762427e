"""Check of loaded weights: every value is a finite number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from lgdea.errors import DataError


def require_finite(weights: nn.Module | Iterable[tuple[str, Tensor]], file: str | Path) -> None:
    """Check that weights which were loaded hold numbers alone: training on others ends much later, in another place.

    Args:
        weights: A module, or tensors by name.
        file: Where they are from.

    Raises:
        DataError: A tensor holds NaN or an infinite value.
    """
    named = weights.state_dict().items() if isinstance(weights, nn.Module) else weights
    for name, tensor in named:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DataError(
                f"tensor {name} holds values that are not finite",
                file=file,
                remedy="copy it again, or take other weights",
            )
