"""Files that a verb writes: none is replaced in silence."""

from __future__ import annotations

from pathlib import Path

from lgdea.errors import UsageError
from lgdea.outputs import require_place

REPLACED = " (replaced)"


def claim(file: Path | None, overwrite: bool, what: str = "") -> str:
    """Refuse to write over a file, unless it is said.

    Args:
        file: The file that will be written; None for none.
        overwrite: Whether it may be replaced.
        what: What there is to lose, in the error.

    Returns:
        What to print behind its name: that it is replaced, or nothing.

    Raises:
        UsageError: It is there, it is a folder, or it cannot be written where it is to be.
    """
    if file is None:
        return ""
    if file.is_dir():
        raise UsageError("is a folder", file=file, remedy="name a file")
    require_place(file)
    if not file.exists():
        return ""
    if not overwrite:
        remedy = "choose another --out, or add --overwrite"
        raise UsageError(f"exists{f', and may hold {what}' if what else ''}", file=file, remedy=remedy)
    return REPLACED
