import json

import numpy as np
import pandas as pd
import pytest

from lgdea.cli import main
from lgdea.evaluation.results.result import Result, Value, write_result
from tests.helpers.command_line import run_lgdea


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for name, shift in (("base", 0.0), ("better", 0.3)):
        classes = np.repeat(["mass", "nodule"], 40)
        score = rng.random(80) / 2 + shift
        items = {"image_id": [f"i{i}" for i in range(80)], "phrase": "p", "patient_id": [f"p{i}" for i in range(80)]}
        table = pd.DataFrame({**items, "class": classes, "pointing": score})
        per_class = {c: {"pointing": Value(float(score[classes == c].mean()), n=40)} for c in ("mass", "nodule")}
        metrics = {"pointing_micro": Value(float(score.mean()), 0.1, 0.9, 80, "grounding/pointing-v1")}
        result = Result("grounding", "grounding-v1", name, "toy", "test", metrics, per_class, {}, table)
        write_result(result, tmp_path / name)
    return tmp_path


def _run(capsys, *arguments):
    return run_lgdea(capsys, "eval", "compare", *arguments)


def test_json_has_every_number_and_the_tests(capsys, folders):
    code, out, _ = _run(capsys, folders / "base", f"B={folders / 'better'}", "--format", "json", "--replicates", 100)
    assert code == 0
    rows = {(r["model"], r["class"], r["metric"]): r for r in json.loads(out)}
    assert len(rows) == 6
    mass = rows["B", "mass", "pointing"]
    assert mass["difference"] == pytest.approx(mass["value"] - rows["base", "mass", "pointing"]["value"])
    assert mass["difference_low"] < mass["difference"] < mass["difference_high"]
    assert mass["p_holm"] == pytest.approx(min(1, 2 * mass["p_value"]))
    assert rows["base", "mass", "pointing"]["p_value"] is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("markdown", "| micro pointing game | 0."),
        ("latex", r"\begin{tabular}{lrrr}"),
        ("csv", ",better,base,mass,pointing,"),
    ],
)
def test_every_format_goes_to_a_file(capsys, folders, kind, expected):
    out = folders / "new" / "tables"
    wanted = ["--format", kind, "--out", out, "--replicates", 50]
    code, printed, _ = _run(capsys, folders / "base", folders / "better", *wanted)
    assert code == 0
    assert printed.startswith("comparison: ")
    assert expected in out.read_text(encoding="utf-8")


def test_terminal_and_pictures(capsys, folders):
    wanted = ["--plots", folders / "plots", "--replicates", 50]
    code, out, _ = _run(capsys, folders / "base", folders / "better", *wanted)
    assert code == 0
    assert "p(Holm)=" in out
    assert "plots: 2 in" in out
    names = sorted(file.name for file in (folders / "plots").iterdir())
    assert names == ["grounding-toy-test-all-metrics.svg", "grounding-toy-test-pointing-by-class.svg"]


def test_the_terminal_shows_the_main_metrics_unless_asked_for_all(capsys, tmp_path):
    ways = [
        f"{reader}/{strategy}@{k}" for reader in ("z", "ratio") for strategy in ("random", "embedding") for k in (1, 10)
    ]
    metrics = {f"{way}/{name}_macro": Value(0.7, n=9) for way in ways for name in ("balanced_accuracy", "auroc")}
    classes = {"mass": {name.removesuffix("_macro"): value for name, value in metrics.items()}}
    items = pd.DataFrame({"image_id": ["i"], "patient_id": ["p"]})
    write_result(Result("references", "references-v1", "m", "toy", "test", metrics, classes, {}, items), tmp_path / "r")
    code, out, _ = _run(capsys, tmp_path / "r")
    assert code == 0
    assert " ".join(out.split()).count("by class") == 8 + 1  # the last is the line that says what is left out
    assert "and 8 more metrics, 8 more by class: --all shows them" in out
    code, out, _ = _run(capsys, tmp_path / "r", "--all")
    assert " ".join(out.split()).count("by class") == 16
    assert "--all" not in out


def test_one_model_has_a_table_too(capsys, folders):
    code, out, _ = _run(capsys, folders / "base", "--format", "markdown")
    assert code == 0
    assert "| metric | base | n |" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "no such results folder"),
        (["base", "base"], "two results are called 'base'"),
        (["base", "--out", "x.txt"], "add --format"),
        (["base", "--task", "retrieval"], "no results of retrieval"),
    ],
)
def test_bad_usage_is_one_clear_line(capsys, folders, monkeypatch, arguments, message):
    monkeypatch.chdir(folders)
    code, _, err = _run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (folders / "x.txt").exists()


def test_the_report_shows_the_same_comparison(capsys, folders):
    page = folders / "report.html"
    arguments = ["report", f"A={folders / 'base'}", f"B={folders / 'better'}", "--replicates", "50", "--out", page]
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in arguments])
    assert left.value.code == 0
    capsys.readouterr()
    text = page.read_text(encoding="utf-8")
    assert "<summary>pointing game by class" in text
    assert "B right, A wrong: " in text
    assert text.count(r"\begin{tabular}") == 2
