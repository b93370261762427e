"""Report text as HTML with its evidence marked; spans may overlap, nest or touch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape


@dataclass(frozen=True)
class HighlightSpan:
    """Half-open characters ``start``..``end`` of the raw text, what is asserted there and a line that explains it.

    ``label`` (the finding) is for pages that name it beside the text; empty for none.
    """

    start: int
    end: int
    assertion: str
    tip: str
    label: str = ""


def highlight(text: str, spans: Iterable[HighlightSpan], *, tags: bool = False) -> Markup:
    """Mark ``spans`` in ``text``.

    The text is cut at every span border, and each piece that some span covers becomes one ``<mark>``, so overlapping
    spans need no nesting. A piece takes the look of its shortest span; ``data-assertions`` and ``data-tip`` (one line
    per span) name all of them. Removing the tags leaves exactly the escaped text.

    Args:
        text: The raw report, untrusted.
        spans: Spans into ``text``; parts outside of it and empty spans are ignored.
        tags: If true, what is asserted stands in words behind each span's end, as text of the page, for eyes and
            programs that see no colours and open no tips.
    """
    clipped = [(max(0, s.start), min(len(text), s.end), s) for s in spans]
    placed = sorted(((a, b, s) for a, b, s in clipped if a < b), key=lambda item: (item[1] - item[0], item[0]))
    borders = sorted({0, len(text)} | {p for a, b, _ in placed for p in (a, b)})
    pieces = []
    for left, right in pairwise(borders):
        covering = [item for item in placed if item[0] <= left and right <= item[1]]
        piece = escape(text[left:right])
        pieces.append(_mark(piece, covering, left, right) if covering else piece)
        if tags:
            pieces += [
                Markup('<span class="ev-tag ev-{}">{}</span>').format(span.assertion, span.tip)
                for _, end, span in covering
                if end == right
            ]
    return Markup("").join(pieces)


def _mark(piece: Markup, covering: list[tuple[int, int, HighlightSpan]], left: int, right: int) -> Markup:
    start, end, first = covering[0]
    assertions = list(dict.fromkeys(span.assertion for _, _, span in covering))
    classes = ["ev", f"ev-{first.assertion}"]
    classes += ["ev-start"] * (start == left) + ["ev-end"] * (end == right) + ["ev-mixed"] * (len(assertions) > 1)
    # One tab stop per span is enough for the keyboard: the piece with which it begins.
    focus = Markup(' tabindex="0"') if any(a == left for a, _, _ in covering) else Markup("")
    labels = ", ".join(span.label for _, b, span in covering if b == right and span.label)
    label = Markup(' data-label="{}"').format(labels) if labels else Markup("")
    return Markup('<mark class="{}" data-assertions="{}" data-tip="{}"{}{}>{}</mark>').format(
        " ".join(classes), " ".join(assertions), "\n".join(span.tip for _, _, span in covering), label, focus, piece
    )
