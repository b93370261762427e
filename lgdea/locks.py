"""One process at a time for a folder that is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lgdea.errors import DataError, UsageError
from lgdea.outputs import require_place

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold a folder for this process, so that a second one does not write into it; a kill lets go of it.

    Processes that this one starts do not hold it. Where the system or the file system has no locks, none is held.

    Args:
        folder: The folder, which need not be there yet.

    Raises:
        UsageError: Another process holds it, or nothing can be written there.
        DataError: Somebody has removed what this process wrote there and was to read again.
    """
    folder = Path(folder)
    require_place(folder)
    file = folder.absolute()
    file = file.with_name(f".{file.name}.writing")
    file.parent.mkdir(parents=True, exist_ok=True)
    stream = _open_lock(file, folder)
    try:
        yield
    except FileNotFoundError as error:
        if not isinstance(error.filename, str | os.PathLike) or not _is_below(Path(error.filename), folder):
            raise
        problem, remedy = "was removed while the folder was written", "repeat the command, or choose another --out"
        raise DataError(problem, file=str(error.filename), remedy=remedy) from error
    finally:
        if stream is not None:
            file.unlink(missing_ok=True)
            stream.close()


def _is_below(file: Path, folder: Path) -> bool:
    return file.absolute().is_relative_to(folder.absolute())


def _open_lock(file: Path, folder: Path) -> IO[bytes] | None:
    while fcntl is not None:
        try:
            stream = file.open("ab")
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            if error.errno == errno.EACCES and not os.access(file.parent, os.W_OK):
                return None
            raise UsageError(
                "another process is writing into this folder",
                file=folder,
                remedy="wait for it, or choose another --out",
            ) from None
        except OSError:
            return None
        if file.exists() and os.fstat(stream.fileno()).st_ino == file.stat().st_ino:
            return stream
        stream.close()  # its last holder has removed the file meanwhile
    return None
