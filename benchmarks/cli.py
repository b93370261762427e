"""``python -m benchmarks``: speed and memory, side by side with what else does the work; run from a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lgdea.cli.console import ConfigOption, JsonFlag, SetOption, console, show_json, show_table
from lgdea.errors import UsageError
from lgdea.shipped import resolve_configs

CONFIGS = Path(__file__).parent / "configs"
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
    prompt: Annotated[str, typer.Option(help="Prompt id or folder.", **_MODEL)] = "evidence-v2",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.", **_MODEL)] = 2048,
    json: JsonFlag = False,
) -> None:
    """Reports per second and scores beside medspaCy, peak memory on millions, overhead over a bare language model.

    Measurements in the same folder are kept side by side, so they can be made one by one.

    Example: `python -m benchmarks extract --archive archives/openi --peer-python medspacy-env/bin/python --out bench`

    Example: `python -m benchmarks extract --stream 1000000 --out bench`

    Example: `python -m benchmarks extract --archive archives/openi --backend vllm --model Qwen/Qwen3-8B --out bench`
    """
    from benchmarks.extract import compare, first_reports
    from benchmarks.extract_summary import COLUMNS, merge_results, rows, write_results
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
        from benchmarks.extract_stream import measure_stream  # vLLM's environment has no part of the phantom

        with console.status(f"{stream:,} generated reports"):
            measured[f"stream-{stream}"] = measure_stream(stream, out)
    results = merge_results(out, measured)
    write_results(out, results)
    if json:
        show_json(results)
    else:
        show_table(str(out), COLUMNS, rows(results))


@app.command()
def pairing(
    out: Annotated[Path, typer.Option(help="Folder to write; what is there is not run again.")],
    config: ConfigOption = None,
    overrides: SetOption = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Start no run after this time; 0: only the table.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Every objective at every share of linked pairs, on the phantom: a table with spread over seeds, and a plot.

    The whole grid takes hours on a CPU; repeat the command to go on, or run it several times side by side. One small
    JSON file is kept per run. Grids of the same settings can share a folder.

    Example: `python -m benchmarks pairing --config pairing-quick --out bench/pairing-quick`

    Example: `python -m benchmarks pairing --config pairing --minutes 30 --out bench/pairing`
    """
    from benchmarks.pairing import PairingBenchConfig, run_grid
    from benchmarks.pairing_summary import to_markdown, write_summary
    from lgdea.config import load_config

    settings = load_config(PairingBenchConfig, resolve_configs(CONFIGS, config), overrides or [])
    results = run_grid(settings, out, say=lambda line: console.print(line, highlight=False), minutes=minutes)
    if not results:
        return
    table = write_summary(results, out, Path(config[-1]).stem if config else "pairing")
    if json:
        show_json(table.to_dict("records"))
    else:
        console.print(to_markdown(table), highlight=False)


