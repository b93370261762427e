"""``lgdea extract``: reports in, evidence out; and how good the evidence is."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lgdea.cli.console import JsonFlag, console, printable, show_json, show_table
from lgdea.progress import show_stages
from lgdea.shipped import config_files

_WHO = {"rich_help_panel": "Who extracts"}
_WHERE = {"rich_help_panel": "Where"}


class Runner(StrEnum):
    """Runners of an extraction."""

    LOCAL = "local"
    RAY = "ray"


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
        str | None,
        typer.Option(help="Who extracts: rules (default), vllm, http, replay, or an installed plug-in.", **_WHO),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Language model: a hub name or folder (vllm), a served name (http).", **_WHO)
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Server of the http backend, e.g. http://127.0.0.1:8000/v1.", **_WHO)
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let report text leave this machine (http backend).", **_WHO)
    ] = False,
    allow_unscrubbed: Annotated[
        bool,
        typer.Option("--allow-unscrubbed", help="Let it leave although `lgdea data scrub` has not masked it.", **_WHO),
    ] = False,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt id or folder for a language model (default: evidence-v2).", **_WHO)
    ] = None,
    lexicon: Annotated[
        Path | None, typer.Option(help="lexicon.yaml with your site's headings, words and findings.", **_WHO)
    ] = None,
    runner: Annotated[
        Runner | None, typer.Option(help="In this process (default), or on a Ray cluster.", **_WHERE)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that share the reports (rules); workers of Ray.", **_WHERE),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Read only the first so many reports: a look before a long run.")
    ] = None,
    max_rejected: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Allowed share of rejected reports and units (default: 0.05); more is exit 3."),
    ] = None,
    max_empty: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Allowed share of answers without a unit (language models); more is exit 3."),
    ] = None,
    accept_unanswered: Annotated[
        bool,
        typer.Option("--accept-unanswered", help="Finish although the backend failed on some questions."),
    ] = False,
    config: Annotated[
        list[str] | None, typer.Option("--config", "-c", help="YAML file, or the name of a shipped one: vllm, http.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="Override one key: max_attempts=3, options.max_tokens=4096")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Extract evidence from an archive's reports (`lgdea extract ARCHIVE` for short).

    A stopped run is resumed by the same command: only what has no answer yet is asked.

    Example: `lgdea extract archives/openi --out evidence/openi`

    Example: `lgdea extract archives/openi --backend vllm --model Qwen/Qwen3-8B --out evidence/qwen --limit 100`

    Example: `lgdea extract archives/openi --backend http --url http://127.0.0.1:8000/v1 --out evidence/served`
    """
    from lgdea.api.extraction import extract
    from lgdea.config import load_config, nest
    from lgdea.evidence.config import ExtractConfig
    from lgdea.evidence.language_check import list_languages

    named = {
        "backend": backend,
        "options.model": model,
        "options.url": url,
        "options.allow_remote": allow_remote or None,
        "allow_unscrubbed": allow_unscrubbed or None,
        "prompt": prompt,
        "lexicon": lexicon,
        "runner": runner,
        "limit": limit,
        "max_rejected": max_rejected,
        "max_empty": max_empty,
        "accept_unanswered": accept_unanswered or None,
    }
    flags = nest({key: value for key, value in named.items() if value is not None})
    given: list[str | dict[str, Any]] = [*(overrides or []), flags]
    settings = load_config(ExtractConfig, config_files("extract", config), given)
    if workers is not None:
        given.append(nest({"ray.workers" if settings.runner == "ray" else "workers": workers}))
        settings = load_config(ExtractConfig, config_files("extract", config), given)
    with show_stages() as progress:
        summary = extract(archive, out=out, progress=progress, **settings.model_dump()).summary
    if json:
        show_json(summary, [out])
        return
    foreign = list_languages(summary.get("rejected_languages", {}))
    foreign = f" (not English: {foreign})" if foreign else ""
    verified = f"{summary['rejected_by_reason'].get('not_supported', 0):,} not supported, "
    console.print(
        f"{out}: {summary['units']:,} units from {summary['reports']:,} reports ({_name_silent(summary)}), "
        f"{summary['rejected']:,} rejected{foreign}, {verified if summary.get('verified') else ''}"
        f"{summary['reports_per_second']:,.0f} reports/s",
        highlight=False,
        soft_wrap=True,
    )


def _name_silent(summary: dict[str, Any]) -> str:
    """How many reports gave no unit, and how much of the text was read."""
    silent = summary["reports"] - summary["reports_with_units"]
    share = summary.get("share_read")
    return f"{silent:,} without units" + (f", {share:.1%} of the text read" if share is not None else "")


@app.command()
def score(
    evidence: Annotated[Path, typer.Argument(help="Evidence folder.")],
    gold: Annotated[str, typer.Option(help="openi-14, openi-mesh, phantom, or a folder of corrections.")],
    archive: Annotated[Path, typer.Option(help="Archive that was extracted; it holds the gold.")],
    worst: Annotated[int, typer.Option(help="How many disagreements to list, with the sentences of the reports.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Precision, recall and F1 with 95% intervals, per finding and per attribute.

    Example: `lgdea extract score evidence/openi --gold openi-14 --archive archives/openi`
    """
    from lgdea.api.extraction import load_evidence

    result = load_evidence(evidence).score(gold, archive)
    if json:
        show_json(result.to_dict())
        return
    rows: list[tuple[object, ...]] = [("macro", "", "", result.macro_text(), "")]
    for r in [result.micro, *result.rows]:
        rows.append((r.name, f"{r.precision:.3f}", f"{r.recall:.3f}", r.f1_text(), r.positives))
    left_out = f", {result.not_asked:,} more that the run was not asked to read" if result.not_asked else ""
    title = f"{gold}: {result.reports:,} reports{left_out}"
    show_table(title, ["finding", "precision", "recall", "F1 [95%]", "positives"], rows)
    console.print(f"intervals: {result.interval}", highlight=False)
    for name, value in result.attributes.items():
        console.print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    for item in result.worst[:worst]:
        console.print(f"  {printable(str(item))}", highlight=False)
