"""Garbage collection while many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_STARTUP_OBJECTS = 10_000  # more than Python itself keeps out of a collection
_YOUNG_OBJECTS = 500_000  # after so many new ones, some tens of megabytes, they are gone through
_blocks: list[object] = []


@contextmanager
def rare_collection() -> Iterator[None]:
    """Collect cyclic garbage seldom inside the block, and none of what is in memory before.

    The libraries are hundreds of thousands of objects, which a collection goes through, and copies where processes
    share them, while tables that are loaded and reports that are read make next to no cycles.
    """
    if _blocks or gc.get_freeze_count() > _STARTUP_OBJECTS:  # somebody else has done so, for longer
        yield
        return
    threshold = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *threshold[1:])
    _blocks.append(threshold)
    try:
        yield
    finally:
        _blocks.clear()
        gc.freeze()  # so that what is young joins the old without being gone through
        gc.set_threshold(*threshold)
        gc.unfreeze()
