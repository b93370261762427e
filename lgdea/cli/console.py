"""Shared parts of the verbs: the console, tables, logging and ``--json`` output."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", help="YAML file, or the name of a shipped one (demo-lgdea); later files win."),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one key: optimizer.lr=1e-4")]


def printable(text: str) -> str:
    """Replace what a terminal would obey, such as escape sequences in a report or a path."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


# Paths, ids and remedies (`lgdea[nifti]`, `boxes.frame=[width, height]`) are shown as they are: rich would take
# brackets for markup and drop them, and colons for emoji.
console = Console(markup=False, emoji=False)
stderr = Console(stderr=True, markup=False, emoji=False)


class _StderrHandler(logging.Handler):
    """Print a record as one line, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record; warnings and errors with their level."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        try:
            stderr.print(f"{level}{printable(self.format(record))}", markup=False, highlight=False, soft_wrap=True)
        except Exception:
            self.handleError(record)


def start_logging(level: int) -> None:
    """Send what lgdea logs from ``level`` upwards to stderr; repeated calls change the level."""
    log = logging.getLogger("lgdea")
    log.setLevel(level)
    if not any(isinstance(handler, _StderrHandler) for handler in log.handlers):
        log.addHandler(_StderrHandler())


def show_table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def show_json(content: Any) -> None:
    """Print ``content`` as one JSON document on stdout."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, default=str))


def split_label(item: str) -> tuple[str, Path]:
    """Read LABEL=FOLDER, or FOLDER, whose name then is the label; a folder that exists may have ``=`` in its path."""
    label, sign, folder = item.partition("=")
    return (label, Path(folder)) if sign and not Path(item).is_dir() else (Path(item).name, Path(item))


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that is gone when the work is done; yields a function of (done, all)."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _progress(*columns) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stage_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a :func:`progress_bar` of work in stages; yields a function of (what is being done, done, all)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _progress(*columns) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield show


def _progress(*columns: ProgressColumn) -> Progress:
    """A bar on stderr that is gone at the end; with --quiet, or where stderr is not a terminal, nothing at all."""
    quiet = not logging.getLogger("lgdea").isEnabledFor(logging.INFO)
    return Progress(*columns, console=stderr, transient=True, disable=quiet or not stderr.is_terminal)
