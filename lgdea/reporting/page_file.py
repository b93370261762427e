"""Files of pages: a page is replaced by one of the same folders only, unless it is said."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from lgdea.errors import UsageError
from lgdea.outputs import require_place

_MARK = "<!-- lgdea: made of "


def claim_page(out: Path, sources: Iterable[str | Path | None], overwrite: bool) -> str:
    """Refuse to write over something else, before there is work to lose.

    Args:
        out: HTML file that will be written.
        sources: Labels and folders that it is made of; folders count by their place, not by what is in them.
        overwrite: Whether anything may be replaced.

    Returns:
        Comment for the end of the page, by which a later call knows it.

    Raises:
        UsageError: The file is there and is no page of the same folders, it is a folder, or it cannot be written.
    """
    parts = [str(part.resolve()) if isinstance(part, Path) else str(part) for part in sources]
    mark = f"{_MARK}{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()} -->"
    if out.is_dir():
        raise UsageError("is a folder", file=out, remedy="name a file")
    require_place(out)
    if not overwrite and out.exists() and not _read_end(out).endswith(mark):
        what = "is a page of something else" if _MARK in _read_end(out) else "exists"
        raise UsageError(what, file=out, remedy="choose another --out, or add --overwrite")
    return f"\n{mark}\n"


def _read_end(file: Path, count: int = 200) -> str:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - count))
        return stream.read().decode(errors="replace").rstrip()
