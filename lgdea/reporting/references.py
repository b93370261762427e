"""The query beside its healthy references, with the attribution of what is found in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lgdea.reporting.cases import Box, CaseColumn, CasePicture, CaseSheet

SHOWN = 12
"""References that are drawn; how many there are stands in the notes."""


def reference_sheet(
    query: np.ndarray,
    references: Sequence[np.ndarray],
    maps: Mapping[str, np.ndarray],
    *,
    phrase: str,
    query_lines: Sequence[str] = (),
    reference_lines: Sequence[Sequence[str]] = (),
    scores: Mapping[str, float | str] | None = None,
    boxes: Sequence[Box] = (),
    notes: Sequence[str] = (),
) -> CaseSheet:
    """Lay a query beside the healthy references that it was compared with.

    Args:
        query: (H, W) in [0, 1].
        references: K images likewise, each in its own size.
        maps: Name of a reader or setting (``single``, ``paired``) to its attribution, (H, W) in the query's pixels, NaN
            where nothing is known; each is drawn over the query, below it.
        phrase: What was looked for.
        query_lines: What is to be said of the query (id, true label).
        reference_lines: The same of each reference (id, age, sex, view); empty without.
        scores: Name of a score to its value, a table row each.
        boxes: True boxes of the finding in the query, half-open pixels.
        notes: Sentences below the heading.

    Returns:
        The sheet: ``.draw()`` is a picture, :func:`lgdea.reporting.case_page.write_sheet` writes it as PNG or HTML.

    Example:
        >>> image = np.full((32, 32), 0.5)
        >>> sheet = reference_sheet(image, [image, image], {"paired": image}, phrase="nodule", scores={"z": 2.31})
        >>> len(sheet.columns), sheet.rows, sheet.draw(side=64).mode
        (2, (('z', '2.310'),), 'RGB')
    """
    frames = tuple(boxes)
    below = tuple(CasePicture(query, heat, frames, name) for name, heat in maps.items())
    pictures = (CasePicture(query, None, frames, "image" if below else ""), *below)
    columns = [CaseColumn(("query", *query_lines), pictures)]
    shown = [
        CasePicture(pixels, caption=", ".join([f"{k}", *(reference_lines[k - 1] if reference_lines else ())]))
        for k, pixels in enumerate(references[:SHOWN], start=1)
    ]
    for start in range(0, len(shown), len(pictures)):  # as many below each other as the query has pictures
        part = shown[start : start + len(pictures)]
        span = f"{start + 1}" if len(part) == 1 else f"{start + 1} to {start + len(part)}"
        columns.append(CaseColumn((f"reference{'s' if len(part) > 1 else ''} {span}",), tuple(part)))
    hidden = len(references) - SHOWN
    told = [*notes, *([f"{SHOWN} of {len(references)} references are shown."] if hidden > 0 else [])]
    rows = [(name, value if isinstance(value, str) else f"{value:.3f}") for name, value in (scores or {}).items()]
    title = f"{phrase}: the query beside {len(references)} healthy reference{'s' if len(references) != 1 else ''}"
    return CaseSheet(title, tuple(columns), tuple(told), ("score", "value") if rows else (), tuple(rows))
