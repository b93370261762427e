"""A full disk: a small tmpfs where mounting is permitted, else a limit on the size of each file."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.kills import Place
from tests.faults.process import run
from tests.faults.stages import Workspace
from tests.faults.trials import Log

MEGABYTES = 64
_LIMITS = (0, 8_192, 65_536, 262_144, 1_048_576)
"""Bytes that are left on the disk, or that a file may have."""


def fill_disk(work: Workspace, log: Log, count: int) -> None:
    """A disk with little space: one line; after freeing some the same command comes to the undisturbed result."""
    with _tmpfs(work.folder / "disk") as disk:
        kind = "full disk (tmpfs)" if disk else "full disk (limit on the size of a file)"
        for stage in work.disturbed:
            for left in _LIMITS[-count:]:
                with Place(work, log, kind, f"{stage}, {left:,} bytes") as trial:
                    if trial is None:
                        continue
                    if disk is None:
                        trial.judge_failed(run(work.stages[stage].into(trial.out), trial.log, limit=max(left, 1)))
                    else:
                        _clear(disk)
                        trial.out = disk / "out"
                        ballast = disk / "ballast"
                        _fill(ballast, left)
                        trial.judge_failed(run(work.stages[stage].into(trial.out), trial.log))
                        ballast.unlink()
                    trial.repeat(stage)


@contextmanager
def _tmpfs(folder: Path) -> Iterator[Path | None]:
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def _clear(disk: Path) -> None:
    for entry in disk.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _fill(ballast: Path, left: int) -> None:
    free = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb") as stream:
        for _ in range((free - left) // 4096):
            stream.write(bytes(4096))
