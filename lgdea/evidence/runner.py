"""Runner of an extraction: an archive's reports in, an evidence folder out.

One report's way; each numbered line is a walk over all reports::

    1 ask      report -> questions -> requests      request_loop.run_requests
                 backend.respond -> raw/*.jsonl     answer_log.AnswerLog, before anything is parsed
    2 retry    cut or unreadable answers once more  one more walk per attempt, each with twice the tokens
    3 verify   raw -> units -> a request per unit   only with a two-pass prompt; answers go to raw-verify/
    4 write    raw -> parse -> align -> check       postprocess.ReportProcessor
                 drop unsupported units             verification.Verification
                 unit   -> evidence.parquet
                 reject -> rejects.jsonl, with its reason
               counts   -> quality.json, run.json   quality.Quality

Every walk splits the reports into questions anew and finds their answers by request id, a hash of all that decides
them. That costs some CPU time, but nothing has to be kept between walks: memory holds some batches of reports, the
requests in flight and 22 bytes per answer, a kill loses at most the requests in flight, and a re-run asks only what is
missing. A backend that answers at once takes one walk for all (:mod:`~lgdea.evidence.direct`), if wanted in several
processes (:mod:`~lgdea.evidence.workers`); a kill then loses the batches in flight.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.answer_log import AnswerLog
from lgdea.evidence.backends.base import ExtractorBackend, get_backend
from lgdea.evidence.config import ExtractConfig
from lgdea.evidence.direct import DirectReader, with_logged
from lgdea.evidence.io import (
    EVIDENCE,
    QUALITY,
    RAW,
    RAW_HASHES,
    RAW_VERIFY,
    REJECTS,
    hash_raw,
    rejects_writer,
    written_files,
)
from lgdea.evidence.language_check import require_language
from lgdea.evidence.limits import check_empty, check_rejected
from lgdea.evidence.postprocess import ReportProcessor, ReportResult
from lgdea.evidence.prompts import Prompt, Verifier, load_prompt
from lgdea.evidence.quality import Quality
from lgdea.evidence.report_reader import RawReport, Reports
from lgdea.evidence.request_loop import PendingRequest, Progress, Questions, run_requests
from lgdea.evidence.result_tables import BATCH_ITEMS, ResultTables, in_batches, to_tables
from lgdea.evidence.schema import SCHEMA_VERSION, Unit
from lgdea.evidence.verification import Verification
from lgdea.evidence.workers import WorkerPool
from lgdea.garbage import rare_collection
from lgdea.manifests import read_manifest
from lgdea.records.archive import Archive
from lgdea.records.streams import TableWriter
from lgdea.runs import MANIFEST, SUCCESS, finish, is_finished, record, start, write_json
from lgdea.vocabulary import load_vocabulary, using_vocabulary
from lgdea.vocabulary.extension import extend_vocabulary, read_lexicon, write_lexicon

_IDENTITY = ("lgdea_version", "config", "input_hashes")

DEFAULT_PROMPT = "evidence-v2"
"""Used where a backend needs a prompt and none was named."""


@rare_collection()
def extract(
    source: Archive | str | Path | pd.DataFrame,
    backend: ExtractorBackend,
    out: str | Path,
    *,
    prompt: Prompt | None = None,
    limit: int | None = None,
    max_attempts: int = 2,
    max_rejected: float = 0.05,
    max_empty: float = 1.0,
    accept_unanswered: bool = False,
    allow_unscrubbed: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Extract evidence from all reports with the vocabulary in use; run again with the same arguments to resume.

    Questions that the backend itself failed on (``backend_error``) leave the run unfinished: all tables are written,
    but the next run asks these questions again.

    Args:
        source: An archive, its folder, or a table with ``report_id`` and ``text``.
        backend: The backend (see :func:`~lgdea.evidence.backends.base.get_backend`).
        out: Evidence folder: ``raw/``, ``evidence.parquet``, ``rejects.jsonl``, ``quality.json``, ``run.json``.
        prompt: The prompt for a backend that needs one.
        limit: Read only the first so many reports.
        max_attempts: Number of times that a question is asked whose answer is cut or cannot be read.
        max_rejected: Allowed share of reports, of questions, and of units whose quote is not in the report.
        max_empty: Allowed share of questions that a language model answers with no unit.
        accept_unanswered: Finish although the backend failed on some questions; they are among the rejects.
        allow_unscrubbed: Let reports leave this machine that `lgdea data scrub` has not masked.
        workers: Number of processes that share the work, of a backend that allows it (``multiprocess = True``).
        progress: Called with what is being done, done and all reports.

    Returns:
        Counts: the content of ``quality.json``, ``asked``, ``seconds``, ``reports_per_second``, ``tokens``,
        ``resumed``.

    Raises:
        UsageError: ``out`` holds another run, the source does not exist, workers do not apply to the backend, it reads
            no report's language, or unscrubbed reports would leave this machine.
        EvidenceError: The backend broke, or left questions unanswered; what it answered is kept.
        RejectedShareError: Finished and written, but too much was rejected or answered with nothing.
    """
    out = Path(out)
    reports = Reports(source, limit)
    if not len(reports) and "reports" in reports.inputs:
        raise UsageError(
            "the archive has no reports", file=Path(reports.inputs["reports"]).parent,
            remedy="`lgdea data build table` takes their column, `lgdea data merge` adds those of another archive",
        )  # fmt: skip
    if backend.needs_prompt and prompt is None:
        raise EvidenceError(f"backend {backend.name!r} needs a prompt", remedy="give a prompt id, e.g. evidence-v2")
    if workers > 1 and (prompt is not None or not getattr(backend, "multiprocess", False)):
        raise UsageError(
            f"the backend {backend.name!r} does not share its work between processes",
            remedy="leave out workers; http takes options.concurrency, a language model on several GPUs --runner ray",
        )
    is_remote = bool(getattr(backend, "is_remote", False))
    if is_remote and not (reports.are_scrubbed or allow_unscrubbed):
        raise UsageError(
            "the reports may name patients, and the backend would send them to another machine",
            remedy="mask identifiers first, `lgdea data scrub ARCHIVE --out SCRUBBED`, or say --allow-unscrubbed",
        )
    require_language(reports, backend)
    lexicon = load_vocabulary().site
    config = {
        "backend": backend.describe(),
        "prompt": prompt.describe() if prompt else None,
        "schema_version": SCHEMA_VERSION,
        **({} if lexicon is None else {"lexicon": lexicon.sha256}),
        **reports.describe(),
        **({"reports_sent_away": "scrubbed" if reports.are_scrubbed else "unscrubbed"} if is_remote else {}),
    }
    resumed = start(out, stage="extract", config=config, inputs=reports.inputs)
    write_lexicon(lexicon, out)
    if is_finished(out):
        summary = _read_summary(out)
        if not summary.get("unanswered") or accept_unanswered:
            check_rejected(summary, max_rejected, out)
            if prompt is not None:
                check_empty(summary, max_empty, out)
            return summary
        (out / SUCCESS).unlink()
    run = _Run(reports, backend, prompt, out, max_attempts, workers, progress)
    summary = {**run.work(), "resumed": resumed}
    if summary["unanswered"] and not accept_unanswered:
        record(out, summary=summary, run_id=run.run_id)
        many = "question" if summary["unanswered"] == 1 else "questions"
        raise EvidenceError(
            f"the backend failed on {summary['unanswered']:,} {many}",
            file=out / REJECTS,
            remedy="run the same command again to ask only these, or accept their loss with --accept-unanswered",
        )
    finish(out, written_files(out), summary=summary, run_id=run.run_id, **{RAW_HASHES: hash_raw(out)})
    check_rejected(summary, max_rejected, out)
    if prompt is not None:
        check_empty(summary, max_empty, out)
    return summary


