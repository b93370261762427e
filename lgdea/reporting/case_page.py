"""A sheet of cases as one self-contained HTML page, and the file of a sheet."""

from __future__ import annotations

from pathlib import Path

from lgdea.errors import UsageError
from lgdea.reporting.cases import CaseSheet
from lgdea.reporting.overlays import to_png
from lgdea.reporting.sheet_parts import PhotoStore, page_columns
from lgdea.reporting.template import fill
from lgdea.runs import atomic, now, write_text

ENDINGS = (".png", ".html")


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
    store = PhotoStore()
    columns = page_columns(sheet, store)
    mapped = any(picture.layer for column in columns for picture in column.pictures)
    return fill(
        "case_page.html.j2", styles=["style.css", "sheet.css", "case_page.css"], scripts=["tip.js", "page.js"],
        sheet=sheet, columns=columns, photos=store.photos, mapped=mapped, generated=now(),
    )  # fmt: skip
