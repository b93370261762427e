"""``lgdea eval`` and ``lgdea embed``: evaluate models on an archive."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgdea.cli.console import JsonFlag, OverwriteFlag, console, show_json, show_table
from lgdea.errors import UsageError
from lgdea.shipped import config_files
from lgdea.statistics.format import INTERVAL_KIND, format_bounds

if TYPE_CHECKING:
    from lgdea.evaluation.config import EvaluationConfig
    from lgdea.evaluation.results.result import Result

app = typer.Typer(help="Evaluate a model on an archive.", no_args_is_help=True)
FINDINGS, CASES = "Tasks: findings in images", "Tasks: reports, cases, embeddings"

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="Model folder (the `model/` of a run), ORG/NAME of the Hugging Face Hub, or another library's model: "
        "timm:NAME, hf:NAME, open_clip:NAME/WEIGHTS, hi-ml:biovil_t, python:MODULE:FACTORY; @random behind it for "
        "random weights."
    ),
]
ArchiveArgument = Annotated[Path, typer.Argument(help="Archive folder.")]
ConfigOption = Annotated[
    list[str] | None, typer.Option("--config", "-c", help="YAML file, or the name of a shipped one.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Override one key: min_positive=2; `lgdea config show eval TASK` lists all."),
]
SplitOption = Annotated[
    str | None, typer.Option(help="Part that is scored: train, val, test (default) or all studies.")
]
LabellerOption = Annotated[str | None, typer.Option(help="Whose labels are the truth, where there are several.")]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        help="What is scored: labels (default), nih14, chexpert14, openi14, vindr, phantom; findings with commas "
        "between them; or a file with a finding in each line."
    ),
]


@dataclass(frozen=True)
class TaskOptions:
    """Arguments and options that every task's verb has."""

    model: ModelArgument
    archive: ArchiveArgument
    out: Annotated[Path, typer.Option(help="Results folder; gets TASK.json and TASK.parquet.")]
    suite: Annotated[
        str | None,
        typer.Option(help="Benchmark suite that fixes settings and items: a name of `lgdea eval suites` or a file."),
    ] = None
    split: SplitOption = None
    config: ConfigOption = None
    overrides: SetOption = None
    overwrite: OverwriteFlag = False
    everything: Annotated[
        bool, typer.Option("--all", help="Show every metric that the result holds, not only the main ones.")
    ] = False
    json: JsonFlag = False

    def run(self, task: str, evidence: Path | None = None, **named: str | None) -> None:
        """Evaluate the model on the task, write its result and show it.

        Args:
            task: Name of the task.
            evidence: Evidence folder.
            named: Settings that have an option of their own; None where it is not given.
        """
        from lgdea.api.evaluation import evaluate

        settings = {task: _load_settings(task, self.config, self.overrides, {**named, "split": self.split})}
        chosen: dict[str, Any] = {"suite": self.suite, "settings": settings, "evidence": evidence}
        file = self.out / f"{task}.json"
        replaced = file.exists()
        result = evaluate(self.model, self.archive, [task], **chosen, out=self.out, overwrite=self.overwrite)[task]
        if self.json:
            show_json(result.to_dict(), [file, file.with_suffix(".parquet")])
            return
        _show(result, self.everything)
        console.print(f"result: {file}{' (replaced)' if replaced else ''}", soft_wrap=True)


