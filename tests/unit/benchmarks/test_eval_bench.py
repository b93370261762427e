"""The evaluation benchmark's own arithmetic, and a small run of it through the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.__main__ import benchmark
from benchmarks.evaluate import STOCK, EvalBenchConfig, measure_retrieval, synthetic_gallery


def test_the_made_up_split_is_what_it_says():
    config = EvalBenchConfig(dim=16)
    gallery = synthetic_gallery(3000, config)
    counts = np.bincount(gallery.report_text)
    assert (counts > 1).sum() == STOCK
    assert counts[counts > 1].sum() / 3000 == pytest.approx(0.2, abs=0.03)
    assert np.linalg.norm(gallery.image_vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert gallery.facts.mean() == pytest.approx(0.1, abs=0.02)
    repeated = np.flatnonzero(gallery.report_text == counts.argmax())
    assert len(np.unique(gallery.facts[repeated], axis=0)) == 1
    agreement = (gallery.image_vectors * gallery.text_vectors[gallery.report_text]).sum(axis=1)
    assert agreement.mean() > 0.2


def test_what_is_measured_is_above_chance():
    result = measure_retrieval(300, EvalBenchConfig(dim=64, bootstrap_replicates=5))
    told = result["metrics"]
    for direction in ("image_to_report", "report_to_image"):
        assert told[f"{direction}/recall@10"] > 2 * told[f"{direction}/recall_chance@10"]
    assert set(result["seconds"]) == {
        "image_to_report", "image_to_report_intervals", "report_to_image", "report_to_image_intervals", "total",
    }  # fmt: skip
    assert result["peak_gib"] >= result["before_gib"] > 0


def test_a_small_run_is_kept_and_other_settings_are_refused(tmp_path, capsys):
    settings = ["sizes=[200]", "dim=16", "bootstrap_replicates=5", "pretrain=demo-lgdea", "batch_size=4", "passes=2"]
    settings += ["phantom={studies: 60, size: 64, difficulty: easy}"]
    command = ["eval", "--out", str(tmp_path), *(w for s in settings for w in ("--set", s))]
    for extra, code in (((), 0), (("--json",), 0), (("--set", "dim=8"), 2)):
        with pytest.raises(SystemExit) as left:
            benchmark([*command, *extra])
        assert left.value.code == code
    assert "measured with other settings" in capsys.readouterr().err
    embedding = json.loads((tmp_path / "embedding.json").read_text())
    images = embedding["images"]
    assert len(images["ratios"]) == 2
    assert min(images["ratios"]) <= images["ratio"] <= max(images["ratios"])
    assert images["ratio"] == pytest.approx(images["bare_per_second"] / images["per_second"], rel=0.5)
    assert embedding["reports"]["ratio"] > 0
    assert (tmp_path / "retrieval-200.json").exists()
