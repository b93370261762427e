"""``lgdea compare answer``: a vision-language model answers a question set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import JsonFlag, SetOption, console, show_json
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
    """Add the verb to ``lgdea compare``."""
    app.command()(answer)


def answer(
    questions: Annotated[Path, typer.Argument(help="Folder of a question set.")],
    out: Annotated[Path, typer.Option(help="Folder of the answers (answers.jsonl); an unfinished one is resumed.")],
    *,
    backend: BackendOption = "http",
    model: ModelOption = None,
    url: UrlOption = None,
    allow_remote: RemoteOption = False,
    side: SideOption = None,
    image_root: ImageRootOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Let a vision-language model answer a question set in its own words; `lgdea compare score` scores them.

    Example: `lgdea compare answer questions --url http://127.0.0.1:8000/v1 --out answers`
    """
    from lgdea.comparison.questions.ask import ask_questions
    from lgdea.comparison.questions.files import read_questions
    from lgdea.imaging.unreadable import unreadable_notes

    most = max((len(question.images) for question in read_questions(questions)), default=1)
    made = make_backend(backend, model, url, allow_remote, overrides, images=most)
    with show_stages() as progress:
        summary = ask_questions(questions, made, out, side=side, image_root=image_root, progress=progress)
    if json:
        show_json(summary, [out])
        return
    told = f"{summary['questions']:,} questions to {summary['model']}, {summary['asked']:,} asked now"
    console.print(told, highlight=False)
    if summary["unanswered"]:
        console.print(f"note: {summary['unanswered']:,} have no answer, cut or refused", highlight=False)
    for note in unreadable_notes(summary["unreadable"], "picture"):
        console.print(f"note: {note}; {summary['not_asked']:,} questions about them are not asked", highlight=False)
    console.print(f"answers: {out}", highlight=False)
