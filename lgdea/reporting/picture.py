"""One picture that says what lgdea does: a report's evidence, a heat map on its image, and lgdea beside the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from lgdea.errors import DataError
from lgdea.reporting import measures
from lgdea.reporting.examples import HeatMapper, phrase_of, spans_of
from lgdea.reporting.highlight import Span
from lgdea.reporting.overlays import overlay, to_png
from lgdea.reporting.palette import ASSERTIONS, SERIES
from lgdea.runs import atomic

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

WIDTH, HEIGHT = 1840, 660
MARGIN, GAP, TOP = 44, 36, 112
SIDE = 430
INK, MUTED, LINE, GROUND = "#18212c", "#5b6876", "#dde3ea", "#ffffff"
TINTS = {"present": "#fde3d3", "absent": "#d9ebf8", "uncertain": "#ece0f6"}
TEXT_LINES = 12


@dataclass(frozen=True)
class _Example:
    report: str
    spans: list[Span]
    pixels: np.ndarray
    heat: np.ndarray
    phrase: str
    boxes: list[tuple[float, float, float, float]]


def readme_picture(
    *,
    out: Path,
    archive: Archive,
    evidence: pd.DataFrame,
    model: HeatMapper,
    results: Mapping[str, Path],
    seed: int = 0,
) -> Path:
    """Draw a report snippet with its evidence, the same study's image with heat map and true box, and three bars.

    The study is drawn at random from those of the test part whose report states a boxed finding; the first is taken
    whose heat map peaks in the box, because the picture shows what a hit looks like. The bars show how often.

    Args:
        out: PNG file to write.
        archive: Has images, reports and boxes of the same studies.
        evidence: Rows of :class:`lgdea.evidence.schema.Unit`.
        model: Gives the heat map.
        results: Label -> results folder; the first one is the baseline.
        seed: Seed of the draw.

    Returns:
        ``out``.

    Raises:
        DataError: No study of the test part fits.
    """
    example = _choose(archive, evidence, model, seed)
    labels = list(results)
    ordered = {label: Path(results[label]) for label in labels[1:] + labels[:1]}
    rows = _first_per_task(measures.headline_rows(measures.task_tables(ordered)))
    canvas = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw = ImageDraw.Draw(canvas)
    text_width = WIDTH - 2 * MARGIN - 3 * GAP - 2 * SIDE - 380
    x = MARGIN
    _heading(draw, x, "1  Evidence in the report", "what is asserted, word for word")
    _report(draw, x, text_width, example)
    x += text_width + GAP
    _heading(draw, x, "2  The image of that study", "blue: the true box")
    canvas.paste(overlay(example.pixels, boxes=example.boxes, max_side=SIDE), (x, TOP))
    x += SIDE + GAP
    _heading(draw, x, "3  The model, asked for", f"“{example.phrase}”")
    canvas.paste(overlay(example.pixels, heat=example.heat, boxes=example.boxes, max_side=SIDE), (x, TOP))
    x += SIDE + GAP
    _heading(draw, x, "4  On the test part", "with 95% intervals")
    _bars(draw, x, WIDTH - MARGIN - x, rows)
    out = Path(out)
    with atomic(out) as temporary:
        temporary.write_bytes(to_png(canvas))
    return out


def _choose(archive: Archive, evidence: pd.DataFrame, model: HeatMapper, seed: int) -> _Example:
    from lgdea.imaging.read import read_image

    test = archive.studies.loc[archive.studies["split"] == "test", "study_id"]
    images = archive.images[archive.images["study_id"].isin(test)].merge(archive.reports, on="study_id")
    boxes = archive.boxes[archive.boxes["kind"] == "finding"].merge(images, on="image_id")
    present = evidence.loc[evidence["assertion"] == "present", ["report_id", "finding"]].drop_duplicates()
    candidates = boxes.merge(present, on=["report_id", "finding"])
    for i in np.random.default_rng(seed).permutation(len(candidates)):
        row = candidates.iloc[i]
        units = evidence[evidence["report_id"] == row["report_id"]]
        if units["assertion"].nunique() < 2 or not 120 <= len(row["text"]) <= 520:
            continue
        phrase = phrase_of(row)
        same = boxes[(boxes["image_id"] == row["image_id"]) & (boxes["finding"] == row["finding"])]
        frames = [(b[0], b[1], b[2], b[3]) for b in same[["x_min", "y_min", "x_max", "y_max"]].to_numpy(float)]
        heat = model.heat_map(archive.image_path(str(row["image_id"])), phrase)
        y, x = np.unravel_index(int(np.nan_to_num(heat, nan=-np.inf).argmax()), heat.shape)
        if any(b[0] <= x < b[2] and b[1] <= y < b[3] for b in frames):
            pixels = read_image(archive.image_path(str(row["image_id"]))).pixels
            return _Example(str(row["text"]), spans_of(units), pixels, heat, phrase, frames)
    raise DataError("no study of the test part makes a picture", file=archive.folder, remedy="train longer")


def _heading(draw: ImageDraw.ImageDraw, x: int, title: str, note: str) -> None:
    draw.text((x, 36), title, INK, _font(27, bold=True))
    draw.text((x, 72), note, MUTED, _font(21))


def _report(draw: ImageDraw.ImageDraw, x: int, width: int, example: _Example) -> None:
    font, height = _font(20), 31
    for number, line in enumerate(_wrap(example.report, width, font)[:TEXT_LINES]):
        y = TOP + number * height
        for start, end in line:
            left = x + font.getlength(example.report[line[0][0] : start])
            word = example.report[start:end]
            shown = _assertion_at(example.spans, start)
            if shown:
                box = (left - 1, y, left + font.getlength(word.rstrip("\n")) + 1, y + height - 5)
                draw.rectangle(box, fill=TINTS[shown])
                draw.line((box[0], box[3], box[2], box[3]), fill=ASSERTIONS[shown], width=2)
            draw.text((left, y + 2), word.rstrip("\n"), INK, font)
    y, left = TOP + SIDE + 26, float(x)
    for assertion, colour in ASSERTIONS.items():
        draw.rectangle((left, y, left + 22, y + 20), fill=TINTS[assertion])
        draw.line((left, y + 20, left + 22, y + 20), fill=colour, width=3)
        draw.text((left + 30, y - 2), assertion, MUTED, _font(20))
        left += 62 + _font(20).getlength(assertion)


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[list[tuple[int, int]]]:
    """Lines of single characters' runs: each line is a list of (start, end) words with the space that follows."""
    lines: list[list[tuple[int, int]]] = [[]]
    position = 0
    while position < len(text):
        end = position
        while end < len(text) and not text[end].isspace():
            end += 1
        stop = min(end + 1, len(text))
        line = lines[-1]
        if line and font.getlength(text[line[0][0] : end]) > width:
            lines.append([])
        if stop > position and text[position:stop].strip():
            lines[-1].append((position, stop))
        if text[end:stop] == "\n" and lines[-1]:
            lines.append([])
        position = stop
    return [line for line in lines if line]


