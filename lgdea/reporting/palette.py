"""Colours that colour-blind eyes can distinguish (Okabe and Ito, 2008), one meaning each on every page and picture."""

from __future__ import annotations

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9")
"""One per compared model, in the caller's order, on light ground; ``style.css`` has the dark twins as ``--s0`` ..."""

ASSERTIONS = {"present": "#d55e00", "absent": "#0072b2", "uncertain": "#8a5fa8"}
BOX = "#56d0f5"
"""True boxes: the one hue that neither an X-ray nor the heat map has."""

FOUND_BOX = "#ffffff"
"""Boxes made of a heat map."""

HEAT_MAP = "inferno"


def series_index(position: int) -> int:
    """Index into :data:`SERIES` of the model at ``position``; more models than colours start over."""
    return position % len(SERIES)
