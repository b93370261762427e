"""Processes that end, folders that vanish, and two processes in one folder."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

from tests.faults.process import Ended, Fault, Running, run
from tests.faults.stages import Workspace, differences
from tests.faults.trials import Log, Trial, complaint, last_line

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


def kill_at_writes(work: Workspace, log: Log, most: int) -> None:
    """SIGKILL just before a write, at every write or at ``most`` of them spread over the run."""
    for stage in work.disturbed:
        writes = work.undisturbed(stage)[2]
        every = range(1, writes + 1)
        chosen = every if writes <= most else sorted(random.Random(stage).sample(every, most))
        for at in chosen:
            with Place(work, log, f"kill, {stage}, at a write", f"write {at} of {writes}") as trial:
                if trial is not None:
                    trial.disturb(stage, Fault(str(trial.out), "kill", at))


def kill_at_random(work: Workspace, log: Log, count: int) -> None:
    """SIGKILL at a random time."""
    for stage in work.disturbed:
        _signal_at_random(work, log, stage, signal.SIGKILL, f"kill, {stage}, at a random time", count)


def send_signals(work: Workspace, log: Log, count: int) -> None:
    """Other signals at random times: a line, the signal's own exit code, and the same command goes on."""
    for number in SIGNALS:
        for stage in work.disturbed:
            _signal_at_random(work, log, stage, number, f"{number.name}, any stage", count)


def _signal_at_random(work: Workspace, log: Log, stage: str, number: signal.Signals, kind: str, count: int) -> None:
    seconds, draw = work.undisturbed(stage)[1], random.Random(f"{stage} {number}")
    for turn in range(count):
        after = draw.uniform(0.05, 1.0) * seconds
        with Place(work, log, kind, f"{stage} {turn}") as trial:
            if trial is not None:
                trial.send(stage, number, after)


def delete_folder(work: Workspace, log: Log, count: int) -> None:
    """The folder that a stage writes is removed at one of its writes: one line or the result, and the same later."""
    for stage in work.disturbed:
        writes = work.undisturbed(stage)[2]
        for at in sorted({2 + (writes - 2) * turn // count for turn in range(1, count + 1)}):
            with Place(work, log, "output folder removed in mid-run", f"{stage}, write {at}") as trial:
                if trial is not None:
                    ended = run(
                        work.stages[stage].into(trial.out), trial.log, fault=Fault(str(trial.out), "delete", at)
                    )
                    trial.judge_failed(ended)
                    trial.repeat(stage)


def pairs(work: Workspace, log: Log, count: int) -> None:
    """Two processes with the same command in one folder, at once and one after the other's start."""
    for stage in work.disturbed:
        seconds = work.undisturbed(stage)[1]
        for turn in range(count):
            with Place(work, log, "two processes in one folder", f"{stage} {turn}") as trial:
                if trial is not None:
                    both = [Running(work.stages[stage].into(trial.out), trial.log / "first")]
                    time.sleep(seconds * turn / (count + 1))
                    both.append(Running(work.stages[stage].into(trial.out), trial.log / "second"))
                    for ended in [process.end() for process in both]:
                        trial.judge_failed(ended)
                    trial.repeat(stage)


class _Trial:
    def __init__(self, work: Workspace, log: Log, kind: str, name: str, place: Path) -> None:
        self.work, self.sink, self.kind, self.name = work, log, kind, name
        self.out, self.log = place / "out", place / "log"
        self.outcome, self.detail = "recovered", ""

    def worse(self, outcome: str, detail: str) -> None:
        """Keep the first thing that went wrong."""
        if self.outcome == "recovered":
            self.outcome, self.detail = outcome, detail

    def disturb(self, stage: str, fault: Fault) -> None:
        """Run with a fault that kills, then repeat."""
        ended = run(self.work.stages[stage].into(self.out), self.log, fault=fault)
        if ended.hung:
            self.worse("hung", last_line(ended.err))
        self.repeat(stage)

    def send(self, stage: str, number: signal.Signals, after: float) -> None:
        """Run, send a signal after some seconds, and repeat."""
        process = Running(self.work.stages[stage].into(self.out), self.log)
        time.sleep(after)
        process.signal(number)
        ended = process.end(60)
        outside = not self.out.exists() or (self.out / "_SUCCESS").exists()  # before or after the command itself
        if number != signal.SIGKILL and ended.code != 0 and not (outside and ended.code == -number):
            self.judge_failed(ended)
            if ended.code != 128 + number:
                self.worse("died", f"exit code {ended.code}, not {128 + number}: {last_line(ended.err)}")
        self.repeat(stage)

    def judge_failed(self, ended: Ended) -> None:
        """A command that failed must have said why in one line."""
        wrong = complaint(ended.err) if ended.code else None
        if ended.hung:
            self.worse("hung", last_line(ended.err))
        elif ended.code < 0:
            self.worse("died", f"exit code {ended.code}: {last_line(ended.err)}")
        elif wrong:
            self.worse("traceback", f"{wrong}: {last_line(ended.err)}")

    def repeat(self, stage: str) -> None:
        """The same command again must come to the undisturbed result."""
        ended = run(self.work.stages[stage].into(self.out), self.log / "again")
        self.judge_failed(ended)
        if ended.code:
            self.worse("stuck", last_line(ended.err))
        else:
            outcome, detail = differences(self.work.undisturbed(stage)[0], self.out)
            if outcome != "recovered":
                self.worse(outcome, detail)
            elif not self.detail:
                self.detail = detail


class Place:
    """A fresh folder for a trial, None where it was made before; the outcome is logged at the end."""

    def __init__(self, work: Workspace, log: Log, kind: str, name: str) -> None:
        self.done = (kind, name) in log
        self.folder = work.trials / f"{kind} {name}".replace(" ", "-").replace(",", "")
        self.trial = _Trial(work, log, kind, name, self.folder)

    def __enter__(self) -> _Trial | None:
        if self.done:
            return None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self.trial

    def __exit__(self, kind: object, *_: object) -> None:
        if not self.done and kind is None:
            t = self.trial
            t.sink.add(Trial(t.kind, t.name, t.outcome, t.detail))
            if t.outcome == "recovered":
                shutil.rmtree(self.folder, ignore_errors=True)
