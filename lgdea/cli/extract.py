"""``lgdea extract``: reports in, evidence out; and how good the evidence is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from lgdea.cli.console import JsonFlag, console, progress_bar, show_json, show_table
from lgdea.cli.pretrain import config_files


class _RunByDefault(TyperGroup):
    """`lgdea extract ARCHIVE` is short for `lgdea extract run ARCHIVE`."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]  # the context's class is private to typer
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_RunByDefault, help="Turn reports into evidence, and score evidence.", no_args_is_help=True)


@app.command()
def run(
    archive: Annotated[Path, typer.Argument(help="Archive folder whose reports are read.")],
    out: Annotated[Path, typer.Option(help="Evidence folder to write; an unfinished one is resumed.")],
    backend: Annotated[
        str | None, typer.Option(help="Who extracts: rules (default), replay, or an installed plug-in.")
    ] = None,
    config: Annotated[
        list[str] | None, typer.Option("--config", "-c", help="YAML file, or the name of a shipped one.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="Override one key: max_rejected=0.1, options.responses=FILE")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Extract evidence from an archive's reports (`lgdea extract ARCHIVE` for short).

    Example: `lgdea extract archives/openi --backend rules --out evidence/openi`
    """
    from lgdea.config import load_config
    from lgdea.evidence.backends.base import get_backend
    from lgdea.evidence.config import ExtractConfig
    from lgdea.evidence.prompts import load_prompt
    from lgdea.evidence.runner import extract
    from lgdea.records.archive import Archive

    named = [f"backend={backend}"] if backend else []
    settings = load_config(ExtractConfig, config_files("extract", config), [*(overrides or []), *named])
    prompt = load_prompt(settings.prompt) if settings.prompt else None
    who = get_backend(settings.backend, **settings.options)
    source = Archive.open(archive)
    with progress_bar("reading reports") as progress:
        summary = extract(source, who, out, prompt=prompt, max_rejected=settings.max_rejected, progress=progress)
    if json:
        show_json(summary)
    else:
        console.print(
            f"{out}: {summary['units']:,} units from {summary['reports']:,} reports, "
            f"{summary['rejected']:,} rejected, {summary['reports_per_second']:,.0f} reports/s"
        )


@app.command()
def score(
    evidence: Annotated[Path, typer.Argument(help="Evidence folder.")],
    gold: Annotated[str, typer.Option(help="openi-14, openi-mesh, phantom, or a folder of corrections.")],
    archive: Annotated[Path, typer.Option(help="Archive that holds the gold: its labels or truth tables.")],
    worst: Annotated[int, typer.Option(help="How many disagreements to list.")] = 10,
    json: JsonFlag = False,
) -> None:
    """Precision, recall and F1 with 95% intervals, per finding and per attribute.

    Example: `lgdea extract score evidence/openi --gold openi-14 --archive archives/openi`
    """
    from lgdea.evidence.scoring import score as score_evidence
    from lgdea.records.archive import Archive

    result = score_evidence(evidence, gold, Archive.open(archive))
    if json:
        show_json(result.to_dict())
        return
    macro = f"{result.macro_f1:.3f} [{result.macro_low:.3f}, {result.macro_high:.3f}]"
    rows: list[tuple[object, ...]] = [("macro", "", "", macro, "")]
    for r in [result.micro, *result.rows]:
        rows.append((r.name, f"{r.precision:.3f}", f"{r.recall:.3f}", r.f1_text(), r.positives))
    show_table(f"{gold}: {result.reports:,} reports", ["finding", "precision", "recall", "F1 [95%]", "positives"], rows)
    for name, value in result.attributes.items():
        console.print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    for item in result.worst[:worst]:
        console.print(f"  {item}", highlight=False)