@dataclass
class _Run:
    reports: Reports
    backend: ExtractorBackend
    prompt: Prompt | None
    out: Path
    max_attempts: int
    workers: int
    progress: Progress | None

    def work(self) -> dict[str, Any]:
        """Ask, verify, write; returns the summary."""
        began = time.perf_counter()
        with ExitStack() as stack:
            pool = self._start_workers(stack)
            log = stack.enter_context(AnswerLog(self.out / RAW))  # from here on no other process writes to this folder
            for left in self.out.glob(".*.tmp"):  # by a run that was killed while it wrote
                left.unlink()
            second: AnswerLog | None = None
            if self._answers_at_once:
                batches = in_batches(with_logged(self.reports, log), lambda item: len(item[0].text))
                alone = DirectReader(self.backend, self.run_id, log.extend)
                tables = map(alone.read, batches) if pool is None else pool.read(batches, log.extend)
            else:
                processor = ReportProcessor(self.prompt, log, self.run_id)
                schema = self.prompt.json_schema() if self.prompt else {}
                self._ask("reading reports", lambda: map(processor.pending_requests, self.reports), schema, log)
                check: Callable[[RawReport], ReportResult] = processor.process
                if self.prompt is not None and self.prompt.verifier is not None:
                    second = stack.enter_context(AnswerLog(self.out / RAW_VERIFY))
                    check = self._verify(self.prompt.verifier, processor, second)
                tables = (to_tables(map(check, part)) for part in in_batches(self.reports, lambda item: len(item.text)))
            counts = self._write(tables)
        seconds = time.perf_counter() - began
        read = min(1.0, log.appended / max(1, counts["questions"])) * counts["reports"]
        return {
            **counts,
            "asked": log.appended,
            "verified": second.appended if second else 0,
            "seconds": round(seconds, 3),
            "reports_per_second": round(read / seconds, 1),
            "tokens": log.tokens + (second.tokens if second else 0),
        }

    @property
    def run_id(self) -> str:
        """Hash of what made the units: the same reports, backend and prompt give the same id, and so the same table."""
        manifest = read_manifest(self.out / MANIFEST)
        content = json.dumps([manifest[name] for name in _IDENTITY], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def _start_workers(self, stack: ExitStack) -> WorkerPool | None:
        """Start the processes before any file is open, as forked ones would hold it; none where one batch is all."""
        workers = min(self.workers, math.ceil(len(self.reports) / BATCH_ITEMS))
        if workers < 2:
            return None
        pool = WorkerPool(workers, self.backend, self.run_id)
        stack.callback(pool.close)
        return pool

    @property
    def _answers_at_once(self) -> bool:
        return self.prompt is None and getattr(self.backend, "multiprocess", False)

    def _verify(
        self, verifier: Verifier, processor: ReportProcessor, log: AnswerLog
    ) -> Callable[[RawReport], ReportResult]:
        """Ask about each unit; returns what reads a report and drops its units that are not supported."""
        verification = Verification(verifier, log)
        read = processor.process
        requests = lambda: (verification.pending_requests(read(report)) for report in self.reports)  # noqa: E731
        self._ask("verifying units", requests, verifier.json_schema(), log)
        return lambda report: verification.drop_unsupported(read(report))

    def _ask(
        self,
        what: str,
        requests: Callable[[], Iterator[list[PendingRequest]]],
        schema: Mapping[str, Any],
        log: AnswerLog,
    ) -> None:
        questions = Questions(requests, len(self.reports), schema, what)
        run_requests(self.backend, questions, log, max_attempts=self.max_attempts, progress=self.progress)

    def _write(self, results: Iterable[ResultTables]) -> dict[str, Any]:
        """Write the tables in the order of the reports, whatever the order of the answers."""
        quality = Quality()
        with (
            TableWriter(self.out / EVIDENCE, Unit) as table,
            rejects_writer(self.out / REJECTS) as write_rejects,
        ):
            for result in results:
                quality.update(result.quality)
                table.write_arrow(result.units)
                write_rejects(result.rejects)
                if self.progress is not None:
                    self.progress("writing evidence", quality.reports, len(self.reports))
        counts = quality.to_dict()
        write_json(self.out / QUALITY, counts)
        return counts


def _read_summary(out: Path) -> dict[str, Any]:
    summary: dict[str, Any] = read_manifest(out / MANIFEST)["summary"]
    return summary


def extract_from_config(
    config: ExtractConfig, source: Archive | pd.DataFrame, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Run the extraction that ``config`` describes; what it started is stopped again.

    Returns:
        The summary of :func:`~lgdea.evidence.runner.extract`.

    Raises:
        UsageError: The backend or the prompt does not exist, or the backend does not take these options.
        EvidenceError, RejectedShareError: As :func:`~lgdea.evidence.runner.extract`.
    """
    if config.prompt is not None and config.backend == "rules":
        raise UsageError("the backend 'rules' reads without a prompt", remedy="leave the prompt out")
    if config.lexicon is not None and config.runner == "ray" and config.backend == "rules":
        raise UsageError("the rules take no lexicon on a Ray cluster", remedy="use --workers on one machine")
    with ExitStack() as stack:
        vocabulary = None if config.lexicon is None else extend_vocabulary(read_lexicon(config.lexicon))
        stack.enter_context(using_vocabulary(vocabulary))
        prompt = load_prompt(config.prompt) if config.prompt is not None else None
        backend = make_backend(config)
        if hasattr(backend, "close"):
            stack.callback(backend.close)
        if prompt is None and backend.needs_prompt:
            prompt = load_prompt(DEFAULT_PROMPT)
        return extract(
            source,
            backend,
            out,
            prompt=prompt,
            limit=config.limit,
            max_attempts=config.max_attempts,
            max_rejected=config.max_rejected,
            max_empty=config.max_empty,
            accept_unanswered=config.accept_unanswered,
            allow_unscrubbed=config.allow_unscrubbed,
            workers=config.workers,
            progress=progress,
        )


def make_backend(config: ExtractConfig) -> ExtractorBackend:
    """Make the backend of a configuration, in this process or on a Ray cluster."""
    if config.runner == "ray":
        if config.workers > 1:
            raise UsageError("workers are processes of one machine", remedy="with runner: ray write ray.workers")
        from lgdea.evidence.backends.ray_backend import RayBackend

        return RayBackend(config.backend, config.options, **config.ray.model_dump())
    return get_backend(config.backend, **config.options)
