"""Protocol of what reads change, free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class ChangeReader(Protocol):
    """Protocol of anything that tells how findings changed between two images; needs no base class and no torch."""

    def read_changes(
        self, prior: Sequence[NDArray[np.float32]], current: Sequence[NDArray[np.float32]], findings: Sequence[str]
    ) -> NDArray[np.floating[Any]]:
        """Tell the state of each finding, given that one of the two images shows it.

        Args:
            prior: B images, source pixels (H, W) in [0, 1], bright = dense.
            current: B images of the same patients, later.
            findings: F vocabulary ids.

        Returns:
            Probabilities (B, F, 5) in the order of :data:`~lgdea.comparison.change.states.STATES`.
        """
        ...
