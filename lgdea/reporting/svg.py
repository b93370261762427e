"""Numbers on the axes of the SVG charts."""

from __future__ import annotations

import math


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Choose about ``count`` round numbers (1, 2 or 5 times a power of ten apart) within ``low``..``high``."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def short_number(value: float) -> str:
    """Write a number for an axis: 1500 -> 1.5k, 0.00012 -> 1.2e-4."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e3:
        return f"{value / 1e3:g}k"
    if value and size < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"
