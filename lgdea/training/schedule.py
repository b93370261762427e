"""The learning rate over a run."""

from __future__ import annotations

import math


def learning_rate(step: int, *, steps: int, warmup: int, final: float) -> float:
    """Factor of the learning rate at ``step``: linear warm-up to 1, then half a cosine down to ``final``.

    Args:
        step: In ``[0, steps]``.
        steps: Length of the run.
        warmup: Steps of the warm-up; step 0 already has 1 / (warmup + 1).
        final: Factor at the end.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
