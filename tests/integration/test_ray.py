"""The Ray runner on this machine: the same answers as one process, whatever happens to its workers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.base import Request, get_backend
from lgdea.evidence.backends.ray_backend import RayBackend
from lgdea.evidence.io import read_evidence
from lgdea.evidence.runner import extract

pytest.importorskip("ray")

HERE = Path(__file__).parent
PLUGIN = """[lgdea.backends]
echo = ray_backends:echo
dead = ray_backends:dead
second_dies = ray_backends:second_dies
differs = ray_backends:differs
missing = ray_backends_of_nobody:create
"""
SENTENCES = (
    "There is a small left pleural effusion.",
    "No pneumothorax.",
    "Mild cardiomegaly, unchanged.",
    "The lungs are clear.",
    "Possible right lower lobe pneumonia.",
)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A folder with an installed plug-in, on the path of this process and of the workers."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copy(HERE / "ray_backends.py", folder)
    info = folder / "ray_backends-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ray-backends\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield folder


@pytest.fixture(scope="module")
def cluster(plugin):
    """One local Ray that the backends of this module join and leave running."""
    import ray

    with RayBackend("rules"):
        yield ray.is_initialized()
    assert not ray.is_initialized()


@pytest.fixture
def on_ray(cluster):
    made = []

    def make(name, **keywords):
        backend = RayBackend(name, keywords.pop("options", None), **keywords)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


def reports(count):
    texts = [
        f"FINDINGS: {SENTENCES[i % 5]} {SENTENCES[i // 5 % 5]} IMPRESSION: {SENTENCES[i % 3]}" for i in range(count)
    ]
    return pd.DataFrame({"report_id": [f"r:{i}" for i in range(count)], "text": texts})


def requests(count, text="x"):
    return [
        Request(f"q{i}", text, ({"role": "user", "content": f"say {i}"},), {"type": "object"}) for i in range(count)
    ]


def table(folder):
    return read_evidence(folder)


def test_the_table_is_that_of_a_local_run(on_ray, tmp_path):
    frame = reports(300)
    backend = on_ray("rules", batch_size=16)
    assert backend.describe() == get_backend("rules").describe()
    extract(frame, backend, tmp_path / "ray")
    extract(frame, get_backend("rules"), tmp_path / "local")
    pd.testing.assert_frame_equal(table(tmp_path / "ray"), table(tmp_path / "local"))
    assert len(table(tmp_path / "ray")) > 300


class Stops:
    """The backend inside it, until ``after`` answers."""

    def __init__(self, inner, after):
        self.inner, self.after = inner, after
        self.name, self.needs_prompt, self.describe = inner.name, inner.needs_prompt, inner.describe

    def respond(self, requests):
        for number, response in enumerate(self.inner.respond(requests)):
            if number == self.after:
                raise RuntimeError("power cut")
            yield response


@pytest.mark.parametrize("first", ["local", "ray"])
def test_a_broken_run_is_finished_by_the_other_runner(on_ray, tmp_path, first):
    frame = reports(100)
    both = {"local": get_backend("rules"), "ray": on_ray("rules", batch_size=8)}
    with pytest.raises(EvidenceError, match="power cut"):
        extract(frame, Stops(both.pop(first), 37), tmp_path / "shared")
    summary = extract(frame, both.popitem()[1], tmp_path / "shared")
    assert summary["asked"] == 63
    extract(frame, get_backend("rules"), tmp_path / "whole")
    pd.testing.assert_frame_equal(table(tmp_path / "shared"), table(tmp_path / "whole"))


def test_requests_arrive_whole_and_answers_stream(on_ray):
    pulled = []

    def lazy():
        for request in requests(400):
            pulled.append(request.request_id)
            yield request

    backend = on_ray("echo", batch_size=10)
    assert backend.needs_prompt
    answers, ahead = {}, 0
    for response in backend.respond(lazy()):
        assert response.request_id not in answers
        answers[response.request_id] = response
        ahead = max(ahead, len(pulled) - len(answers))
    assert set(answers) == set(pulled)
    assert ahead <= 4 * 2 * 10
    assert all(answers[f"q{i}"].text.split("|")[1:] == ["x", f"say {i}", "1"] for i in range(400))
    assert {a.tokens for a in answers.values()} == {3}
    assert len({a.text.split("|")[0] for a in answers.values()}) == 2
    again = list(backend.respond([Request("z", "twice", ({"content": "c"},), attempt=3)]))
    assert [(a.request_id, a.text.split("|")[3]) for a in again] == [("z", "3")]
    assert again[0].text.split("|")[0] in {a.text.split("|")[0] for a in answers.values()}, "the workers stayed up"


def test_a_killed_worker_loses_and_doubles_nothing(on_ray):
    backend = on_ray("echo", options={"seconds": 0.02}, batch_size=10)
    answers, killed = [], None
    for response in backend.respond(requests(300)):
        answers.append(response)
        pid = int(response.text.split("|")[0])
        if killed is None and len(answers) == 35:
            os.kill(pid, signal.SIGKILL)
            killed = pid
    assert sorted(a.request_id for a in answers) == sorted(r.request_id for r in requests(300))
    assert all(a.failure is None for a in answers)
    workers = {a.text.split("|")[0] for a in answers}
    assert str(killed) in workers
    assert len(workers) == 3, "the killed worker was started again"


def test_a_batch_that_kills_its_workers_fails_alone(on_ray):
    asked = requests(60)
    asked[7] = Request("bad", "die", asked[7].prompt)
    answers = list(on_ray("echo", batch_size=5).respond(asked))
    assert len(answers) == 60
    failed = {a.request_id: a for a in answers if a.failure}
    assert set(failed) == {"q5", "q6", "bad", "q8", "q9"}
    assert failed["bad"].failure == "backend_error"
    assert "died 3 times" in failed["bad"].detail


def test_fatal_conditions_come_back_in_their_own_words(on_ray):
    backend = on_ray("echo", batch_size=1)
    with pytest.raises(EvidenceError) as error:
        list(backend.respond(requests(3, "fatal")))
    assert str(error.value) == "the server refuses the key; set LGDEA_API_KEY"
    with pytest.raises(EvidenceError, match=r"backend 'echo' stopped .RuntimeError: no idea.; run the same"):
        list(backend.respond(requests(3, "odd")))
    assert len(list(backend.respond(requests(3)))) == 3, "a new call starts new workers"


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("nobody", {}, "no backend 'nobody'; installed: .*rules"),
        ("rules", {"colour": "red"}, "backend 'rules' does not take these options .*colour"),
        ("missing", {}, "backend 'missing' needs ray_backends_of_nobody; pip install"),
        ("dead", {}, "backend 'dead' does not start on the cluster"),
    ],
)
def test_a_backend_that_cannot_start_is_one_line_at_once(on_ray, name, options, line):
    with pytest.raises((UsageError, EvidenceError), match=line) as error:
        on_ray(name, options=options)
    assert "\n" not in str(error.value)


def test_workers_that_die_at_start_are_not_restarted_for_ever(on_ray, tmp_path):
    backend = on_ray("second_dies", options={"flag": str(tmp_path / "flag")}, workers=1)
    os.kill(int((tmp_path / "flag").read_text()), signal.SIGKILL)
    with pytest.raises(EvidenceError, match="the workers of backend 'second_dies' die when they start"):
        list(backend.respond(requests(3)))


def test_nodes_that_differ_are_refused(on_ray):
    with pytest.raises(EvidenceError, match=r"differ .model: 'made in .*install the same on every node"):
        list(on_ray("differs", batch_size=1).respond(requests(6)))


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ({"workers": 0}, "workers and batch_size must be at least 1"),
        ({"workers": 64}, "64 workers of 1 CPU need 64, the cluster has"),
        ({"num_gpus": 1, "workers": 99}, "99 workers of 1 GPU need 99, the cluster has"),
    ],
)
def test_what_the_cluster_cannot_hold_is_refused(on_ray, keywords, line):
    with pytest.raises(UsageError, match=line):
        on_ray("rules", num_cpus=keywords.pop("num_cpus", 0 if "num_gpus" in keywords else 1), **keywords)


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_without_ray_one_line_says_what_to_install():
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from lgdea.evidence.backends.ray_backend import RayBackend\n"
        "try:\n    RayBackend('rules')\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    assert run(code).stdout == "UsageError the ray runner needs ray; pip install 'lgdea[ray]'\n"


def test_a_cluster_that_is_not_there_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        code = (
            "from lgdea.evidence.backends.ray_backend import RayBackend\n"
            f"try:\n    RayBackend('rules', address='{address}')\n"
            "except Exception as error:\n    print(type(error).__name__, error)"
        )
        said = run(code).stdout
    assert said.startswith(f"UsageError no Ray cluster at '{address}'")
    assert said.endswith("start one: ray start --head\n")
    assert said.count("\n") == 1


def test_it_works_in_silence_and_leaves_nothing_running():
    code = (
        "from lgdea.evidence.backends.base import Request\n"
        "from lgdea.evidence.backends.ray_backend import RayBackend\n"
        "if __name__ == '__main__':\n"
        "    with RayBackend('rules') as backend:\n"
        "        n = len(list(backend.respond(Request(str(i), 'No effusion.') for i in range(9))))\n"
        "    import ray\n"
        "    print(n, ray.is_initialized())\n"
    )
    done = run(code)
    assert (done.stdout, done.stderr) == ("9 False\n", "")
