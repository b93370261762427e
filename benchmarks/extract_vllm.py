"""Overhead of the vllm backend and the runner over ``vllm.LLM.chat`` with the same prompts on the same engine."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import UsageError
from lgdea.evidence.backends.vllm import create
from lgdea.evidence.backends.vllm_engine import sampling_params
from lgdea.evidence.prompts import Prompt
from lgdea.evidence.runner import extract


def measure_vllm(
    model: str,
    reports: Sequence[str],
    prompt: Prompt,
    *,
    max_tokens: int = 2048,
    repeats: int = 5,
    **options: Any,
) -> dict[str, Any]:
    """Time ``lgdea extract`` against one call of ``vllm.LLM.chat``, in turns, after a round of each as warm-up.

    One engine in this process serves both. Ours is everything that the command does: prompts, raw answers on disk,
    checks, alignment, tables. The bare call makes the same prompts and keeps the texts in memory. Nothing is asked
    twice. Engine start and probe are left out.

    Args:
        model: Name on the hub, or a local folder.
        reports: Their texts; all must fit the model's window, or the bare call raises.
        prompt: The prompt for both.
        max_tokens: Longest answer.
        repeats: Pairs of runs.
        options: More options of the vllm backend, e.g. ``engine_max_num_seqs=64``.

    Returns:
        ``reports``, ``backend``; of the last pair ``whole_answers`` (how many were not cut) and ``same_answers`` (the
        share of them that both gave); ``seconds`` and ``cpu_seconds`` (this process with its threads) of each run as
        ``ours`` and ``bare``; the medians of ``reports_per_second``; and ``overhead``: ``median``, ``least`` and
        ``greatest`` of the pairs' ours / bare - 1. ``cpu_overhead`` is the same in CPU time: it says more on a shared
        machine when the engine runs in this process.

    Raises:
        UsageError: There are no reports.
        EvidenceError: vLLM does not start or stops.
    """
    if not reports or repeats < 1:
        raise UsageError("nothing to measure", remedy="give at least one report and one repeat")
    backend = create(model, max_tokens=max_tokens, **options)
    backend.start()
    frame = pd.DataFrame({"report_id": [f"r:{n}" for n in range(len(reports))], "text": list(reports)})
    described = backend.describe()
    answers: dict[str, Counter[str]] = {}

    def ours() -> None:
        with tempfile.TemporaryDirectory(prefix="lgdea-bench-") as folder:
            extract(frame, backend, Path(folder) / "evidence", prompt=prompt, max_attempts=1, max_rejected=1.0)
            answers["ours"] = _raw_texts(Path(folder) / "evidence" / "raw")

    def bare() -> None:
        messages = [[dict(m) for m in q.messages] for report in reports for q in prompt.questions(report)]
        schema = json.dumps(prompt.json_schema(), separators=(",", ":"))
        params = sampling_params(schema, max_tokens, described["sampling"]["temperature"])
        outputs = backend.llm.chat(
            messages, params, use_tqdm=False, chat_template_kwargs=described["chat_template_kwargs"]
        )
        answers["bare"] = Counter(o.outputs[0].text for o in outputs if o.outputs[0].finish_reason == "stop")

    wall, cpu = _take_turns({"ours": ours, "bare": bare}, repeats)
    whole = max(answers["ours"].total(), answers["bare"].total())
    return {
        "reports": len(reports),
        "backend": described,
        "whole_answers": {name: texts.total() for name, texts in answers.items()},
        "same_answers": round((answers["ours"] & answers["bare"]).total() / whole, 4) if whole else None,
        "seconds": {name: [round(s, 3) for s in times] for name, times in wall.items()},
        "cpu_seconds": {name: [round(s, 3) for s in times] for name, times in cpu.items()},
        "reports_per_second": {name: round(len(reports) / statistics.median(t), 2) for name, t in wall.items()},
        "overhead": _overhead(wall),
        "cpu_overhead": _overhead(cpu),
    }


def _take_turns(
    runs: dict[str, Callable[[], None]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Wall and CPU seconds of each run, after one unmeasured round; who goes first alternates."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-1, repeats):
        for name in runs if number % 2 == 0 else reversed(runs):
            began, cpu_began = time.perf_counter(), time.process_time()
            runs[name]()
            if number >= 0:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - cpu_began)
    return wall, cpu


def _overhead(seconds: dict[str, list[float]]) -> dict[str, float]:
    ratios = [mine / other - 1 for mine, other in zip(seconds["ours"], seconds["bare"], strict=True)]
    return {
        "median": round(statistics.median(ratios), 4),
        "least": round(min(ratios), 4),
        "greatest": round(max(ratios), 4),
    }


def _raw_texts(folder: Path) -> Counter[str]:
    records = (json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.open(encoding="utf-8"))
    return Counter(record["text"] for record in records if "text" in record)
