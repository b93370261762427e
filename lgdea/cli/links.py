"""``lgdea data suggest-links``, ``link`` and ``doubt-links``: links to make, links that were made, links to doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lgdea.cli.console import JsonFlag, OverwriteFlag, console, show_json, show_table
from lgdea.cli.outputs import claim

ArchiveArgument = Annotated[Path, typer.Argument(help="Archive folder, made by `lgdea data build`.")]
PairingOption = Annotated[
    Path | None, typer.Option(help="Links that are there, made by `lgdea data pair`; default: all of the archive.")
]


class StrategyName(StrEnum):
    """How the links to make are chosen."""

    images = "images"
    k_centre = "k-centre"
    rare = "rare"
    both = "both"
    random = "random"


def register(app: typer.Typer) -> None:
    """Add the verbs to ``app``."""
    app.command("suggest-links")(suggest_links)
    app.command("link")(link)
    app.command("doubt-links")(doubt_links)


def suggest_links(
    archive: ArchiveArgument,
    budget: Annotated[int, typer.Option(help="Number of studies to suggest.")],
    out: Annotated[Path, typer.Option(help="CSV file to write, for a clerk to fill in.")],
    model: Annotated[
        str | None, typer.Option(help="Embeds the images: model folder, timm:NAME ..., or a folder of `lgdea embed`.")
    ] = None,
    evidence: Annotated[Path | None, typer.Option(help="Evidence of the reports, made by `lgdea extract`.")] = None,
    pairing: PairingOption = None,
    strategy: Annotated[
        StrategyName | None, typer.Option(help="Default: both, images or rare, by what is given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn at random.")] = 0,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Say which training studies to link next: those whose image, or report, stands for the most.

    The CSV file names the image whose report is to be found, or the report whose image is; the other column is to be
    filled in. `lgdea data link` takes it then.

    Example: `lgdea data suggest-links archives/klinik --budget 50 --evidence evidence --out links_to_make.csv`

    Example: `lgdea data suggest-links archives/klinik --budget 50 --model runs/first/model --out links_to_make.csv`
    """
    from lgdea.api.links import suggest_links as suggest

    replaced = claim(out, overwrite, "a clerk's work")
    chosen: Any = None if strategy is None else strategy.value
    table = suggest(
        archive, budget, model=model, evidence=evidence, pairing=pairing, strategy=chosen, seed=seed, out=out
    )
    if json:
        show_json(dict(table.attrs), [out])
        return
    console.print(f"{out}: {len(table):,} studies, chosen by {table.attrs['strategy']}{replaced}")
    measured = table.attrs["coverage"]
    if measured:
        show_table(None, ["", "before", "after", "after random links"], [_coverage_row(row) for row in measured])


def _coverage_row(row: Mapping[str, Any]) -> Sequence[str]:
    spread = f"{row['random']:g} ± {row['random_sd']:.2g}"
    return [row["measure"], f"{row['before']:g}", f"{row['after']:g}", spread]


def link(
    archive: ArchiveArgument,
    files: Annotated[list[Path], typer.Argument(help="CSV files with `image_id` and `report_id` filled in.")],
    out: Annotated[Path, typer.Option(help="Folder of the new archive.")],
    json: JsonFlag = False,
) -> None:
    """Bring links that were made into a new archive: linked images stand in the study of their report.

    Rows in which one of the two is empty are passed over. The reports' evidence stays valid.

    Example: `lgdea data link archives/klinik links_to_make.csv --out archives/klinik-linked`
    """
    from lgdea.records.archive import Archive
    from lgdea.records.links import link_archive

    linked, new = link_archive(Archive.open(archive), files, out)
    if json:
        show_json({"new_links": new, "studies": len(linked.studies)}, [out])
    else:
        console.print(f"{out}: {new:,} new links, {len(linked.studies):,} studies")


def doubt_links(
    archive: ArchiveArgument,
    evidence: Annotated[Path, typer.Option(help="Evidence of the reports, made by `lgdea extract`.")],
    model: Annotated[
        str, typer.Option(help="Embeds the images: model folder, timm:NAME ..., or a folder of `lgdea embed`.")
    ],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    pairing: Annotated[
        Path | None, typer.Option(help="Links to judge, made by `lgdea data pair`; default: all of the archive.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Parts by patient; each is judged by heads trained on the others.")] = 5,
    wrong_share: Annotated[
        float, typer.Option(help="Share of links that you think are wrong; scales p_wrong, changes no rank.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of folds and re-pairings.")] = 0,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Rank linked training pairs by how far image and report disagree under heads that have not seen the link.

    Look at the first rows, write something into the column `wrong` of those that are, and give the file to
    `lgdea data pair --except`.

    Example: `lgdea data doubt-links archives/klinik --evidence evidence --model timm:resnet50 --out doubts.csv`
    """
    from lgdea.api.links import doubt_links as doubt

    replaced = claim(out, overwrite, "a reader's work")
    table = doubt(archive, evidence, model, pairing=pairing, folds=folds, wrong_share=wrong_share, seed=seed, out=out)
    if json:
        show_json(dict(table.attrs), [out])
        return
    facts = table.attrs
    console.print(
        f"{out}: {facts['links']:,} links, judged by {facts['findings']} findings; linked against re-paired pairs: "
        f"AUROC {facts['separation']:.2f}; at most {facts['most_wrong']:.0%} are wrong{replaced}",
        highlight=False,
    )
    columns = ["rank", "study_id", "p_wrong", "disagreement", "reason"]
    show_table(None, columns, table.head(5)[columns].to_numpy().tolist())
