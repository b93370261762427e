"""``lgdea eval suites|freeze``: the benchmark suites, and their ids in an archive at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table


def register(app: typer.Typer) -> None:
    """Add these verbs to ``lgdea eval``."""
    for command in (suites, freeze):
        app.command(rich_help_panel="Results and suites")(command)


def suites(json: JsonFlag = False) -> None:
    """List the shipped benchmark suites: what each measures, on what, how many items, and whether ids are fixed.

    Example: `lgdea eval suites`
    """
    from lgdea.evaluation.suites.suite import shipped_suites

    facts: list[dict[str, Any]] = [
        {
            "suite": suite.label,
            "task": task,
            "dataset": suite.dataset,
            "expected": benchmark.expected.model_dump(exclude_none=True),
            "ids_sha256": benchmark.ids_sha256,
            "measures": suite.measures,
        }
        for suite in shipped_suites()
        for task, benchmark in suite.tasks.items()
    ]
    if json:
        show_json({"suites": facts})
        return
    rows = [
        (
            fact["suite"],
            fact["task"],
            fact["dataset"],
            ", ".join(f"{n:,} {what}" for what, n in fact["expected"].items()) or "-",
            "fixed" if fact["ids_sha256"] else "by rule",
            fact["measures"],
        )
        for fact in facts
    ]
    show_table(None, ["suite", "task", "dataset", "n", "ids", "measures"], rows)


def freeze(
    suite: Annotated[str, typer.Argument(help="Shipped suite or suite file.")],
    archive: Annotated[Path, typer.Argument(help="Archive folder of its dataset.")],
    out: Annotated[Path, typer.Option(help="Suite file to write; `--suite FILE` takes it.")],
    task: Annotated[list[str] | None, typer.Option(help="Only this task of the suite; may be repeated.")] = None,
    json: JsonFlag = False,
) -> None:
    """Write out the ids that a suite's rules select in an archive, with their hash.

    Example: `lgdea eval freeze nih-boxes archives/nih --out nih-boxes.yaml`
    """
    from lgdea.evaluation.suites.prepare import freeze as fix
    from lgdea.evaluation.suites.prepare import shortfall
    from lgdea.evaluation.suites.suite import load_suite, task_named, write_suite
    from lgdea.records.archive import Archive

    chosen = load_suite(suite)
    frozen = fix(chosen, Archive.open(archive), [task_named(name) for name in task or []])
    write_suite(frozen, out)
    facts = {name: {"n": len(b.ids or ()), "ids_sha256": b.ids_sha256} for name, b in frozen.tasks.items()}
    if json:
        show_json({"tasks": facts}, [out])
        return
    for name, benchmark in frozen.tasks.items():
        line = f"{name}: {facts[name]['n']:,} ids, sha256 {benchmark.ids_sha256}"
        console.print(line, highlight=False, soft_wrap=True)
        for difference in shortfall(chosen.tasks[name], benchmark.expected.model_dump()):
            console.print(f"note: not the whole of {chosen.label}: {difference}", highlight=False)
    console.print(f"suite: {out}")
