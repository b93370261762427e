"""Cells of the tables that the benchmarks print."""

from __future__ import annotations

import math

from lgdea.statistics.format import format_interval


def format_metric(value: dict[str, float | None] | None) -> str:
    """Format a metric of a result with its interval: a dash for None; what is not defined is null in JSON."""
    if value is None:
        return "-"
    return format_interval(*(math.nan if (part := value[key]) is None else part for key in ("value", "low", "high")))
