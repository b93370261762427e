"""``lgdea compare read|questions|score``: changes since the prior study, and question sets about pairs of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgdea.cli.console import JsonFlag, OverwriteFlag, console, show_json, show_table
from lgdea.cli.outputs import claim
from lgdea.errors import UsageError
from lgdea.outputs import claim_folder
from lgdea.statistics.format import INTERVAL_KIND, format_interval

if TYPE_CHECKING:
    from lgdea.evaluation.results.result import Result


def register(app: typer.Typer) -> None:
    """Add these verbs to ``lgdea compare``."""
    for command in (read, questions, score):
        app.command()(command)


def read(
    model: Annotated[str, typer.Argument(help="Model folder with a change head, or ORG/NAME of the Hub.")],
    archive: Annotated[Path | None, typer.Option(help="Archive folder, with --study.")] = None,
    study: Annotated[str | None, typer.Option(help="Id of the current study; its prior is chosen by date.")] = None,
    prior: Annotated[Path | None, typer.Option(help="The earlier image, with --current.")] = None,
    current: Annotated[Path | None, typer.Option(help="The later image.")] = None,
    entity: Annotated[list[str] | None, typer.Option(help="What is asked for, in any words; may be repeated.")] = None,
    prefer: Annotated[str, typer.Option(help="Choice of the prior: same-view or latest.")] = "same-view",
    out: Annotated[
        Path | None, typer.Option(help="Picture (.png) or page (.html): both images, a table, and where it looked.")
    ] = None,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Tell what has become of each finding since the prior study: state, confidence and a sentence.

    Example: `lgdea compare read runs/change/model --archive demo/archive --study phantom:p00001s2`
    """
    from lgdea.api.change import read_change

    if prefer not in ("same-view", "latest"):
        raise UsageError(f"no rule {prefer!r} for the prior", remedy="choose same-view or latest")
    if (
        (archive is None) != (study is None)
        or (prior is None) != (current is None)
        or (study is None) == (prior is None)
    ):
        raise UsageError("nothing to compare", remedy="give --archive and --study, or --prior and --current")
    if out is not None:
        from lgdea.reporting.case_page import check_ending

        check_ending(out)  # before a model is loaded
    replaced = claim(out, overwrite)
    found = read_change(model, study or current, prior, archive=archive, entities=entity, prefer=prefer)
    if out is not None:
        found.write(out)
    rows: list[dict[str, Any]] = [
        {"entity": c.entity.text, "finding": c.entity.finding, "state": c.state, "confidence": c.confidence,
         "shown": c.shown, "sentence": c.sentence}
        for c in found
    ]  # fmt: skip
    if json:
        known = {key: value for key, value in found.pair.items() if value is not None}
        show_json({"pair": known, "changes": rows}, [] if out is None else [out])
        return
    if study is not None:
        pair = found.pair
        console.print(f"prior: {pair['study_prior']}, {pair['days']:g} days earlier ({pair['rule']})", highlight=False)
    cells = [(r["entity"], r["state"], f"{r['confidence']:.2f}", f"{r['shown']:.2f}", r["sentence"]) for r in rows]
    if cells:
        show_table("changes", ["entity", "state", "confidence", "P(shown)", "sentence"], cells)
    else:
        told = "neither image probably shows a finding that the model has learned; ask for one by name: --entity"
        console.print(f"no changes: {told}", highlight=False)
    if out is not None:
        console.print(f"changes: {out}{replaced}", highlight=False)


