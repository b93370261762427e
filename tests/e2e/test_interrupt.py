"""Ctrl-C in a real process: one line, exit code 130, and the same command finishes the work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lgdea.evidence.io import read_evidence
from lgdea.records.archive import write_archive
from lgdea.records.schema import Report, Study

REPORTS = 6000
STEPS = 40
INTERRUPTED = 130


def _lgdea(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lgdea", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _interrupt_when(
    process: subprocess.Popen[str], ready: Callable[[], bool], number: signal.Signals = signal.SIGINT
) -> tuple[int, str]:
    deadline = time.monotonic() + 120
    while process.poll() is None and not ready():
        assert time.monotonic() < deadline, "the work never started"
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def _last_line(err: str) -> str:
    return err.strip().splitlines()[-1] if err.strip() else ""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "archive"
    studies = [Study(study_id=f"t:{i}", patient_id=f"t:p{i}", dataset="t") for i in range(REPORTS)]
    text = "FINDINGS: Small left pleural effusion. No pneumothorax. The heart is enlarged. Case {}. "
    rows = [Report(report_id=f"t:{i}:r", study_id=f"t:{i}", text=text.format(i) * 3) for i in range(REPORTS)]
    write_archive(folder, "t", {"studies": studies, "reports": rows}, folder)
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_extraction_is_interrupted_and_resumed(reports: Path, tmp_path: Path, number: signal.Signals) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("what started the tests ignores this signal, as nohup does, and so do the commands that they start")
    out = tmp_path / "evidence"

    def written() -> int:
        return sum(file.stat().st_size for file in out.glob("raw/*.jsonl"))

    code, err = _interrupt_when(_lgdea("extract", reports, "--out", out), lambda: written() > 100_000, number)
    assert code == 128 + number, err
    assert "repeat the command to resume" in _last_line(err)
    assert "Traceback" not in err
    assert not (out / "_SUCCESS").exists()
    answered = sum(1 for file in out.glob("raw/*.jsonl") for _ in file.open())
    assert 0 < answered < REPORTS

    again = _lgdea("extract", reports, "--out", out)
    assert again.wait(timeout=300) == 0
    ids = [json.loads(line)["request_id"] for file in out.glob("raw/*.jsonl") for line in file.open()]
    assert len(ids) == len(set(ids)) == REPORTS  # nothing lost, nothing asked twice
    assert read_evidence(out)["report_id"].nunique() == REPORTS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_pretraining_is_interrupted_and_resumed(
    pretraining: list[str | Path], tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    command = [*pretraining, "--out", run]

    code, err = _interrupt_when(_lgdea(*command), lambda: any(run.glob("checkpoints/*.ckpt")), number)
    assert code == (INTERRUPTED if number == signal.SIGINT else 128 + number), err
    assert "repeat the command to resume" in _last_line(err)
    assert "Traceback" not in err
    assert not (run / "_SUCCESS").exists()
    if number != signal.SIGINT:  # no step is lost
        step = re.search(rf"stopped by {number.name} at step (\d+) of {STEPS}, saved", err)
        assert step is not None, err
        assert (run / "checkpoints" / f"step-{int(step[1]):07d}.ckpt").exists()

    again = _lgdea(*command)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert f"of {STEPS}" in err  # from which step it went on
    assert (run / "model" / "model.safetensors").exists()
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["step"].max() <= STEPS
    assert not metrics.duplicated(["step", "name"]).any()


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """The command, without its ``--out``."""
    tmp_path = tmp_path_factory.mktemp("inputs")
    archive, evidence, pairing = (tmp_path / name for name in ("archive", "evidence", "pairing.parquet"))
    for command in (
        ("data", "build", "phantom", "default", "--out", archive, "--option", "studies=80", "--option", "size=96"),
        ("extract", archive, "--out", evidence),
        ("data", "pair", archive, "--fraction", "0.5", "--out", pairing),
    ):
        assert _lgdea(*command).wait(timeout=300) == 0, command
    settings = [f"data.archive={archive}", f"data.evidence={evidence}", f"data.pairing={pairing}"]
    settings += [f"trainer.max_steps={STEPS}", "checkpoint.every_steps=5", "validation.max_images=0"]
    settings += ["image.size=48", "data.batch_size_per_device=16", "data.unpaired_reports_per_device=8"]
    return ["pretrain", "--config", "demo-lgdea", *(x for s in settings for x in ("--set", s))]
