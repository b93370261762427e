"""``lgdea eval`` and ``lgdea embed``: what a model is worth on an archive."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table
from lgdea.cli.pretrain import config_files
from lgdea.errors import UsageError

if TYPE_CHECKING:
    from lgdea.evaluation.results import Result
    from lgdea.models.lgdea_model import LgdeaModel

app = typer.Typer(help="Evaluate a model on an archive.", no_args_is_help=True)

ModelArgument = Annotated[Path, typer.Argument(help="Model folder: the `model/` of a run.")]
EncoderArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Model folder: the `model/` of a run.")]
ArchiveArgument = Annotated[Path, typer.Argument(help="Archive folder.")]
OutOption = Annotated[Path, typer.Option(help="Results folder; gets TASK.json and TASK.parquet.")]
ConfigOption = Annotated[
    list[str] | None, typer.Option("--config", "-c", help="YAML file, or the name of a shipped one.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one key: split=val, seed=1")]


@app.command("zero-shot")
def zero_shot(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Score each class by its texts: AUROC, AUPRC, F1 and MCC at the validation-chosen threshold.

    Example: `lgdea eval zero-shot runs/chest/model archives/nih --set classes=nih14 --out results/chest`
    """
    from lgdea import load_model
    from lgdea.config import load_config
    from lgdea.evaluation.config import ZeroShotConfig
    from lgdea.evaluation.tasks import zero_shot as task
    from lgdea.records.archive import Archive

    resolved = load_config(ZeroShotConfig, config_files("eval", config), overrides or [])
    _write(task(load_model(model), Archive.open(archive), resolved), out, json)


@app.command()
def retrieval(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    evidence: Annotated[
        Path | None, typer.Option(help="Evidence folder that grades what is retrieved; default: the archive's labels.")
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Image to report and report to image: Recall@k, evidence precision@k and nDCG@k.

    Example: `lgdea eval retrieval demo/runs/lgdea/model demo/archive --out results/demo`
    """
    from lgdea import load_model
    from lgdea.config import load_config
    from lgdea.evaluation.config import RetrievalConfig
    from lgdea.evaluation.tasks import retrieval as task
    from lgdea.records.archive import Archive

    resolved = load_config(RetrievalConfig, config_files("eval", config), overrides or [])
    _write(task(load_model(model), Archive.open(archive), resolved, evidence=evidence), out, json)


@app.command()
def grounding(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Does the heat map of a phrase fall into its boxes: pointing game, CNR, mIoU.

    Example: `lgdea eval grounding demo/runs/lgdea/model demo/archive --out results/demo`
    """
    from lgdea import load_model
    from lgdea.config import load_config
    from lgdea.evaluation.config import GroundingConfig
    from lgdea.evaluation.tasks import grounding as task
    from lgdea.records.archive import Archive

    resolved = load_config(GroundingConfig, config_files("eval", config), overrides or [])
    _write(task(load_model(model), Archive.open(archive), resolved), out, json)


@app.command()
def probe(
    model: EncoderArgument,
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
    from lgdea.evaluation.tasks import probe as task
    from lgdea.records.archive import Archive

    resolved = load_config(ProbeConfig, config_files("eval", config), overrides or [])
    _write(task(_load(model), Archive.open(archive), resolved), out, json)


@app.command()
def features(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Model folders, the baseline first.")],
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
    from lgdea.evaluation.results import write_result
    from lgdea.evaluation.summary import compare, to_rich
    from lgdea.evaluation.tasks import features as task
    from lgdea.records.archive import Archive
    from lgdea.reporting.features_page import write_features

    resolved = load_config(FeaturesConfig, config_files("eval", config), overrides or [])
    opened, results, content = Archive.open(archive), {}, {}
    for label, model in _labels(models).items():
        result = task(_load(model), opened, resolved)
        results[label], content[label] = write_result(result, out / label).parent, result.to_dict()
    files = write_features(results, opened, out)
    if json:
        show_json(content)
        return
    for table in compare(results, task="features"):
        console.print(to_rich(table))
    console.print(f"results: {', '.join(str(file) for file in files)}", highlight=False)


def embed(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: Annotated[Path, typer.Option(help="Folder to write; an unfinished one is resumed.")],
) -> None:
    """Write the embeddings of all images and reports: memory-mapped .npy beside their ids in Parquet.

    Example: `lgdea embed demo/runs/lgdea/model demo/archive --out embeddings`
    """
    from lgdea import load_model
    from lgdea.evaluation.embed import embed_archive
    from lgdea.records.archive import Archive

    embed_archive(load_model(model), Archive.open(archive), out, model_folder=model)
    console.print(f"embeddings: {out}")


def _load(model: str) -> LgdeaModel:
    from lgdea import load_model

    return load_model(model)


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
    from lgdea.evaluation.results import write_result

    file = write_result(result, out)
    if json:
        show_json(result.to_dict())
        return
    rows = [(name, f"{m.value:.3f}", f"[{m.low:.3f}, {m.high:.3f}]", m.n) for name, m in result.metrics.items()]
    show_table(f"{result.task} ({result.definition})", ["metric", "value", "95% interval", "n"], rows)
    for note in result.notes:
        console.print(f"note: {note}", highlight=False)
    if result.skipped:
        first = result.skipped[0]
        console.print(f"{len(result.skipped)} items skipped, e.g. {first['id']}: {first['reason']}", highlight=False)
    console.print(f"result: {file}")
