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

from filelock import FileLock


@dataclass(frozen=True)
class ProcessInfo:
    """``rank`` of this process among ``processes``."""

    rank: int
    processes: int


SINGLE_PROCESS = ProcessInfo(0, 1)


@contextmanager
def exclusive_lock(folder: Path, process: ProcessInfo) -> Iterator[None]:
    """Let one process at a time into the block, by a lock file beside ``folder``; no lock when there is only one."""
    if process.processes == 1:
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        yield
