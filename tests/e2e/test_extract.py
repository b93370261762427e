"""`lgdea extract` from the command line: flags, exit codes, and real processes that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lgdea.evidence.backends.replay import text_hash
from lgdea.evidence.io import iter_raw, iter_rejects, read_evidence
from lgdea.records.archive import write_archive
from lgdea.records.schema import Report, Study
from tests.helpers.command_line import run_lgdea

REPORTS = 3000


def _archive(folder: Path, texts: list[str]) -> Path:
    studies = [Study(study_id=f"t:{i}", patient_id=f"t:p{i}", dataset="t") for i in range(len(texts))]
    rows = [Report(report_id=f"t:{i}:r", study_id=f"t:{i}", text=text) for i, text in enumerate(texts)]
    write_archive(folder, "t", {"studies": studies, "reports": rows}, folder)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = ["FINDINGS: Small left pleural effusion.", "", "IMPRESSION: No acute disease.", "A 3 mm nodule."]
    return _archive(tmp_path_factory.mktemp("few") / "archive", texts)


@pytest.fixture(scope="module")
def thousands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = "FINDINGS: Left effusion of {} mm. No pneumothorax. The heart is enlarged.\nIMPRESSION: A {} mm nodule."
    texts = [text.format(i, i + 1) * 2 for i in range(REPORTS)]
    return _archive(tmp_path_factory.mktemp("thousands") / "archive", texts)


def test_a_first_look_and_the_whole(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_lgdea(capsys, "extract", few, "--out", tmp_path / "look", "--limit", "1", "--json")
    summary = json.loads(out)["result"]
    assert (code, summary["reports"], summary["units"]) == (0, 1, 1)
    code, out, err = run_lgdea(capsys, "extract", few, "--out", tmp_path / "all", "--max-rejected", "0.3")
    assert code == 0, err
    assert f"{tmp_path / 'all'}: 3 units from 4 reports (1 without units, 100.0% of the text read), 1 rejected" in out


def test_too_many_rejects_are_exit_code_3(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # a finished run says so again
        code, _, err = run_lgdea(capsys, "extract", few, "--out", tmp_path / "e")
        assert code == 3
        assert "25.0% of the reports were rejected" in err
        assert "--max-rejected" in err
        assert err.count("\n") == 1


def test_unanswered_questions_are_exit_code_1_until_answered_or_accepted(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"text_sha256": text_hash("A 3 mm nodule."), "text": '{"units": []}'}
    (tmp_path / "r.jsonl").write_text(json.dumps(record) + "\n")
    command = ["extract", few, "--backend", "replay", "--set", f"options.responses={tmp_path / 'r.jsonl'}"]
    command += ["--out", tmp_path / "e", "--max-rejected", "1"]
    for _ in range(2):
        code, _, err = run_lgdea(capsys, *command)
        assert code == 1
        assert "failed on 2 questions; run the same command again" in err
        assert err.count("\n") == 1
    assert [r.request_id for r in iter_raw(tmp_path / "e")].count(next(iter_raw(tmp_path / "e")).request_id) == 2
    code, _, err = run_lgdea(capsys, *command, "--accept-unanswered")
    assert code == 0, err
    assert [r.reason for r in iter_rejects(tmp_path / "e")] == ["backend_error", "empty_report", "backend_error"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "0"], "--workers"),
        (["--workers", "2", "--backend", "http", "--url", "http://127.0.0.1:1/v1"], "does not share its work between"),
        (["--set", "workers=2", "--set", "runner=ray"], "write ray.workers"),
        (["--prompt", "evidence-v1"], "reads without a prompt"),
        (["--prompt", "no-such", "--backend", "replay"], "no prompt 'no-such'"),
        (["--model", "x"], "backend 'rules' does not take these options"),
        (["--backend", "http"], "backend 'http' needs url; give the address of its server: --url"),
        (["--limit", "0"], "--limit"),
        (["--max-rejected", "2"], "--max-rejected"),
        (["--runner", "slurm"], "--runner"),
        (["--set", "ray.workers=0"], "ray.workers"),
        (["--set", "max_attempts=0"], "max_attempts"),
        (["--backend", "http", "--url", "http://192.0.2.1/v1"], "--allow-remote"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_requests_are_one_line(
    few: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run_lgdea(capsys, "extract", few, "--out", tmp_path / "e", *arguments)
    assert code == 2, err
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "e").exists()


def test_an_archive_without_reports_is_refused_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run_lgdea(capsys, "extract", _archive(tmp_path / "images", []), "--out", tmp_path / "e")
    assert code == 2, err
    assert "images: the archive has no reports; `lgdea data build table`" in err
    assert not (tmp_path / "e").exists()


def test_killed_again_and_again_it_ends_with_the_same_bytes(thousands: Path, tmp_path: Path) -> None:
    """kill -9 while it asks and while it writes; every run goes on where the answers on disk end."""
    command = [sys.executable, "-m", "lgdea", "extract", str(thousands), "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True, env=environment)
    out = tmp_path / "killed"
    raw = out / "raw" / "part-00000.jsonl"
    rng = random.Random(0)
    goals = [*sorted(rng.randrange(1, REPORTS) for _ in range(2)), REPORTS]  # the last kill falls into the writing
    for goal in goals:
        process = subprocess.Popen([*command, str(out)], stderr=subprocess.DEVNULL, env=environment)
        deadline = time.monotonic() + 120
        while process.poll() is None and not (raw.exists() and raw.read_bytes().count(b"\n") >= goal):
            assert time.monotonic() < deadline, "the work never started"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "_SUCCESS").exists()
    (out / ".evidence.parquet.1.tmp").touch()  # what a kill leaves while a table is written
    subprocess.run([*command, str(out)], check=True, capture_output=True, env=environment)
    for file in ("evidence.parquet", "rejects.jsonl", "quality.json"):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    asked = [record.request_id for record in iter_raw(out)]
    assert len(asked) == len(set(asked)) == REPORTS
    assert not [file for file in out.iterdir() if file.name.endswith(".tmp")]
    assert read_evidence(out)["report_id"].nunique() == REPORTS
