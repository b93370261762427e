"""Find cases: those that agree with an image in an entity, side by side with the entity's maps."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lgdea.app.bench import Bench
from lgdea.app.cases import SPLITS, find
from lgdea.app.fragments import note, sheet_html
from lgdea.app.tabs.ask_image import choose_image
from lgdea.app.tabs.wiring import answering

SHOWN = 8


def build(bench: Bench) -> None:
    """Lay out the tab.

    Args:
        bench: What the page works with.
    """
    with gr.Row():
        entity = gr.Textbox(
            label="Entity", value="left pleural effusion", max_length=300, info="A finding or a structure, in any words"
        )
        image = choose_image(bench, "Query image (may be empty)")
    with gr.Row():
        split = gr.Dropdown(list(SPLITS), value=_first_split(bench), label="Searched part of the archive")
        top = gr.Slider(1, SHOWN, value=5, step=1, label="Cases")
    search = gr.Button("Find cases", variant="primary")
    said, notes, sheet = gr.HTML(), gr.HTML(), gr.HTML()

    def work(text: str, query: str | None, part: str, count: float) -> tuple[Any, ...]:
        chosen = bench.find_image(query) if query and query.strip() else None
        found = find(bench, text or "", chosen, top=int(min(max(count, 1), SHOWN)), split=part)
        return note(*found.notes), sheet_html(found.sheet)

    run = answering(bench, work, ("", ""))
    given, outputs = [entity, image, split, top], [said, notes, sheet]
    search.click(run, given, outputs, api_visibility="private")
    entity.submit(run, given, outputs, api_visibility="private")


def _first_split(bench: Bench) -> str:
    """The test split where there is one: it is smaller than all, and unseen."""
    return "test" if (bench.archive.studies["split"] == "test").any() else "all"
