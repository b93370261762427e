import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import lgdea
from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.base import Response, get_backend
from lgdea.evidence.result_tables import in_batches
from lgdea.evidence.runner import extract
from tests.helpers.running import is_running

FILES = ("evidence.parquet", "rejects.jsonl", "quality.json", "raw/part-00000.jsonl")


class Scripted:
    """A backend that may be copied into processes: it answers with the words of a report, or does what they say."""

    name = "scripted"
    needs_prompt = False
    multiprocess = True

    def respond(self, requests):
        for request in requests:
            if "die" in request.text:
                os.kill(os.getpid(), signal.SIGKILL)
            if "raise" in request.text:
                raise ValueError("no such luck")
            unit = {"quote": request.text, "finding": "nodule", "finding_text": "x", "assertion": "present"}
            text = "not JSON" if "odd" in request.text else json.dumps({"units": [unit]})
            yield Response(request.request_id, text)

    def describe(self):
        return {"backend": "scripted"}


@pytest.fixture(params=multiprocessing.get_all_start_methods())
def start_method(request):
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


@pytest.fixture
def mixed() -> pd.DataFrame:
    """Reports of several batches: long ones, empty ones, and such that are the same."""
    texts = [f"FINDINGS: {n} mm nodule in the left base. Heart size is normal." for n in range(700)]
    texts[5] = texts[300] = ""
    texts[6] = "FINDINGS: " + " ".join(f"{n} mm nodule in the right apex." for n in range(9000))
    texts[400:420] = ["FINDINGS: Small left effusion.\nIMPRESSION: No pneumothorax."] * 20
    return pd.DataFrame({"report_id": [f"r:{n}" for n in range(700)], "text": texts})


def _contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_any_number_of_workers_and_any_start_method_give_the_same_bytes(mixed, tmp_path, start_method):
    whole = extract(mixed, get_backend("rules"), tmp_path / "one")
    shared = extract(mixed, get_backend("rules"), tmp_path / "three", workers=3)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "three")
    assert shared["units"] == whole["units"] > 9000
    assert shared["rejected_by_reason"] == {"empty_report": 2}
    for file in ("run.json", "config.yaml"):
        assert "workers" not in (tmp_path / "three" / file).read_text()


def test_rejects_come_in_the_order_of_the_reports(tmp_path):
    texts = ["odd" if n % 7 == 0 else f"finding {n}" for n in range(1000)]
    frame = pd.DataFrame({"report_id": [str(n) for n in range(1000)], "text": texts})
    for workers in (1, 2):
        extract(frame, Scripted(), tmp_path / str(workers), workers=workers, max_rejected=1)
    assert _contents(tmp_path / "1") == _contents(tmp_path / "2")
    lines = (tmp_path / "2" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["report_id"] for line in lines] == [str(n) for n in range(0, 1000, 7)]


def test_from_python_in_memory(mixed):
    assert lgdea.extract(mixed, workers=2) == lgdea.extract(mixed)


@pytest.mark.parametrize(
    ("word", "says"), [("die", "a worker process died; run again to go on"), ("raise", r"ValueError: no such luck")]
)
def test_a_worker_that_dies_or_raises_is_one_line_and_loses_nothing(tmp_path, word, says):
    frame = pd.DataFrame({"report_id": [str(n) for n in range(2000)], "text": [f"finding {n}" for n in range(2000)]})
    broken = frame.assign(text=[word if n == 1900 else text for n, text in enumerate(frame["text"])])
    with pytest.raises(EvidenceError, match=says) as error:
        extract(broken, Scripted(), tmp_path / "e", workers=2)
    assert "\n" not in str(error.value)
    kept = (tmp_path / "e" / "raw" / "part-00000.jsonl").read_bytes().count(b"\n")
    assert 0 < kept < 2000
    assert not multiprocessing.active_children()


def test_a_run_is_resumed_with_another_number_of_workers(mixed, tmp_path):
    out = tmp_path / "e"
    extract(mixed, get_backend("rules"), tmp_path / "whole")
    extract(mixed, get_backend("rules"), out, workers=2)
    (out / "_SUCCESS").unlink()
    raw = out / "raw" / "part-00000.jsonl"
    raw.write_bytes(b"".join(raw.read_bytes().splitlines(keepends=True)[:300]) + b'{"request_id": "torn')
    summary = extract(mixed, get_backend("rules"), out, workers=3)
    assert (summary["resumed"], summary["asked"]) == (True, 700 - 2 - 300)
    assert _contents(out) == _contents(tmp_path / "whole")


CHILD = """
import sys
import pandas as pd
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
if __name__ == "__main__":
    texts = [f"FINDINGS: {n} mm nodule in the left lung base, no effusion in {n}." for n in range(60000)]
    frame = pd.DataFrame({"report_id": [str(n) for n in range(60000)], "text": texts})
    extract(frame, get_backend("rules"), sys.argv[1], workers=2)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_a_parent_that_is_killed(tmp_path, sent):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    out = tmp_path / "e"
    parent = subprocess.Popen([sys.executable, str(script), str(out)], stderr=subprocess.DEVNULL)
    raw = out / "raw" / "part-00000.jsonl"
    deadline = time.monotonic() + 60
    while not (raw.exists() and raw.stat().st_size):
        assert parent.poll() is None, "the work never started"
        assert time.monotonic() < deadline, "the work never started"
        time.sleep(0.02)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) >= 2
    parent.send_signal(sent)
    parent.wait(timeout=60)
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)


def test_other_backends_and_ray_say_what_to_write_instead(archive, tmp_path):
    (tmp_path / "r.jsonl").write_text("")
    replay = get_backend("replay", responses=str(tmp_path / "r.jsonl"))
    with pytest.raises(UsageError, match=r"'replay' does not share its work between processes; .*options.concurrency"):
        extract(archive, replay, tmp_path / "e", workers=2)
    with pytest.raises(UsageError, match=r"write ray.workers"):
        lgdea.extract(archive, runner="ray", workers=2, out=tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_batches_are_bounded_by_number_and_by_characters():
    texts = ["x" * 10] * 300 + ["x" * 300_000, "x" * 200_000, "x" * 200_000, "x"]
    batches = list(in_batches(texts, len))
    assert [len(batch) for batch in batches] == [128, 128, 45, 2, 1]
    assert [text for batch in batches for text in batch] == texts
