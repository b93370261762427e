"""The reports that an evidence page holds: which are chosen, and the JSON that its script reads."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from markupsafe import Markup

from lgdea.annotation.compare_runs import Pair
from lgdea.evidence.io import Reject
from lgdea.evidence.layout import lay_out
from lgdea.evidence.text_read import passed_over
from lgdea.reporting.evidence_counts import GoldError, refused_text

_FIELDS = ("finding", "assertion", "section", "alignment", "anatomy", "laterality", "severity", "change")


@dataclass(frozen=True)
class Content:
    """Full content of the reports of a page.

    ``pairs`` holds each report's units (of one run: as pairs without a partner); ``ranked`` are the reports with
    something to read for, most important first.
    """

    texts: Mapping[str, str]
    pairs: Mapping[str, Sequence[Pair]]
    errors: Sequence[GoldError]
    rejects: Sequence[tuple[int, Reject]]
    """Refused units, each with the number of its run."""
    ranked: Sequence[str]
    members: Mapping[str, Iterable[str]]
    """Gold class -> findings."""
    by_layout: bool = False
    """The run reads the sections about the study only; the others are shown as passed over."""


def choose(content: Content, limit: int, seed: int) -> list[str]:
    """At most ``limit`` reports: first the ranked ones, then others drawn so that every finding, as present, absent
    and uncertain, has its turn, rarest first; then any.

    Args:
        content: All reports.
        limit: How many reports the page holds at most.
        seed: Of the draw.
    """
    chosen = dict.fromkeys(content.ranked[:limit])
    others = [report for report in content.texts if report not in chosen]
    others = [others[i] for i in np.random.default_rng(seed).permutation(len(others))]
    if len(chosen) + len(others) <= limit:
        return [*chosen, *(report for report in content.texts if report not in chosen)]
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for report in others:
        for key in {(p.finding, p.a.assertion) for p in content.pairs.get(report, ()) if p.a is not None}:
            strata[key].append(report)
    strata["", ""] = others
    queues = [iter(strata[key]) for key in sorted(strata, key=lambda key: (len(strata[key]), key))]
    while len(chosen) < limit and queues:
        for queue in list(queues):
            found = next((r for r in queue if r not in chosen), None)
            if found is None:
                queues.remove(queue)
            elif len(chosen) < limit:
                chosen[found] = None
    return list(chosen)


def payload(content: Content, reports: Sequence[str], names: Sequence[str], gold: str | None) -> Markup:
    """JSON for a ``<script type="application/json">`` element; no text in it can end the element.

    Words that recur are numbers into ``values``. Offsets count UTF-16 units, as a browser does.

    Args:
        content: All reports.
        reports: Those to write, in reading order.
        names: The run's name, and the other run's.
        gold: Its name.
    """
    values = _Values()
    errors: dict[str, list[list[Any]]] = defaultdict(list)
    for rank, error in enumerate(content.errors):
        errors[error.report_id].append([values[error.name], error.kind, rank])
    rejects: dict[str, list[list[Any]]] = defaultdict(list)
    for run, reject in content.rejects:
        rejects[reject.report_id].append([values[reject.reason], refused_text(reject), run])
    order = {report: n for n, report in enumerate(content.texts)}
    rows = []
    for report in reports:
        text = content.texts[report]
        offsets = _utf16(text)
        pairs = [
            [
                _unit(p.a, offsets, values),
                None if p.kind == "same" else _unit(p.b, offsets, values),
                p.kind,
                values[p.tier],
            ]
            for p in content.pairs.get(report, ())
        ]
        passed = passed_over(lay_out(text)) if content.by_layout else []
        places = [[*(offsets[p] if offsets else p for p in (a, b)), values[reason]] for a, b, reason in passed]
        rows.append([report, text, order[report], pairs, errors.get(report, []), rejects.get(report, []), places])
    members = {str(values[name]): [values[f] for f in sorted(found)] for name, found in content.members.items()}
    document = {"names": list(names), "gold": gold, "reports": rows, "members": members, "values": values.known}
    return script_json(document)


def script_json(document: Any) -> Markup:
    """JSON that is safe inside a script element: no ``<``, so no tag and no comment can begin or end there."""
    plain = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return Markup(plain)


class _Values:
    """Recurring words by number."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self._index: dict[str, int] = {}

    def __getitem__(self, value: str) -> int:
        if value not in self._index:
            self._index[value] = len(self.known)
            self.known.append(value)
        return self._index[value]


def _unit(unit: Any | None, offsets: Sequence[int] | None, values: _Values) -> list[int] | None:
    if unit is None:
        return None
    place = [int(unit.start), int(unit.end)]
    if offsets is not None:
        place = [offsets[p] for p in place]
    return [*place, *(values[getattr(unit, name) or ""] for name in _FIELDS), int(unit.refers_to_prior)]


def _utf16(text: str) -> list[int] | None:
    """Per character the number of UTF-16 units before it; None where the two counts are the same."""
    if text.isascii() or max(text) <= "\uffff":
        return None
    return [0, *accumulate(1 + (character > "\uffff") for character in text)]
