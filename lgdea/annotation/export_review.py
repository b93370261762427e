"""A spreadsheet of evidence for a person to check: whole reports, every unit of theirs, room for what was missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from lgdea.annotation.compare_runs import Pair, RunComparison, compare_report, compare_runs
from lgdea.annotation.unit_matching import units_by_report
from lgdea.errors import UsageError
from lgdea.evidence.coverage import reports_asked
from lgdea.evidence.io import REJECTS, iter_rejects, read_evidence
from lgdea.evidence.layout import sentence_line
from lgdea.records.archive import Archive
from lgdea.records.csv_io import write_spreadsheet

Select = Literal["random", "disagreements", "uncertain"]
SHOWN = ("finding", "assertion", "anatomy", "laterality", "severity", "change", "refers_to_prior", "quote")
CORRECTED = tuple(f"correct_{name}" for name in SHOWN)
COLUMNS = (
    "report_id", "row", "pair", "run", "differs", "context", *SHOWN, "verdict", *CORRECTED, "comment", "reviewer",
    "section", "start", "end",
)  # fmt: skip
"""``row`` is ``report`` (the whole text, and the verdict on the report), ``unit`` or ``missed``."""


@dataclass(frozen=True)
class ReviewFile:
    """Counts of a written review file: how many reports and units, and of the reports those without any unit."""

    reports: int
    units: int
    without_units: int


def write_review(
    evidence: str | Path,
    archive: Archive,
    out: str | Path,
    *,
    select: Select = "random",
    against: str | Path | None = None,
    count: int = 200,
    seed: int = 0,
) -> ReviewFile:
    """Write the CSV file for a reviewer.

    Of each selected report there is a row with its text, one row per unit, and one empty row to add what was missed.
    Where two runs differ, each run's reading has its own row, and both rows have the same number in ``pair``.

    Args:
        evidence: Evidence folder to review.
        archive: Its archive.
        out: The CSV file.
        select: ``random`` draws reports with any text, also those without units, so that recall can be estimated;
            ``disagreements`` takes the reports on which the two runs differ, most important first; ``uncertain`` draws
            from the reports with an uncertain unit or a quote that is not word for word.
        against: Another evidence folder of the same archive.
        count: How many reports, at most.
        seed: Of the draw. The rows come in the order of the draw, so that a review that stops early is a sample too.

    Raises:
        UsageError: An unknown selection, or ``disagreements`` without ``against``.
    """
    if select not in get_args(Select):
        raise UsageError(f"no selection {select!r}", remedy=f"known: {', '.join(get_args(Select))}")
    if select == "disagreements" and against is None:
        raise UsageError("disagreements need two runs", remedy="name the other evidence folder with --against")
    units = read_evidence(evidence)
    others = None if against is None else read_evidence(against)
    texts = report_texts(archive)
    if select == "disagreements" and against is not None and others is not None:
        chosen = _list_differing(compare_runs(units, others, reports_read([evidence, against], archive)))[:count]
    else:
        pool = [report for report in reports_asked(evidence, archive) if texts[report].strip()]
        chosen = _draw_reports(units, pool, select, count, seed)
    names = name_runs(evidence, against)
    mine, theirs = units_by_report(units), None if others is None else units_by_report(others)
    rows: list[dict[str, object]] = []
    for report in chosen:
        rows += report_rows(report, texts[report], mine.get(report, []), theirs, names)
    write_spreadsheet(out, COLUMNS, rows)
    kinds = [row["row"] for row in rows]
    filled = {row["report_id"] for row in rows if row["row"] == "unit"}
    return ReviewFile(len(chosen), kinds.count("unit"), len(chosen) - len(filled))


def report_texts(archive: Archive) -> dict[str, str]:
    """The raw text per report, in the archive's order; a null text is an empty one."""
    texts = archive.reports["text"].fillna("")
    return {str(i): str(t) for i, t in zip(archive.reports["report_id"], texts, strict=True)}


def reports_read(folders: Sequence[str | Path], archive: Archive) -> list[str]:
    """The archive's reports that all of these runs have read: they have a text, and nothing asked about them was lost.
    Only there does "no unit" mean that a run found nothing.

    Raises:
        UsageError: A run has read another archive.
    """
    ids = [report for report, text in report_texts(archive).items() if text.strip()]
    for folder in folders:
        known = set(reports_asked(folder, archive))
        if (Path(folder) / REJECTS).is_file():
            known -= {r.report_id for r in iter_rejects(folder) if r.unit is None}
        ids = [i for i in ids if i in known]
    return ids


def _list_differing(difference: RunComparison) -> list[str]:
    return list(dict.fromkeys(pair.report_id for pair in difference.differing))


def _draw_reports(units: pd.DataFrame, pool: list[str], select: str, count: int, seed: int) -> list[str]:
    if select == "uncertain":
        doubtful = set(units["report_id"][(units["assertion"] == "uncertain") | (units["alignment"] != "exact")])
        pool = [report for report in pool if report in doubtful]
    order = np.random.default_rng(seed).permutation(len(pool))[:count]
    return [pool[i] for i in order]


def name_runs(evidence: str | Path, against: str | Path | None) -> tuple[str, str]:
    """The runs' names: their folders', or A and B when these are the same.

    Args:
        evidence: Evidence folder.
        against: The other one, None where there is none.
    """
    first = Path(evidence).resolve().name
    second = "" if against is None else Path(against).resolve().name
    return (first, second) if first != second else ("A", "B")


def report_rows(
    report: str, text: str, mine: list[Any], theirs: Mapping[str, list[Any]] | None, names: tuple[str, str]
) -> Iterator[dict[str, object]]:
    """Rows of one report: its text, its units, and an empty one for what was missed.

    Args:
        report: Id of the report.
        text: Its raw text.
        mine: Its units, rows of :func:`~lgdea.annotation.unit_matching.units_by_report`.
        theirs: Units of another run by report; None where there is none.
        names: Of the two runs.
    """
    yield {"report_id": report, "row": "report", "context": text}
    if theirs is None:
        pairs = [(Pair(report, "same", unit, unit), names[0]) for unit in mine]
    else:
        pairs = [(pair, "both") for pair in compare_report(report, mine, theirs.get(report, []))]
    pairs.sort(key=lambda item: (item[0].kind == "same", item[0].start))
    for number, (pair, both) in enumerate(pairs, start=1):
        if pair.kind == "same":
            yield _unit_row(text, pair.a, both, "", number)
            continue
        for unit, name in ((pair.a, names[0]), (pair.b, names[1])):
            if unit is not None:
                yield _unit_row(text, unit, name, " ".join(pair.differs) or "only here", number)
    yield {"report_id": report, "row": "missed"}


def _unit_row(text: str, unit: Any, run: str, differs: str, pair: int) -> dict[str, object]:
    shown = {name: getattr(unit, name) for name in SHOWN}
    shown["refers_to_prior"] = "yes" if unit.refers_to_prior else "no"
    fixed = {"report_id": unit.report_id, "row": "unit", "pair": pair, "run": run, "differs": differs}
    place = {"section": unit.section, "start": unit.start, "end": unit.end}
    return {**fixed, "context": sentence_line(text, unit.start, unit.end), **shown, **place}
