"""``lgdea demo``: the whole pipeline on the phantom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write; an unfinished demo is resumed.")] = Path("demo"),
    studies: Annotated[int, typer.Option(min=60, help="Studies of the phantom.")] = 3000,
    fraction: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of linked training patients.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of everything, from 0 to 999999.")] = 0,
    max_steps: Annotated[int | None, typer.Option(help="Training steps of each model; default: as configured.")] = None,
    json: JsonFlag = False,
) -> None:
    """Run the whole pipeline on the phantom: no download, no GPU, a few minutes.

    Example: `lgdea demo`
    """
    from lgdea.demo import run_demo

    summary = run_demo(out, studies=studies, fraction=fraction, seed=seed, max_steps=max_steps)
    if json:
        rows = [dict(zip(summary.columns, row, strict=True)) for row in summary.rows]
        show_json({"title": summary.title, "rows": rows}, [summary.report])
        return
    show_table(summary.title, summary.columns, summary.rows)
    console.print(summary.note)
    console.print(f"report: {summary.report}")
