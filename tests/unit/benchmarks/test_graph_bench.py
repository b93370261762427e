"""The graph benchmark's own arithmetic, and a small run of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.graph import GraphBenchConfig, clustered, growth, recall, run_scaling
from benchmarks.graph_peers import closed_form_error, compare_diffusion, compare_neighbours
from lgdea.errors import UsageError


def test_linear_and_square_growth():
    sizes = (10, 100, 1000)
    linear = [{"size": n, "seconds": {"total": 0.3 * n}} for n in sizes]
    square = [{"size": n, "seconds": {"total": 0.3 * n * n}} for n in sizes]
    assert growth(linear) == pytest.approx(1.0)
    assert growth(square) == pytest.approx(2.0)


def test_recall_is_one_for_the_truth_and_low_for_chance():
    rng = np.random.default_rng(0)
    vectors, _, _ = clustered(400, 16, rng)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    exact = np.argsort(-cosine, axis=1)[:, :5]
    assert recall(vectors, exact, rng) == 1.0
    assert recall(vectors, rng.integers(400, size=(400, 5)), rng) < 0.1


def test_a_small_run_is_kept_and_other_settings_are_refused(tmp_path: Path):
    lines: list[str] = []
    config = GraphBenchConfig(sizes=[400, 800], seeds=40, dim=16)
    results = run_scaling(config, tmp_path, say=lines.append)
    assert [r["seeds"] for r in results] == [20, 40]
    assert all(r["recall"] == 1.0 for r in results)
    assert all(r["link_precision"] > 2 * r["chance"] for r in results)
    before = (tmp_path / "size-800.json").stat().st_mtime_ns
    assert run_scaling(config, tmp_path, say=lines.append) == results
    assert (tmp_path / "size-800.json").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="other settings"):
        run_scaling(config.model_copy(update={"dim": 8}), tmp_path, say=lines.append)


def test_peers_find_the_same_neighbours_and_masses():
    rows = compare_neighbours(600, 16, 5)
    assert rows[0]["library"].startswith("scikit-learn")
    assert rows[1]["recall"] > 0.999
    ours, whole, pyg = compare_diffusion(600, 16, 5, keep=16, seeds=12)
    assert ours["error"] < 1e-3
    assert whole["error"] == 0
    assert "PyG" in pyg["library"]
    assert closed_form_error(200) < 1e-8
