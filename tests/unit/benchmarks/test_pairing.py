"""The grid: its order, what resumes it, what it adds up to, and a run of it for real."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from scipy import stats

from benchmarks.cli import CONFIGS
from benchmarks.pairing import Cell, PairingBenchConfig, cells, run_grid
from benchmarks.pairing_summary import summarise, to_markdown, write_summary
from lgdea.config import load_config
from lgdea.errors import UsageError

FILES = sorted(CONFIGS.glob("pairing*.yaml"))


def result(variant: str, fraction: float, seed: int, value: float) -> dict:
    return {"variant": variant, "fraction": fraction, "seed": seed, "linked": 10, "metrics": {"auroc_macro": value}}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_shipped_grids_are_valid_and_say_how_to_run_them(file: Path):
    config = load_config(PairingBenchConfig, [file])
    runs = sum(len(variant.fractions or config.fractions) for variant in config.variants.values())
    assert len(list(cells(config))) == runs * len(config.seeds)
    assert all(set(variant.fractions or []) <= set(config.fractions) for variant in config.variants.values())
    assert f"--config {file.stem} " in file.read_text().splitlines()[0]


def test_an_unfinished_grid_compares_all_variants():
    config = PairingBenchConfig(pretrain="x", variants={"a": {}, "b": {}}, fractions=[0.1, 1.0], seeds=[0, 1])
    order = list(cells(config))
    assert order[:4] == [Cell("a", 0.1, 0), Cell("b", 0.1, 0), Cell("a", 1.0, 0), Cell("b", 1.0, 0)]
    assert order[0].file == "a/0.1-0.json"


def test_a_variant_may_be_run_at_some_shares_alone():
    variants = {"a": {}, "b": {"fractions": [0.1]}}
    config = PairingBenchConfig(pretrain="x", variants=variants, fractions=[0.1, 1.0], seeds=[0])
    assert list(cells(config)) == [Cell("a", 0.1, 0), Cell("b", 0.1, 0), Cell("a", 1.0, 0)]


def test_mean_spread_and_interval_over_seeds():
    values = [0.6, 0.7, 0.65]
    runs = [result("a", 0.05, s, v) for s, v in enumerate(values)] + [result("b", 0.05, 0, 0.5)]
    table = summarise(runs).set_index("variant")
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert table.loc["a", ["mean", "sd", "low", "high"]].tolist() == pytest.approx(
        [np.mean(values), np.std(values, ddof=1), low, high]
    )
    assert table.loc["a", "n"] == 3
    assert math.isnan(table.loc["b", "sd"])
    text = to_markdown(summarise(runs))
    assert "| a | 0.650 ± 0.050 |" in text
    assert "| b | 0.500 |" in text


def test_the_summary_is_written(tmp_path: Path):
    runs = [result(v, f, s, 0.5 + s / 10) for v in "ab" for f in (0.01, 1.0) for s in (0, 1)]
    write_summary(runs, tmp_path, "grid")
    assert len(pd.read_json(tmp_path / "grid.json")) == 4
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "grid-validation.png").exists()
    curves = [{**run, "validation": [[199, 0.6], [399, 0.7]] if run["seed"] else []} for run in runs]
    write_summary(curves, tmp_path, "curves")
    assert (tmp_path / "curves-validation.png").read_bytes().startswith(b"\x89PNG")
    write_summary(runs[:2], tmp_path, "one-fraction")
    assert {file.name for file in tmp_path.glob("one*")} == {"one-fraction.json", "one-fraction.md"}


def test_grids_that_share_a_folder_have_the_same_settings():
    folders: dict[str, list[str]] = {}
    for file in FILES:
        config = load_config(PairingBenchConfig, [file])
        shared = config.model_dump_json(include={"phantom", "pretrain", "set", "tower"})
        folders.setdefault(file.read_text().splitlines()[0].rsplit("--out ", 1)[1], []).append(shared)
    assert len(folders["bench/pairing"]) == 3
    assert all(len(set(settings)) == 1 for settings in folders.values())


@pytest.mark.slow
def test_a_grid_runs_resumes_and_refuses_other_settings(tmp_path: Path):
    settings = {
        "pretrain": "demo-lgdea",
        "set": ["trainer.max_steps=3", "image.size=32", "validation.max_images=0", "data.batch_size_per_device=8"],
        "phantom": {"studies": 120, "size": 64, "difficulty": "easy"},
        "tower": {"phantom": {"studies": 120, "size": 64, "difficulty": "easy", "seed": 1}, "max_steps": 3},
        "variants": {
            "clip": {"set": ["objective.name=clip", "validation.max_images=50", "validation.every_steps=2"]},
            "noisy": {"evidence": "corrupted-30"},
        },
        "fractions": [0.2],
        "seeds": [0],
    }
    lines: list[str] = []
    config = PairingBenchConfig.model_validate(settings)
    assert run_grid(config, tmp_path, say=lines.append, minutes=0) == []
    assert "2 runs are left" in lines[-1]
    assert not (tmp_path / "archive").exists()
    found = run_grid(config, tmp_path, say=lines.append)
    assert [run["variant"] for run in found] == ["clip", "noisy"]
    assert all(0 <= run["metrics"]["auroc_macro"] <= 1 for run in found)
    assert [[step for step, _ in run["validation"]] for run in found] == [[1, 2], []]
    assert not list((tmp_path / "work").rglob("*.ckpt"))
    assert set(json.loads((tmp_path / "tower" / "tower.json").read_text())["auroc"]) >= {"No Finding"}
    lines.clear()
    assert run_grid(config, tmp_path, say=lines.append) == found
    assert lines == []
    (tmp_path / "results" / "clip" / "0.2-0.json").unlink()
    with FileLock(tmp_path / "work" / "clip" / "0.2-0.lock"):  # as another process holds it that makes this run
        assert [run["variant"] for run in run_grid(config, tmp_path, say=lines.append)] == ["noisy"]
    with pytest.raises(UsageError, match="other settings"):
        run_grid(config.model_copy(update={"set": []}), tmp_path, say=lines.append)
