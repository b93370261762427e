"""From an archive's reports to an evidence folder: ask, keep the raw answers, align, check, write.

Raw answers are on disk before they are parsed, so a kill loses at most the requests in flight and a re-run asks only
for what is missing. Every report and every unit ends either in ``evidence.parquet`` or in ``rejects.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, EvidenceError, LgdeaError, RejectedShareError
from lgdea.evidence.alignment import Aligner
from lgdea.evidence.backends.base import ExtractorBackend, Request, Response
from lgdea.evidence.io import EVIDENCE, QUALITY, RAW, REJECTS
from lgdea.evidence.prompts import Prompt
from lgdea.evidence.raw import RawLog, read_raw
from lgdea.evidence.response import UNSPECIFIED, InvalidResponse, ResponseUnit, json_schema, parse_response
from lgdea.evidence.schema import SCHEMA_VERSION, Unit, unit_id
from lgdea.evidence.sections import Span, split_sections
from lgdea.records.archive import Archive
from lgdea.records.tables import write_table
from lgdea.runs import MANIFEST, finish, is_finished, start, write_json, write_text

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Report:
    report_id: str
    text: str


@dataclass(frozen=True)
class _Reject:
    """Why something of a report is not in the evidence; ``unit`` is None when the whole report is meant."""

    report_id: str
    reason: str
    detail: str = ""
    unit: dict[str, Any] | None = None


def extract(
    source: Archive | str | Path | pd.DataFrame,
    backend: ExtractorBackend,
    out: str | Path,
    *,
    prompt: Prompt | None = None,
    max_rejected: float = 0.05,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Extract evidence from all reports; run again with the same arguments to resume.

    Args:
        source: An archive, its folder, or a table with ``report_id`` and ``text``.
        backend: Who extracts (see :func:`~lgdea.evidence.backends.base.get_backend`).
        out: Evidence folder: ``raw/``, ``evidence.parquet``, ``rejects.jsonl``, ``quality.json``, ``run.json``.
        prompt: The prompt for a backend that needs one.
        max_rejected: Allowed share of reports, and of units, that are rejected.
        progress: Called with (done, all) reports.

    Returns:
        Counts: ``reports``, ``units``, ``rejected`` (reports), ``rejected_units``, ``reports_per_second`` and the
        content of ``quality.json``.

    Raises:
        UsageError: ``out`` holds another run, or the source does not exist.
        EvidenceError: The backend broke; what it answered is kept.
        RejectedShareError: Finished and written, but too much was rejected.
    """
    out = Path(out)
    reports, inputs = _reports(source)
    if backend.needs_prompt and prompt is None:
        raise EvidenceError(f"backend {backend.name!r} needs a prompt", remedy="give a prompt id, e.g. evidence-v1")
    config = {
        "backend": backend.describe(),
        "prompt": prompt.describe() if prompt else None,
        "schema_version": SCHEMA_VERSION,
        "reports": len(reports),
    }
    if isinstance(source, pd.DataFrame):
        config["reports_sha256"] = _frame_hash(reports)
    start(out, stage="extract", config=config, inputs=inputs)
    if not is_finished(out):
        _run(reports, backend, prompt, out, progress)
    summary: dict[str, Any] = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["summary"]
    _check_share(summary, max_rejected, out)
    return summary


def request_id(report_id: str, text: str, prompt_sha256: str) -> str:
    """One id per report and prompt: the same question is never asked twice."""
    content = "\x1f".join([report_id, text, prompt_sha256, SCHEMA_VERSION])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _run(
    reports: list[_Report], backend: ExtractorBackend, prompt: Prompt | None, out: Path, progress: Progress | None
) -> None:
    began = time.perf_counter()
    sha = prompt.sha256 if prompt else ""
    asked = {request_id(r.report_id, r.text, sha): r for r in reports if r.text.strip()}
    answered = _ask(asked, backend, prompt, out / RAW, progress, len(reports))
    run_id = hashlib.sha256((out / MANIFEST).read_bytes()).hexdigest()[:12]

    units: list[Unit] = []
    rejects = [_Reject(r.report_id, "empty_report") for r in reports if not r.text.strip()]
    responses = {r.request_id: r for r in read_raw(out / RAW) if r.request_id in asked}
    tokens = 0
    for key, report in asked.items():
        response = responses.get(key)
        tokens += (response.tokens or 0) if response else 0
        made, refused = _read_response(report, response, run_id)
        units.extend(made)
        rejects.extend(refused)
    seconds = time.perf_counter() - began

    write_table(out / EVIDENCE, units, Unit)
    write_text(out / REJECTS, "".join(json.dumps(vars(r), ensure_ascii=False) + "\n" for r in rejects))
    quality = _quality(reports, units, rejects)
    write_json(out / QUALITY, quality)
    summary = {
        **quality,
        "asked": answered,
        "seconds": round(seconds, 3),
        "reports_per_second": round(answered / seconds, 1) if answered else 0.0,
        "tokens": tokens,
    }
    finish(out, summary=summary, run_id=run_id)


def _ask(
    asked: dict[str, _Report],
    backend: ExtractorBackend,
    prompt: Prompt | None,
    folder: Path,
    progress: Progress | None,
    total: int,
) -> int:
    """Ask for what the raw files do not hold yet; a backend error is asked again, other failures stand."""
    done = {r.request_id for r in read_raw(folder) if r.failure != "backend_error"} & asked.keys()
    schema = json_schema() if backend.needs_prompt else {}

    def requests() -> Iterator[Request]:
        for key, report in asked.items():
            if key not in done:
                messages = prompt.messages(report.text) if prompt else ()
                yield Request(key, report.text, messages, schema)

    answered = 0
    with RawLog(folder) as log:
        for response in _guarded(backend, requests()):
            log.append(response)
            answered += 1
            if progress is not None:
                progress(len(done) + answered, total)
    return answered


