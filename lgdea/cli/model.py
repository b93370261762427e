"""``lgdea model``: what a model folder is, its card, and its way to the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lgdea.cli.console import JsonFlag, console, show_json, show_table

app = typer.Typer(help="Model folders: look at them, write their cards, share them.", no_args_is_help=True)

FolderArgument = Annotated[
    str, typer.Argument(help="Model folder (the `model/` of a run), or ORG/NAME of the Hugging Face Hub.")
]


@app.callback()
def _group() -> None:
    """Model folders: look at them, write their cards, share them."""


@app.command()
def info(model: FolderArgument, json: JsonFlag = False) -> None:
    """Tell what a model is and where it comes from; a model of the Hub is fetched into its cache.

    Example: `lgdea model info runs/chest/model`

    Example: `lgdea model info ORG/NAME@v1`
    """
    from lgdea.api.model_folders import describe_model

    found = describe_model(model)
    if json:
        show_json(found)
        return
    image, text, settings = found["image_tower"], found["text_tower"], found["model"]
    rows: list[tuple[str, object]] = [
        ("folder", found["folder"]),
        *([("repository", found["repo"]), ("commit", found["revision"])] if found["repo"] else []),
        ("format", f"{found['format_version']}, written by lgdea {found['lgdea_version']}"),
        ("image tower", f"{image['name']}, {image['image_size']} px, stride {image['stride']}"),
        ("text tower", f"{text['name']} ({text['pooling']} pooling)"),
        ("scoring", settings.get("scoring", "presence")),
        ("findings", len(settings.get("findings", ())) or "all of the vocabulary"),
        ("weights", f"{found['parameters']:,} ({found['bytes'] / 1e6:.1f} MB in all)"),
        ("heads", ", ".join(found["heads"]) or "-"),
        ("license", found["license"] or "none given"),
        ("identity", found["identity"]),
    ]
    for title in ("data", "training"):
        section: Any = found["card"].get(title)
        rows += list(section.items()) if isinstance(section, Mapping) else []
    show_table(found["name"], ["", ""], rows)


@app.command()
def card(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    license: Annotated[
        str, typer.Option(help="Licence: apache-2.0, cc-by-nc-4.0, other ...; default: what the card says.")
    ] = "",
    results: Annotated[
        list[Path] | None, typer.Option(help="Results folder of this model, made by `lgdea eval`; may be repeated.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag on the Hub; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write instead of the model's README.md.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a card that was changed by hand.")] = False,
    json: JsonFlag = False,
) -> None:
    """Write a model's card: data, objective, metrics with intervals, licence, limits, and how to load it.

    Example: `lgdea model card runs/chest/model --license cc-by-nc-4.0 --results results/chest`
    """
    from lgdea.api.model_folders import write_model_card

    file = write_model_card(model, license=license, results=results or [], tags=tag or [], out=out, force=force)
    if json:
        show_json({"card": str(file)}, [file])
        return
    console.print(f"card: {file}", highlight=False, soft_wrap=True)


@app.command()
def push(
    model: Annotated[Path, typer.Argument(help="Model folder; its card must name a licence.")],
    repo: Annotated[str, typer.Argument(help="ORG/NAME on the Hugging Face Hub; made if needed.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody read a new repository.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, made if needed; default: main.")] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    json: JsonFlag = False,
) -> None:
    """Push a model to the Hugging Face Hub: what its hashes name, its heads and its card, and nothing else.

    A new repository is private. The token is that of `hf auth login` or HF_TOKEN.

    Example: `lgdea model push runs/chest/model ORG/NAME`
    """
    from lgdea.models.hub import push_folder

    place = push_folder(model, repo, private=not public, revision=revision, message=message)
    if json:
        show_json({"repo": place.repo, "revision": place.revision})
        return
    console.print(f"pushed: {place.name}", highlight=False, soft_wrap=True)


@app.command()
def export(
    model: FolderArgument,
    out: Annotated[Path, typer.Option(help="New folder.")],
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="onnx or torch (torch.export); may be repeated; default: onnx.")
    ] = None,
    phrase: Annotated[
        list[str] | None, typer.Option(help="What is scored; may be repeated; default: the model's findings.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Export the image side as graphs, with embedded phrases and a description, for programs without lgdea.

    Example: `lgdea model export runs/chest/model --out exported`
    """
    from lgdea.api.export import export_model

    folder = export_model(model, out, phrases=phrase or None, formats=formats or ["onnx"])  # type: ignore[arg-type]
    if json:
        show_json({"folder": str(folder)}, [folder])
        return
    console.print(f"exported: {folder}", highlight=False, soft_wrap=True)
