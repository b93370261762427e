"""``lgdea app``: the page for people, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import console
from lgdea.cli.evaluate import ModelArgument

_READER = {"rich_help_panel": "A language model that reads reports too"}
_REVIEW = {"rich_help_panel": "Review"}


def app(
    model: ModelArgument,
    archive: Annotated[Path, typer.Argument(help="Archive folder.")],
    *,
    evidence: Annotated[Path | None, typer.Option(help="Evidence folder of its reports.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder with run and results folders.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to bind to; any but this machine's own asks visitors for a token.")
    ] = "127.0.0.1",
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token on this machine too, where others log in.")
    ] = False,
    url: Annotated[
        str | None, typer.Option(help="Its server on this machine: http://127.0.0.1:8000/v1", **_READER)
    ] = None,
    language_model: Annotated[str | None, typer.Option(help="Name under which it is served.", **_READER)] = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt id or folder.", **_READER)] = None,
    against: Annotated[
        Path | None, typer.Option(help="Evidence of another reader; where the two differ is reviewed first.", **_REVIEW)
    ] = None,
    doubts: Annotated[Path | None, typer.Option(help="Spreadsheet of `lgdea data doubt-links`.", **_REVIEW)] = None,
    reviews: Annotated[Path, typer.Option(help="Folder of the reviewers' files.", **_REVIEW)] = Path("reviews"),
) -> None:
    """Open a page in which people read reports, ask images, find and compare cases, and review evidence.

    Example: `lgdea app demo/runs/lgdea/model demo/archive --evidence demo/evidence --runs demo`
    """
    from lgdea.app.bench import AppSettings
    from lgdea.app.serve import serve

    settings = AppSettings(
        model=str(model), archive=archive, evidence=evidence, against=against, doubts=doubts, runs=runs,
        reviews=reviews, url=url, language_model=language_model, prompt=prompt,
    )  # fmt: skip
    serve(
        settings, host=host, port=port, token=token,
        ready=lambda address: console.print(f"app: {address}  (Ctrl-C ends it)", soft_wrap=True, highlight=False),
    )  # fmt: skip
