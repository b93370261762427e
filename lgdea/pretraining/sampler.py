"""Draw of the items of each batch: a pure function of the seed and the step, so that a run resumes anywhere.

Every pool (linked pairs, unlinked images, unlinked reports) is walked through in passes; pass p is a permutation
seeded by (seed, pool, p). What is left at a pass's end and fills no batch is dropped, so no item is twice in a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """The items of one step over all processes, in rank order."""

    pairs: Ints
    images: Ints
    reports: Ints
    step: int


class PoolOrder:
    """An endless, seeded order of ``size`` items in groups of ``count`` different ones; any group can be asked for.

    Args:
        size: Items in the pool, at least ``count``.
        count: Items per step over all processes; 0 draws nothing.
        seed: Of the order.
        name: Of the pool; pools of one size have different orders.
    """

    def __init__(self, size: int, count: int, *, seed: int, name: str) -> None:
        self.size = size
        self.count = count
        self._seed = [seed, *name.encode()]
        self._pass = -1
        self._permutation = np.zeros(0, dtype=np.int64)

    def take(self, step: int) -> Ints:
        """The items of ``step``, positions into the pool."""
        if self.count == 0:
            return np.zeros(0, dtype=np.int64)
        number, place = divmod(step, self.size // self.count)
        if number != self._pass:
            self._pass = number
            self._permutation = np.random.default_rng([*self._seed, number]).permutation(self.size)
        return self._permutation[place * self.count : (place + 1) * self.count]


class MixedSampler:
    """Draws for steps ``start .. steps - 1``, in fixed proportions of linked pairs, unlinked images and reports.

    ``len`` is always ``steps``, also when it starts later: Lightning counts batches from the beginning of the run.

    Args:
        pairs: Size of the pool of linked pairs, others likewise.
        per_step: (pairs, images, reports) per step over all processes.
        steps: Steps of the whole run.
        seed: Of the order.
        start: First step to draw for.
    """

    def __init__(
        self,
        *,
        pairs: int,
        images: int,
        reports: int,
        per_step: tuple[int, int, int],
        steps: int,
        seed: int,
        start: int = 0,
    ) -> None:
        sizes = {"pairs": pairs, "images": images, "reports": reports}
        self._orders = [
            PoolOrder(size, count, seed=seed, name=name)
            for (name, size), count in zip(sizes.items(), per_step, strict=True)
        ]
        self.steps = steps
        self.start = start

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Draw]:
        for step in range(self.start, self.steps):
            yield self.draw(step)

    def draw(self, step: int) -> Draw:
        """The items of ``step``: positions into the three pools."""
        pairs, images, reports = (order.take(step) for order in self._orders)
        return Draw(pairs=pairs, images=images, reports=reports, step=step)


def proportions(
    *, batch_size: int, paired_share: float, reports: int, pool: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Choose the pairs, unlinked images and unlinked reports that a process takes per step.

    A pool that is empty gives its place to the others, and the linked pairs are never drawn twice into one batch.

    Args:
        batch_size: Images per step.
        paired_share: Wanted share of linked images.
        reports: Wanted unlinked reports.
        pool: Sizes of the pools per process.
    """
    pairs_available, images_available, reports_available = pool
    if not images_available:
        pairs = min(batch_size, pairs_available)
    else:
        pairs = min(max(1, round(batch_size * paired_share)), pairs_available)
    images = min(batch_size - pairs, images_available)
    return pairs, images, min(reports, reports_available)
