"""Compare: a patient's current image with the prior one, and a query with healthy references."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lgdea.app.bench import Bench
from lgdea.app.changes import Compared, compare_with_prior, compare_with_references, list_pairs, need_pairs
from lgdea.app.fragments import note, sheet_html
from lgdea.app.tabs.ask_image import OFFERED, choose_image
from lgdea.app.tabs.wiring import answering

STRATEGIES = ("demographic", "random", "embedding")


def build(bench: Bench) -> None:
    """Lay out the tab.

    Args:
        bench: What the page works with.
    """
    pairs = list_pairs(bench)
    studies = pairs["study_current"].tolist()
    with gr.Accordion("Prior and current image of a patient", open=True):
        with gr.Row():
            study = gr.Dropdown(
                studies[:OFFERED], value=studies[0] if studies else None, allow_custom_value=True,
                label="Current study", info=f"{len(studies):,} studies have a prior; it is chosen by date",
            )  # fmt: skip
            entities = gr.Textbox(
                label="Entities", info="Parted by commas; empty: what the images probably show", max_length=500
            )
        since = gr.Button("Compare with the prior", variant="primary")
        outputs = [gr.HTML(), gr.HTML(), gr.HTML()]
    with gr.Accordion("Query beside healthy references", open=False):
        with gr.Row():
            image = choose_image(bench, "Query image")
            finding = gr.Textbox(label="Finding", value="pleural effusion", max_length=300)
            strategy = gr.Dropdown(list(STRATEGIES), value=STRATEGIES[0], label="References are chosen by")
        beside = gr.Button("Compare with references", variant="primary")
        beside_outputs = [gr.HTML(), gr.HTML(), gr.HTML()]

    def with_prior(current: str | None, names: str) -> tuple[Any, ...]:
        need_pairs(pairs)
        return _shown(compare_with_prior(bench, current or "", names or ""))

    def with_references(query: str | None, name: str, how: str) -> tuple[Any, ...]:
        return _shown(compare_with_references(bench, query or "", name or "", strategy=how))

    empty = ("", "")
    since.click(answering(bench, with_prior, empty), [study, entities], outputs, api_visibility="private")
    beside.click(
        answering(bench, with_references, empty), [image, finding, strategy], beside_outputs, api_visibility="private"
    )


def _shown(found: Compared) -> tuple[Any, ...]:
    return note(*found.notes), sheet_html(found.sheet)
