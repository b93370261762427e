"""``lgdea eval`` and ``lgdea embed``: what a model is worth on an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table

if TYPE_CHECKING:
    from lgdea.evaluation.results import Result

app = typer.Typer(help="Evaluate a model on an archive.", no_args_is_help=True)

ModelArgument = Annotated[Path, typer.Argument(help="Model folder: the `model/` of a run.")]
ArchiveArgument = Annotated[Path, typer.Argument(help="Archive folder.")]
OutOption = Annotated[Path, typer.Option(help="Results folder; gets TASK.json and TASK.parquet.")]
SplitOption = Annotated[str, typer.Option(help="Which part to score: train, val or test.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the bootstrap.")]


@app.command("zero-shot")
def zero_shot(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    classes: Annotated[str, typer.Option(help="Class list of the vocabulary: phantom, nih14, chexpert14.")] = "phantom",
    labeller: Annotated[str | None, typer.Option(help="Whose labels are the truth; default: the only one.")] = None,
    split: SplitOption = "test",
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Score each class by its texts: AUROC, AUPRC, F1 and MCC at the validation-chosen threshold.

    Example: `lgdea eval zero-shot runs/chest/model archives/nih --classes nih14 --out results/chest`
    """
    from lgdea import load_model
    from lgdea.evaluation.tasks.zero_shot import zero_shot as task
    from lgdea.records.archive import Archive

    result = task(load_model(model), Archive.open(archive), classes=classes, labeller=labeller, split=split, seed=seed)
    _write(result, out, json)


@app.command()
def retrieval(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    evidence: Annotated[
        Path | None, typer.Option(help="Evidence folder that grades what is retrieved; default: the archive's labels.")
    ] = None,
    split: SplitOption = "test",
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Image to report and report to image: Recall@k, evidence precision@k and nDCG@k.

    Example: `lgdea eval retrieval runs/demo/model archives/phantom --out results/demo`
    """
    from lgdea import load_model
    from lgdea.evaluation.tasks.retrieval import retrieval as task
    from lgdea.records.archive import Archive

    result = task(load_model(model), Archive.open(archive), evidence=evidence, split=split, seed=seed)
    _write(result, out, json)


@app.command()
def grounding(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: OutOption,
    split: SplitOption = "test",
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Does the heat map of a phrase fall into its boxes: pointing game, CNR, mIoU.

    Example: `lgdea eval grounding runs/demo/model archives/phantom --out results/demo`
    """
    from lgdea import load_model
    from lgdea.evaluation.tasks.grounding import grounding as task
    from lgdea.records.archive import Archive

    result = task(load_model(model), Archive.open(archive), split=split, seed=seed)
    _write(result, out, json)


def embed(model: ModelArgument, archive: ArchiveArgument, out: Annotated[Path, typer.Option(help="Folder.")]) -> None:
    """Write the embeddings of all images and reports: memory-mapped .npy beside their ids in Parquet.

    Example: `lgdea embed runs/demo/model archives/phantom --out embeddings`
    """
    from lgdea import load_model
    from lgdea.evaluation.embed import embed_archive
    from lgdea.records.archive import Archive

    embed_archive(load_model(model), Archive.open(archive), out)
    console.print(f"embeddings: {out}")


def _write(result: Result, out: Path, json: bool) -> None:
    from lgdea.evaluation.results import write_result

    file = write_result(result, out)
    if json:
        show_json(result.to_dict())
        return
    rows = [(name, f"{m.value:.3f}", f"[{m.low:.3f}, {m.high:.3f}]", m.n) for name, m in result.metrics.items()]
    show_table(f"{result.task} ({result.definition})", ["metric", "value", "95% interval", "n"], rows)
    console.print(f"result: {file}")
