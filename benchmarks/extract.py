"""Speed and scores of the rules backend beside medspaCy with the same vocabulary, in turns, one thread each."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.peers import medspacy_peer
from lgdea.annotation.scoring import EvidenceScores, score
from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.replay import ReplayBackend, text_hash
from lgdea.evidence.layout import EVIDENCE_SECTIONS, split_sections
from lgdea.evidence.runner import extract
from lgdea.records.archive import Archive, write_archive
from lgdea.records.schema import TABLES
from lgdea.vocabulary import load_vocabulary

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_NUM_THREADS"), "1")
RULES_CLOCK = "the whole of `lgdea extract` after its imports: reading, rules, checks, tables, cold caches"
READ_CLOCK = "reading texts that are in memory, layout and sections included, after {} reports of warm-up"
PEER_CLOCK = "reading texts that are in memory, sections already found, after {} reports of warm-up"


def compare(
    archive: Archive,
    out: Path,
    gold: str,
    *,
    peer_python: Path | None = None,
    repeats: int = 3,
    say: Callable[[str], Any] = lambda _: None,
) -> dict[str, Any]:
    """Time and score the rules, and medspaCy where its interpreter is given.

    All take turns, so that whatever else the machine does meets each: the whole of ``lgdea extract``, the rules over
    texts in memory as the peer has them, and the peer. The clocks favour the peer (``clock`` of each says what it
    covers).

    Args:
        archive: Holds the reports and the gold.
        out: Folder for the evidence and the peer's files.
        gold: A gold of :func:`~lgdea.annotation.scoring.score`.
        peer_python: Interpreter of an environment with medspaCy; None leaves the peer out.
        repeats: Runs of each.
        say: Called with a line after each run.

    Returns:
        ``reports``, ``gold``, ``systems`` (a list: ``name``, ``clock``, ``seconds`` of each run, the median
        ``reports_per_second``, scores), ``in_memory`` (the rules' reading alone, without scores) and, with the peer,
        ``speed_ratios`` of the turns, their median ``speed_ratio`` and ``cpu_ratio``, the same in CPU time: it says
        more when the machine is shared. ``in_memory`` has such a ``cpu_ratio`` too.

    Raises:
        UsageError: There is nothing to measure, or no such interpreter.
        EvidenceError: An extraction failed.
    """
    if repeats < 1 or not len(archive.reports):
        raise UsageError("nothing to measure", remedy="give at least one report and one repeat")
    files = _write_peer_inputs(archive, out)
    rules: list[dict[str, Any]] = []
    reading: list[dict[str, Any]] = []
    peer: list[dict[str, Any]] = []
    for turn in range(repeats):
        evidence = out / f"rules-{turn}"
        rules.append(run_extract(archive.folder, evidence))
        say(f"turn {turn + 1} of {repeats}: rules {rules[-1]['seconds']:.2f} s")
        reading.append(_run_child("benchmarks.read_child", files[0]))
        say(f"turn {turn + 1} of {repeats}: rules in memory {reading[-1]['seconds']:.2f} s")
        if peer_python is not None:
            peer.append(_run_peer(peer_python, files))
            say(f"turn {turn + 1} of {repeats}: medspaCy {peer[-1]['seconds']:.2f} s")
    count = len(archive.reports)
    systems = [
        {"name": "lgdea rules", "clock": RULES_CLOCK, **_speed(rules, count), **_scores(score(evidence, gold, archive))}
    ]
    in_memory = {"clock": READ_CLOCK.format(medspacy_peer.WARM_UP), **_speed(reading, count)}
    result: dict[str, Any] = {
        "archive": archive.name, "reports": count, "gold": gold, "systems": systems, "in_memory": in_memory,
    }  # fmt: skip
    if peer:
        summary = extract(archive, ReplayBackend(files[2]), out / "medspacy", max_rejected=1.0)
        systems.append(
            {
                "name": "medspaCy",
                "versions": peer[0]["versions"],
                "clock": PEER_CLOCK.format(medspacy_peer.WARM_UP),
                "rejected_by_reason": summary["rejected_by_reason"],
                **_speed(peer, count),
                **_scores(score(out / "medspacy", gold, archive)),
            }
        )
        result["speed_ratios"] = _ratios(rules, peer, "seconds")
        result["speed_ratio"] = statistics.median(result["speed_ratios"])
        result["cpu_ratio"] = statistics.median(_ratios(rules, peer, "cpu_seconds"))
        in_memory["cpu_ratio"] = statistics.median(_ratios(reading, peer, "cpu_seconds"))
    return result


def run_extract(archive: Path, out: Path) -> dict[str, Any]:
    """Extract by the rules as ``lgdea extract`` does, in a process of its own with one thread.

    Returns:
        The extraction's summary, ``seconds`` and ``cpu_seconds`` of everything after the imports, and ``peak_bytes``,
        the process's highest resident memory (None where ``/proc`` lacks).

    Raises:
        EvidenceError: It failed.
    """
    return _run_child("benchmarks.extract_child", archive, out)


def _run_child(module: str, *arguments: Path) -> dict[str, Any]:
    """Run a module that prints a JSON document, with one thread."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(
        command, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        peak = None
        while process.poll() is None:
            peak = _peak_bytes(process.pid) or peak
            time.sleep(0.05)
        said, complaint = process.communicate()
    if process.returncode:
        raise EvidenceError(f"the extraction failed: {complaint.strip()[-300:]}", file=arguments[-1])
    return {**json.loads(said), "peak_bytes": peak}


def first_reports(archive: Archive, count: int, folder: Path) -> Archive:
    """An archive of the first ``count`` reports with their studies, labels and extra tables, without pictures.

    Reports that carry a label come first, so that a gold of labels has something to score.
    """
    labelled = archive.reports["study_id"].isin(archive.labels["study_id"])
    reports = archive.reports.loc[labelled.sort_values(ascending=False, kind="stable").index].head(count)
    kept = {"report_id": set(reports["report_id"]), "study_id": set(reports["study_id"])}

    def part(table: pd.DataFrame) -> pd.DataFrame:
        key = next((k for k in kept if k in table), None)
        return table if key is None else table[table[key].isin(kept[key])]

    tables = {name: part(getattr(archive, name)) for name in TABLES if name not in ("images", "boxes", "reports")}
    extra = {name: part(table) for name in archive.extra_names if (table := archive.extra(name)) is not None}
    return write_archive(folder, archive.name, {**tables, "reports": reports}, folder, extra_tables=extra)


def peer_vocabulary() -> dict[str, list[str]]:
    """Names and synonyms of every finding, with the plain plural of the last word that the rules understand too."""
    words: dict[str, list[str]] = {}
    for finding in load_vocabulary().findings.values():
        if finding.kind != "normality":
            singular = [finding.name, *finding.synonyms]
            words[finding.id] = sorted({*singular, *(_plural(word) for word in singular)})
    return words


def _plural(words: str) -> str:
    if words.endswith("s"):
        return words
    return f"{words[:-1]}ies" if words.endswith("y") and words[-2:-1] not in "aeiou" else f"{words}s"


def _write_peer_inputs(archive: Archive, out: Path) -> tuple[Path, Path, Path]:
    """Write the reports and the vocabulary for the peer; the third path is for its answers."""
    out.mkdir(parents=True, exist_ok=True)
    files = (out / "peer-reports.jsonl", out / "peer-vocabulary.json", out / "peer-answers.jsonl")
    with files[0].open("w", encoding="utf-8") as stream:
        for text in archive.reports["text"].fillna(""):
            stretches = [[s.start, s.end] for s in split_sections(text) if s.name in EVIDENCE_SECTIONS]
            stream.write(json.dumps({"text_sha256": text_hash(text), "text": text, "stretches": stretches}) + "\n")
    files[1].write_text(json.dumps(peer_vocabulary()), encoding="utf-8")
    return files


def _run_peer(python: Path, files: Sequence[Path]) -> dict[str, Any]:
    command = [str(python), str(Path(medspacy_peer.__file__).resolve()), *map(str, files)]
    try:
        done = subprocess.run(
            command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False, cwd=files[0].parent
        )
    except OSError as error:
        raise UsageError(f"no such interpreter ({error.strerror})", file=python, remedy="check --peer-python") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(
            f"medspaCy does not run ({reason[:200]})", file=python, remedy="pip install medspacy in its environment"
        )
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def _speed(runs: Sequence[Mapping[str, Any]], reports: int) -> dict[str, Any]:
    return {
        "seconds": [round(run["seconds"], 3) for run in runs],
        "cpu_seconds": [round(run["cpu_seconds"], 3) for run in runs],
        "reports_per_second": round(reports / statistics.median(run["seconds"] for run in runs), 1),
    }


def _ratios(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """Divide the peer's time by ours, turn by turn."""
    return [round(their[key] / our[key], 1) for our, their in zip(ours, theirs, strict=True)]


def _scores(result: EvidenceScores) -> dict[str, Any]:
    return {
        "micro_f1": round(result.micro.f1, 4),
        "micro_f1_interval": [round(result.micro.low, 4), round(result.micro.high, 4)],
        "precision": round(result.micro.precision, 4),
        "recall": round(result.micro.recall, 4),
        "macro_f1": round(result.macro_f1, 4),
        "macro_f1_interval": [round(result.macro_low, 4), round(result.macro_high, 4)],
        "scored_reports": result.reports,
    }


def _peak_bytes(pid: int) -> int | None:
    """The process's peak resident memory so far; the kernel's figure for children counts their parent too."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(line.split()[1]) * 1024 if line else None
