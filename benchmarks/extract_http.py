"""Overhead of the http backend and the runner over a bare loop that sends the same requests to the same server."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.http import KEY_VARIABLE, create
from lgdea.evidence.backends.http_address import check_address
from lgdea.evidence.prompts import Prompt
from lgdea.evidence.runner import extract


def measure_http(
    url: str,
    model: str | None,
    reports: Sequence[str],
    prompt: Prompt,
    *,
    concurrency: int = 32,
    max_tokens: int = 2048,
    repeats: int = 3,
) -> dict[str, Any]:
    """Time ``lgdea extract`` against a bare asyncio loop over httpx, in turns, after a round that warms the server up.

    Ours is everything that the command does: prompts, schema check, raw answers on disk, checks, alignment, tables.
    The bare loop makes the same prompts, sends the same bodies with the same concurrency, and keeps the texts in
    memory. Nothing is asked twice, so that both ask the same.

    Args:
        url: A server on this machine.
        model: A name that it lists, None for its only one.
        reports: Their texts.
        prompt: The prompt for both.
        concurrency: Requests under way at once.
        max_tokens: Room for an answer.
        repeats: Pairs of runs.

    Returns:
        ``reports``, ``concurrency``, ``server``, the ``seconds`` of each run (``ours``, ``bare``), the medians of
        ``reports_per_second`` and of ``client_cpu_milliseconds_per_report`` (this process alone, so it says more than
        the clock when the server is slow or the machine is shared), and ``overhead``: the median of ours / bare - 1.

    Raises:
        UsageError: There are no reports, or the URL or the model is wrong.
        EvidenceError: The server fails.
    """
    if not reports or repeats < 1:
        raise UsageError("nothing to measure", remedy="give at least one report and one repeat")
    base = check_address(url, allow_remote=False).base
    backend = create(url, model, concurrency=concurrency, max_tokens=max_tokens)
    served = str(backend.describe()["model"])
    frame = pd.DataFrame({"report_id": [f"r:{n}" for n in range(len(reports))], "text": list(reports)})

    def ours() -> None:
        with tempfile.TemporaryDirectory(prefix="lgdea-bench-") as folder:
            fresh = create(url, model, concurrency=concurrency, max_tokens=max_tokens)
            extract(frame, fresh, Path(folder) / "evidence", prompt=prompt, max_attempts=1, max_rejected=1.0)

    def bare() -> None:
        asyncio.run(_bare(base, served, reports, prompt, concurrency, max_tokens))

    bare()
    runs: dict[str, list[float]] = {"ours": [], "bare": []}
    cpu: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(repeats):
        pair: list[tuple[str, Callable[[], None]]] = [("ours", ours), ("bare", bare)]
        for name, run in pair if number % 2 == 0 else reversed(pair):
            began, cpu_began = time.perf_counter(), time.process_time()
            run()
            runs[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - cpu_began)
    ratios = [mine / other for mine, other in zip(runs["ours"], runs["bare"], strict=True)]
    return {
        "reports": len(reports),
        "concurrency": concurrency,
        "server": backend.describe(),
        "seconds": {name: [round(s, 3) for s in times] for name, times in runs.items()},
        "reports_per_second": {n: round(len(reports) / statistics.median(times), 2) for n, times in runs.items()},
        "client_cpu_milliseconds_per_report": {
            name: round(1000 * statistics.median(times) / len(reports), 2) for name, times in cpu.items()
        },
        "overhead": round(statistics.median(ratios) - 1, 4),
    }


async def _bare(
    base: str, model: str, reports: Sequence[str], prompt: Prompt, concurrency: int, max_tokens: int
) -> list[str]:
    """The loop that one would write by hand."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    slots = asyncio.Semaphore(concurrency)
    answer_format = {"name": "answer", "schema": prompt.json_schema(), "strict": True}
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(headers=headers, timeout=600, limits=limits, trust_env=False) as client:

        async def ask(messages: Sequence[Any]) -> str:
            body = {
                "model": model,
                "messages": list(messages),
                "temperature": 0.0,
                "seed": 0,
                "max_tokens": max_tokens,
                "response_format": {"type": "json_schema", "json_schema": answer_format},
            }
            async with slots:
                response = await client.post(f"{base}/chat/completions", json=body)
            if response.status_code != 200:
                raise EvidenceError(f"the server answered {response.status_code} to the bare loop")
            return str(response.json()["choices"][0]["message"]["content"])

        questions = [question for report in reports for question in prompt.questions(report)]
        return list(await asyncio.gather(*(ask(question.messages) for question in questions)))
