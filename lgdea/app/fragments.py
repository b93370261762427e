"""Fragments of HTML that the tabs share; every text is escaped by markupsafe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from lgdea.errors import LgdeaError
from lgdea.reporting.cases import CaseColumn, CaseSheet
from lgdea.reporting.overlays import data_uri, overlay, to_png

SIDE = 320
"""Longer side of a picture in a sheet, pixels."""


def problem_line(error: LgdeaError) -> str:
    """What an error says, with the name of its file and not with its path.

    Args:
        error: The error.
    """
    where = [Path(error.file).name] if error.file else []
    where += [f"row {error.row}"] if error.row is not None else []
    parts = [f"{' '.join(where)}: {error.problem}" if where else error.problem, error.remedy or ""]
    return " ".join("; ".join(part for part in parts if part).split())


def alert(line: str) -> str:
    """A line that says what went wrong; a screen reader reads it out.

    Args:
        line: The line.
    """
    return str(Markup('<p class="lg-alert" role="alert"><b>Not done.</b> {}</p>').format(line))


def note(*lines: str) -> str:
    """Lines that say what a reader must know of what is shown.

    Args:
        lines: Each in a paragraph.
    """
    return str(Markup("").join(Markup('<p class="lg-note">{}</p>').format(line) for line in lines if line))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that scrolls by itself where the screen is too narrow.

    Args:
        caption: What it is of.
        head: Names of its columns; the first cell of each row is the row's name.
        rows: Its cells.
    """
    titles = Markup("").join(Markup('<th scope="col" role="columnheader">{}</th>').format(cell) for cell in head)
    body = Markup("").join(_row(cells, head) for cells in rows)
    return str(
        Markup(
            '<div class="lg-scroll" tabindex="0" role="region" aria-label="{}"><table class="lg-table" role="table">'
            '<caption>{}</caption><thead role="rowgroup"><tr role="row">{}</tr></thead>'
            '<tbody role="rowgroup">{}</tbody></table></div>'
        ).format(caption, caption, titles, body)
    )


def _row(cells: Sequence[object], head: Sequence[str]) -> Markup:
    """A row; on a phone its cells stand one below the other, each with the name of its column."""
    first, *others = [cell if isinstance(cell, Markup) else "" if cell is None else str(cell) for cell in cells]
    rest = Markup("").join(
        Markup('<td role="cell" data-head="{}">{}</td>').format(name, cell)
        for name, cell in zip(head[1:], others, strict=True)
    )
    return Markup('<tr role="row"><th scope="row" role="rowheader">{}</th>{}</tr>').format(first, rest)


def badge(assertion: str) -> Markup:
    """An assertion as a word on its colour.

    Args:
        assertion: present, absent or uncertain.
    """
    return Markup('<span class="lg-badge ev-{}">{}</span>').format(assertion, assertion)


def bar(share: float) -> Markup:
    """A value in [0, 1] as a number and the length of a bar.

    Args:
        share: The value.
    """
    width = round(100 * float(np.clip(share, 0, 1)))
    return Markup('<span class="lg-bar"><i style="width:{}%"></i></span> {}').format(width, f"{share:.2f}")


def sheet_html(sheet: CaseSheet) -> str:
    """Cases side by side, as many as the screen has room for.

    Args:
        sheet: Their pictures and what is said of them.
    """
    depth = max((len(column.pictures) for column in sheet.columns), default=0)
    captioned = [any(len(c.pictures) > k and c.pictures[k].caption for c in sheet.columns) for k in range(depth)]
    figures = Markup("").join(_figure(column, captioned) for column in sheet.columns)
    parts = [Markup("<h3>{}</h3>").format(sheet.title), Markup(note(*sheet.notes))]
    if sheet.head:
        parts.append(Markup(table(sheet.title, sheet.head, sheet.rows)))
    parts.append(Markup('<div class="lg-sheet">{}</div>').format(figures))
    return str(Markup("").join(parts))


def _figure(column: CaseColumn, captioned: Sequence[bool]) -> Markup:
    """A column; where one picture of a row has a caption, all leave room for it."""
    head, *others = column.lines
    lines = Markup("").join(Markup("<span>{}</span>").format(line) for line in others)
    pictures = Markup("")
    for picture, has_caption in zip(column.pictures, captioned, strict=False):
        drawn = overlay(picture.pixels, heat=picture.heat, boxes=picture.boxes, max_side=SIDE)
        said = ", ".join([head, *([picture.caption] if picture.caption else [])])
        alt = f"{said}, with its heat map" if picture.heat is not None else said
        caption = Markup('<span class="lg-caption">{}</span>').format(picture.caption) if has_caption else Markup("")
        pictures += Markup('{}<img src="{}" alt="{}" width="{}" height="{}">').format(
            caption, data_uri(to_png(drawn)), alt, drawn.width, drawn.height
        )
    return Markup('<figure class="lg-case"><figcaption><b>{}</b>{}</figcaption>{}</figure>').format(
        head, lines, pictures
    )
