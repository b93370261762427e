"""Read a report: its evidence marked in the text, as a table, to take away."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from lgdea.app.bench import Bench
from lgdea.app.reports import LONGEST, RULES, marked_html, read_report, readers, units_html, write_files
from lgdea.app.tabs.wiring import answering

EXAMPLE = (
    "FINDINGS: Small left pleural effusion, slightly larger than before. Heart size is normal.\n"
    "No pneumothorax. Possible consolidation in the right lower lobe.\nIMPRESSION: Left pleural effusion."
)


def build(bench: Bench) -> None:
    """Lay out the tab.

    Args:
        bench: What the page works with.
    """
    names = readers(bench.settings)
    text = gr.Textbox(label="Report", lines=8, max_lines=20, max_length=LONGEST, placeholder="Paste a report")
    who = gr.Radio(names, value=names[0], label="Read by", visible=len(names) > 1)
    with gr.Row():
        read = gr.Button("Read", variant="primary")
        example = gr.Button("Take an example")
    said = gr.HTML()
    marked, units = gr.HTML(), gr.HTML()
    with gr.Row():
        files = [gr.DownloadButton(f"Download {kind}", interactive=False, size="md") for kind in ("JSON", "CSV")]

    def work(report: str, reader: str | None) -> tuple[Any, ...]:
        found = read_report(report or "", bench.settings, reader or RULES)
        folder = Path(os.environ["GRADIO_TEMP_DIR"]) / secrets.token_hex(16)
        written = write_files(found, folder)
        buttons = [gr.update(value=str(file), interactive=True) for file in written]
        return marked_html(found.text, found.units), units_html(found), *buttons

    empty = ("", "", *[gr.update(value=None, interactive=False)] * 2)
    run = answering(bench, work, empty, alone=False)
    outputs = [said, marked, units, *files]
    read.click(run, [text, who], outputs, api_visibility="private")
    example.click(lambda: EXAMPLE, None, text, api_visibility="private").then(
        run, [text, who], outputs, api_visibility="private"
    )
