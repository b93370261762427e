"""Evidence as HTML for a notebook: highlighted reports and a legend, in one self-contained fragment without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

import pandas as pd
from markupsafe import Markup, escape

from lgdea.reporting.examples import spans_of
from lgdea.reporting.highlight import highlight

ASSERTIONS = ("present", "absent", "uncertain")

ReportUnits = tuple[str, str | None, pd.DataFrame]
"""Id of a report, its raw text (None when it is not at hand) and its units."""


def evidence_html(heading: str, shown: Sequence[ReportUnits]) -> str:
    """Render reports with their evidence marked; all text of theirs is escaped.

    Args:
        heading: First line, such as how many reports and units there are.
        shown: Reports in order. Where the text is not at hand, the quotes stand in its place.

    Returns:
        One ``<div>`` with its own style, which follows the notebook's light or dark theme.
    """
    keys = Markup(" ").join(Markup('<mark class="ev ev-{0}">{0}</mark>').format(name) for name in ASSERTIONS)
    articles = Markup("").join(_article(*report) for report in shown)
    return str(
        Markup('<div class="lgdea-evidence"><style>{}</style><p class="head">{} {}</p>{}</div>').format(
            Markup(_style()), heading, keys, articles
        )
    )


def _article(report_id: str, text: str | None, units: pd.DataFrame) -> Markup:
    if text is None:
        quotes = [
            Markup('<mark class="ev ev-{}" data-tip="{}">{}</mark>').format(span.assertion, span.tip, str(quote))
            for span, quote in zip(spans_of(units), units["quote"], strict=True)
        ]
        body = Markup(" … ").join(quotes) or escape("no units")
    else:
        body = highlight(text, spans_of(units))
    return Markup('<p class="id">{}</p><pre>{}</pre>').format(report_id, body)


@cache
def _style() -> str:
    return (resources.files("lgdea.reporting") / "templates" / "notebook.css").read_text(encoding="utf-8")
