"""A table as a picture: a row per metric or class, a dot with its interval per model; SVG for the page and files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lgdea.evaluation.results.metric_facts import metric_name
from lgdea.evaluation.results.result import Value
from lgdea.reporting.measures import ClassTable, MetricRow, TaskTables
from lgdea.reporting.palette import SERIES
from lgdea.reporting.svg import round_ticks, short_number
from lgdea.runs import write_text
from lgdea.statistics.format import format_interval

WIDTH = 760
RIGHT, TOP, BOTTOM = 16, 26, 30
LANE, GAP = 11, 9
"""Height of one model in a row, and between rows."""
CHARACTER = 6.7
"""Width of a letter of the names, which are 11.5 pixels high."""
NAME_WIDTH = (60, 270)

SHAPES = ("M-4,0A4,4 0 1 0 4,0A4,4 0 1 0 -4,0Z", "M-3.6,-3.6H3.6V3.6H-3.6Z", "M0,-4.8L4.8,0L0,4.8L-4.8,0Z",
          "M0,-4.6L4.4,3.4H-4.4Z", "M0,4.6L4.4,-3.4H-4.4Z",
          "M-1.5,-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z")  # fmt: skip
"""Circle, square, diamond, triangles and cross: models differ by shape as well as by colour."""


@dataclass(frozen=True)
class Plot:
    """One picture: ``name`` is fit for a file."""

    name: str
    title: str
    svg: Markup


def table_plots(table: TaskTables, colours: Mapping[str, int]) -> list[Plot]:
    """The pictures of all metrics of one task: rows that share a scale share a picture."""
    groups: dict[tuple[float, float] | str, list[MetricRow]] = {}
    for row in table.rows:
        # Shares of one stand in one picture; what has its own unit (CNR, ranks) with others of that unit only.
        groups.setdefault("unit" if row.low >= -1 and row.high <= 1 else _stem(row.metric), []).append(row)
    plots = []
    for unit, rows in groups.items():
        what = "all metrics" if unit == "unit" else metric_name(str(unit))
        title = f"{table.title}, {what}"
        plots.append(Plot(_file_name(table, what), title, interval_chart(title, rows, table.labels, colours)))
    return plots


def class_plot(table: TaskTables, classes: ClassTable, colours: Mapping[str, int]) -> Plot:
    """The picture of one metric by class."""
    title = f"{table.title}, {classes.name} by class"
    chart = interval_chart(title, classes.rows, table.labels, colours)
    return Plot(_file_name(table, f"{classes.metric} by class"), title, chart)


def interval_chart(title: str, rows: Sequence[MetricRow], labels: Sequence[str], colours: Mapping[str, int]) -> Markup:
    """Rows on one axis, as an inline SVG that takes its colours from the page.

    A model without a value in a row says so in its place; a value without an interval is a dot alone.

    Args:
        title: What a screen reader says.
        rows: At least one; their scales are joined.
        labels: The models, from top to bottom in each row.
        colours: Label to index into the palette.
    """
    names = [row.name.replace("_", " ") for row in rows]
    left = round(min(max(CHARACTER * max(map(len, names)) + 18, NAME_WIDTH[0]), NAME_WIDTH[1]))
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    step = LANE * len(labels) + GAP
    bottom = TOP + step * len(rows)

    def at(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * (WIDTH - left - RIGHT)

    parts = [
        _legend(labels, colours, left, " or ".join(dict.fromkeys(r.reference for r in rows if r.chance is not None))),
        *(_band(i, step) for i in range(0, len(rows), 2)),
    ]
    parts += [_tick(at(x), bottom, short_number(x)) for x in round_ticks(low, high, 6)]
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        top = TOP + i * step
        parts.append(_name(name, left, top + step / 2, int((left - 12) / CHARACTER)))
        if row.chance is not None:
            parts.append(_chance(at(row.chance), top, top + step))
        found = {cell.label: cell.value for cell in row.cells}
        for lane, label in enumerate(labels):
            y = top + GAP / 2 + LANE * (lane + 0.5)
            parts.append(_mark(label, colours[label], name, found.get(label), at, y, left))
    height = bottom + BOTTOM
    return Markup('<svg class="intervals" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, f"{title}: the values of the table above, {', '.join(labels)}", Markup("").join(parts)
    )


def write_plots(folder: Path, plots: Sequence[Plot]) -> list[Path]:
    """Write every picture as an SVG file with its own colours, light and dark; two of one name are numbered."""
    files: list[Path] = []
    for plot in plots:
        count = sum(re.sub(r"-\d+$", "", f.stem) == plot.name for f in files)
        files.append(folder / f"{plot.name}{f'-{count + 1}' if count else ''}.svg")
        write_text(files[-1], standalone(plot))
    return files


def standalone(plot: Plot) -> str:
    """The picture as a file of its own: no page to take colours from, no custom properties, which editors lack."""
    found = re.search(r'viewBox="0 0 (\d+) (\d+)"', plot.svg)
    assert found is not None
    width, height = found.groups()
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    body = str(plot.svg).replace("<svg ", head, 1)
    start = body.index(">") + 1
    ground = f'<rect class="ground" width="{width}" height="{height}"/>'
    return f"{body[:start]}<style>{_style()}</style>{ground}{body[start:]}\n"


def _style() -> str:
    series = "".join(f".s{i} .whisker{{stroke:{c}}}.s{i} .mark{{fill:{c}}}" for i, c in enumerate(SERIES))
    return (
        "text{font:11.5px system-ui,'Liberation Sans',Arial,sans-serif;fill:#18212c}.ground{fill:#fff}"
        ".band{fill:#eef1f5}.grid{stroke:#d3dae2}.tick,.none{fill:#566372}.whisker{stroke-width:2}"
        ".chance{stroke:#566372;stroke-dasharray:3 2}"
        f"{series}@media(prefers-color-scheme:dark){{text{{fill:#e6ebf1}}.ground{{fill:#161d25}}"
        ".band{fill:#1e2731}.grid{stroke:#2a3541}.tick,.none,.chance{fill:#9dabba;stroke:none}.chance{stroke:#9dabba}}"
    )


def _legend(labels: Sequence[str], colours: Mapping[str, int], left: float, reference: str) -> Markup:
    parts, x = [], float(left)
    for label in labels:
        parts.append(
            Markup('<g class="s{}"><path class="mark" transform="translate({:.1f},11)" d="{}"/></g>').format(
                colours[label], x + 4, SHAPES[colours[label]]
            )
            + Markup('<text x="{:.1f}" y="15">{}</text>').format(x + 13, _cut(label, 40))
        )
        x += 13 + CHARACTER * min(len(label), 40) + 22
    if reference:
        parts.append(_chance(x, 4, 18) + Markup('<text x="{:.1f}" y="15">{}</text>').format(x + 9, reference))
    return Markup("").join(parts)


def _band(row: int, step: float) -> Markup:
    return Markup('<rect class="band" x="0" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
        TOP + row * step, WIDTH, step
    )


def _tick(x: float, bottom: float, text: str) -> Markup:
    return Markup(
        '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
        '<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
    ).format(x, TOP, bottom, bottom + 17, text)


def _name(name: str, left: float, y: float, letters: int) -> Markup:
    return Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}<title>{}</title></text>').format(
        left - 10, y + 4, _cut(name, letters), name
    )


def _chance(x: float, top: float, bottom: float) -> Markup:
    return Markup('<line class="chance" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>').format(
        x, top + 1, bottom - 1
    )


def _mark(
    label: str, colour: int, name: str, value: Value | None, at: Callable[[float], float], y: float, left: float
) -> Markup:
    if value is None:
        return Markup('<text class="none" x="{:.1f}" y="{:.1f}">–<title>{}</title></text>').format(
            left + 2, y + 4, f"{label}, {name}: no value"
        )
    description, whisker = f"{label}, {name}: {format_interval(value.value, value.low, value.high)}", Markup("")
    if math.isfinite(value.low) and math.isfinite(value.high):
        whisker = Markup('<line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
            at(value.low), at(value.high), y=y
        )
    description += f", n {value.n}" if value.n else ""
    return Markup(
        '<g class="s{}" data-label="{}">{}<path class="mark" transform="translate({:.1f},{:.1f})" d="{}"/>'
    ).format(colour, label, whisker, at(value.value), y, SHAPES[colour]) + Markup("<title>{}</title></g>").format(
        description
    )


def _stem(metric: str) -> str:
    """``image_to_report/median_rank`` and its twin, and ``cnr_macro`` and ``cnr_micro``, have one unit."""
    return re.sub(r"_(macro|micro)$", "", metric.rpartition("/")[2])


def _file_name(table: TaskTables, what: str) -> str:
    words = f"{table.task} {table.archive} {table.split} {what}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: max(letters - 1, 1)] + "…"
