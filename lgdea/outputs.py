"""What a verb will write is checked before the work: it can be written, and nothing is replaced in silence."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lgdea.errors import UsageError

ELSEWHERE = "choose another --out"
OVERWRITE = f"{ELSEWHERE}, or add --overwrite (overwrite=True in Python)"


def require_place(place: str | Path) -> None:
    """Refuse a file or folder that could not be written.

    Args:
        place: What will be written; its folders may be missing.

    Raises:
        UsageError: It lies in a file, or in a folder into which nothing can be written.
    """
    place = Path(place)
    home = place if place.is_dir() else next(path for path in place.absolute().parents if _stands(path))
    if not home.is_dir():
        raise UsageError("the output lies in a file, not in a folder", file=home, remedy=ELSEWHERE)
    try:
        with tempfile.TemporaryFile(dir=home):  # permissions alone do not tell: /proc, a disk that is read only
            pass
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(f"nothing can be written here ({reason})", file=home, remedy=ELSEWHERE) from None


def require_folder(folder: str | Path) -> None:
    """Refuse a folder that could not be written, as :func:`require_place`, or that is a file."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise UsageError("the output is a file, not a folder", file=folder, remedy=ELSEWHERE)
    require_place(folder)


def claim_folder(folder: str | Path, made: Sequence[str], *, what: str, overwrite: bool) -> None:
    """Refuse a folder that holds something else or, unless it is said, what was made earlier.

    Args:
        folder: The folder that will be written.
        made: Names of the files that will be written into it; by the first one an earlier set is known.
        what: What it is to hold: a question set.
        overwrite: Whether an earlier one may be replaced.

    Raises:
        UsageError: It is a file, holds something else, or an earlier one, or cannot be written.
    """
    folder = Path(folder)
    require_folder(folder)
    names = {file.name for file in folder.iterdir() if not is_leftover(file)} if folder.is_dir() else set()
    if not names:
        return
    if made[0] not in names and not names <= set(made):
        raise UsageError(f"is not empty and holds no {what}", file=folder, remedy=ELSEWHERE)
    if not overwrite:
        raise UsageError(f"holds a {what} already", file=folder, remedy=OVERWRITE)


def is_leftover(file: Path) -> bool:
    """Whether :func:`lgdea.runs.atomic` has made this and was killed before it could move it to its place."""
    return file.name.startswith(".") and file.name.endswith(".tmp")


def _stands(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long, or a folder that may not be looked into
        return False
