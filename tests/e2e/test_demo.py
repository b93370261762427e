"""The demo, small: every stage writes what the next one reads, and a second call finds everything done."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from lgdea import load_model
from lgdea.demo import Summary, run_demo

SIZE = {"studies": 160, "fraction": 0.2, "seed": 0, "max_steps": 12}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    out = tmp_path_factory.mktemp("demo") / "my #1: a demo"
    return out, run_demo(out, **SIZE)


def test_every_stage_finished(demo: tuple[Path, Summary]) -> None:
    out, _ = demo
    for folder in (".", "archive", "evidence", "runs/clip", "runs/lgdea", "results/clip", "results/lgdea"):
        assert (out / folder / "_SUCCESS").exists(), folder


def test_the_table_states_both_models_and_their_difference(demo: tuple[Path, Summary]) -> None:
    out, summary = demo
    assert summary.columns == ["metric", "clip", "lgdea", "difference"]
    row = next(r for r in summary.rows if r[0] == "zero-shot AUROC")
    values = [
        json.loads((out / "results" / name / "zero-shot.json").read_text())["metrics"]["auroc_macro"]["value"]
        for name in ("clip", "lgdea")
    ]
    assert [float(cell.split()[0]) for cell in row[1:3]] == pytest.approx(values, abs=5e-4)
    assert float(row[3]) == pytest.approx(values[1] - values[0], abs=1e-3)


def test_both_models_took_the_same_steps(demo: tuple[Path, Summary]) -> None:
    out, _ = demo
    steps = {name: json.loads((out / "runs" / name / "run.json").read_text())["steps"] for name in ("clip", "lgdea")}
    assert steps == {"clip": 12, "lgdea": 12}


def test_the_report_is_one_file_without_outside_requests(demo: tuple[Path, Summary]) -> None:
    _, summary = demo
    page = summary.report.read_text(encoding="utf-8")
    assert "lgdea" in page
    for outside in ('src="http', "src='http", "@import", 'rel="stylesheet" href'):
        assert outside not in page


def test_the_model_loads_and_answers(demo: tuple[Path, Summary]) -> None:
    out, _ = demo
    model = load_model(out / "runs" / "lgdea" / "model")
    image = next(p for p in sorted((out / "archive").rglob("*.png")) if "mask" not in str(p))
    assert model.encode_image(image).shape == model.encode_text(["left pleural effusion"]).shape
    assert model.heat_map(image, "left pleural effusion").ndim == 2
    assert model.evidence(image)


def test_a_second_call_repeats_no_stage(demo: tuple[Path, Summary], caplog: pytest.LogCaptureFixture) -> None:
    out, summary = demo
    before = {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")}
    caplog.set_level(logging.INFO, "lgdea")
    again = run_demo(out, **SIZE)
    assert again.rows == summary.rows
    assert {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")} == before
    assert "pairing:" in caplog.text
    assert not any(line.startswith(("phantom", "evaluation")) for line in caplog.messages)
