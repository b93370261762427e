"""``lgdea compare`` and ``lgdea find``: train heads that read by comparison, and find cases."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lgdea.cli.console import (
    ConfigOption,
    JsonFlag,
    OverwriteFlag,
    SetOption,
    console,
    run_facts,
    show_json,
    show_table,
)
from lgdea.cli.outputs import claim
from lgdea.shipped import config_files

app = typer.Typer(help="Read by comparison: cases beside cases.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Read by comparison: cases beside cases."""


@app.command()
def train(
    model: Annotated[
        str, typer.Argument(help="Folder of the pretrained model, which stays as it is, or ORG/NAME of the Hub.")
    ],
    archive: Annotated[Path, typer.Argument(help="Archive folder.")],
    evidence: Annotated[Path, typer.Option(help="Evidence folder of the archive's reports.")],
    out: Annotated[Path, typer.Option(help="Run folder to write; an unfinished one is resumed.")],
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Train a head on a pretrained model; the configuration's `task` says which.

    Example: `lgdea compare train runs/chest/model archives/chest --config entity --evidence evidence --out runs/entity`
    """
    from lgdea.api.comparison import run_comparison

    given: dict[str, Any] = {"model": model, "data": {"archive": archive, "evidence": evidence}}
    folder = run_comparison(config_files("compare", config or ["entity"]), [given, *(overrides or [])], out)
    if json:
        show_json(run_facts(out), [folder])
        return
    console.print(f"model: {folder}")


def find(
    model: Annotated[str, typer.Argument(help="Model folder with an entity head, or ORG/NAME of the Hub.")],
    archive: Annotated[Path, typer.Argument(help="Archive folder.")],
    image: Annotated[str, typer.Option(help="Id of the query image in the archive.")],
    entity: Annotated[str, typer.Option(help="What cases are to agree in, in any words.")],
    *,
    top: Annotated[int, typer.Option(min=1, help="Number of cases.")] = 5,
    split: Annotated[str, typer.Option(help="Part that is searched: train, val, test or all.")] = "all",
    out: Annotated[Path | None, typer.Option(help="Picture (.png) or page (.html) of query, cases and maps.")] = None,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Find the cases of other patients that are most like an image with respect to an entity.

    Example: `lgdea find runs/entity/model demo/archive --image phantom:p00001s1:frontal --entity "left effusion"`
    """
    from lgdea.api.comparison import find_cases
    from lgdea.imaging.unreadable import unreadable_notes

    if out is not None:
        from lgdea.reporting.case_page import check_ending

        check_ending(out)  # before a model is loaded
    replaced = claim(out, overwrite)
    found = find_cases(model, archive, image, entity, top=top, split=split)
    if out is not None:
        found.write(out)
    if json:
        facts = {"entity": asdict(found.entity), "query": asdict(found.query), "cases": [*map(asdict, found.cases)],
                 "candidates": found.candidates, "unreadable": found.skipped}  # fmt: skip
        show_json(facts, [] if out is None else [out])
        return
    rows = [
        (n, case.image_id, case.patient_id, case.told_score, f"{case.similarity:.3f}", f"{case.presence:.3f}")
        for n, case in enumerate(found.cases, start=1)
    ]
    title = f"cases like {image} with respect to {found.entity.text!r} ({found.entity.kind})"
    show_table(title, ["", "image", "patient", "score", "similarity", "P(shown)"], rows)
    console.print(f"P(shown) in the query: {found.query.presence:.3f}", highlight=False)
    notes = unreadable_notes(found.skipped)
    if len(found.cases) < top:
        notes.append(f"only {len(found.cases):,} cases: other patients have no more images in this part")
    for note in notes:
        console.print(f"note: {note}", highlight=False)
    if out is not None:
        console.print(f"cases: {out}{replaced}", highlight=False)
