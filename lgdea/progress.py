"""Progress of long work on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY_SECONDS = 30.0
"""Time between two plain lines."""
PATIENCE_SECONDS = 1.0
"""Time before a bar is shown."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class PlainProgress:
    """Log a line with what is done, how much of it, and the time that is left, every 30 seconds.

    Args:
        what: What is done.
        done: What of it was done before, as in a run that is resumed.
        clock: Seconds.
    """

    def __init__(self, what: str, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.what = what
        self._clock = clock
        self._first = done
        self._start = self._last = clock()
        self._told = -1

    def is_due(self, done: int, total: int) -> bool:
        """Tell whether :meth:`update` would log a line: on a GPU, asking for what is shown costs time."""
        last = done >= total and self._told >= 0
        return done != self._told and (last or self._clock() - self._last >= EVERY_SECONDS)

    def update(self, done: int, total: int, more: str = "") -> None:
        """Log a line when it is time.

        Args:
            done: What is done.
            total: What there is to do.
            more: Text for the end of the line.
        """
        if not self.is_due(done, total):
            return
        now = self._clock()
        self._last, self._told = now, done
        spent, made = now - self._start, done - self._first
        left = "" if done >= total or made <= 0 else f", about {tell_seconds(spent / made * (total - done))} left"
        _log.info("%s: %s of %s in %s%s%s", self.what, f"{done:,}", f"{total:,}", tell_seconds(spent), left, more)


def tell_seconds(seconds: float) -> str:
    """Tell a time in the unit that suits it.

    Args:
        seconds: The time.

    Example:
        >>> tell_seconds(42), tell_seconds(600), tell_seconds(20_000)
        ('42 s', '10 min', '5.6 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextmanager
def show_stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show work in stages; what is done within a second, and what other work contains, gets no bar of its own.

    Yields:
        A function of what is being done, how much of it is, and all of it.
    """
    if not is_terminal():
        lines: dict[str, PlainProgress] = {}
        yield lambda what, done, total: lines.setdefault(what, PlainProgress(what)).update(done, total)
        return
    if _Bars.in_use:
        yield _show_nothing
        return
    bars = _Bars()
    _Bars.in_use = True
    try:
        yield bars.show
    finally:
        _Bars.in_use = False
        bars.close()


def _show_nothing(what: str, done: int, total: int) -> None:
    """Show nothing."""


class _Bars:
    """Bars on a terminal, from the second on in which work takes longer."""

    in_use: ClassVar[bool] = False

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def show(self, what: str, done: int, total: int) -> None:
        """Move the bar of ``what``, if there are bars yet."""
        if self._bars is None:
            if time.monotonic() - self._start < PATIENCE_SECONDS:
                return
            self._bars = make_bar()
            self._bars.start()
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()


@contextmanager
def show_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show one piece of work.

    Args:
        what: What is done.

    Yields:
        A function of how much is done, and all of it.
    """
    with show_stages() as show:
        yield lambda done, total: show(what, done, total)


def track(items: Iterable[T], description: str, total: int, step: Callable[[T], int] = lambda _: 1) -> Iterator[T]:
    """Pass ``items`` through and show how many there were.

    Args:
        items: What is worked on.
        description: What is done with it.
        total: What there is in all.
        step: What an item counts.
    """
    done = 0
    with show_progress(description) as show:
        show(0, total)
        for item in items:
            yield item
            done += step(item)
            show(done, total)


def is_terminal() -> bool:
    """True if stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def make_bar(*more: Any, transient: bool = True) -> Progress:
    """Make a bar with counts and the time that is left; nothing is shown where lgdea is told to be quiet.

    Args:
        more: Further columns.
        transient: Whether it is gone when the work is done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    quiet = not logging.getLogger("lgdea").isEnabledFor(logging.WARNING)
    # Brackets of a description are no markup.
    console = Console(stderr=True, markup=False, emoji=False)
    return Progress(*columns, *more, console=console, transient=transient, disable=quiet or not is_terminal())
