"""``lgdea eval compare``: results side by side, for the terminal, a paper or a spreadsheet."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgdea.cli.console import console, echo, show_table, split_label
from lgdea.statistics.format import INTERVAL_KIND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lgdea.reporting.measures import MetricRow, TaskTables


class Format(StrEnum):
    """Format of the written comparison."""

    terminal = "terminal"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add ``compare`` to ``app``."""
    app.command()(compare)


def compare(
    folders: Annotated[list[str], typer.Argument(help="Results folders, each as LABEL=FOLDER or just FOLDER.")],
    out: Annotated[Path | None, typer.Option(help="File to write; default: print.")] = None,
    format: Annotated[Format, typer.Option(help="What to write.")] = Format.terminal,
    plots: Annotated[Path | None, typer.Option(help="Folder for one SVG picture per table.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task; default: all.")] = None,
    replicates: Annotated[
        int, typer.Option(min=0, help="Bootstrap replicates and permutations of each difference; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of both.")] = 0,
) -> None:
    """Lay results side by side, over all classes and by class; the first folder is the baseline of all tests.

    Example: `lgdea eval compare clip=results/clip lgdea=results/lgdea --format latex --out tables.tex --plots plots`
    """
    from lgdea.errors import UsageError
    from lgdea.reporting.measures import task_tables

    if out is not None and format is Format.terminal:
        raise UsageError(
            "a terminal table is not written to a file", remedy="add --format markdown, latex, csv or json"
        )
    named = label_folders(folders)
    baseline = next(iter(named)) if len(named) > 1 else None
    tables = task_tables(named, baseline=baseline, task=task, replicates=replicates, seed=seed)
    if format is Format.terminal:
        _show(tables)
    else:
        _write(_text(tables, baseline, format), out)
    if plots is not None:
        from lgdea.reporting.interval_chart import class_plot, table_plots, write_plots
        from lgdea.reporting.palette import series_index

        colours = {label: series_index(i) for i, label in enumerate(named)}
        drawn = [plot for t in tables for plot in table_plots(t, colours)]
        drawn += [class_plot(t, classes, colours) for t in tables for classes in t.per_class]
        files = write_plots(plots, drawn)
        if format is Format.terminal or out is not None:
            console.print(f"plots: {len(files)} in {plots}")


def label_folders(items: Sequence[str]) -> dict[str, Path]:
    """``LABEL=FOLDER`` or ``FOLDER`` as label to folder, in order.

    Raises:
        UsageError: Two have the same label.
    """
    from lgdea.errors import UsageError

    named: dict[str, Path] = {}
    for item in items:
        label, folder = split_label(item)
        if label in named:
            raise UsageError(f"two results are called {label!r}", remedy="give each its own LABEL=FOLDER")
        named[label] = folder
    return named


def _text(tables: Sequence[TaskTables], baseline: str | None, wanted: Format) -> str:
    from lgdea.evaluation.results.compare import markdown_table
    from lgdea.evaluation.results.long_table import long_table, to_csv
    from lgdea.reporting.latex import latex_table

    sources = [table.source for table in tables]
    if wanted is Format.csv:
        return to_csv(sources)
    if wanted is Format.json:
        return str(long_table(sources).to_json(orient="records", indent=2, force_ascii=False, double_precision=15))
    if wanted is Format.latex:
        found = [latex_table(t, baseline, classes) for t in tables for classes in (None, *t.per_class)]
        return "\n".join(found)
    return "\n".join(markdown_table(*part) for table in tables for part in _parts(table))


def _write(text: str, out: Path | None) -> None:
    if out is None:
        echo(text, nl=not text.endswith("\n"))
        return
    from lgdea.runs import write_text

    write_text(out, text)
    console.print(f"comparison: {out}")


def _show(tables: Sequence[TaskTables]) -> None:
    for table in tables:
        for title, columns, rows in _parts(table):
            show_table(title, columns, rows)
        for note in table.notes:
            console.print(f"note: {note}", highlight=False)
    console.print(f"intervals: {INTERVAL_KIND}", highlight=False)


def _parts(table: TaskTables) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, columns and rows of the table over all classes and of each metric by class."""
    rows = [(table.source.title, "metric", table.rows)]
    rows += [(f"{table.source.title}, {c.name} by class", "class", c.rows) for c in table.per_class]
    return [(title, [first, *table.labels, "n"], [_cells(row, table.labels) for row in r]) for title, first, r in rows]


def _cells(row: MetricRow, labels: Sequence[str]) -> list[str]:
    from lgdea.statistics.format import format_interval

    cells = {cell.label: cell for cell in row.cells}
    texts = []
    for label in labels:
        cell = cells.get(label)
        value = None if cell is None else cell.value
        text = "-" if value is None else format_interval(value.value, value.low, value.high)
        if cell is not None and cell.difference is not None:
            text += f" {cell.difference:+.3f}"
            if cell.p_shown is not None:
                name = "p" if cell.p_holm is None else "p(Holm)"
                text += f" {name}<0.001" if cell.p_shown < 0.001 else f" {name}={cell.p_shown:.3f}"
        texts.append(text)
    return [row.name.replace("_", " "), *texts, str(row.n)]
