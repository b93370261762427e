"""Curves: ``metrics.csv`` or points in, small SVG line charts out.

Drawn by hand rather than with matplotlib: a chart is 5 kB instead of 50, takes its colours from the page (light and
dark) and its text can be read, searched and scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from lgdea.errors import DataError
from lgdea.reading import require_file
from lgdea.reporting.svg import round_ticks, short_number

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 26
POINTS = 160


@dataclass(frozen=True)
class Curve:
    """One metric of one run over its training steps: ``steps`` and ``values`` (N,), ``colour`` an index."""

    label: str
    colour: int
    steps: np.ndarray
    values: np.ndarray


def read_metrics(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read ``metrics.csv``, wide (a column per metric, blanks where not logged) or long (step, name, value).

    Returns:
        Metric name -> (steps (N,), values (N,)), ordered by step, without blanks and infinities; a metric that does
        not hold a finite number is left out.

    Raises:
        DataError: The file is not a CSV with a ``step`` column.
    """
    try:
        table = pd.read_csv(require_file(file))
    except pd.errors.EmptyDataError:
        return {}
    except (pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"is not a CSV of metrics ({str(error).splitlines()[0]})", file=file) from None
    if "step" not in table.columns:
        raise DataError("has no column `step`", file=file, remedy="point to the run folder that pretraining wrote")
    if {"name", "value"} <= set(table.columns):
        parts = {str(name): group[["step", "value"]] for name, group in table.groupby("name", sort=False)}
    else:
        names = [c for c in table.columns if c not in ("step", "epoch")]
        parts = {name: table[["step", name]].rename(columns={name: "value"}) for name in names}
    curves = {}
    for name, part in parts.items():
        numbers = part.apply(pd.to_numeric, errors="coerce").replace([np.inf, -np.inf], np.nan).dropna()
        numbers = numbers.sort_values("step", kind="stable")
        if len(numbers):
            curves[name] = (numbers["step"].to_numpy(float), numbers["value"].to_numpy(float))
    return curves


def thin(steps: np.ndarray, values: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Average neighbours so that at most ``points`` remain; the first and last step keep their place."""
    if len(steps) <= points:
        return steps, values
    groups = np.array_split(np.arange(len(steps)), points)
    thinned = np.array([steps[g].mean() for g in groups])
    thinned[0], thinned[-1] = steps[0], steps[-1]
    return thinned, np.array([values[g].mean() for g in groups])


def line_chart(title: str, curves: Sequence[Curve]) -> Markup:
    """One metric of one or more runs as an inline SVG of ``WIDTH`` x ``HEIGHT`` units.

    The plotted range stands in ``data-range`` (x low, x high, y low, y high) and its place in ``data-frame`` (left,
    right, top, bottom), so that the page's script can read values back from the drawn lines; each line carries its
    run's name in ``data-label``.
    """
    xs = _range([c.steps for c in curves])
    ys = _range([c.values for c in curves], margin=0.06)
    at = _placed(xs, ys)
    parts = [_axes(at, ys, [(x, short_number(x)) for x in round_ticks(*xs)])]
    for curve in curves:
        points = [at(x, y) for x, y in zip(*thin(curve.steps, curve.values), strict=True)]
        if len(points) == 1:
            mark = Markup('<circle class="s{} dot" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(curve.colour, *points[0])
            parts.append(mark)
        parts.append(_line(curve, points))
    return _svg(_describe(title, curves), xs, ys, parts, x_name="step")


def share_chart(
    title: str,
    curves: Sequence[Curve],
    *,
    x_name: str,
    y_name: str,
    x_high: float | None = None,
    chance: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Curves whose height is a share between 0 and 1, as :func:`line_chart`.

    Args:
        title: What a screen reader says.
        curves: Drawn as they are; thin them before.
        x_name: Name of the horizontal axis, which goes from 0 to 1.
        y_name: Name of the vertical axis.
        x_high: The horizontal axis goes from 1 to this instead, in powers of ten; it has to be above 1.
        chance: Points of a dashed line.
    """
    logarithmic = x_high is not None
    xs, ys = (0.0, math.log10(x_high) if x_high is not None else 1.0), (0.0, 1.0)
    place = _placed(xs, ys)

    def at(x: float, y: float) -> tuple[float, float]:
        return place(math.log10(x) if logarithmic else x, y)

    if x_high is None:
        marked = [(x, short_number(x)) for x in round_ticks(*xs)]
    else:
        marked = [(float(power), short_number(10.0**power)) for power in range(int(math.log10(x_high) + 1e-9) + 1)]
    names = Markup(
        '<text class="tick" x="{}" y="{}" text-anchor="end">{}</text><text class="tick" x="{}" y="{}">{}</text>'
    ).format(WIDTH - RIGHT, HEIGHT - BOTTOM - 5, x_name, LEFT + 5, TOP + 9, y_name)
    parts = [_axes(place, ys, marked), names]
    if chance:
        path = "M" + "L".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in chance)
        parts.append(Markup('<path class="chance" d="{}"/>').format(path))
    parts += [_line(curve, [at(x, y) for x, y in zip(curve.steps, curve.values, strict=True)]) for curve in curves]
    description = f"{title}, {', '.join(curve.label for curve in curves)}"
    return _svg(description, xs, ys, parts, x_name=x_name, logarithmic=logarithmic)


