"""Rank of this process in a run of several, and a lock for what one process does for all.

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

DEVICE_KEYS = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""Settings of devices and processes, which a resumed run may change."""


@dataclass(frozen=True)
class ProcessInfo:
    """``rank`` of this process among ``processes``."""

    rank: int
    processes: int


SINGLE_PROCESS = ProcessInfo(0, 1)


def detect_rank(config: PretrainConfig) -> ProcessInfo:
    """Ask Lightning for the rank under the ``trainer:`` block and the launcher's environment (torchrun, SLURM, its own)."""
    names = [name.removeprefix("trainer.") for name in DEVICE_KEYS]
    settings = {"accelerator": "auto", **{name: config.trainer[name] for name in names if name in config.trainer}}
    trainer = L.Trainer(
        **trainer_settings(settings),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return ProcessInfo(int(trainer.global_rank), int(trainer.world_size))


@contextmanager
def exclusive_lock(folder: Path, where: ProcessInfo) -> Iterator[None]:
    """Let one process at a time into the block, by a lock file beside ``folder``; no lock when there is only one."""
    if where.processes == 1:
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        yield
