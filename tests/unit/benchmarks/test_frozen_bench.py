"""A small run of the benchmark of frozen towers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.frozen import WAYS, FrozenBenchConfig, run_frozen


@pytest.mark.slow
def test_a_small_run(tmp_path: Path):
    config = FrozenBenchConfig.model_validate(
        {
            "phantom": {"studies": 80, "size": 64, "difficulty": "easy"},
            "pretrain": "demo-lgdea",
            "set": ["image.tower=resnet18", "image.size=64", "data.batch_size_per_device=16"],
            "steps": 3,
        }
    )
    lines: list[str] = []
    result = run_frozen(config, tmp_path, lines.append)
    assert list(result["steps_per_cpu_second"]) == list(WAYS)
    trained, _, cached, both = result["ratios"].values()
    assert trained == 1
    assert min(cached, both) > 1.3
    assert result["cache_bytes"] == result["cache_rows"] * 2 * (128 * 64 + 256 * 16 + 512 * 4)
    assert result["cache_cpu_seconds"] > 0
    assert len(lines) == len(WAYS) + 1