def _placed(xs: tuple[float, float], ys: tuple[float, float]) -> Callable[[float, float], tuple[float, float]]:
    """Map values to positions in the chart."""

    def at(x: float, y: float) -> tuple[float, float]:
        px = LEFT + (x - xs[0]) / (xs[1] - xs[0]) * (WIDTH - LEFT - RIGHT)
        py = HEIGHT - BOTTOM - (y - ys[0]) / (ys[1] - ys[0]) * (HEIGHT - TOP - BOTTOM)
        return px, py

    return at


def _line(curve: Curve, points: Sequence[tuple[float, float]]) -> Markup:
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<path class="s{} line" data-label="{}" d="{}"/>').format(curve.colour, curve.label, path)


def _svg(
    description: str,
    xs: tuple[float, float],
    ys: tuple[float, float],
    parts: Sequence[Markup],
    *,
    x_name: str,
    logarithmic: bool = False,
) -> Markup:
    bounds = f"{xs[0]:.6g} {xs[1]:.6g} {ys[0]:.6g} {ys[1]:.6g}"
    frame = f"{LEFT} {WIDTH - RIGHT} {TOP} {HEIGHT - BOTTOM}"
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" data-range="{}" data-frame="{}" '
        'data-x="{}"{}>{}</svg>'
    ).format(
        WIDTH,
        HEIGHT,
        description,
        bounds,
        frame,
        x_name,
        Markup(" data-log") if logarithmic else "",
        Markup("").join(parts),
    )


def _axes(
    at: Callable[[float, float], tuple[float, float]], ys: tuple[float, float], marked: Sequence[tuple[float, str]]
) -> Markup:
    """Grid lines of round heights, and ``marked`` (x, text) below."""
    parts = []
    for y in round_ticks(*ys):
        py = at(0, y)[1]
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(LEFT, WIDTH - RIGHT, py, py, LEFT - 6, py + 3.5, short_number(y))
        )
    for x, text in marked:
        px = at(x, ys[0])[0]
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(px, HEIGHT - 8, text)
        )
    return Markup("").join(parts)


def _range(arrays: Sequence[np.ndarray], margin: float = 0.0) -> tuple[float, float]:
    low = min(float(a.min()) for a in arrays)
    high = max(float(a.max()) for a in arrays)
    if high == low:
        return (0.0, 1.0) if low == 0 else (low - abs(low) * 0.1, high + abs(low) * 0.1)
    return low - margin * (high - low), high + margin * (high - low)


def _describe(title: str, curves: Sequence[Curve]) -> str:
    ends = ", ".join(f"{c.label} from {c.values[0]:.4g} to {c.values[-1]:.4g}" for c in curves)
    return f"{title} over training steps: {ends}"
