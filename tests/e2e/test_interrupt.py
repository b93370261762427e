"""Ctrl-C in a real process: one line, exit code 130, and the same command finishes the work."""

from __future__ import annotations

import json
import os
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
INTERRUPTED = 130


def _lgdea(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lgdea", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _interrupt_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> tuple[int, str]:
    deadline = time.monotonic() + 120
    while process.poll() is None and not ready():
        assert time.monotonic() < deadline, "the work never started"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
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


def test_extraction_is_interrupted_and_resumed(reports: Path, tmp_path: Path) -> None:
    out = tmp_path / "evidence"

    def written() -> int:
        return sum(file.stat().st_size for file in out.glob("raw/*.jsonl"))

    code, err = _interrupt_when(_lgdea("extract", reports, "--out", out), lambda: written() > 100_000)
    assert code == INTERRUPTED, err
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


def test_pretraining_is_interrupted_and_resumed(tmp_path: Path) -> None:
    archive, evidence, pairing, run = (tmp_path / name for name in ("archive", "evidence", "pairing.parquet", "run"))
    for command in (
        ("data", "build", "phantom", "default", "--out", archive, "--option", "studies=80", "--option", "size=96"),
        ("extract", archive, "--out", evidence),
        ("data", "pair", archive, "--fraction", "0.5", "--out", pairing),
    ):
        assert _lgdea(*command).wait(timeout=300) == 0, command
    steps = 30
    settings = [f"data.archive={archive}", f"data.evidence={evidence}", f"data.pairing={pairing}"]
    settings += [f"trainer.max_steps={steps}", "checkpoint.every_steps=5", "validation.max_images=0"]
    command = ["pretrain", "--config", "demo-lgdea", "--out", run, *(x for s in settings for x in ("--set", s))]

    code, err = _interrupt_when(_lgdea(*command), lambda: any(run.glob("checkpoints/*.ckpt")))
    assert code == INTERRUPTED, err
    assert "repeat the command to resume" in _last_line(err)
    assert "Traceback" not in err
    assert not (run / "_SUCCESS").exists()

    again = _lgdea(*command)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert (run / "model" / "model.safetensors").exists()
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["step"].max() <= steps
    assert not metrics.duplicated(["step", "name"]).any()