def _assertion_at(spans: Sequence[Span], position: int) -> str | None:
    covering = [s for s in spans if s.start <= position < s.end]
    return min(covering, key=lambda s: s.end - s.start).assertion if covering else None


def _bars(draw: ImageDraw.ImageDraw, x: int, width: int, rows: Sequence[measures.MetricRow]) -> None:
    y = TOP
    for row in rows:
        draw.text((x, y), f"{row.task.replace('_', ' ')}: {row.name}", INK, _font(20, bold=True))
        y += 32
        for number, cell in enumerate(row.cells):
            colour = SERIES[number % len(SERIES)]
            full = width - 150
            draw.text((x, y), cell.label, MUTED, _font(19))
            left, bar = x + 78, full - 10
            draw.rectangle((left, y + 3, left + bar, y + 21), fill="#eef1f5")
            if cell.value:
                draw.rectangle((left, y + 3, left + bar * row.position(cell.value.value) / 100, y + 21), fill=colour)
                ends = [left + bar * row.position(v) / 100 for v in (cell.value.low, cell.value.high) if v == v]
                if len(ends) == 2:
                    draw.line((ends[0], y + 12, ends[1], y + 12), fill=INK, width=2)
                draw.text((left + bar + 12, y), f"{cell.value.value:.2f}", INK, _font(20, bold=number == 0))
            y += 28
        if row.chance is not None:
            at = x + 78 + (width - 160) * row.position(row.chance) / 100
            top = y - 28 * len(row.cells)
            for dash in range(top, y, 8):
                draw.line((at, dash, at, dash + 4), fill=MUTED, width=2)
        y += 26


def _first_per_task(rows: Sequence[measures.MetricRow]) -> list[measures.MetricRow]:
    first: dict[str, measures.MetricRow] = {}
    for row in rows:
        first.setdefault(row.task, row)
    return list(first.values())


@lru_cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib, so that the picture is the same everywhere."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
