"""Values and their intervals as text."""

from __future__ import annotations

import math

INTERVAL_KIND = "95% percentile bootstrap over patients"
"""Kind of every interval of the package, in words for tables and captions."""


def format_interval(value: float, low: float = math.nan, high: float = math.nan, *, digits: int = 3) -> str:
    """Write a value with its interval.

    Args:
        value: The value; NaN where it is not defined.
        low: Lower bound; NaN for no interval.
        high: Upper bound.
        digits: Digits after the point.

    Returns:
        ``0.812 [0.790, 0.835]``; the value alone without bounds; ``-`` when the value is not defined.

    Example:
        >>> format_interval(0.8123, 0.79, 0.8349), format_interval(0.5), format_interval(float("nan"))
        ('0.812 [0.790, 0.835]', '0.500', '-')
    """
    if math.isnan(value):
        return "-"
    bounds = format_bounds(low, high, digits=digits)
    return f"{value:.{digits}f} {bounds}" if bounds else f"{value:.{digits}f}"


def format_bounds(low: float, high: float, *, digits: int = 3) -> str:
    """Write the bounds of an interval: ``[0.790, 0.835]``; empty where there is none.

    Example:
        >>> format_bounds(0.79, 0.8349)
        '[0.790, 0.835]'
    """
    return "" if math.isnan(low) or math.isnan(high) else f"[{low:.{digits}f}, {high:.{digits}f}]"