def with_task_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Show Typer the fields of :class:`TaskOptions`, in front of the options of ``verb`` itself.

    Args:
        verb: Function whose first parameter takes the :class:`TaskOptions`.
    """
    shared = inspect.signature(TaskOptions, eval_str=True).parameters
    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]

    def command(**given: Any) -> None:
        options = TaskOptions(**{name: given.pop(name) for name in shared})
        verb(options, **given)

    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    command.__signature__ = inspect.Signature([*shared.values(), *own])  # type: ignore[attr-defined]
    return command


@app.command("zero-shot", rich_help_panel=FINDINGS)
@with_task_options
def zero_shot(options: TaskOptions, classes: ClassesOption = None, labeller: LabellerOption = None) -> None:
    """Score each class by its texts: AUROC, AUPRC, F1 and MCC at the validation-chosen threshold.

    Example: `lgdea eval zero-shot runs/chest/model archives/nih --classes nih14 --out results/chest`
    """
    options.run("zero-shot", classes=classes, labeller=labeller)


@app.command(rich_help_panel=CASES)
@with_task_options
def retrieval(
    options: TaskOptions,
    evidence: Annotated[
        Path | None, typer.Option(help="Evidence folder that grades what is retrieved; default: the archive's labels.")
    ] = None,
    labeller: LabellerOption = None,
) -> None:
    """Retrieve reports for images and images for reports: Recall@k, evidence precision@k and nDCG@k.

    Example: `lgdea eval retrieval demo/runs/lgdea/model demo/archive --out results/demo`
    """
    options.run("retrieval", evidence, labeller=labeller)


@app.command(rich_help_panel=FINDINGS)
@with_task_options
def grounding(options: TaskOptions) -> None:
    """Compare the heat map of each phrase with its boxes: pointing game, CNR, mIoU.

    Example: `lgdea eval grounding demo/runs/lgdea/model demo/archive --out results/demo`
    """
    options.run("grounding")


@app.command(rich_help_panel=FINDINGS)
@with_task_options
def probe(options: TaskOptions, classes: ClassesOption = None, labeller: LabellerOption = None) -> None:
    """Train linear and k-NN probes on frozen image embeddings, with 1, 10 and 100% of the training labels.

    Example: `lgdea eval probe runs/chest/model archives/nih --config probe --out results/chest`
    """
    options.run("probe", classes=classes, labeller=labeller)


@app.command("entity-retrieval", rich_help_panel=CASES)
@with_task_options
def entity_retrieval(
    options: TaskOptions,
    evidence: Annotated[Path | None, typer.Option(help="Evidence folder: what cases are to agree in.")] = None,
) -> None:
    """Retrieve cases with respect to one entity: Recall@k and nDCG of conditioned embeddings and of their baselines.

    Example: `lgdea eval entity-retrieval runs/entity/model demo/archive --evidence demo/evidence --out results/entity`
    """
    options.run("entity-retrieval", evidence)


@app.command(rich_help_panel=FINDINGS)
@with_task_options
def change(
    options: TaskOptions,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Evidence folder whose stated changes are the truth, where the archive has none."),
    ] = None,
) -> None:
    """Tell how each finding has changed since the prior study: balanced accuracy, and the swap test.

    The prior is chosen by date and time. A model without a change head answers by the difference of its scores.

    Example: `lgdea eval change runs/change/model archives/phantom --out results/change`
    """
    options.run("change", evidence)


@app.command(rich_help_panel=FINDINGS)
@with_task_options
def references(
    options: TaskOptions,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Evidence folder: who is healthy and what is shown, where the archive has no labels."),
    ] = None,
    classes: ClassesOption = None,
    labeller: LabellerOption = None,
) -> None:
    """Tell findings from a query alone and beside K healthy references: balanced accuracy, F1, AUROC, by strategy.

    MODEL may also be a folder of answers that `lgdea compare ask` has got from a vision-language model.

    Example: `lgdea eval references runs/chest/model archives/phantom --config references --out results/references`
    """
    options.run("references", evidence, classes=classes, labeller=labeller)


@app.command(rich_help_panel=CASES)
def features(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="As of the other tasks, the baseline first.")],
    archive: ArchiveArgument,
    out: Annotated[Path, typer.Option(help="Results folder; gets a folder per model, and features.md, .csv, .html.")],
    split: SplitOption = None,
    classes: ClassesOption = None,
    labeller: LabellerOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Measure how far classes lie apart in the image embeddings of models, and how far burnt-in text moves them.

    Example: `lgdea eval features runs/clip/model runs/lgdea/model archives/nih -c features --out results/features`
    """
    from lgdea.api.evaluation import evaluate
    from lgdea.evaluation.results.compare import compare_results, to_rich
    from lgdea.records.archive import Archive
    from lgdea.reporting.features_page import write_features

    named = {"split": split, "classes": classes, "labeller": labeller}
    settings = {"features": _load_settings("features", config, overrides, named)}
    opened, folders, content = Archive.open(archive), {}, {}
    for label, model in _labels(models).items():
        folders[label] = out / label
        result = evaluate(model, opened, ["features"], settings=settings, out=folders[label], overwrite=overwrite)[
            "features"
        ]
        content[label] = result.to_dict()
    files = write_features(folders, opened, out)
    if json:
        show_json(content, [*folders.values(), *files])
        return
    for table in compare_results(folders, task="features"):
        console.print(to_rich(table))
    console.print(f"intervals: {INTERVAL_KIND}", highlight=False)
    console.print(f"results: {', '.join(str(file) for file in files)}", highlight=False)


