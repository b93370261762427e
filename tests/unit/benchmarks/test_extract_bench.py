"""The extraction benchmark's own arithmetic, its peer script's bookkeeping, and the whole command without a peer."""

import json
import sys
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from benchmarks.__main__ import benchmark
from benchmarks.extract import compare, first_reports, peer_vocabulary, run_extract
from benchmarks.extract_stream import generate_texts, measure_stream, write_generated
from benchmarks.extract_summary import merge_results, rows, write_results
from benchmarks.peers import medspacy_peer
from lgdea.annotation.scoring import score
from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.rules.reader import read_report
from lgdea.phantom import generate

# Stands where medSpaCy's interpreter would: answers every report with one present effusion, and has taken ten times
# as long as it says it has. Only the way there and back is tested with it; what medspaCy finds is measured, not tested.
PEER = """#!{python}
import json, sys
script, reports, vocabulary, answers = sys.argv[1:]
assert script.endswith("medspacy_peer.py")
assert "pleural effusions" in json.load(open(vocabulary))["pleural_effusion"]
lines = [json.loads(line) for line in open(reports)]
with open(answers, "w") as out:
    for line in lines:
        first = min(start for start, _ in line["stretches"])
        quote = line["text"][first:].split()[0]
        unit = dict(quote=quote, finding="pleural_effusion", finding_text=quote, assertion="present")
        out.write(json.dumps(dict(text_sha256=line["text_sha256"], text=json.dumps(dict(units=[unit])))) + "\\n")
print(json.dumps(dict(seconds=1000.0, cpu_seconds=500.0, reports=len(lines), versions=dict(medspacy="0"))))
"""


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("phantom") / "archive", studies=12)


