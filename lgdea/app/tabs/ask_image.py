"""Ask an image: where it shows what a phrase says, how probable that is, and what else the model finds."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lgdea.app.bench import Bench
from lgdea.app.images import answer_html, ask, findings_html, list_findings
from lgdea.app.tabs.wiring import answering, picture
from lgdea.app.uploads import ENDINGS, MOST_BYTES, read_upload

OFFERED = 200
"""Ids that the list offers; any other can be typed."""


def choose_image(bench: Bench, label: str) -> gr.Dropdown:
    """A field for an image of the archive.

    Args:
        bench: Holds the archive.
        label: Its name.
    """
    ids = bench.image_ids
    return gr.Dropdown(
        ids[:OFFERED], value=ids[0] if ids else None, allow_custom_value=True, label=label,
        info=f"{len(ids):,} images in {bench.archive.name}; a part of an id is enough",
    )  # fmt: skip


def build(bench: Bench) -> None:
    """Lay out the tab.

    Args:
        bench: What the page works with.
    """
    with gr.Row():
        with gr.Column(scale=1):
            image = choose_image(bench, "Image of the archive")
            upload = gr.File(
                label=f"Or an image of your own (PNG, JPEG, DICOM; at most {MOST_BYTES // 2**20} MB)",
                file_types=list(ENDINGS), type="filepath", height=120,
            )  # fmt: skip
            phrase = gr.Textbox(label="Phrase", value="left pleural effusion", max_length=300)
            with gr.Row():
                show = gr.Button("Show where", variant="primary")
                every = gr.Button("List findings")
        with gr.Column(scale=2):
            said = gr.HTML()
            shown = picture("Image with the heat map of the phrase")
            numbers = gr.HTML()
            found = gr.HTML()

    def pixels_of(name: str | None, file: str | None) -> tuple[Any, str]:
        if file:
            return read_upload(file), "your image"
        chosen = bench.find_image(name or "")
        return bench.read_pixels(chosen), chosen

    def where(name: str | None, file: str | None, words: str) -> tuple[Any, ...]:
        pixels, source = pixels_of(name, file)
        answer = ask(bench, pixels, words or "")
        return answer.picture, answer_html(answer, source)

    def listing(name: str | None, file: str | None) -> tuple[Any, ...]:
        pixels, _ = pixels_of(name, file)
        return (findings_html(list_findings(bench, pixels), bench.model.scoring),)

    given = [image, upload]
    click: dict[str, Any] = {"api_visibility": "private"}
    show.click(answering(bench, where, (None, "")), [*given, phrase], [said, shown, numbers], **click)
    phrase.submit(answering(bench, where, (None, "")), [*given, phrase], [said, shown, numbers], **click)
    every.click(answering(bench, listing, ("",)), given, [said, found], **click)
