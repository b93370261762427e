"""``lgdea eval`` and ``lgdea embed``: evaluate models on an archive."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table
from lgdea.errors import UsageError
from lgdea.shipped import config_files

if TYPE_CHECKING:
    from lgdea.evaluation.encoders.protocol import EvaluableModel
    from lgdea.evaluation.results.result import Result
    from lgdea.evaluation.suites.prepare import TaskInput

app = typer.Typer(help="Evaluate a model on an archive.", no_args_is_help=True)

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="Model folder (the `model/` of a run), or another library's model: timm:NAME, hf:NAME, "
        "open_clip:NAME/WEIGHTS, hi-ml:biovil_t, python:MODULE:FACTORY; @random behind it for random weights."
    ),
]
ArchiveArgument = Annotated[Path, typer.Argument(help="Archive folder.")]
OutOption = Annotated[Path, typer.Option(help="Results folder; gets TASK.json and TASK.parquet.")]
ConfigOption = Annotated[
    list[str] | None, typer.Option("--config", "-c", help="YAML file, or the name of a shipped one.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one key: split=val, seed=1")]
SuiteOption = Annotated[
    str | None,
    typer.Option(help="Benchmark suite that fixes settings and items: a name of `lgdea eval suites` or a file."),
]


@app.command("zero-shot")
def zero_shot(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    suite: SuiteOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Score each class by its texts: AUROC, AUPRC, F1 and MCC at the validation-chosen threshold.

    Example: `lgdea eval zero-shot runs/chest/model archives/nih --set classes=nih14 --out results/chest`
    """
    from lgdea.evaluation.tasks import zero_shot as task

    task_input = _prepare("zero-shot", archive, suite, config, overrides)
    result = task(_load(model), task_input.archive, task_input.config)
    _write(task_input.annotate_result(result, model), out, json)


