"""What a page's reader has that ``lgdea demo`` does not leave: pictures of a table, a PACS export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.helpers import dataset_layouts as layouts


def _pictures_of_the_export() -> None:
    rng = np.random.default_rng(0)
    Path("pa").mkdir()
    for name in ("X1", "X2", "X3"):  # the page tells what happens without X4
        layouts.picture(Path("pa") / f"{name}.png", rng, 40, 30)


PREPARED: dict[str, Callable[[], None]] = {"docs/data.md": _pictures_of_the_export}
"""Page -> what makes the files in the current folder."""
