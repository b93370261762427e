"""``lgdea eval compare``: results side by side, for the terminal, a paper or a spreadsheet."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgdea.cli.console import JsonFlag, OverwriteFlag, console, echo, show_json, show_table, split_label, stderr
from lgdea.cli.outputs import claim
from lgdea.statistics.format import INTERVAL_KIND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lgdea.evaluation.results.reading_differences import ReadingTable
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
    app.command(rich_help_panel="Results and suites")(compare)


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
    everything: Annotated[
        bool, typer.Option("--all", help="Print every metric, not only the main ones; a file has all of them.")
    ] = False,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Lay results side by side, over all classes and by class; the first folder is the baseline of all tests.

    Of `lgdea eval references` also the differences within a result: beside references and alone, strategies, numbers.

    Example: `lgdea eval compare clip=results/clip lgdea=results/lgdea --format latex --out tables.tex --plots plots`
    """
    from lgdea.errors import UsageError
    from lgdea.evaluation.results.long_table import long_table
    from lgdea.evaluation.results.reading_differences import reading_tables
    from lgdea.reporting.measures import task_tables
    from lgdea.runs import write_text

    if out is not None and format is Format.terminal:
        raise UsageError(
            "a terminal table is not written to a file", remedy="add --format markdown, latex, csv or json"
        )
    named = label_folders(folders)
    replaced = claim(out, overwrite)
    baseline = next(iter(named)) if len(named) > 1 else None
    tables = task_tables(named, baseline=baseline, task=task, replicates=replicates, seed=seed)
    readings = reading_tables([table.source for table in tables], replicates=replicates, seed=seed)
    apart = _tell_apart(tables)
    if out is not None:
        write_text(out, _text(tables, readings, baseline, format))
    elif not json and format is not Format.terminal:
        echo(_text(tables, readings, baseline, format).rstrip("\n"))
    elif not json:
        _show(tables, readings, everything)
        if apart:
            console.print(f"note: {apart}", highlight=False)
    files: list[Path] = []
    if plots is not None:
        from lgdea.reporting.interval_chart import class_plot, table_plots, write_plots
        from lgdea.reporting.palette import series_index

        colours = {label: series_index(i) for i, label in enumerate(named)}
        pictures = [plot for t in tables for plot in table_plots(t, colours)]
        pictures += [class_plot(t, classes, colours) for t in tables for classes in t.per_class]
        files = write_plots(plots, pictures)
    if json:
        rows = long_table([table.source for table in tables], readings).to_dict("records")
        show_json({"rows": rows, "note": apart}, [*([] if out is None else [out]), *files])
        return
    if out is not None:
        console.print(f"comparison: {out}{replaced}", highlight=False)
        if apart:
            stderr.print(f"note: {apart}", highlight=False)
    if plots is not None and (format is Format.terminal or out is not None):
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


def _text(tables: Sequence[TaskTables], readings: Sequence[ReadingTable], baseline: str | None, wanted: Format) -> str:
    from lgdea.evaluation.results.compare import markdown_table
    from lgdea.evaluation.results.long_table import long_table, to_csv
    from lgdea.reporting.latex import latex_table, reading_latex

    sources = [table.source for table in tables]
    if wanted is Format.csv:
        return to_csv(sources, readings)
    if wanted is Format.json:
        return str(
            long_table(sources, readings).to_json(orient="records", indent=2, force_ascii=False, double_precision=15)
        )
    if wanted is Format.latex:
        found = [latex_table(t, baseline, classes) for t in tables for classes in (None, *t.per_class)]
        return "\n".join([*found, *map(reading_latex, readings)])
    parts = [*(part for table in tables for part in _parts(table)), *((t.title, t.columns, t.rows()) for t in readings)]
    return "\n".join(markdown_table(*part) for part in parts)


def _tell_apart(tables: Sequence[TaskTables]) -> str:
    """Say in one line why results of one task do not share a table; empty when they do."""
    names = ("archive", "split", "suite", "definition", "items")
    told = []
    for task in dict.fromkeys(table.task for table in tables):
        mine = [table for table in tables if table.task == task]
        keys = [(t.archive, t.split, t.source.suite, t.definition, t.source.ids_sha256) for t in mine]
        if len(mine) < 2:
            continue
        what = next(name for name, values in zip(names, zip(*keys, strict=True), strict=True) if len(set(values)) > 1)
        who = " and ".join(", ".join(table.labels) for table in mine)
        plural = {"archive": "archives", "split": "splits", "suite": "suites", "definition": "definitions"}
        told.append(f"{task} of {who}: different {plural.get(what, what)}, so no common table and no test")
    return "; ".join(told)


def _show(tables: Sequence[TaskTables], readings: Sequence[ReadingTable], everything: bool) -> None:
    for table in tables:
        shown = table if everything else _main(table)
        for title, columns, rows in _parts(shown):
            show_table(title, columns, rows)
        metrics, classes = len(table.rows) - len(shown.rows), len(table.per_class) - len(shown.per_class)
        if metrics or classes:
            console.print(f"and {metrics} more metrics, {classes} more by class: --all shows them", highlight=False)
        for note in table.notes:
            console.print(f"note: {note}", highlight=False)
    for found in readings:
        show_table(found.title, found.columns, found.rows())
    console.print(f"intervals: {INTERVAL_KIND}", highlight=False)


def _main(table: TaskTables) -> TaskTables:
    """The task's main metrics, over all classes and by class; of a small table everything."""
    from lgdea.evaluation.results.metric_facts import main_metrics

    wanted = {*main_metrics(table.task, [row.metric for row in table.rows])}
    if len(wanted) == len(table.rows):
        return table
    rows = tuple(row for row in table.rows if row.metric in wanted)
    classes = tuple(c for c in table.per_class if {c.metric, f"{c.metric}_macro"} & wanted)
    return replace(table, rows=rows, per_class=classes)


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
