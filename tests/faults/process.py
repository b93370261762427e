"""One command in a child of a preloaded interpreter, with a fault at an instant of one's choice.

Instants are counted by an audit hook: just before each file below a folder is opened for writing, renamed, removed,
made or cut, and before each fsync.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRELOAD = [
    "lgdea.cli",
    "lgdea.api.archives",
    "lgdea.api.evidence",
    "lgdea.evidence.backends.http",
    "lgdea.evidence.backends.rules",
    "lgdea.evaluation.embed",
    "lgdea.evaluation.tasks.zero_shot",
    "lgdea.pretraining.fit",
    "lgdea.comparison.change.train",
    "lgdea.phantom",
    "lgdea.reporting.page",
    "tests.faults.process",
]
TIMEOUT = 180.0
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOAD)


@dataclass(frozen=True)
class Fault:
    """What happens at the ``at``-th write below ``folder``: ``kill``, ``delete`` the folder, or ``count`` alone."""

    folder: str
    what: str = "count"
    at: int = 0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code, negative for a signal.
        out: Stdout.
        err: Stderr.
        seconds: Wall time.
        writes: Number of writes that the hook counted.
        hung: Whether it, or a process that it had started, had to be killed.
    """

    code: int
    out: str
    err: str
    seconds: float
    writes: int = 0
    hung: bool = False


class Running:
    """A command that runs; :meth:`end` waits for it.

    Args:
        command: Arguments of ``lgdea``.
        place: Folder for its stdout and stderr.
        fault: What is to happen.
        limit: Largest file in bytes that it may write.
        memory: Largest address space in bytes beyond what the preloaded interpreter has.
    """

    def __init__(
        self, command: list[str], place: Path, *, fault: Fault | None = None, limit: int = 0, memory: int = 0
    ) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        self.began = time.monotonic()
        self.process = _context.Process(target=_child, args=(command, str(place), fault, limit, memory))
        self.process.start()

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, number)

    def end(self, timeout: float = TIMEOUT) -> Ended:
        """Wait for it."""
        self.process.join(timeout)
        hung = self.process.exitcode is None
        if hung:
            self.process.kill()
            self.process.join()
        out, err, count = (_read(self.place / name) for name in ("stdout", "stderr", "writes"))
        seconds = time.monotonic() - self.began
        hung |= _leftover(self.process.pid or 0)
        return Ended(int(self.process.exitcode or 0), out, err, seconds, int(count or 0), hung)


def run(command: list[str], place: Path, *, timeout: float = TIMEOUT, **faults: Any) -> Ended:
    """Run a command to its end."""
    return Running(command, place, **faults).end(timeout)


def call(function: Callable[..., None], *arguments: Any, timeout: float = TIMEOUT) -> int | None:
    """Call a function of a module in a child; returns the exit code, None when it had to be killed."""
    process = _context.Process(target=function, args=arguments)
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _leftover(group: int) -> bool:
    """Whether processes that a command started are still there 15 seconds after its end; they are ended."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return True


def _child(command: list[str], place: str, fault: Fault | None, limit: int, memory: int) -> None:
    os.setpgid(0, 0)
    multiprocessing.set_start_method("fork", force=True)  # as of an `lgdea` that a person starts
    for number, name in ((1, "stdout"), (2, "stderr")):
        handle = os.open(Path(place) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if memory:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    counter = _watch(fault) if fault else None
    from lgdea.cli import main

    try:
        main(command)
    finally:
        if counter is not None:
            done = counter.count
            counter.fault = Fault("\0")
            (Path(place) / "writes").write_text(str(done))
        sys.stdout.flush()
        sys.stderr.flush()


class _Counter:
    def __init__(self, fault: Fault) -> None:
        self.fault, self.count, self.process, self.busy = fault, 0, os.getpid(), False
        self.lock = threading.Lock()

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        named = [os.fsdecode(p) for p in _written(event, arguments) if isinstance(p, str | bytes | os.PathLike)]
        if any(self.fault.folder in path for path in named):
            self.step()

    def step(self) -> None:
        if self.busy or os.getpid() != self.process:
            return
        with self.lock:
            self.count += 1
            if self.count != self.fault.at:
                return
            if self.fault.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fault.what == "delete":
                self.busy = True
                shutil.rmtree(self.fault.folder, ignore_errors=True)
                self.busy = False


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _written(event: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if event == "open":
        return arguments[:1] if isinstance(arguments[2], int) and arguments[2] & _WRITING else ()
    if event == "os.rename":
        return arguments[:2]
    return arguments[:1] if event in {"os.remove", "os.mkdir", "os.rmdir", "os.truncate"} else ()


def _watch(fault: Fault) -> _Counter:
    counter = _Counter(fault)
    sys.addaudithook(counter.hook)
    for name in ("fsync", "ftruncate", "posix_fallocate"):
        whole = getattr(os, name)

        def counted(*arguments: Any, _whole: Any = whole) -> Any:
            counter.step()
            return _whole(*arguments)

        setattr(os, name, counted)
    return counter
