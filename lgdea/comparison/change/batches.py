"""Batches of pairs of studies with their targets. Shapes: N pairs, B pairs of a batch, F findings, K of them asked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TypedDict

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgdea.comparison.change.labels import EVENTS
from lgdea.comparison.change.pairs import COLUMNS
from lgdea.imaging.frames import ImageCache

ABSENT = EVENTS.index("absent")


class Batch(TypedDict):
    """One step: images (B, 1, S, S) uint8, findings (B, K), targets (B, K, 7)."""

    step: int
    prior: Tensor
    current: Tensor
    finding: Tensor
    target: Tensor


class ChangeBatches:
    """Batches by step; the same step gives the same batch.

    Args:
        pairs: N rows of pairs.
        targets: (N, F, 7) of :mod:`lgdea.comparison.change.labels`.
        cache: Frames of the images.
        pairs_per_step: B.
        asked: K.
        seed: Seed of the draws.
        rank: This process's number.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        targets: NDArray[np.float32],
        cache: ImageCache,
        *,
        pairs_per_step: int,
        asked: int,
        seed: int,
        rank: int = 0,
    ) -> None:
        self.cache = cache
        self.rows = [cache.index(pairs[column]) for column in ("image_prior", "image_current")]
        self.targets = targets
        self.pairs_per_step, self.asked = pairs_per_step, min(asked, targets.shape[1])
        self.seed, self.rank = seed, rank
        self.changes = (targets.sum(axis=2) - targets[..., ABSENT]) > 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step, self.rank])
        rows = rng.integers(len(self), size=self.pairs_per_step)
        asked = self.draw_findings(rows, rng)
        prior, current = (torch.from_numpy(np.asarray(self.cache[side[rows]]))[:, None] for side in self.rows)
        target = torch.from_numpy(self.targets[rows[:, None], asked])
        return {"step": step, "prior": prior, "current": current, "finding": torch.from_numpy(asked), "target": target}

    def draw_findings(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Findings asked of pairs, (B, K): what either study shows first, the rest drawn among what neither shows."""
        order = rng.random((len(rows), self.targets.shape[1])) + 2 * self.changes[rows]
        return np.argsort(-order, axis=1)[:, : self.asked]

    def event_shares(self) -> NDArray[np.float64]:
        """Share of each of the six states among what batches ask, the same for a state and its mirror."""
        rng = np.random.default_rng([self.seed, 1])
        rows = np.arange(len(self))
        return _six_shares(self.targets[rows[:, None], self.draw_findings(rows, rng)].sum(axis=(0, 1)))

    def natural_shares(self) -> NDArray[np.float64]:
        """Share of each of the six states among all findings of all pairs that have a target."""
        known = self.targets.sum(axis=2) > 0
        return _six_shares(np.bincount(self.targets.argmax(axis=2)[known], minlength=len(EVENTS)))


def _six_shares(events: NDArray[np.generic]) -> NDArray[np.float64]:
    """Shares of the six states from the mass of seven events: "in both" is shared out, a state is as its mirror."""
    mass = np.asarray(events, np.float64) + 1e-3
    mass[1:4] += mass[6] * mass[1:4] / mass[1:4].sum()
    mass = (mass[:6] + mass[[4, 3, 2, 1, 0, 5]]) / 2
    return np.asarray(mass / mass.sum())


def distant_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs of studies of a patient with others in between, from the pairs of each study and the one before it."""
    rows = []
    for patient, group in pairs.groupby("patient_id", sort=False):
        before = dict(zip(group["study_current"], group["study_prior"], strict=True))
        images = dict(zip(group["study_current"], group["image_current"], strict=True))
        images |= {p: i for p, i in zip(group["study_prior"], group["image_prior"], strict=True) if p not in images}
        for chain in _chains(before):
            for (i, first), (j, second) in combinations(enumerate(chain), 2):
                if j - i > 1:
                    row = {
                        "patient_id": patient,
                        "study_prior": first,
                        "study_current": second,
                        "rule": "",
                        "nth": j - i,
                    }
                    rows.append(row | {"image_prior": images[first], "image_current": images[second]})
    return pd.DataFrame(rows, columns=COLUMNS)


def _chains(before: dict[str, str]) -> Sequence[list[str]]:
    """Chains of studies, oldest first, from each study's prior."""
    last = [study for study in before if study not in set(before.values())]
    chains = []
    for study in last:
        chain = [study]
        while chain[-1] in before:
            chain.append(before[chain[-1]])
        chains.append(chain[::-1])
    return chains
