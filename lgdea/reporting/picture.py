"""One picture of the whole: a report's evidence, a heat map on its image, and lgdea beside the baseline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from lgdea.errors import DataError
from lgdea.reporting import measures
from lgdea.reporting.examples import HeatMapper, phrase_of, spans_of
from lgdea.reporting.fonts import font
from lgdea.reporting.highlight import HighlightSpan
from lgdea.reporting.overlays import overlay, to_png
from lgdea.reporting.palette import ASSERTIONS, SERIES
from lgdea.runs import atomic

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

WIDTH, HEIGHT = 1840, 620
MARGIN, GAP, TOP = 44, 36, 112
SIDE = 430
INK, MUTED, TRACK, GROUND = "#18212c", "#5b6876", "#e9edf2", "#ffffff"
TINTS = {"present": "#fde3d3", "absent": "#d9ebf8", "uncertain": "#ece0f6"}
TEXT_LINES = 12
LARGEST_BOX = 0.15
"""Share of the image: a hit in half a lung shows little."""


@dataclass(frozen=True)
class Example:
    """A report with its evidence, and the image, heat map and true boxes of one phrase; see the other modules."""

    report: str
    spans: list[HighlightSpan]
    pixels: np.ndarray
    heat: np.ndarray
    phrase: str
    boxes: list[tuple[float, float, float, float]]


def readme_picture(
    *,
    out: Path,
    archive: Path,
    evidence: Path,
    model: Path,
    results: Mapping[str, Path],
    seed: int = 0,
) -> Path:
    """Draw a report snippet with its evidence, the same study's image with heat map and true box, and three bars.

    The study is drawn at random from those of the test part whose report is short and states a finding with a small
    box; the first is taken whose heat map peaks in the box, because the picture shows what a hit looks like. The bars
    show how often. Of a model that hits nothing the first study is taken.

    Args:
        out: PNG file to write.
        archive: Archive folder with images, reports and boxes of the same studies.
        evidence: Evidence folder of that archive.
        model: Model folder.
        results: Label -> results folder; the first one is the baseline.
        seed: Seed of the draw.

    Returns:
        ``out``.

    Raises:
        UsageError: The evidence is not of all the archive's reports.
        DataError: No study of the test part fits.
    """
    from lgdea.evidence.coverage import require_all_reports
    from lgdea.evidence.io import read_evidence
    from lgdea.models.serialization import load_model
    from lgdea.records.archive import Archive

    opened = Archive.open(archive)
    require_all_reports(evidence, opened)
    example = choose_example(opened, read_evidence(evidence), load_model(model), seed)
    labels = list(results)
    ordered = {label: Path(results[label]) for label in labels[1:] + labels[:1]}
    picture = draw(example, measures.first_per_task(measures.headline_rows(measures.task_tables(ordered))))
    out = Path(out)
    with atomic(out) as temporary:
        temporary.write_bytes(to_png(picture))
    return out


def draw(example: Example, rows: Sequence[measures.MetricRow]) -> Image.Image:
    """The picture, ``WIDTH`` x ``HEIGHT`` pixels: report, image, heat map, bars."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    pen = ImageDraw.Draw(canvas)
    text_width = WIDTH - 2 * MARGIN - 3 * GAP - 2 * SIDE - 380
    x = MARGIN
    _heading(pen, x, "1  Evidence in the report", "what is asserted, word for word")
    _report(pen, x, text_width, example)
    x += text_width + GAP
    _heading(pen, x, "2  The image of that study", "blue: the true box")
    canvas.paste(overlay(example.pixels, boxes=example.boxes, max_side=SIDE), (x, TOP))
    x += SIDE + GAP
    _heading(pen, x, "3  The model, asked for", f"“{example.phrase}”")
    canvas.paste(overlay(example.pixels, heat=example.heat, boxes=example.boxes, max_side=SIDE), (x, TOP))
    x += SIDE + GAP
    _heading(pen, x, "4  On the test part", "95% intervals; dashed: chance")
    _bars(pen, x, WIDTH - MARGIN - x, rows)
    return canvas