def test_the_command_measures_and_scores_without_a_peer(phantom, tmp_path, capsys):
    command = ["extract", "--archive", str(phantom.folder), "--gold", "phantom", "--repeats", "2"]
    with pytest.raises(SystemExit) as left:
        benchmark([*command, "--out", str(tmp_path), "--stream", "30", "--json"])
    assert left.value.code == 0
    results = json.loads(capsys.readouterr().out)["result"]
    assert results == json.loads((tmp_path / "extract.json").read_text())
    (ours,) = results["compare"]["systems"]
    assert len(ours["seconds"]) == 2
    assert ours["reports_per_second"] == pytest.approx(12 / (sum(ours["seconds"]) / 2), rel=0.05)
    assert ours["micro_f1"] == round(score(tmp_path / "compare" / "rules-0", "phantom", phantom).micro.f1, 4)
    assert ours["micro_f1"] > 0.9
    assert results["stream-30"]["reports"] == 30
    assert results["stream-30"]["units"] > 60
    assert 30e6 < results["stream-30"]["peak_bytes"] < 2e9
    assert "phantom" in (tmp_path / "extract.md").read_text()
    assert (tmp_path / "extract.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "nothing to measure; give --archive, --stream or both"),
        (["--archive", "{phantom}", "--backend", "rules"], "no overhead is measured of the backend 'rules'"),
        (["--archive", "{phantom}", "--backend", "http"], "the http backend needs a server; give --url"),
        (["--archive", "{phantom}", "--gold", "phantom", "--peer-python", "/nowhere/python"], "no such interpreter"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(phantom, tmp_path, capsys, arguments, line):
    arguments = [a.format(phantom=phantom.folder) for a in arguments]
    with pytest.raises(SystemExit) as left:
        benchmark(["extract", "--out", str(tmp_path), *arguments])
    assert left.value.code == 2
    assert line in capsys.readouterr().err


def test_a_peer_is_timed_and_scored_by_the_same_runner(phantom, tmp_path):
    peer = tmp_path / "python"
    peer.write_text(PEER.format(python=sys.executable))
    peer.chmod(0o755)
    result = compare(phantom, tmp_path / "out", "phantom", peer_python=peer, repeats=1)
    ours, theirs = result["systems"]
    assert theirs["reports_per_second"] == round(12 / 1000, 1)
    assert result["speed_ratio"] == pytest.approx(1000 / ours["seconds"][0], rel=0.01)
    assert result["cpu_ratio"] == pytest.approx(500 / ours["cpu_seconds"][0], rel=0.01)
    reading = result["in_memory"]
    assert reading["cpu_seconds"][0] < ours["cpu_seconds"][0]
    assert reading["cpu_ratio"] > result["cpu_ratio"]
    assert theirs["rejected_by_reason"] == {}
    assert theirs["micro_f1"] < ours["micro_f1"]


def test_a_peer_that_does_not_run_is_one_line(phantom, tmp_path):
    with pytest.raises(UsageError, match=r"medspaCy does not run .*No module named 'medspacy'"):
        compare(phantom, tmp_path, "phantom", peer_python=sys.executable, repeats=1)


def test_first_reports_keeps_what_belongs_to_them_labelled_first(phantom, tmp_path):
    part = first_reports(phantom, 5, tmp_path / "part")
    labelled = set(phantom.labels["study_id"])
    kept = set(part.reports["study_id"])
    assert len(part.reports) == 5
    assert kept <= labelled
    assert set(part.studies["study_id"]) == set(part.labels["study_id"]) == kept
    truth, whole = part.extra("evidence_truth"), phantom.extra("evidence_truth")
    assert len(truth) == whole["report_id"].isin(part.reports["report_id"]).sum() > 0


def test_the_peer_has_our_words_in_the_plural_too():
    words = peer_vocabulary()
    assert {"nodule", "nodules", "pulmonary nodules"} <= set(words["nodule"])
    assert {"opacity", "opacities"} <= set(words["opacity"])
    assert "no_finding" not in words


class Nlp:
    """A stand-in for a spaCy pipeline with given marks; spaCy itself lives in another environment."""

    def __init__(self, entities):
        self.entities = entities

    def __call__(self, text):
        found = []
        for words, marks in self.entities.items():
            at = text.find(words)
            if at >= 0:
                flags = {
                    f"is_{m}": m in marks for m in ("negated", "uncertain", "historical", "hypothetical", "family")
                }
                entity = SimpleNamespace(text=words, start_char=at, label_="NODULE", _=SimpleNamespace(**flags))
                found.append(entity)
        return SimpleNamespace(ents=found)


@pytest.mark.parametrize(
    ("marks", "assertion"),
    [
        ((), "present"),
        (("negated",), "absent"),
        (("uncertain",), "uncertain"),
        (("negated", "uncertain"), "absent"),
        (("historical", "negated"), None),
        (("hypothetical",), None),
        (("family",), None),
    ],
)
def test_context_marks_become_assertions(marks, assertion):
    text = "HISTORY: nodule FINDINGS: A nodule."
    units = medspacy_peer.read_report(Nlp({"nodule": marks}), text, [[25, len(text)]])
    stated = [(u["finding"], u["assertion"]) for u in units if u["finding"] != "no_finding"]
    assert stated == ([("nodule", assertion)] if assertion else [])
    assert all(text.startswith(u["quote"], u["start"]) or u["finding"] == "no_finding" for u in units)
    assert (units[-1]["finding"] == "no_finding") == (assertion in ("absent", None))


def test_generated_reports_differ_and_hold_evidence(tmp_path):
    texts = list(generate_texts(300, seed=1))
    assert len(set(texts)) == 300
    assert texts == list(generate_texts(300, seed=1))
    assert texts[:5] != list(generate_texts(5, seed=2))
    assert sum(bool(read_report(text)) for text in texts) > 295
    archive = write_generated(tmp_path / "archive", 25, seed=1)
    assert list(archive.reports["text"]) == texts[:25]
    assert pq.read_metadata(archive.folder / "reports.parquet").num_rows == 25


def test_a_measurement_that_was_stopped_does_not_stand_in_for_a_new_one(tmp_path):
    stale = tmp_path / "generated-4-evidence"
    stale.mkdir()
    (stale / "left.txt").write_text("over")
    assert measure_stream(4, tmp_path)["reports"] == 4
    assert list(tmp_path.iterdir()) == []


def test_a_failed_extraction_is_said(tmp_path):
    archive = write_generated(tmp_path / "archive", 3)
    (archive.folder / "reports.parquet").write_bytes(b"no table")
    with pytest.raises(EvidenceError, match=r"the extraction failed: .*reports\.parquet"):
        run_extract(archive.folder, tmp_path / "out")


def test_results_are_kept_side_by_side_and_told_in_rows(tmp_path):
    system = {"micro_f1": 0.9, "macro_f1": 0.8, "micro_f1_interval": [0.88, 0.92], "macro_f1_interval": [0.7, 0.9]}
    compared = {
        "archive": "a",
        "gold": "openi-14",
        "reports": 1925,
        "speed_ratio": 41.6,
        "cpu_ratio": 35.2,
        "in_memory": {"reports_per_second": 3100.0, "cpu_ratio": 50.5},
        "systems": [
            {"name": "lgdea rules", "reports_per_second": 2080.0, **system},
            {"name": "medspaCy", "reports_per_second": 50.0, **{**system, "micro_f1": 0.85}},
        ],
    }
    write_results(tmp_path, merge_results(tmp_path, {"compare": compared}))
    stream = {"reports": 1_000_000, "peak_bytes": 412_000_000, "reports_per_second": 2000.4}
    overhead = {"reports_per_second": {"ours": 3.1, "bare": 3.2}}
    new = {
        "stream-1000000": stream,
        "overhead-vllm": {**overhead, "overhead": {"median": 0.0312, "least": 0.0, "greatest": 0.1}},
        "overhead-http": {**overhead, "overhead": -0.004},
    }
    results = merge_results(tmp_path, new)
    write_results(tmp_path, results)
    assert list(results) == ["compare", *new]
    table = rows(results)
    assert table[0] == ("reports/s, 1,925 reports of a", "2,080.0", "50.0", "41.6 times medspaCy, 35.2 in CPU time")
    assert table[1] == ("reports/s, texts in memory", "3,100.0", "50.0", "50.5 times medspaCy in CPU time")
    assert table[2] == ("micro-F1, openi-14", "0.900", "0.850", "+0.050")
    assert table[4] == ("reports/s with vllm, other: bare", "3.1", "3.2", "+3.1% time")
    assert table[5][3] == "-0.4% time"
    assert table[6] == ("peak memory, 1,000,000 generated reports", "0.41 GB", "", "2,000 reports/s")
    assert (tmp_path / "extract.md").read_text().count("\n") == 9
