"""Errors of one line that names the file, the row and the remedy.

Every error that a user can cause or mend is an :class:`LgdeaError`; the command line prints
its message without a traceback and leaves with its ``exit_code``.
"""

from __future__ import annotations

from pathlib import Path

NOT_INSTALLED = "this lgdea is a folder that was not installed; pip install -e . in its checkout"
"""Remedy where not even lgdea's own entry points are found."""


class LgdeaError(Exception):
    """Base of all errors that lgdea raises on purpose.

    Args:
        problem: What is wrong, in one clause without a full stop.
        file: The file or folder concerned.
        row: Row number (1-based, header not counted) or row id inside ``file``.
        remedy: What the user can do about it, in one clause.

    Example:
        >>> print(lgdea.LgdeaError("has no text", file="reports.csv", row=3, remedy="leave the row out"))
        reports.csv row 3: has no text; leave the row out
    """

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else str(file)
        self.row = row
        self.remedy = remedy
        super().__init__(self._line())

    def _line(self) -> str:
        where = self.file or ""
        if self.row is not None:
            where += f" row {self.row}" if where else f"row {self.row}"
        text = f"{where}: {self.problem}" if where else self.problem
        if self.remedy:
            text += f"; {self.remedy}"
        return " ".join(text.split())


def first_line(error: BaseException, most: int = 160) -> str:
    """Shorten another library's error for a message of one line.

    Args:
        error: The error; the name of its class stands for an empty message.
        most: Characters that are kept.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


class UsageError(LgdeaError):
    """The request itself makes no sense: a wrong path, a name that does not exist, flags that conflict."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or ``--set`` override is invalid; the message names its exact path."""


class DataError(LgdeaError):
    """An archive, a table or a source file breaks its contract."""


class ImageError(DataError):
    """An image cannot be read or is of a kind that is refused."""


class EvidenceError(LgdeaError):
    """Extraction cannot go on: a backend that does not start, a prompt that fails its checks."""


class TrainingError(LgdeaError):
    """Training cannot go on: collapse, NaN loss, a checkpoint of another model."""


class StoppedError(LgdeaError):
    """The process was asked to end; what it had done is saved.

    Args:
        signal: Number of the signal; the exit code is 128 more, as a shell has it.
        problem: As of :class:`LgdeaError`.
        file: As of :class:`LgdeaError`.
        remedy: As of :class:`LgdeaError`.
    """

    def __init__(self, signal: int, problem: str, *, file: str | Path | None = None, remedy: str | None = None) -> None:
        super().__init__(problem, file=file, remedy=remedy)
        self.exit_code = 128 + signal


class RejectedShareError(LgdeaError):
    """The stage finished, but more items were rejected than the allowed share."""

    exit_code = 3
