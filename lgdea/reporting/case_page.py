"""A sheet of cases as one self-contained HTML page, and the file of a sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lgdea.errors import UsageError
from lgdea.reporting.cases import Box, CaseSheet
from lgdea.reporting.overlays import data_uri, heat_layer, photo, to_png
from lgdea.reporting.template import fill
from lgdea.runs import atomic, now, write_text

ENDINGS = (".png", ".html")


@dataclass(frozen=True)
class _Picture:
    photo: str
    width: int
    height: int
    layer: str | None
    boxes: tuple[Box, ...]
    caption: str


def write_sheet(sheet: CaseSheet, out: str | Path) -> Path:
    """Write a sheet as a picture or a page, as the file's ending says.

    Args:
        sheet: The sheet.
        out: ``.png`` or ``.html`` file.

    Returns:
        ``out``.

    Raises:
        UsageError: Another ending.
    """
    out = check_ending(out)
    if out.suffix.lower() == ".html":
        write_text(out, page(sheet))
        return out
    with atomic(out) as temporary:
        temporary.write_bytes(to_png(sheet.draw()))
    return out


def check_ending(out: str | Path) -> Path:
    """The file as a path.

    Raises:
        UsageError: It ends neither in ``.png`` nor in ``.html``.
    """
    out = Path(out)
    if out.suffix.lower() not in ENDINGS:
        raise UsageError("is no picture or page", file=out, remedy="end the file's name in .png or .html")
    return out


def page(sheet: CaseSheet) -> str:
    """The sheet as HTML; every text in it is escaped, every photograph stands in it once."""
    photos: dict[int, str] = {}
    store = []
    columns = []
    for column in sheet.columns:
        shown = []
        for picture in column.pictures:
            key = id(picture.pixels)
            height, width = picture.pixels.shape
            if key not in photos:
                photos[key] = f"photo-{len(photos)}"
                store.append((photos[key], data_uri(photo(picture.pixels)), width, height))
            layer = None if picture.heat is None else data_uri(heat_layer(picture.heat))
            shown.append(_Picture(photos[key], width, height, layer, picture.boxes, picture.caption))
        columns.append((column.lines, shown))
    mapped = any(picture.layer for _, shown in columns for picture in shown)
    return fill(
        "case_page.html.j2", styles=["style.css", "case_page.css"], scripts=["tip.js", "page.js"], sheet=sheet,
        columns=columns, store=store, mapped=mapped, generated=now(),
    )  # fmt: skip
