"""A language model's server: one that answers as it should, and hostile ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tests.faults.kills import Place
from tests.faults.process import run
from tests.faults.stages import Workspace
from tests.faults.trials import Log, last_line
from tests.helpers.openai_server import EMPTY, Reply, Seen, error

_PNEUMOTHORAX = re.compile(r"[^.\n:]*\bpneumothorax\b")


def answer(seen: Seen) -> Reply:
    """What a report says of a pneumothorax, as the prompt ``evidence-v1`` asks for it."""
    found = _PNEUMOTHORAX.search(seen.key)
    if found is None:
        return Reply()
    quote = found[0].strip()
    unit = {
        "quote": quote,
        "finding": "pneumothorax",
        "finding_text": "pneumothorax",
        "assertion": "absent" if re.match(r"(?i)no\b", quote) else "present",
        "anatomy": "unspecified",
        "laterality": "unspecified",
        "severity": "unspecified",
        "change": "unspecified",
        "refers_to_prior": False,
    }
    return Reply(json.dumps({"units": [unit]}))


def _deep(depth: int) -> str:
    return "[" * depth + "]" * depth


def _envelope(**changes: object) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": EMPTY}, "finish_reason": "stop"}
    content = {"object": "chat.completion", "choices": [choice], "usage": {"completion_tokens": 7}}
    return Reply(raw=json.dumps(content | changes))


_TOKENS = ["NaN", "Infinity", '"many"', "-3", "1e999", "[1]", "true", "9" * 5_000]
HOSTILE: dict[str, Callable[[Seen], Reply]] = {
    **{
        f"tokens {t[:9]}": lambda _, t=t: Reply(
            raw=_envelope(usage="U").raw.replace('"U"', f'{{"completion_tokens": {t}}}')
        )
        for t in _TOKENS
    },  # type: ignore[union-attr,misc]
    "deep envelope": lambda _: Reply(raw=f'{{"choices": {_deep(10_000)}}}'),
    "deep answer": lambda _: Reply(_deep(100_000)),
    "refusal 7": lambda _: Reply(message={"refusal": 7}),
    "content 7": lambda _: Reply(message={"content": 7}),
    "no choices": lambda _: _envelope(choices=[]),
    "choices null": lambda _: _envelope(choices=None),
    "a list": lambda _: Reply(raw="[]"),
    "null": lambda _: Reply(raw="null"),
    "no JSON": lambda _: Reply(raw="<html>"),
    "nothing": lambda _: Reply(raw=""),
    "lone surrogates": lambda _: Reply(raw=_envelope().raw.replace(json.dumps(EMPTY), '"\\ud800"')),  # type: ignore[union-attr]
    "units of another kind": lambda _: Reply('{"units": {"a": 1}}'),
    "a unit of numbers": lambda _: Reply('{"units": [{"quote": 1, "finding": 2}]}'),
    "control characters": lambda _: Reply("\x1b]0;x\x07\x1b[2J" * 100),
    "long": lambda _: Reply("x" * 3_000_000),
    "cut": lambda _: Reply(cut=True),
    "echo of the prompt": lambda seen: error(500, seen.key),
    "too many requests": lambda _: error(429, "later", Retry_After="nan"),
    "context too short": lambda _: error(400, "This model's maximum context length is 8 tokens."),
    "finish reason 7": lambda _: Reply(finish_reason=7),  # type: ignore[arg-type]
}


def hostile(work: Workspace, log: Log, most: int) -> None:
    """Every other report is answered so: that report fails; with a healthy server the same command mends it."""
    stage = "extract http"
    for name in list(HOSTILE)[:most]:
        with Place(work, log, "hostile server", name) as trial:
            if trial is None:
                continue
            bad, count = HOSTILE[name], iter(range(1_000_000))
            work.server.behave = lambda seen, bad=bad, count=count: (bad if next(count) % 2 else answer)(seen)
            try:
                ended = run(_quick(work.stages[stage].into(trial.out)), trial.log)
            finally:
                work.server.behave = answer
            trial.judge_failed(ended)
            if "opacit" in ended.err or "\x1b]" in ended.err:
                trial.worse("silent", f"report text or escapes on stderr: {last_line(ended.err)}")
            again = run(_quick(work.stages[stage].into(trial.out)), trial.log / "again")
            trial.judge_failed(again)
            if again.code not in (0, 3):  # 3: answers that are invalid for good were rejected, and are counted
                trial.worse("stuck", last_line(again.err))


def _quick(command: list[str]) -> list[str]:
    return [*command, "--set", "options.retries=1", "--set", "options.backoff_seconds=0.01"]
