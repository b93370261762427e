"""Prior and current side by side, with a table of what has become of each entity and where the model looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lgdea.comparison.change.read import ReadChange
from lgdea.reporting.cases import CaseColumn, CasePicture, CaseSheet

SHOWN = 4
"""Entities whose maps are drawn; all stand in the table."""
HEAD = ("entity", "state", "confidence", "P(shown)", "sentence")


def change_sheet(
    changes: Sequence[ReadChange], prior: np.ndarray, current: np.ndarray, pair: Mapping[str, Any]
) -> CaseSheet:
    """Lay what was read between two images beside them.

    Args:
        changes: What has become of each entity; the first ones are drawn.
        prior: (H, W) in [0, 1], the earlier image.
        current: The later one.
        pair: What is known of the two: ``study_prior``, ``study_current``, ``days``, ``rule``, ``nth``.
    """
    days = pair.get("days")
    apart = "" if days is None or not np.isfinite(days) else f"{days:g} {'day' if days == 1 else 'days'} earlier"
    names = [str(pair.get(f"study_{which}", "")) for which in ("prior", "current")]
    captions = [", ".join(part for part in parts if part) for parts in (("prior", apart), ("current",))]
    columns = [
        CaseColumn(("images",), (CasePicture(prior, caption=captions[0]), CasePicture(current, caption=captions[1])))
    ]
    for change in changes[:SHOWN]:
        lines = (change.entity.text, f"{change.state}, confidence {change.confidence:.2f}")
        maps = zip((prior, current), change.maps, strict=True)
        columns.append(CaseColumn(lines, tuple(CasePicture(pixels, heat) for pixels, heat in maps)))
    rows = [
        (c.entity.text, c.state, f"{c.confidence:.2f}", f"{c.shown:.2f}", c.sentence) for c in changes
    ]  # fmt: skip
    return CaseSheet(
        f"{names[1]} beside its prior" if names[1] else "two images of a patient, the earlier one first",
        tuple(columns), tuple(_notes(changes, pair, names[0], apart)), HEAD if rows else (), tuple(rows),
    )  # fmt: skip


def _notes(changes: Sequence[ReadChange], pair: Mapping[str, Any], prior: str, apart: str) -> list[str]:
    notes = []
    if prior:
        back = int(pair.get("nth") or 1)
        order = "the study before" if back == 1 else f"{back} studies back"
        parts = (apart, f"chosen by: {pair['rule']}" if pair.get("rule") else "", order)
        notes.append(f"prior: {prior}, {', '.join(part for part in parts if part)}")
    if not changes:
        notes.append("neither image probably shows a finding that the model was trained on")
    elif len(changes) > SHOWN:
        notes.append(f"maps of the first {SHOWN} of {len(changes)} entities")
    return notes
