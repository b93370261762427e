"""The page: six tabs, one theme, no request to anywhere but its own server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import gradio as gr

from lgdea.app.bench import Bench
from lgdea.app.tabs import ask_image, compare, find_cases, read_report, review, runs

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "Arial", "sans-serif"]
"""Of the reader's own machine: nothing is fetched for them."""
THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.blue,
    secondary_hue=gr.themes.colors.blue,
    neutral_hue=gr.themes.colors.slate,
    font=FONTS,
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"],
)
THEME.set(  # Gradio's own greys and blue have less contrast than WCAG's 4.5
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    input_placeholder_color="*neutral_600",
    input_placeholder_color_dark="*neutral_300",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    link_text_color="*primary_700",
)
LOOK: dict[str, Any] = {
    "theme": THEME,
    "css": (resources.files("lgdea.app") / "app.css").read_text(encoding="utf-8"),
}
TABS: Sequence[tuple[str, Callable[[Bench], None]]] = (
    ("Read a report", read_report.build),
    ("Ask an image", ask_image.build),
    ("Find cases", find_cases.build),
    ("Compare", compare.build),
    ("Review", review.build),
    ("Runs", runs.build),
)


def build_page(bench: Bench, cache: tuple[int, int]) -> gr.Blocks:
    """Lay out the page.

    Args:
        bench: What it works with.
        cache: Seconds between two rounds of the cleaner, and after which it removes a picture.
    """
    with gr.Blocks(title="lgdea", analytics_enabled=False, delete_cache=cache, fill_width=False) as blocks:
        gr.HTML(
            "<header class='lg-top'><h1>lgdea</h1><p>For research, not for diagnosis. The patient's right is at the "
            "picture's left.</p></header>"
        )
        with gr.Tabs():
            for name, build in TABS:
                with gr.Tab(name):
                    build(bench)
    return blocks
