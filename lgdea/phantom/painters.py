"""Painters by finding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lgdea.phantom import body, devices, lungs
from lgdea.phantom.chest import Chest
from lgdea.phantom.config import catalogue
from lgdea.phantom.marks import Lesion, Mark

Painter = Callable[[Chest, Lesion, np.random.Generator, float], list[Mark]]


def _painter(finding: str) -> Painter:
    for module in (lungs, body, devices):
        if hasattr(module, finding):
            return getattr(module, finding)  # type: ignore[no-any-return]
    raise LookupError(f"no painter draws {finding!r}")


PAINTERS: dict[str, Painter] = {finding: _painter(finding) for finding in catalogue()}