def choose_example(archive: Archive, evidence: pd.DataFrame, model: HeatMapper, seed: int) -> Example:
    """Draw the study of the picture; see :func:`readme_picture`."""
    test = archive.studies.loc[archive.studies["split"] == "test", "study_id"]
    images = archive.images[archive.images["study_id"].isin(test)].merge(archive.reports, on="study_id")
    boxes = archive.boxes[archive.boxes["kind"] == "finding"].merge(images, on="image_id")
    boxes["shown_phrase"] = [phrase_of(row) for row in boxes.itertuples()]
    present = evidence.loc[evidence["assertion"] == "present", ["report_id", "finding"]].drop_duplicates()
    candidates = boxes.merge(present, on=["report_id", "finding"])
    shown = None
    for i in np.random.default_rng(seed).permutation(len(candidates)):
        row = candidates.iloc[i]
        units = evidence[evidence["report_id"] == row["report_id"]]
        if units["assertion"].nunique() < 2 or not 80 <= len(row["text"]) <= 520:
            continue
        phrase = str(row["shown_phrase"])
        same = boxes[(boxes["image_id"] == row["image_id"]) & (boxes["shown_phrase"] == phrase)]
        frames = [(b[0], b[1], b[2], b[3]) for b in same[["x_min", "y_min", "x_max", "y_max"]].to_numpy(float)]
        if sum((b[2] - b[0]) * (b[3] - b[1]) for b in frames) > LARGEST_BOX * row["width"] * row["height"]:
            continue
        pixels = archive.read_image(str(row["image_id"])).pixels
        heat = model.heat_map(pixels, phrase)
        y, x = np.unravel_index(int(np.nan_to_num(heat, nan=-np.inf).argmax()), heat.shape)
        hit = any(b[0] <= x < b[2] and b[1] <= y < b[3] for b in frames)
        if hit or shown is None:
            shown = Example(str(row["text"]), spans_of(units), pixels, heat, phrase, frames)
        if hit:
            return shown
    if shown is None:
        raise DataError(
            "no study of the test part makes a picture",
            file=archive.folder,
            remedy="its boxes must be of stated findings",
        )
    return shown


def _heading(pen: ImageDraw.ImageDraw, x: int, title: str, note: str) -> None:
    pen.text((x, 36), title, INK, font(27, bold=True))
    size = next((size for size in range(21, 12, -1) if font(size).getlength(note) <= SIDE), 12)
    pen.text((x, 72), note, MUTED, font(size))


def _report(pen: ImageDraw.ImageDraw, x: int, width: int, example: Example) -> None:
    face, height, text = font(20), 31, example.report
    for number, line in enumerate(wrap(text, width, face)[:TEXT_LINES]):
        y = TOP + number * height
        for start, end in line:
            left = x + face.getlength(text[line[0][0] : start])
            shown = _assertion_at(example.spans, start)
            if shown:
                # A mark runs on over the space to the next word of its line when that belongs to it too.
                on = end < line[-1][1] and _assertion_at(example.spans, end) == shown
                right = left + face.getlength(text[start : end + on])
                pen.rectangle((left, y, right, y + height - 5), fill=TINTS[shown])
                pen.line((left, y + height - 5, right, y + height - 5), fill=ASSERTIONS[shown], width=2)
            pen.text((left, y + 2), text[start:end], INK, face)
    y, left = TOP + SIDE + 26, float(x)
    for assertion, colour in ASSERTIONS.items():
        pen.rectangle((left, y, left + 22, y + 20), fill=TINTS[assertion])
        pen.line((left, y + 20, left + 22, y + 20), fill=colour, width=3)
        pen.text((left + 30, y - 2), assertion, MUTED, font(20))
        left += 62 + font(20).getlength(assertion)


def wrap(text: str, width: int, face: ImageFont.FreeTypeFont) -> list[list[tuple[int, int]]]:
    """Break ``text`` into lines of at most ``width`` pixels; a line is the (start, end) of its words."""
    lines = []
    for paragraph in re.finditer(r"[^\n]*\S[^\n]*", text):
        line: list[tuple[int, int]] = []
        for word in re.finditer(r"\S+", paragraph[0]):
            start, end = paragraph.start() + word.start(), paragraph.start() + word.end()
            if line and face.getlength(text[line[0][0] : end]) > width:
                lines.append(line)
                line = []
            line.append((start, end))
        lines.append(line)
    return lines


def _assertion_at(spans: Sequence[HighlightSpan], position: int) -> str | None:
    covering = [s for s in spans if s.start <= position < s.end]
    return min(covering, key=lambda s: s.end - s.start).assertion if covering else None


def _bars(pen: ImageDraw.ImageDraw, x: int, width: int, rows: Sequence[measures.MetricRow]) -> None:
    y, left, bar = TOP, x + 78, width - 78 - 62
    for row in rows:
        pen.text((x, y), row.task.replace("_", " "), MUTED, font(19))
        pen.text((x, y + 25), row.name.removeprefix("image→report "), INK, font(20, bold=True))
        y += 58
        top = y
        for number, cell in enumerate(row.cells):
            pen.text((x, y), cell.label, MUTED, font(19))
            pen.rectangle((left, y + 3, left + bar, y + 21), fill=TRACK)
            if cell.value:
                end = left + bar * row.position(cell.value.value) / 100
                pen.rectangle((left, y + 3, end, y + 21), fill=SERIES[number % len(SERIES)])
                if cell.value.low <= cell.value.high:
                    low, high = (left + bar * row.position(v) / 100 for v in (cell.value.low, cell.value.high))
                    pen.line((low, y + 12, high, y + 12), fill=INK, width=2)
                pen.text((left + bar + 12, y), f"{cell.value.value:.2f}", INK, font(20, bold=number == 0))
            y += 28
        if row.chance is not None:
            at = left + bar * row.position(row.chance) / 100
            for dash in range(top, y, 8):
                pen.line((at, dash, at, dash + 4), fill=MUTED, width=2)
        y += 24
