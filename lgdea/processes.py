"""Worker processes that end with the process that started them, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any


def make_pool(
    workers: int, *, start: Callable[..., object] | None = None, given: tuple[Any, ...] = (), context: str | None = None
) -> ProcessPoolExecutor:
    """Make a pool of processes; those of ``concurrent.futures`` wait for ever when their parent is killed.

    Args:
        workers: Number of processes.
        start: Called first in each of them.
        given: Arguments of ``start``.
        context: How they are started (``spawn``, ...); None is the platform's way.

    Returns:
        The pool, a context manager.
    """
    how: BaseContext | None = None if context is None else multiprocessing.get_context(context)
    return ProcessPoolExecutor(workers, mp_context=how, initializer=_begin, initargs=(start, given))


def _begin(start: Callable[..., object] | None, given: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