@app.command()
def links(
    out: Annotated[Path, typer.Option(help="Folder to write; what is there is not measured again.")],
    config: ConfigOption = None,
    overrides: SetOption = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Start nothing after this time; 0: only the table.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Links chosen by `lgdea data suggest-links` against random ones, and planted wrong links found again.

    Example: `python -m benchmarks links --minutes 30 --out bench/links`
    """
    from benchmarks.links import LinksBenchConfig, run_links, summarise, to_markdown
    from lgdea.config import load_config
    from lgdea.runs import write_text

    settings = load_config(LinksBenchConfig, resolve_configs(CONFIGS, config or ["links"]), overrides or [])
    results = run_links(settings, out, say=lambda line: console.print(line, highlight=False), minutes=minutes)
    if not results:
        return
    table = summarise(results)
    write_text(out / "links.md", to_markdown(table))
    if json:
        show_json(table.to_dict("records"))
    else:
        console.print(to_markdown(table), highlight=False)


@app.command()
def entity(
    out: Annotated[Path, typer.Option(help="Folder to write; seeds that are there are not run again.")],
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Retrieval with respect to one entity on the phantom: conditioned, reranked and what they are compared with.

    Example: `python -m benchmarks entity --set seeds=[0,1] --out bench/entity`
    """
    from benchmarks.entity import METRICS, EntityBenchConfig, run_seeds, to_rows
    from lgdea.config import load_config

    settings = load_config(EntityBenchConfig, [], overrides or [])
    results = run_seeds(settings, out, say=lambda line: console.print(line, highlight=False))
    if json:
        show_json(results)
        return
    show_table(f"{len(results)} seeds, mean (SD of the seeds)", ["class", "method", *METRICS], to_rows(results))


@app.command()
def graph(
    out: Annotated[Path, typer.Option(help="Folder to write; what is there is not measured again.")],
    overrides: SetOption = None,
    peers: Annotated[int, typer.Option(min=0, help="Nodes for the comparison with other libraries; 0: none.")] = 10_000,
    json: JsonFlag = False,
) -> None:
    """Neighbours, diffusion and links from 10,000 to a million images and reports, beside other libraries.

    Example: `python -m benchmarks graph --set sizes=[10000,100000] --out bench/graph`
    """
    from benchmarks.graph import GraphBenchConfig, growth, run_scaling
    from benchmarks.graph_peers import closed_form_error, compare_diffusion, compare_neighbours
    from lgdea.config import load_config
    from lgdea.runs import write_json

    settings = load_config(GraphBenchConfig, [], overrides or [])
    sizes = run_scaling(settings, out, say=lambda line: console.print(line, highlight=False))
    result: dict[str, Any] = {"sizes": sizes, "closed_form_error": closed_form_error()}
    if len(sizes) > 1:
        result["growth"] = growth(sizes)
    if peers:
        k, dim = settings.neighbours, settings.dim
        result["neighbours"] = compare_neighbours(peers, dim, k)
        result["diffusion"] = compare_diffusion(peers, dim, k, settings.keep, max(20, peers // 50))
    write_json(out / "graph.json", result)
    if json:
        show_json(result)
        return
    for name in ("neighbours", "diffusion"):
        if name in result:
            columns = list(dict.fromkeys(key for row in result[name] for key in row))
            rows = [[row.get(column, "-") for column in columns] for row in result[name]]
            show_table(f"{name}, {peers:,} nodes", columns, rows)
    if "growth" in result:
        console.print(f"time grows with nodes to the power of {result['growth']:.2f}", highlight=False)
    console.print(f"largest difference from the closed form: {result['closed_form_error']:.1e}", highlight=False)


@app.command()
def neighbours(
    out: Annotated[Path, typer.Option(help="Folder to write; what is there is not measured again.")],
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """What finding neighbours costs at equal recall, by index, kind of vectors and size; one thread.

    Example: `python -m benchmarks neighbours --set sizes=[30000,100000] --out bench/graph`
    """
    from benchmarks.neighbours import NeighboursBenchConfig, run_neighbours, tabulate
    from lgdea.config import load_config
    from lgdea.runs import write_json

    settings = load_config(NeighboursBenchConfig, [], overrides or [])
    results = run_neighbours(settings, out, say=lambda line: console.print(line, highlight=False))
    write_json(out / "neighbours.json", results)
    if json:
        show_json(results)
        return
    show_table(f"CPU seconds at recall {settings.recall}", *tabulate(results))


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for train.json and what is trained.")],
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """A training step of every objective beside its bare towers and open_clip; whether data and graph keep up.

    Example: `python -m benchmarks train --set pretrain=limited-pairing-cpu --set steps=10 --out bench/train`
    """
    from benchmarks.train import TrainBenchConfig, run_train
    from lgdea.config import load_config
    from lgdea.runs import write_json

    settings = load_config(TrainBenchConfig, [], overrides or [])
    result = run_train(settings, out, say=lambda line: console.print(line, highlight=False))
    write_json(out / "train.json", result)
    if json:
        show_json(result)
        return
    loader = result["loader"]
    console.print(
        f"cache {loader['cached_images_per_second']:,.0f} images/s, {loader['ratio']:.0f} times decoding; "
        f"graphs take {result['graph_share']:.1%} of a run",
        highlight=False,
    )
    if result.get("open_clip"):
        console.print(f"clip here takes {result['open_clip']['ratio']:.2f} of open_clip's time", highlight=False)


@app.command()
def frozen(
    out: Annotated[Path, typer.Option(help="Folder for frozen.json and the features.")],
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Steps per CPU second of a frozen tower with cached features, and of the same tower trained.

    Example: `python -m benchmarks frozen --set 'set=[image.tower=tf_efficientnet_lite0]' --out bench/frozen`
    """
    from benchmarks.frozen import FrozenBenchConfig, run_frozen
    from lgdea.config import load_config
    from lgdea.runs import write_json

    settings = load_config(FrozenBenchConfig, [], overrides or [])
    result = run_frozen(settings, out, say=lambda line: console.print(line, highlight=False))
    write_json(out / "frozen.json", result)
    if json:
        show_json(result)
        return
    for name, rate in result["steps_per_cpu_second"].items():
        ratio = result["ratios"][name]
        console.print(f"{name}: {rate:.3f} steps per CPU second, {ratio:.1f} times", highlight=False)


@app.command("eval")
def evaluate(
    out: Annotated[Path, typer.Option(help="Folder to write; what is there is not measured again.")],
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Retrieval up to 100,000 images x 100,000 reports on one thread; embedding beside the bare encoders.

    Example: `python -m benchmarks eval --set sizes=[10000] --out bench/eval`
    """
    from benchmarks.evaluate import EvalBenchConfig, run_eval
    from lgdea.config import load_config

    settings = load_config(EvalBenchConfig, [], overrides or [])
    result = run_eval(settings, out, say=lambda line: console.print(line, highlight=False))
    if json:
        show_json(result)


def _overhead(
    backend: str, model: str | None, url: str | None, texts: list[str], prompt: str, max_tokens: int, repeats: int
) -> dict[str, Any]:
    from lgdea.evidence.prompts import load_prompt

    if backend == "vllm":
        from benchmarks.extract_vllm import measure_vllm

        if model is None:
            raise UsageError("the vllm backend needs a model", remedy="give --model")
        return measure_vllm(model, texts, load_prompt(prompt), max_tokens=max_tokens, repeats=repeats)
    if backend == "http":
        from benchmarks.extract_http import measure_http

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
