"""Signals that ask a command to end: it leaves as after Ctrl-C, in one line and with the signal's own exit code."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))


class Stopping:
    """Turn :data:`SIGNALS` into ``KeyboardInterrupt`` while a command runs; a second one ends it at once.

    Attributes:
        received: Number of the signal that came; SIGINT where none of them did.
    """

    def __init__(self) -> None:
        self.received = int(signal.SIGINT)
        self._process = os.getpid()
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                earlier = signal.getsignal(number)
                if earlier is signal.SIG_DFL:  # SIGHUP is ignored under nohup, and stays so
                    self._earlier[number] = earlier
                    signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, earlier in self._earlier.items():
            signal.signal(number, earlier)

    @property
    def message(self) -> str:
        """What is said at the end."""
        name = "interrupted" if self.received == signal.SIGINT else f"stopped by {signal.Signals(self.received).name}"
        return f"{name}; repeat the command to resume"

    def _receive(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != self._process:  # a process that this one has started
            os.kill(os.getpid(), number)
            return
        self.received = number
        raise KeyboardInterrupt