def _guarded(backend: ExtractorBackend, requests: Iterable[Request]) -> Iterator[Response]:
    try:
        yield from backend.respond(requests)
    except LgdeaError:
        raise
    except Exception as error:
        raise EvidenceError(
            f"backend {backend.name!r} stopped ({type(error).__name__}: {error})",
            remedy="run the same command again; what was answered is kept",
        ) from error


def _read_response(report: _Report, response: Response | None, run_id: str) -> tuple[list[Unit], list[_Reject]]:
    if response is None:
        return [], [_Reject(report.report_id, "no_response")]
    if response.failure is not None or response.text is None:
        return [], [_Reject(report.report_id, response.failure or "no_response", response.detail)]
    try:
        stated = parse_response(response.text)
    except InvalidResponse as error:
        return [], [_Reject(report.report_id, "invalid_response", str(error))]
    sections = split_sections(report.text)
    aligner = Aligner(report.text)
    units: dict[str, Unit] = {}
    rejects: list[_Reject] = []
    for item in stated:
        unit = _locate(report, item, aligner, sections, run_id)
        if unit is None:
            rejects.append(_Reject(report.report_id, "quote_not_in_report", unit=item.model_dump()))
        elif unit.unit_id in units:
            rejects.append(_Reject(report.report_id, "repeated_unit", unit=item.model_dump()))
        else:
            units[unit.unit_id] = unit
    return list(units.values()), rejects


def _locate(report: _Report, item: ResponseUnit, aligner: Aligner, sections: list[Span], run_id: str) -> Unit | None:
    found = aligner.align(item.quote, item.start)
    if found is None:
        return None
    begin, end, alignment = found
    anatomy = None if item.anatomy == UNSPECIFIED else item.anatomy
    return Unit(
        unit_id=unit_id(report.report_id, begin, end, item.finding, anatomy, item.laterality),
        report_id=report.report_id,
        section=next((s.name for s in reversed(sections) if s.start <= begin), "body"),
        quote=report.text[begin:end],
        start=begin,
        end=end,
        alignment=alignment,
        finding=item.finding,
        finding_text=item.finding_text,
        assertion=item.assertion,
        anatomy=anatomy,
        laterality=item.laterality,
        severity=item.severity,
        change=item.change,
        refers_to_prior=item.refers_to_prior,
        run_id=run_id,
    )


def _quality(reports: list[_Report], units: list[Unit], rejects: list[_Reject]) -> dict[str, Any]:
    whole = [r for r in rejects if r.unit is None]
    parts = [r for r in rejects if r.unit is not None]
    lost = [r for r in parts if r.reason == "quote_not_in_report"]
    by_finding: dict[str, Counter[str]] = {}
    for unit in units:
        by_finding.setdefault(unit.finding, Counter())[unit.assertion] += 1
    stated = len(units) + len(lost)
    return {
        "reports": len(reports),
        "reports_with_units": len({u.report_id for u in units}),
        "units": len(units),
        "rejected": len(whole),
        "rejected_units": len(parts),
        "rejected_by_reason": dict(Counter(r.reason for r in rejects).most_common()),
        "alignment": dict(Counter(u.alignment for u in units).most_common()),
        "share_aligned": round(len(units) / stated, 6) if stated else None,
        "share_unaligned": round(len(lost) / stated, 6) if stated else 0.0,
        "units_per_finding": {k: dict(v) for k, v in sorted(by_finding.items(), key=lambda kv: -kv[1].total())},
    }


def _check_share(summary: dict[str, Any], allowed: float, out: Path) -> None:
    share = summary["rejected"] / max(1, summary["reports"])
    for what, value in (("reports", share), ("units", summary["share_unaligned"])):
        if value > allowed:
            raise RejectedShareError(
                f"{value:.1%} of the {what} were rejected, allowed are {allowed:.1%}",
                file=out / REJECTS,
                remedy="read the reasons there, or allow more with --max-rejected",
            )


def _reports(source: Archive | str | Path | pd.DataFrame) -> tuple[list[_Report], dict[str, str | Path]]:
    inputs: dict[str, str | Path] = {}
    if isinstance(source, pd.DataFrame):
        frame = source
    else:
        archive = source if isinstance(source, Archive) else Archive.open(source)
        frame = archive.reports
        inputs["reports"] = archive.folder / "reports.parquet"
    missing = {"report_id", "text"} - set(frame.columns)
    if missing:
        raise DataError(f"the reports lack the column {min(missing)!r}", remedy="give report_id and text")
    texts = frame["text"].fillna("").astype(str)
    reports = [_Report(str(i), t) for i, t in zip(frame["report_id"], texts, strict=True)]
    doubled = [i for i, n in Counter(r.report_id for r in reports).items() if n > 1]
    if doubled:
        raise DataError(f"the report id {doubled[0]!r} is used twice", file=inputs.get("reports"))
    return reports, inputs


def _frame_hash(reports: list[_Report]) -> str:
    digest = hashlib.sha256()
    for report in reports:
        digest.update(json.dumps([report.report_id, report.text]).encode())
    return digest.hexdigest()
