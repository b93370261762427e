"""A run of several processes: which one this is, and how they take turns.

Every process runs the same code from its configuration on: they meet first inside ``Trainer.fit``. What one has to do
for all before that, opening the run folder and filling the image cache, is done under a file lock by whoever comes
first; the others then find it done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from filelock import FileLock

from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.sharding import trainer_settings

WHERE = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""Settings that say where a run takes place: a resumed run may have others."""


@dataclass(frozen=True)
class Place:
    """``rank`` of this process among ``processes``."""

    rank: int
    processes: int


ALONE = Place(0, 1)


def place(config: PretrainConfig) -> Place:
    """What Lightning makes of the ``trainer:`` block and the launcher's environment (torchrun, SLURM, its own)."""
    names = [name.removeprefix("trainer.") for name in WHERE]
    settings = {"accelerator": "auto", **{name: config.trainer[name] for name in names if name in config.trainer}}
    trainer = L.Trainer(
        **trainer_settings(settings),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return Place(int(trainer.global_rank), int(trainer.world_size))


@contextmanager
def in_turn(folder: Path, where: Place) -> Iterator[None]:
    """One process at a time inside the block, by a lock file beside ``folder``; nothing when there is only one."""
    if where.processes == 1:
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        yield