def embed(
    model: ModelArgument,
    archive: ArchiveArgument,
    out: Annotated[Path, typer.Option(help="Folder to write; an unfinished one is resumed.")],
    max_unreadable: Annotated[
        float, typer.Option(min=0, max=1, help="Allowed share of images that cannot be read; more is exit code 3.")
    ] = 0.05,
    json: JsonFlag = False,
) -> None:
    """Write the embeddings of all images and reports: memory-mapped .npy beside their ids in Parquet.

    A model without a text side (`timm:resnet18.a1_in1k`) leaves no report files. An image that cannot be read has a row
    of NaN, and the reason in the column `error` of images.parquet.

    Example: `lgdea embed demo/runs/lgdea/model demo/archive --out embeddings`
    """
    from lgdea.evaluation.embed import embed_archive, missing_images
    from lgdea.evaluation.encoders.protocol import EvaluableModel
    from lgdea.evaluation.encoders.registry import load_encoder, local_folder
    from lgdea.records.archive import Archive

    opened = Archive.open(archive)
    encoder, folder = load_encoder(model), local_folder(model)
    embed_archive(encoder, opened, out, max_unreadable=max_unreadable, model_folder=folder)
    missing, total = missing_images(out), len(opened.images)
    if json:
        counts = {"images": total - len(missing), "unreadable": len(missing), "reports": len(opened.reports)}
        show_json(counts if isinstance(encoder, EvaluableModel) else {**counts, "reports": 0}, [out])
        return
    if len(missing):
        first = f"{missing['image_id'].iloc[0]}: {missing['error'].iloc[0]}"
        where = f"the column error of {out / 'images.parquet'} says why"
        console.print(f"{len(missing):,} of {total:,} images could not be read, {where}, e.g. {first}", highlight=False)
    console.print(f"embeddings: {out} ({total - len(missing):,} of {total:,} images)", highlight=False)


def _load_settings(
    task: str, config: list[str] | None, overrides: list[str] | None, named: Mapping[str, str | None]
) -> EvaluationConfig:
    from lgdea.api.evaluation import TASK_CONFIGS
    from lgdea.config import load_config

    given = {name: value for name, value in named.items() if value is not None}
    return load_config(TASK_CONFIGS[task], config_files("eval", config), [*(overrides or []), given])


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


def _show(result: Result, everything: bool) -> None:
    from lgdea.evaluation.results.metric_facts import main_metrics

    shown = {name: result.metrics[name] for name in main_metrics(result.task, [*result.metrics])}
    shown = result.metrics if everything else shown
    rows = [(name, f"{m.value:.3f}", format_bounds(m.low, m.high) or "-", m.n) for name, m in shown.items()]
    title = ", ".join(part for part in (result.definition, result.suite) if part)
    show_table(f"{result.task} ({title})", ["metric", "value", "95% interval", "n"], rows)
    if len(rows) < len(result.metrics):
        console.print(f"and {len(result.metrics) - len(rows)} more metrics: --all shows them", highlight=False)
    replicates = result.config["bootstrap_replicates"]
    console.print(f"intervals: {INTERVAL_KIND}, {replicates:,} replicates", highlight=False)
    for note in result.notes:
        console.print(f"note: {note}", highlight=False)
    if result.skipped:
        first = result.skipped[0]
        console.print(f"{len(result.skipped)} items skipped, e.g. {first['id']}: {first['reason']}", highlight=False)
    console.print(f"{result.n_ids:,} ids, sha256 {result.ids_sha256}", highlight=False, soft_wrap=True)
