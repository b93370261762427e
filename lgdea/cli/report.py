"""``lgdea report``: one page of runs and results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import JsonFlag, OverwriteFlag, console, show_json, split_label
from lgdea.cli.outputs import REPLACED


def report(
    folders: Annotated[list[str], typer.Argument(help="Run or results folders, each as LABEL=FOLDER or just FOLDER.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    archive: Annotated[Path | None, typer.Option(help="Archive folder for counts, reports and images.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Evidence of all its reports, for the highlights.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "lgdea report",
    replicates: Annotated[
        int, typer.Option(min=0, help="Bootstrap replicates and permutations of each difference; 0 for none.")
    ] = 1000,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Make one self-contained HTML page of runs and results; the first label is the baseline of all differences.

    Example: `lgdea report clip=results/clip lgdea=results/lgdea lgdea=runs/lgdea --out report.html`
    """
    from lgdea.errors import UsageError
    from lgdea.reporting.page import build_report
    from lgdea.vocabulary.extension import using_vocabulary_of

    runs: dict[str, Path] = {}
    results: dict[str, Path] = {}
    for item in folders:
        label, folder = split_label(item)
        if not folder.is_dir():
            raise UsageError("no such run or results folder", file=folder, remedy="check the path")
        kind = runs if (folder / "config.yaml").exists() else results
        kind[label] = folder
    replaced = REPLACED if out.exists() else ""
    with using_vocabulary_of(evidence, *(folder / "model" for folder in runs.values())):
        page = build_report(
            out=out,
            title=title,
            runs=runs,
            results=results,
            archive=archive,
            evidence=evidence,
            replicates=replicates,
            overwrite=overwrite,
        )
    if json:
        show_json({"runs": list(runs), "results": list(results)}, [page])
        return
    console.print(f"report: {page}{replaced}", highlight=False)
