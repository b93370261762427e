"""`lgdea extract --backend http` as a process of its own: what is on disk, and what a kill loses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lgdea.cli import main
from tests.helpers.openai_server import OpenAIServer, Reply, Seen

REPORTS = 120
KEY = "the-right-key-8531"
PATIENCE_SECONDS = 60.0  # only ever waited for when a test fails
ANSWER = '{"units": []}'


@pytest.fixture
def reports(tmp_path: Path, make_archive) -> Path:
    texts = {str(n): f"FINDINGS: The lungs are clear. No effusion. Case {n}." for n in range(REPORTS)}
    make_archive(tmp_path / "archive", texts)
    return tmp_path / "archive"


def _command(reports: Path, out: Path, url: str, *settings: str) -> list[str]:
    options = [f"options.url={url}", "options.concurrency=4", "options.backoff_seconds=0.01", *settings]
    command = ["extract", reports, "--out", out, "--backend", "http", "--prompt", "evidence-v1"]
    return [*map(str, command), *(x for o in options for x in ("--set", o))]


def _extract(reports: Path, out: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lgdea", *_command(reports, out, url)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LGDEA_API_KEY": KEY, "OMP_NUM_THREADS": "1"},
    )


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, err


def _killed(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.kill()
    return _finish(process)


def _answered(out: Path) -> list[str]:
    """Request ids of the whole lines on disk."""
    lines = [line for file in out.glob("raw/*.jsonl") for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line)["request_id"] for line in lines if line.endswith("\n")]


def _hold_after(count: int, reached: threading.Event) -> Callable[[Seen], Reply]:
    """Answer ``count`` requests and let the rest hang."""
    lock, given = threading.Lock(), 0

    def behave(_: Seen) -> Reply:
        nonlocal given
        with lock:
            given += 1
            if given > count:
                if given == count + 4:  # all four slots hang: what was answered has been taken
                    reached.set()
                return Reply(hang=True)
        return Reply(ANSWER)

    return behave


@pytest.mark.parametrize(("with_signal", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_client_that_is_stopped_asks_only_for_what_is_missing(reports, tmp_path, with_signal, code):
    out, reached = tmp_path / "evidence", threading.Event()
    with OpenAIServer(_hold_after(40, reached), key=KEY) as server:
        process = _extract(reports, out, server.url)
        assert reached.wait(PATIENCE_SECONDS), _killed(process)
        process.send_signal(with_signal)
        ended, err = _finish(process)
        assert ended == code, err
        assert "Traceback" not in err
    kept = _answered(out)
    assert 0 < len(kept) <= 40
    with OpenAIServer(lambda _: Reply(ANSWER), key=KEY) as restarted:  # at another port
        ended, err = _finish(_extract(reports, out, restarted.url))
        assert ended == 0, err
        assert len(restarted.seen) == REPORTS - len(kept)
    ids = _answered(out)
    assert len(ids) == len(set(ids)) == REPORTS
    assert (out / "_SUCCESS").exists()


def test_the_key_is_in_no_file_and_no_message(reports, tmp_path):
    out = tmp_path / "evidence"
    with OpenAIServer(lambda _: Reply(ANSWER), key=KEY) as server:
        process = _extract(reports, out, server.url)
        stdout, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    files = [file for file in out.rglob("*") if file.is_file()]
    assert len(files) > 4
    assert all(KEY.encode() not in file.read_bytes() for file in files)
    assert KEY not in stdout + err
    assert f":{server.port}" not in (out / "run.json").read_text()


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ([], "another", "refuses the key"),
        ([], None, "asks for a key"),
        (["options.model=huge"], KEY, "name one of those it lists: tiny"),
        (["options.url=http://192.0.2.1:8000/v1"], KEY, "must not leave"),
        (["options.concurency=4"], KEY, "concurency"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(reports, tmp_path, settings, key, words, monkeypatch, capsys):
    monkeypatch.delenv("LGDEA_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("LGDEA_API_KEY", key)
    with OpenAIServer(key=KEY) as server, pytest.raises(SystemExit) as ended:
        main(_command(reports, tmp_path / "evidence", server.url, *settings))
    assert not server.seen
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert KEY not in line
    assert not (tmp_path / "evidence" / "raw").exists()
