"""``lgdea heatmap``: heat maps of phrases in images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table
from lgdea.cli.evaluate import ModelArgument
from lgdea.errors import UsageError


def heatmap(
    model: ModelArgument,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE] [PHRASE]...", help="An image and phrases; with --archive phrases only."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; an unfinished one is resumed.")],
    archive: Annotated[Path | None, typer.Option(help="Archive folder instead of one image.")] = None,
    split: Annotated[str, typer.Option(help="Part of the archive: train, val, test or all.")] = "test",
    of: Annotated[
        Literal["boxes", "labels"],
        typer.Option(help="Whose phrases, where none are given: the archive's boxes', or its positive labels'."),
    ] = "boxes",
    labeller: Annotated[str | None, typer.Option(help="Whose labels, where there are several.")] = None,
    level: Annotated[float, typer.Option(min=0, max=1, help="Warmth of a box: 0 above the mean, 1 the peak.")] = 0.5,
    min_area: Annotated[float, typer.Option(min=0, max=1, help="Least share of the image for a box.")] = 0.001,
    maps: Annotated[bool, typer.Option(help="Write the raw maps, 4 bytes per source pixel.")] = True,
    overlays: Annotated[bool, typer.Option(help="Write the pictures.")] = True,
    occlusion: Annotated[
        bool, typer.Option(help="Also ask what hiding each place takes from the score; 65 times slower.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Write the heat map of phrases: overlay (.png), raw map in source pixels (.npy) and boxes (boxes.json).

    Example: `lgdea heatmap runs/chest/model chest.png "left pleural effusion" "cardiomegaly" --out maps`

    Example: `lgdea heatmap demo/runs/lgdea/model --archive demo/archive --split test --out maps`
    """
    from lgdea.api.heat_maps import write_heat_maps

    words = list(what or [])
    if archive is None and len(words) < 2:
        raise UsageError("nothing to draw", remedy="give an image and phrases, or --archive")
    source, phrases = (archive, words) if archive is not None else (Path(words[0]), words[1:])
    entries = write_heat_maps(
        model, source, phrases, out=out, split=split, of=of, labeller=labeller,
        level=level, min_area=min_area, maps=maps, overlays=overlays, occlusion=occlusion,
    )  # fmt: skip
    if json:
        show_json({"heat_maps": entries}, [out])
        return
    rows = [
        (e["image_id"], e["phrase"], ", ".join(map(str, e["boxes"][0]["box"])), f"{e['boxes'][0]['score']:.3f}")
        if e["boxes"]
        else (e["image_id"], e["phrase"], "-", "-")
        for e in entries[:20]
    ]
    show_table(f"{len(entries)} heat maps", ["image", "phrase", "warmest box", "score"], rows)
    console.print(f"heat maps: {out}")
