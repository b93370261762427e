"""What a reviewer should read first: where readers differ, what a reader doubts, where report and image disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lgdea.annotation.compare_runs import TIERS, compare_runs
from lgdea.annotation.export_review import reports_read
from lgdea.app.bench import Bench
from lgdea.app.images import known_findings
from lgdea.errors import UsageError
from lgdea.evidence.io import read_evidence
from lgdea.records.csv_io import read_spreadsheet
from lgdea.vocabulary.phrases import canonical_phrase

MOST = 300
"""Reports of a list."""
SCORED = 200
"""Images that are compared with their reports while somebody waits."""
BATCH = 32
DOUBT_COLUMNS = ("study_id", "image_id", "report_id", "p_wrong", "reason")


@dataclass(frozen=True)
class Task:
    """A report to read, and why; ``link`` is the doubted one of that report."""

    report_id: str
    reason: str
    link: dict[str, str] = field(default_factory=dict)


def doubtful(bench: Bench) -> list[Task]:
    """Reports with an uncertain unit, or with words that do not stand in the report as they were quoted.

    Args:
        bench: Holds the evidence.
    """
    units = read_evidence(_evidence(bench))
    inexact, uncertain = units["alignment"] != "exact", units["assertion"] == "uncertain"
    tasks = []
    for report, rows in units[inexact | uncertain].groupby("report_id", sort=False):
        counts = (int((rows["assertion"] == "uncertain").sum()), int((rows["alignment"] != "exact").sum()))
        said = [f"{n} {what}" for n, what in zip(counts, ("uncertain", "not word for word"), strict=True) if n]
        tasks.append(Task(str(report), ", ".join(said)))
    return tasks[:MOST]


def differing(bench: Bench) -> list[Task]:
    """Reports on which two readers differ, what may call for action today first.

    Args:
        bench: Its settings name the other evidence.

    Raises:
        UsageError: There is no other evidence.
    """
    evidence, against = _evidence(bench), bench.settings.against
    if against is None:
        raise UsageError("there is one reader only", remedy="start the app with --against and another evidence folder")
    reports = reports_read([evidence, against], bench.archive)
    found: dict[str, Task] = {}
    for pair in compare_runs(read_evidence(evidence), read_evidence(against), reports).differing:
        finding = pair.finding.replace("_", " ")
        found.setdefault(pair.report_id, Task(pair.report_id, f"{finding}: {TIERS[pair.tier]}"))
    return list(found.values())[:MOST]


def doubted_links(bench: Bench) -> list[Task]:
    """Reports whose link to their image `lgdea data doubt-links` doubts, most doubtful first.

    Args:
        bench: Its settings name the spreadsheet.

    Raises:
        UsageError: There is no spreadsheet.
        DataError: It is another table.
    """
    file = bench.settings.doubts
    if file is None:
        raise UsageError("no links are doubted", remedy="start the app with --doubts and the file of doubt-links")
    known = set(bench.archive.reports["report_id"])
    rows = [row for _, row in read_spreadsheet(file, DOUBT_COLUMNS) if row["report_id"] in known]
    return [Task(row["report_id"], f"P(wrong link) {row['p_wrong'][:5]}: {row['reason']}", row) for row in rows][:MOST]


def report_against_image(bench: Bench) -> list[Task]:
    """Reports whose findings the model sees least in their image, or sees although the report denies them.

    The gap of a finding is 1 - p where the report says present and p where it says absent, with p the model's
    probability of its phrase; a report has the gap of its worst finding.

    Args:
        bench: Holds model, archive and evidence.

    Raises:
        UsageError: The model gives no probabilities.
    """
    model = bench.model
    if model.scoring != "presence":
        raise UsageError("the model gives similarities, not probabilities", remedy="choose another list")
    stated = _stated(bench)
    reports = bench.archive.reports[["report_id", "study_id"]]
    images = bench.archive.images[["image_id", "study_id"]].merge(reports, on="study_id")
    images = images[images["report_id"].isin(stated)].drop_duplicates("report_id").set_index("image_id")
    chosen = [image for image in bench.image_ids if image in images.index][:SCORED]
    gaps: dict[str, tuple[float, str]] = {}
    for start in range(0, len(chosen), BATCH):
        ids = chosen[start : start + BATCH]
        report_of = images.loc[ids, "report_id"].tolist()
        phrases = list(dict.fromkeys(phrase for report in report_of for phrase, _ in stated[report]))
        scores = np.asarray(model.score_phrases([bench.read_pixels(i) for i in ids], phrases))
        for report, row in zip(report_of, scores, strict=True):
            gaps[report] = max(_gap(phrase, said, float(row[phrases.index(phrase)])) for phrase, said in stated[report])
    return [Task(key, gap[1]) for key, gap in sorted(gaps.items(), key=lambda item: -item[1][0])]


def _gap(phrase: str, assertion: str, probability: float) -> tuple[float, str]:
    gap = 1 - probability if assertion == "present" else probability
    return gap, f"{phrase}: the report says {assertion}, the image P {probability:.2f} (not calibrated)"


def _stated(bench: Bench) -> dict[str, list[tuple[str, str]]]:
    """(phrase, assertion) by report, of findings that the model knows."""
    units = read_evidence(_evidence(bench))
    units = units[units["finding"].isin(known_findings(bench.model)) & units["assertion"].isin(["present", "absent"])]
    found: dict[str, list[tuple[str, str]]] = {}
    columns = (units[name] for name in ("report_id", "finding", "laterality", "assertion"))
    for report, finding, side, assertion in zip(*columns, strict=True):
        found.setdefault(str(report), []).append((canonical_phrase(finding, laterality=side), str(assertion)))
    return found


def _evidence(bench: Bench) -> Any:
    if bench.settings.evidence is None:
        raise UsageError("there is no evidence to review", remedy="start the app with --evidence FOLDER")
    return bench.settings.evidence


LISTS: dict[str, Callable[[Bench], list[Task]]] = {
    "where two readers differ": differing,
    "what the reader was unsure of": doubtful,
    "report against image": report_against_image,
    "doubted links": doubted_links,
}


def image_of(bench: Bench, report: str) -> str | None:
    """The first image of a report's study, None where it has none.

    Args:
        bench: Holds the archive.
        report: Id of the report.
    """
    study = bench.archive.reports.loc[bench.archive.reports["report_id"] == report, "study_id"]
    images: pd.Series = bench.archive.images.loc[bench.archive.images["study_id"].isin(study), "image_id"]
    return None if images.empty else str(images.iloc[0])
