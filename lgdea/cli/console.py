"""Shared parts of the verbs: the console, tables, logging and ``--json`` output."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lgdea.version import __version__

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
OverwriteFlag = Annotated[
    bool, typer.Option("--overwrite", help="Replace what stands at --out, though it was made of something else.")
]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", help="YAML file, or the name of a shipped one (demo-lgdea); later files win."),
]
_SPACES = {"\xa0": " ", "\u2009": " ", "\u202f": " ", "\u2003": " "}
SetOption = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one key: optimizer.lr=1e-4")]


def printable(text: str) -> str:
    """Replace what a terminal would obey, such as escape sequences in a report or a path, or marks that turn text."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else _SPACES.get(c, "\N{REPLACEMENT CHARACTER}") for c in text)


def printable_lines(text: str) -> str:
    """Make a text of several lines :func:`printable`; line ends and tabs stay."""
    return "".join(part if part in ("\n", "\t") else printable(part) for part in re.split(r"([\n\t])", text))


def echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print text as it is but for what a terminal would obey; all verbs print by this or by :data:`console`."""
    typer.echo(printable_lines(text), nl=nl, err=err)


class _SafeConsole(Console):
    """A console to which no string, be it printed, or the cell, header or title of a table, is markup or a command."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make rich's text of a string."""
        return super().render_str(printable_lines(text), **options)


# Paths, ids and remedies (`lgdea[nifti]`, `boxes.frame=[width, height]`) are shown as they are: rich would take
# brackets for markup and drop them, and colons for emoji.
console = _SafeConsole()
stderr = _SafeConsole(stderr=True)


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


class Invocation:
    """The verb that runs, as its JSON names it."""

    command: ClassVar[str] = ""


def show_json(result: Any, written: Sequence[str | Path] = ()) -> None:
    """Print the one JSON document of a verb: ``command``, ``lgdea_version``, ``written`` and ``result``.

    Args:
        result: What the verb has to say, plain data; a number that is not defined is null.
        written: Files and folders that it has written.
    """
    document = {
        "command": Invocation.command,
        "lgdea_version": __version__,
        "written": [str(place) for place in written],
        "result": json.loads(json.dumps(result, default=_to_plain), parse_constant=lambda _: None),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    # The document stays the same; a terminal is shown \u001b where it would obey.
    typer.echo("".join(c if c == "\n" or c.isprintable() else _escape(c) for c in text))


def _escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]


def _to_plain(value: Any) -> Any:
    """Numbers of NumPy as numbers, all else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def run_facts(run: Path) -> dict[str, Any]:
    """What a training run's record says of it: steps, counts and last metrics, as far as it has them."""
    from lgdea.manifests import read_manifest
    from lgdea.runs import MANIFEST

    record = read_manifest(run / MANIFEST) if (run / MANIFEST).exists() else {}
    return {key: record[key] for key in ("stage", "steps", "counts", "metrics") if key in record}


def split_label(item: str) -> tuple[str, Path]:
    """Read LABEL=FOLDER, or FOLDER, whose name then is the label; a folder that exists may have ``=`` in its path."""
    label, sign, folder = item.partition("=")
    return (label, Path(folder)) if sign and not Path(item).is_dir() else (Path(item).name, Path(item))