@app.command()
def retrieval(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    evidence: Annotated[
        Path | None, typer.Option(help="Evidence folder that grades what is retrieved; default: the archive's labels.")
    ] = None,
    suite: SuiteOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Retrieve reports for images and images for reports: Recall@k, evidence precision@k and nDCG@k.

    Example: `lgdea eval retrieval demo/runs/lgdea/model demo/archive --out results/demo`
    """
    if suite is not None and evidence is not None:
        raise UsageError("a suite grades by the archive's labels", remedy="leave out --evidence or --suite")
    from lgdea.evaluation.tasks import retrieval as task

    task_input = _prepare("retrieval", archive, suite, config, overrides)
    result = task(_load(model), task_input.archive, task_input.config, evidence=evidence)
    _write(task_input.annotate_result(result, model), out, json)


@app.command()
def grounding(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    suite: SuiteOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Compare the heat map of each phrase with its boxes: pointing game, CNR, mIoU.

    Example: `lgdea eval grounding demo/runs/lgdea/model demo/archive --out results/demo`
    """
    from lgdea.evaluation.tasks import grounding as task

    task_input = _prepare("grounding", archive, suite, config, overrides)
    result = task(_load(model), task_input.archive, task_input.config)
    _write(task_input.annotate_result(result, model), out, json)


@app.command()
def probe(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Train linear and k-NN probes on frozen image embeddings, with 1, 10 and 100% of the training labels.

    Example: `lgdea eval probe runs/chest/model archives/nih --config probe --out results/chest`
    """
    from lgdea.config import load_config
    from lgdea.evaluation.config import ProbeConfig
    from lgdea.evaluation.encoders.registry import load_encoder
    from lgdea.evaluation.suites.prepare import TaskInput
    from lgdea.evaluation.tasks import probe as task
    from lgdea.records.archive import Archive

    task_input = TaskInput(
        Archive.open(archive), load_config(ProbeConfig, config_files("eval", config), overrides or [])
    )
    result = task(load_encoder(model), task_input.archive, task_input.config)
    _write(task_input.annotate_result(result, model), out, json)


@app.command()
def features(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="As of the other tasks, the baseline first.")],
    archive: ArchiveArgument,
    out: Annotated[Path, typer.Option(help="Results folder; gets a folder per model, and features.md, .csv, .html.")],
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Measure how far classes lie apart in the image embeddings of models, and how far burnt-in text moves them.

    Example: `lgdea eval features runs/clip/model runs/lgdea/model archives/nih -c features --out results/features`
    """
    from lgdea.config import load_config
    from lgdea.evaluation.config import FeaturesConfig
    from lgdea.evaluation.encoders.registry import load_encoder
    from lgdea.evaluation.results.compare import compare_results, to_rich
    from lgdea.evaluation.results.result import write_result
    from lgdea.evaluation.suites.prepare import TaskInput
    from lgdea.evaluation.tasks import features as task
    from lgdea.records.archive import Archive
    from lgdea.reporting.features_page import write_features

    resolved = load_config(FeaturesConfig, config_files("eval", config), overrides or [])
    task_input, results, content = TaskInput(Archive.open(archive), resolved), {}, {}
    for label, model in _labels(models).items():
        result = task_input.annotate_result(task(load_encoder(model), task_input.archive, task_input.config), model)
        results[label], content[label] = write_result(result, out / label).parent, result.to_dict()
    files = write_features(results, task_input.archive, out)
    if json:
        show_json(content)
        return
    for table in compare_results(results, task="features"):
        console.print(to_rich(table))
    console.print(f"results: {', '.join(str(file) for file in files)}", highlight=False)


def embed(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: Annotated[Path, typer.Option(help="Folder to write; an unfinished one is resumed.")],
) -> None:
    """Write the embeddings of all images and reports: memory-mapped .npy beside their ids in Parquet.

    A model without a text side (`timm:resnet18.a1_in1k`) leaves no report files.

    Example: `lgdea embed demo/runs/lgdea/model demo/archive --out embeddings`
    """
    from lgdea.evaluation.embed import embed_archive
    from lgdea.evaluation.encoders.registry import load_encoder, local_folder
    from lgdea.records.archive import Archive

    embed_archive(load_encoder(model), Archive.open(archive), out, model_folder=local_folder(model))
    console.print(f"embeddings: {out}")


def _prepare(
    task: Literal["zero-shot", "retrieval", "grounding"],
    archive: Path,
    suite: str | None,
    config: list[str] | None,
    overrides: list[str] | None,
) -> TaskInput:
    """The archive and the settings of a task: as given, or the part and the settings that a suite fixes."""
    from lgdea.config import load_config
    from lgdea.evaluation.suites.prepare import TaskInput, prepare_task
    from lgdea.evaluation.suites.suite import CONFIGS, load_suite
    from lgdea.records.archive import Archive

    resolved = load_config(CONFIGS[task], config_files("eval", config), overrides or [])
    opened = Archive.open(archive)
    return TaskInput(opened, resolved) if suite is None else prepare_task(load_suite(suite), task, opened, resolved)


def _load(model: str) -> EvaluableModel:
    from lgdea.evaluation.encoders.protocol import as_evaluable
    from lgdea.evaluation.encoders.registry import load_encoder

    return as_evaluable(load_encoder(model))


def _labels(models: list[str]) -> dict[str, str]:
    """A short name, fit for a folder, of each model: a run's own name for the `model` in it."""
    labels: dict[str, str] = {}
    for model in models:
        path = Path(model)
        name = path.resolve().parent.name if path.name == "model" else path.name if path.is_dir() else model
        label = re.sub(r"[^A-Za-z0-9._@-]+", "-", name).strip("-.") or "model"
        if label in labels:
            raise UsageError(f"two models are called {label}: {labels[label]} and {model}", remedy="rename a folder")
        labels[label] = model
    return labels


def _write(result: Result, out: Path, json: bool) -> None:
    from lgdea.evaluation.results.result import write_result

    file = write_result(result, out)
    if json:
        show_json(result.to_dict())
        return
    rows = [(name, f"{m.value:.3f}", f"[{m.low:.3f}, {m.high:.3f}]", m.n) for name, m in result.metrics.items()]
    title = ", ".join(part for part in (result.definition, result.suite) if part)
    show_table(f"{result.task} ({title})", ["metric", "value", "95% interval", "n"], rows)
    for note in result.notes:
        console.print(f"note: {note}", highlight=False)
    if result.skipped:
        first = result.skipped[0]
        console.print(f"{len(result.skipped)} items skipped, e.g. {first['id']}: {first['reason']}", highlight=False)
    console.print(f"{result.n_ids:,} ids, sha256 {result.ids_sha256}", highlight=False, soft_wrap=True)
    console.print(f"result: {file}")
