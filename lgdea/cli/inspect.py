"""``lgdea demo``, ``lgdea report`` and ``lgdea doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write; an unfinished demo is resumed.")] = Path("demo"),
    studies: Annotated[int, typer.Option(min=60, help="Studies of the phantom.")] = 3000,
    fraction: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of linked training patients.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    max_steps: Annotated[int | None, typer.Option(help="Training steps of each model; default: as configured.")] = None,
) -> None:
    """Run the whole pipeline on the phantom: no download, no GPU, a few minutes.

    Example: `lgdea demo`
    """
    from lgdea.demo import run_demo

    summary = run_demo(out, studies=studies, fraction=fraction, seed=seed, max_steps=max_steps, say=console.print)
    show_table(summary.title, summary.columns, summary.rows)
    console.print(f"report: {summary.report}")


def report(
    folders: Annotated[list[str], typer.Argument(help="Run or results folders, each as LABEL=FOLDER or just FOLDER.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    archive: Annotated[Path | None, typer.Option(help="Archive folder for counts, reports and images.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Evidence folder for the highlights.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "lgdea report",
    replicates: Annotated[
        int, typer.Option(min=0, help="Bootstrap replicates and permutations of each difference; 0 for none.")
    ] = 1000,
) -> None:
    """Make one self-contained HTML page of runs and results; the first label is the baseline of all differences.

    Example: `lgdea report clip=results/clip lgdea=results/lgdea lgdea=runs/lgdea --out report.html`
    """
    from lgdea.errors import UsageError
    from lgdea.reporting.page import build_report

    runs: dict[str, Path] = {}
    results: dict[str, Path] = {}
    for item in folders:
        label, sign, path = item.rpartition("=")
        folder = Path(path)
        if not folder.is_dir():
            raise UsageError("no such run or results folder", file=folder, remedy="check the path")
        kind = runs if (folder / "config.yaml").exists() else results
        kind[label if sign else folder.name] = folder
    page = build_report(
        out=out,
        title=title,
        runs=runs,
        results=results,
        archive=archive,
        evidence=evidence,
        replicates=replicates,
    )
    console.print(f"report: {page}")


def doctor(json: JsonFlag = False) -> None:
    """Show versions, devices, what works here and what to install for the rest.

    Example: `lgdea doctor`
    """
    from importlib import import_module, metadata

    from lgdea.runs import environment

    facts = environment()
    try:
        torch = import_module("torch")
        facts["devices"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"]
        facts["threads"] = torch.get_num_threads()
    except ImportError:
        facts["devices"] = []
    abilities = {}
    for ability, module, remedy in ABILITIES:
        try:
            import_module(module)
            abilities[ability] = "works"
        except ImportError as error:
            abilities[ability] = f"missing {error.name or module}: {remedy}"
    for group in ("lgdea.datasets", "lgdea.backends"):
        facts[group] = sorted(point.name for point in metadata.entry_points(group=group))
    if json:
        show_json({**facts, "abilities": abilities})
        return
    rows = [(k, v if isinstance(v, str | int) else ", ".join(_pairs(v))) for k, v in facts.items()]
    show_table("environment", ["what", "value"], rows)
    show_table("abilities", ["what", "state"], list(abilities.items()))


ABILITIES = [
    ("archives", "pyarrow", "pip install pyarrow"),
    ("DICOM", "pydicom", "pip install pydicom"),
    ("rules extraction", "ahocorasick", "pip install pyahocorasick"),
    ("pretraining", "lightning", "pip install lightning timm transformers"),
    ("image towers", "timm", "pip install timm"),
    ("text towers", "transformers", "pip install transformers"),
    ("graph", "faiss", "pip install faiss-cpu"),
    ("language model extraction (optional)", "vllm", "pip install vllm in an environment of its own"),
]


def _pairs(value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"{k} {v}" for k, v in value.items()]
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]
