"""``lgdea compare references|ask``: healthy references, and a vision-language model that reads beside them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import JsonFlag, OverwriteFlag, console, show_json, show_table
from lgdea.cli.outputs import claim
from lgdea.cli.vision_language import (
    BackendOption,
    ImageRootOption,
    ModelOption,
    RemoteOption,
    SideOption,
    UrlOption,
    make_backend,
)
from lgdea.progress import show_stages


def register(app: typer.Typer) -> None:
    """Add these verbs to ``lgdea compare``."""
    for command in (references, ask, beside):
        app.command()(command)


def references(
    archive: Annotated[Path, typer.Argument(help="Archive folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the triples.")],
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="random (default), demographic, embedding, cross_centre or same_centre; may be repeated."),
    ] = None,
    k: Annotated[int, typer.Option("--count", "-k", min=1, help="References per query.")] = 5,
    model: Annotated[str | None, typer.Option(help="Model whose embeddings `embedding` compares.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Evidence folder, where the archive has no labels.")] = None,
    split: Annotated[str, typer.Option(help="Part of the queries: train, val, test or all.")] = "test",
    pool: Annotated[str, typer.Option(help="Part of the healthy images.")] = "train",
    finding: Annotated[list[str] | None, typer.Option(help="Only this finding; may be repeated.")] = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="At most so many queries that show a finding, and so many that do not.")
    ] = None,
    labeller: Annotated[str | None, typer.Option(help="Whose labels, when there are several.")] = None,
    prompt: Annotated[str, typer.Option(help="Comparative prompt of the training rows.")] = "compare-v1",
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Choose healthy references of other patients for every query, and write (query, reference, label) triples.

    Example: `lgdea compare references archives/phantom --strategy demographic -k 5 --out triples`
    """
    from lgdea.api.references import make_reference_set
    from lgdea.imaging.unreadable import unreadable_notes

    chosen = make_reference_set(
        archive, out, strategies=strategy or ["random"], k=k, model=model, evidence=evidence,  # type: ignore[arg-type]
        split=split, pool_split=pool, classes=finding or "labels", labeller=labeller, most=most, prompt=prompt,
        seed=seed, overwrite=overwrite,
    )  # fmt: skip
    triples = chosen.triples
    facts = {
        "healthy": chosen.truth.rule,
        "queries": int(triples["query_id"].nunique()),
        "references": int(triples["reference_id"].nunique()),
        "triples": len(triples),
        "notes": chosen.references.notes,
        "skipped": chosen.references.skipped,
        "unreadable": chosen.unreadable,
    }
    if json:
        show_json(facts, [out])
        return
    rows = [
        (name, group["query_id"].nunique(), group["reference_id"].nunique(), group["rule"].iloc[0])
        for name, group in triples.groupby("strategy", sort=False)
    ]
    show_table("references", ["strategy", "queries", "different references", "first rule"], rows)
    console.print(f"healthy: {chosen.truth.rule}", highlight=False)
    for note in [*unreadable_notes(chosen.unreadable), *chosen.references.notes]:
        console.print(f"note: {note}", highlight=False)
    if chosen.references.skipped:
        first = chosen.references.skipped[0]
        count = len(chosen.references.skipped)
        console.print(f"{count} queries without references, e.g. {first['id']}: {first['reason']}", highlight=False)
    console.print(f"{len(triples):,} triples of {triples['class'].nunique()} findings: {out}", highlight=False)


def ask(
    triples: Annotated[Path, typer.Argument(help="Folder of `lgdea compare references`.")],
    out: Annotated[Path, typer.Option(help="Folder of the answers; an unfinished one is resumed.")],
    backend: BackendOption = "http",
    model: ModelOption = None,
    url: UrlOption = None,
    allow_remote: RemoteOption = False,
    count: Annotated[
        list[int] | None, typer.Option("--count", "-k", min=1, help="References beside a query; may be repeated.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="Comparative prompt: id or folder.")] = "compare-v1",
    side: SideOption = None,
    image_root: ImageRootOption = None,
    attribution: Annotated[
        int, typer.Option(min=0, help="Also hide each cell of so many queries that show the finding.")
    ] = 0,
    grid: Annotated[int, typer.Option(min=2, help="Cells along each side of a query.")] = 6,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="Override one key: options.concurrency=8")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Ask a vision-language model about every query alone and beside K references; score with `lgdea eval references`.

    Example: `lgdea compare ask triples --url http://127.0.0.1:8000/v1 -k 1 -k 5 --out answers`
    """
    from lgdea.comparison.references.ask import ask as ask_model
    from lgdea.comparison.references.prompt import load_compare_prompt

    counts = sorted(set(count or [1, 5]))
    made = make_backend(backend, model, url, allow_remote, overrides, images=max(counts) + 1)
    with show_stages() as progress:
        summary = ask_model(
            triples, made, out, prompt=load_compare_prompt(prompt), counts=counts, side=side, image_root=image_root,
            attribution=attribution, grid=grid, progress=progress,
        )  # fmt: skip
    if json:
        show_json(summary, [out])
        return
    console.print(
        f"{summary['questions']:,} answers of {summary['model']}, {summary['asked']:,} asked now", highlight=False
    )
    for note in summary["notes"]:
        console.print(f"note: {note}", highlight=False)
    console.print(f"answers: {out}", highlight=False)


def beside(
    model: Annotated[
        str, typer.Argument(help="Model folder, ORG/NAME of the Hub, or a folder of answers asked with --attribution.")
    ],
    archive: Annotated[Path, typer.Argument(help="Archive folder.")],
    image: Annotated[str, typer.Option(help="Id of the query.")],
    finding: Annotated[str, typer.Option(help="Vocabulary id of the finding.")],
    out: Annotated[Path, typer.Option(help="Picture (.png) or page (.html): query, occlusion maps, references.")],
    strategy: Annotated[str, typer.Option(help="How references are chosen.")] = "demographic",
    k: Annotated[int, typer.Option("--count", "-k", min=1, help="References.")] = 5,
    pool: Annotated[str, typer.Option(help="Part of the healthy images.")] = "train",
    evidence: Annotated[Path | None, typer.Option(help="Evidence folder, where the archive has no labels.")] = None,
    grid: Annotated[int, typer.Option(min=2, help="Cells along each side of the query.")] = 8,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Read one query beside its healthy references, and draw where its score comes from, alone and beside them.

    Example: `lgdea compare beside runs/chest/model archives/phantom --image ID --finding nodule --out beside.png`
    """
    from lgdea.api.beside import read_beside
    from lgdea.reporting.case_page import check_ending

    check_ending(out)  # before a model is loaded
    replaced = claim(out, overwrite)
    found = read_beside(
        model, archive, image, finding, strategy=strategy, k=k, pool_split=pool, evidence=evidence, grid=grid  # type: ignore[arg-type]
    )  # fmt: skip
    found.write(out)
    rows = [
        {"image_id": i, "score": None if math.isnan(score) else score, "rule": rule}
        for (i, score), rule in zip(found.references.items(), found.rules, strict=True)
    ]
    if json:
        facts = {"image": image, "finding": finding, "score": found.score, "alone": found.alone, "references": rows}
        show_json(facts, [out])
        return
    cells = [(r["image_id"], "-" if r["score"] is None else f"{r['score']:.3f}", r["rule"]) for r in rows]
    show_table(f"{finding} in {image}: {found.score:.3f}", ["reference", "score", "rule"], cells)
    if found.alone is None and len(rows) < k:
        console.print(
            f"note: only {len(rows):,} references: the pool has no more people for this image", highlight=False
        )
    console.print(f"sheet: {out}{replaced}", highlight=False)
