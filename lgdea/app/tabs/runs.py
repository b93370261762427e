"""Runs: configuration, curves and results of the runs of a folder."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lgdea.app.bench import Bench
from lgdea.app.fragments import note
from lgdea.app.runs import RunIndex, index_runs, run_html
from lgdea.app.tabs.wiring import answering
from lgdea.errors import UsageError


def build(bench: Bench) -> None:
    """Lay out the tab.

    Args:
        bench: What the page works with.
    """
    folder = bench.settings.runs
    if folder is None:
        gr.HTML(note("The app was started without a folder of runs: start it with --runs FOLDER."))
        return

    index = index_runs(folder)
    with gr.Row():
        name = gr.Dropdown(index.names, value=next(iter(index.names), None), label="Run or results", info=_count(index))
        with gr.Column():
            show = gr.Button("Show", variant="primary")
            again = gr.Button("Look again")
    said, content = gr.HTML(), gr.HTML()

    def work(chosen: str | None) -> tuple[Any, ...]:
        if not chosen:
            raise UsageError("no run is chosen", remedy="choose one of the list")
        return (run_html(index_runs(folder), chosen),)

    def refresh() -> tuple[Any, ...]:
        found = index_runs(folder)
        return (gr.update(choices=found.names, info=_count(found)),)

    show.click(answering(bench, work, ("",)), [name], [said, content], api_visibility="private")
    again.click(answering(bench, refresh, (gr.update(),)), None, [said, name], api_visibility="private")


def _count(index: RunIndex) -> str:
    return f"{len(index.runs)} runs and {len(index.results)} folders of results in {index.folder.name}"
