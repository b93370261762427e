"""``lgdea bench``: speed and memory, side by side with what else does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table
from lgdea.errors import UsageError

_MODEL = {"rich_help_panel": "Overhead over a language model"}

app = typer.Typer(help="Measure speed and memory beside other libraries.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    """Measure speed and memory beside other libraries."""


@app.command()
def extract(
    out: Annotated[Path, typer.Option(help="Folder for extract.json, extract.md, extract.png and the evidence.")],
    archive: Annotated[Path | None, typer.Option(help="Archive whose reports are read and scored.")] = None,
    gold: Annotated[str, typer.Option(help="openi-14, openi-mesh or phantom.")] = "openi-14",
    peer_python: Annotated[
        Path | None, typer.Option(help="Python of an environment with `pip install medspacy`: measured in turns.")
    ] = None,
    reports: Annotated[int | None, typer.Option(min=1, help="Only so many reports, those with a label first.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each; medians are shown.")] = 3,
    stream: Annotated[
        int | None, typer.Option(min=1, help="Also extract so many generated reports and take the peak memory.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Instead of the rules: the overhead of vllm or http over its bare use.", **_MODEL)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Hub name or folder (vllm), served name (http).", **_MODEL)] = None,
    url: Annotated[str | None, typer.Option(help="Server on this machine (http).", **_MODEL)] = None,
    prompt: Annotated[str, typer.Option(help="Prompt id or folder.", **_MODEL)] = "evidence-v1",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.", **_MODEL)] = 2048,
    json: JsonFlag = False,
) -> None:
    """Reports per second and scores beside medspaCy, peak memory on millions, overhead over a bare language model.

    Measurements in the same folder are kept side by side, so they can be made one by one.

    Example: `lgdea bench extract --archive archives/openi --peer-python medspacy-env/bin/python --out bench`

    Example: `lgdea bench extract --stream 1000000 --out bench`

    Example: `lgdea bench extract --archive archives/openi --backend vllm --model Qwen/Qwen3-8B --out bench`
    """
    from lgdea.bench.extract import compare, first_reports
    from lgdea.bench.extract_stream import measure_stream
    from lgdea.bench.extract_summary import COLUMNS, merge_results, rows, write_results
    from lgdea.records.archive import Archive

    if archive is None and (stream is None or backend is not None):
        raise UsageError("nothing to measure", remedy="give --archive, --stream or both")
    measured: dict[str, Any] = {}
    if archive is not None:
        source = Archive.open(archive)
        if backend is not None:
            texts = list(source.reports["text"].head(reports or 64))
            measured[f"overhead-{backend}"] = _overhead(backend, model, url, texts, prompt, max_tokens, repeats)
        else:
            work = _new_folder(out / "compare")
            source = source if reports is None else first_reports(source, reports, work / "archive")
            with console.status("measuring the rules") as status:
                measured["compare"] = compare(
                    source, work, gold, peer_python=peer_python, repeats=repeats, say=status.update
                )
    if stream is not None:
        with console.status(f"{stream:,} generated reports"):
            measured[f"stream-{stream}"] = measure_stream(stream, out)
    results = merge_results(out, measured)
    write_results(out, results)
    if json:
        show_json(results)
    else:
        show_table(str(out), COLUMNS, rows(results))


def _overhead(
    backend: str, model: str | None, url: str | None, texts: list[str], prompt: str, max_tokens: int, repeats: int
) -> dict[str, Any]:
    from lgdea.evidence.prompts import load_prompt

    if backend == "vllm":
        from lgdea.bench.extract_vllm import measure_vllm

        if model is None:
            raise UsageError("the vllm backend needs a model", remedy="give --model")
        return measure_vllm(model, texts, load_prompt(prompt), max_tokens=max_tokens, repeats=repeats)
    if backend == "http":
        from lgdea.bench.extract_http import measure_http

        if url is None:
            raise UsageError("the http backend needs a server", remedy="give --url http://127.0.0.1:8000/v1")
        return measure_http(url, model, texts, load_prompt(prompt), max_tokens=max_tokens, repeats=repeats)
    raise UsageError(f"no overhead is measured of the backend {backend!r}", remedy="choose vllm or http")


def _new_folder(folder: Path) -> Path:
    """An empty folder for what a measurement writes; what an earlier one wrote is not an input."""
    import shutil

    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
