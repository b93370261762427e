"""The comparison of indexes: each finds what it claims, time at equal recall is interpolated, what is there stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.neighbours import (
    NeighboursBenchConfig,
    growth,
    make_vectors,
    measure,
    run_neighbours,
    tabulate,
)
from lgdea.errors import UsageError

SMALL = NeighboursBenchConfig(kinds=["clusters"], sizes=[4000], dim=16)


@pytest.mark.parametrize("method", SMALL.methods)
def test_every_index_reaches_the_recall_on_clusters(method):
    found = measure(method, "clusters", 4000, SMALL)
    assert found["steps"][-1]["recall"] >= 0.95
    assert 0 < found["seconds"] <= found["steps"][-1]["seconds"]
    efforts = [step["effort"] for step in found["steps"]]
    assert efforts == sorted(efforts)


@pytest.mark.parametrize("kind", ["clusters", "overlapping", "cloud"])
def test_a_cloud_has_no_near_neighbours_and_clusters_have(kind):
    vectors = make_vectors(kind, 2000, 128, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    near = np.sort(vectors @ vectors.T, axis=1)[:, -11:-1].mean()  # the ten nearest others
    far = (vectors @ vectors.T).mean()
    assert (near - far > 0.3) == (kind != "cloud")


def test_time_at_equal_recall_lies_between_two_efforts_and_grows_by_its_exponent():
    results = [{"method": "hnsw", "kind": "cloud", "size": n, "seconds": n**1.5 / 1e6} for n in (10_000, 40_000)]
    assert growth(results) == pytest.approx(1.5)
    assert growth([*results, {"size": 90_000, "seconds": None}]) is None
    columns, rows = tabulate(results)
    assert columns == ["vectors", "index", "10,000", "40,000", "growth"]
    assert rows == [["cloud", "hnsw", "1.0", "8.0", "N^1.50"]]


def test_what_was_measured_is_not_measured_again(tmp_path: Path):
    config = SMALL.model_copy(update={"methods": ["inverted lists"]})
    lines: list[str] = []
    first = run_neighbours(config, tmp_path, say=lines.append)
    file = tmp_path / "neighbours" / "inverted-lists-clusters-4000.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "seconds": 123.0}))
    assert run_neighbours(config, tmp_path, say=lines.append)[0]["seconds"] == 123.0
    assert first[0]["seconds"] < 123.0
    with pytest.raises(UsageError, match="other settings"):
        run_neighbours(config.model_copy(update={"recall": 0.5}), tmp_path, say=lines.append)
    assert lines[0].startswith("inverted lists, clusters, 4,000: ")