def questions(
    archive: Annotated[Path, typer.Argument(help="Archive folder.")],
    evidence: Annotated[Path, typer.Option(help="Evidence folder of its reports.")],
    out: Annotated[Path, typer.Option(help="Folder of the set.")],
    split: Annotated[str, typer.Option(help="Part that is asked about: train, val, test or all.")] = "test",
    finding: Annotated[list[str] | None, typer.Option(help="Only this finding; may be repeated.")] = None,
    timelines: Annotated[bool, typer.Option(help="Also five-visit questions in MI-CXR's format (phantom).")] = False,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Make a balanced question set about pairs of images: open, yes/no and 4-option, with its image-free baselines.

    Example: `lgdea compare questions demo/archive --evidence demo/evidence --out questions`
    """
    from lgdea.comparison.questions.files import FILES
    from lgdea.comparison.questions.make import make_question_set
    from lgdea.evidence.coverage import require_all_reports
    from lgdea.evidence.io import read_evidence
    from lgdea.records.archive import Archive

    claim_folder(out, FILES, what="question set", overwrite=overwrite)  # before the evidence is read
    opened = Archive.open(archive)
    require_all_reports(evidence, opened)
    made, baselines, notes = make_question_set(
        opened, read_evidence(evidence), out, split=split, findings=finding, timelines=timelines, seed=seed,
        overwrite=overwrite,
    )  # fmt: skip
    if json:
        show_json({"questions": len(made), "baselines": [b.to_json() for b in baselines], "notes": notes}, [out])
        return
    rows = [
        (b.questions, b.name, format_interval(b.accuracy, b.low, b.high), f"{b.chance:.3f}", b.n) for b in baselines
    ]
    show_table(
        f"{len(made):,} questions; answered without images", ["questions", "baseline", "accuracy", "chance", "n"], rows
    )
    for note in notes:
        console.print(f"note: {note}", highlight=False)
    console.print(f"set: {out}")


def score(
    questions: Annotated[
        Path, typer.Argument(help="Question set, JSON lines of references, or an archive with reference reports.")
    ],
    answers: Annotated[Path, typer.Argument(help="JSON lines with an id (`qid`, `study_id`) and a text (`answer`).")],
    *,
    archive: Annotated[Path | None, typer.Option(help="Archive of a question set's images, with --evidence.")] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Evidence that is taken for true; default: what the reference texts state.")
    ] = None,
    split: Annotated[str, typer.Option(help="Part of an archive that was asked for.")] = "test",
    allow_missing: Annotated[bool, typer.Option(help="Count what has no answer as wrong; else it is refused.")] = False,
    replicates: Annotated[int, typer.Option(min=0, help="Bootstrap replicates; 0 for no intervals.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Results folder; gets answers.json and answers.parquet.")] = None,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Score the text of answers: right options in both orders of the images, what is stated, BLEU, ROUGE, METEOR.

    BLEU, ROUGE and METEOR need `lgdea[text]`; RadGraph-F1 and RaTEScore are used when installed.

    Example: `lgdea compare score questions answers.jsonl --out results/answers`
    """
    from lgdea.api.answers import score_answers

    result = score_answers(
        questions, answers, archive=archive, evidence=evidence, split=split, allow_missing=allow_missing,
        bootstrap_replicates=replicates, out=out, overwrite=overwrite,
    )  # fmt: skip
    if json:
        show_json(result.to_dict(), [] if out is None else [out / "answers.json", out / "answers.parquet"])
        return
    _show_scores(result)
    if out is not None:
        console.print(f"result: {out / 'answers.json'}")


def _show_scores(result: Result) -> None:
    from lgdea.evaluation.results.metric_facts import metric_name

    rows = [(metric_name(name), format_interval(v.value, v.low, v.high), v.n) for name, v in result.metrics.items()]
    show_table(f"answers of {result.model} ({result.archive}, {result.split})", ["metric", "value", "n"], rows)
    shown = [name for name in ("accuracy", "set_accuracy", "evidence_f1/together") if name in result.metrics]
    by_class = [
        (name, *(format_interval(v.value, v.low, v.high) if (v := found.get(m)) else "-" for m in shown))
        for name, found in result.per_class.items()
    ]
    if by_class:
        show_table("by kind of question, state and finding", ["", *map(metric_name, shown)], by_class)
    for note in result.notes:
        console.print(f"note: {note}", highlight=False)
    console.print(f"intervals: {INTERVAL_KIND}", highlight=False)
