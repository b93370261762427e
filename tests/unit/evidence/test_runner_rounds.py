"""What is asked again, how often, and when a run counts as finished."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pandas as pd
import pytest

from lgdea.errors import EvidenceError, RejectedShareError, UsageError
from lgdea.evidence.backends.base import Response
from lgdea.evidence.backends.rules import RulesBackend
from lgdea.evidence.io import iter_raw, iter_rejects, read_evidence
from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.runner import extract

GOOD = json.dumps({"units": [
    {"quote": "nodule", "finding": "nodule", "finding_text": "nodule", "assertion": "present"}
]})  # fmt: skip


class Talker:
    """A language model whose answers a test writes; ``answer`` gets the request, whose ``attempt`` counts."""

    name = "talker"
    needs_prompt = True

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def respond(self, requests):
        for request in requests:
            self.asked.append((request.request_id, request.attempt))
            answer = self.answer(request)
            if isinstance(answer, Exception):
                raise answer
            fields = {"text": answer} if isinstance(answer, str) else answer
            yield Response(request.request_id, **fields)

    def describe(self):
        return {"backend": "talker", "temperature": 0.0}


@pytest.fixture(scope="module")
def prompt():
    return load_prompt("evidence-v1")


def _number(request):
    return int(request.text.split(":")[1].split()[0])


@pytest.mark.parametrize(
    "bad", [{"failure": "length", "tokens": 7}, '{"units": [', '{"units": [{"finding": "flu"}]}', ""], ids=str
)
def test_a_cut_or_unreadable_answer_is_asked_again_and_the_second_counts(many, prompt, tmp_path, bad):
    backend = Talker(lambda r: bad if _number(r) % 4 == 0 and r.attempt == 1 else GOOD)
    summary = extract(many, backend, tmp_path / "e", prompt=prompt)
    assert summary["units"] == 200
    assert summary["rejected_by_reason"] == {}
    assert Counter(attempt for _, attempt in backend.asked) == {1: 200, 2: 50}
    assert Counter(record.attempt for record in iter_raw(tmp_path / "e")) == {1: 200, 2: 50}  # both answers are kept
    assert summary["tokens"] == (350 if isinstance(bad, dict) else 0)


@pytest.mark.parametrize(("bad", "reason"), [({"failure": "length"}, "length"), ("no", "invalid_response")])
def test_after_the_last_attempt_it_is_rejected_with_its_reason(many, prompt, tmp_path, bad, reason):
    backend = Talker(lambda r: bad if _number(r) == 3 else GOOD)
    summary = extract(many, backend, tmp_path / "e", prompt=prompt, max_attempts=3)
    assert [attempt for _, attempt in backend.asked if attempt > 1] == [2, 3]
    assert summary["units"] == 199
    (reject,) = iter_rejects(tmp_path / "e")
    assert (reject.report_id, reject.reason, reject.unit, reject.start) == ("r:3", reason, None, 0)
    assert reject.end == len(many["text"][3])


@pytest.mark.parametrize("failure", ["too_long", "refused"])
def test_what_no_repetition_can_change_is_asked_once(many, prompt, tmp_path, failure):
    backend = Talker(lambda r: {"failure": failure} if _number(r) < 5 else GOOD)
    summary = extract(many, backend, tmp_path / "e", prompt=prompt)
    assert len(backend.asked) == 200
    assert summary["rejected_by_reason"] == {failure: 5}
    assert (summary["rejected"], summary["unanswered"]) == (5, 0)


def test_a_backend_error_leaves_the_run_unfinished_and_the_next_run_asks_only_that(many, prompt, tmp_path):
    out = tmp_path / "e"
    flaky = Talker(lambda r: {"failure": "backend_error", "detail": "502"} if _number(r) in (7, 8) else GOOD)
    with pytest.raises(EvidenceError, match="failed on 2 questions; run the same command again") as error:
        extract(many, flaky, out, prompt=prompt)
    assert error.value.exit_code == 1
    assert len(flaky.asked) == 200  # not asked again within the run: the backend has its own patience
    assert not (out / "_SUCCESS").exists()
    assert len(pd.read_parquet(out / "evidence.parquet")) == 198
    lines = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert [(line["report_id"], line["reason"], line["detail"]) for line in lines] == [
        ("r:7", "backend_error", "502"), ("r:8", "backend_error", "502")
    ]  # fmt: skip
    assert json.loads((out / "run.json").read_text())["summary"]["unanswered"] == 2
    with pytest.raises(UsageError, match="unfinished"):
        read_evidence(out)

    well = Talker(lambda r: GOOD)
    summary = extract(many, well, out, prompt=prompt)
    assert [attempt for _, attempt in well.asked] == [1, 1]
    assert (summary["asked"], summary["resumed"], summary["units"]) == (2, True, 200)
    whole = tmp_path / "whole"
    extract(many, Talker(lambda r: GOOD), whole, prompt=prompt)
    assert (out / "evidence.parquet").read_bytes() == (whole / "evidence.parquet").read_bytes()


def test_an_accepted_loss_finishes_and_can_still_be_mended(many, prompt, tmp_path):
    flaky = Talker(lambda r: {"failure": "backend_error"} if _number(r) == 7 else GOOD)
    summary = extract(many, flaky, tmp_path / "e", prompt=prompt, accept_unanswered=True)
    assert (summary["unanswered"], len(read_evidence(tmp_path / "e"))) == (1, 199)
    silent = Talker(lambda r: GOOD)
    assert extract(many, silent, tmp_path / "e", prompt=prompt, accept_unanswered=True) == summary
    assert silent.asked == []
    mended = extract(many, silent, tmp_path / "e", prompt=prompt)
    assert (len(silent.asked), mended["unanswered"], len(read_evidence(tmp_path / "e"))) == (1, 0, 200)


def test_attempts_are_remembered_over_a_fatal_error(many, prompt, tmp_path):
    """The first run dies in its second round; the next one asks the second attempts that are missing, nothing else."""
    dead = EvidenceError("the server has gone", remedy="start it")
    first = Talker(lambda r: dead if r.attempt == 2 and _number(r) == 20 else "cut" if _number(r) % 2 == 0 else GOOD)
    with pytest.raises(EvidenceError, match="the server has gone; start it"):
        extract(many, first, tmp_path / "e", prompt=prompt)
    assert Counter(attempt for _, attempt in first.asked) == {1: 200, 2: 11}
    second = Talker(lambda r: GOOD)
    summary = extract(many, second, tmp_path / "e", prompt=prompt)
    assert Counter(attempt for _, attempt in second.asked) == {2: 90}
    assert (summary["units"], summary["rejected_by_reason"]) == (190, {"invalid_response": 10})


def test_a_backend_without_prompt_is_not_asked_the_same_again(many, tmp_path):
    backend = Talker(lambda r: "not json")
    backend.needs_prompt = False
    extract(many, backend, tmp_path / "e", max_rejected=1.0)
    assert len(backend.asked) == 200


def test_nothing_to_ask_does_not_start_the_backend(many, prompt, tmp_path):
    extract(many, Talker(lambda r: GOOD), tmp_path / "e", prompt=prompt)
    (tmp_path / "e" / "_SUCCESS").unlink()

    class Costly(Talker):
        def respond(self, requests):
            raise AssertionError("an engine was loaded for nothing")

    assert extract(many, Costly(None), tmp_path / "e", prompt=prompt)["asked"] == 0


@pytest.mark.parametrize("at_once", [True, False])
def test_the_table_is_the_same_bytes_whatever_the_order_of_the_answers(tmp_path, at_once):
    texts = ["FINDINGS: Small left effusion. No pneumothorax.", "IMPRESSION: 4 mm nodule.", "", "Lungs are clear."] * 50
    reports = pd.DataFrame({"report_id": [f"r:{n}" for n in range(200)], "text": texts})

    class Shuffled(RulesBackend):
        multiprocess = at_once

        def respond(self, requests):
            answers = list(super().respond(requests))
            random.Random(1).shuffle(answers)
            answers.insert(30, answers[-1])  # and one comes twice
            yield from answers

    for name, backend in (("in order", RulesBackend()), ("shuffled", Shuffled())):
        extract(reports, backend, tmp_path / name, max_rejected=0.5)
    first, second = ([r.request_id for r in iter_raw(tmp_path / name)] for name in ("in order", "shuffled"))
    assert first != second
    assert sorted(first) == sorted(second)
    for file in ("evidence.parquet", "rejects.jsonl", "quality.json"):
        assert (tmp_path / "in order" / file).read_bytes() == (tmp_path / "shuffled" / file).read_bytes()


def test_a_limit_reads_the_first_reports_and_is_another_run(many, tmp_path):
    summary = extract(many, RulesBackend(), tmp_path / "e", limit=3)
    assert summary["reports"] == 3
    assert list(read_evidence(tmp_path / "e")["report_id"].unique()) == ["r:0", "r:1", "r:2"]
    with pytest.raises(UsageError, match="limit: 3 -> None"):
        extract(many, RulesBackend(), tmp_path / "e")
    with pytest.raises(UsageError, match="at least 1"):
        extract(many, RulesBackend(), tmp_path / "f", limit=0)


def test_the_share_of_lost_questions_is_judged_when_the_tables_are_written(many, prompt, tmp_path):
    backend = Talker(lambda r: {"failure": "refused"} if _number(r) < 20 else GOOD)
    with pytest.raises(RejectedShareError, match=r"10\.0% of the reports") as error:
        extract(many, backend, tmp_path / "e", prompt=prompt)
    assert error.value.exit_code == 3
    assert len(read_evidence(tmp_path / "e")) == 180


def test_a_prompt_is_asked_for(many, tmp_path):
    with pytest.raises(EvidenceError, match="evidence-v2"):
        extract(many, Talker(None), tmp_path / "e")


def test_two_processes_do_not_write_one_folder(many, tmp_path):
    """The second one leaves; the first, here stopped in its work, keeps what it has."""
    many.to_parquet(tmp_path / "reports.parquet")
    script = tmp_path / "busy.py"
    script.write_text(
        "import sys, time\n"
        "import pandas as pd\n"
        "from lgdea.evidence.backends.rules import RulesBackend\n"
        "from lgdea.evidence.runner import extract\n"
        "class Busy(RulesBackend):\n"
        "    def respond(self, requests):\n"
        "        yield from super().respond(requests)\n"
        "        time.sleep(600 if len(requests) < 128 else 0)\n"
        "extract(pd.read_parquet(sys.argv[1]), Busy(), sys.argv[2])\n"
    )
    out = tmp_path / "e"
    raw = out / "raw" / "part-00000.jsonl"
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "reports.parquet"), str(out)])
    try:
        deadline = time.monotonic() + 120
        while not (raw.exists() and raw.read_bytes().count(b"\n") >= 128):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        with pytest.raises(UsageError, match="another process is extracting into this folder"):
            extract(many, RulesBackend(), out)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert extract(many, RulesBackend(), out)["units"] > 0
    assert len({record.request_id for record in iter_raw(out)}) == 200
