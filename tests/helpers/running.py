"""Whether processes that a test has started still run."""

from __future__ import annotations

from pathlib import Path


def is_running(pid: int | str) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for (a zombie) does not. Needs ``/proc``."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
