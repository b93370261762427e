"""What was tried and what came of it: a log that a killed run goes on from, and a table."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

GOOD = ("recovered", "refused", "same")
BAD = ("silent", "lost", "doubled", "stuck", "traceback", "hung", "died")
OUTCOMES = (*GOOD, *BAD)
"""recovered: the same command came to the undisturbed result; refused: one line on stderr, and a code that is not 0;
same: no effect; silent: another result without a word; stuck: the same command is refused ever after; died: ended by a
signal that nobody sent."""


@dataclass(frozen=True)
class Trial:
    """One fault.

    Attributes:
        kind: Row of the table.
        name: What was done to what, unique within the kind.
        outcome: One of ``OUTCOMES``.
        detail: The line that was said, or what differs.
    """

    kind: str
    name: str
    outcome: str
    detail: str = ""


class Log:
    """Trials in ``trials.jsonl``; one that is there is not tried again.

    Args:
        folder: Folder of the log.
        say: Called with a line for each bad outcome.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "trials.jsonl"
        self.trials: dict[tuple[str, str], Trial] = {}
        if self.file.exists():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                trial = Trial(**json.loads(line))
                self.trials[trial.kind, trial.name] = trial

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self.trials

    def add(self, trial: Trial) -> None:
        """Keep a trial; a bad outcome is said at once."""
        self.trials[trial.kind, trial.name] = trial
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(trial), ensure_ascii=False) + "\n")
        if trial.outcome in BAD:
            print(f"  {trial.outcome}: {trial.kind}: {trial.name}: {trial.detail}", flush=True)

    @property
    def failures(self) -> list[Trial]:
        """Trials that must not end so."""
        return [trial for trial in self.trials.values() if trial.outcome in BAD]


def table(trials: Iterable[Trial]) -> str:
    """Count outcomes by kind, as Markdown."""
    counts: dict[str, Counter[str]] = {}
    for trial in trials:
        counts.setdefault(trial.kind, Counter())[trial.outcome] += 1
    lines = ["| fault | tried | " + " | ".join(OUTCOMES) + " |", "|---|" + "---:|" * (len(OUTCOMES) + 1)]
    total: Counter[str] = sum(counts.values(), Counter())
    for kind, count in [*counts.items(), ("**sum**", total)]:
        cells = [str(count.total()), *(str(count[name]) for name in OUTCOMES)]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def complaint(err: str) -> str | None:
    """What is wrong with the stderr of a command that failed: it must end in one line that is lgdea's own."""
    if "Traceback (most recent call last)" in err:
        return "traceback"
    last = err.strip().splitlines()[-1] if err.strip() else ""
    if not last.startswith(("lgdea: ", "python -m")) or "lgdea: unexpected " in last:
        return "traceback" if last else "no message"
    return "more than one line" if len(re.findall(r"^lgdea: ", err, re.MULTILINE)) > 1 else None


def last_line(err: str) -> str:
    """The last line of stderr, shortened."""
    return (err.strip().splitlines() or [""])[-1][:300]
