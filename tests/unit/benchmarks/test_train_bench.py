"""The training benchmark: its medians, and a small run of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.train import TrainBenchConfig, alternate, run_train


def test_works_take_turns_and_the_first_batches_do_not_count():
    seen: list[tuple[str, int]] = []

    def slow(batch: int) -> None:
        seen.append(("slow", batch))
        time.sleep(0.2 if batch == 0 else 0.02)

    def fast(batch: int) -> None:
        seen.append(("fast", batch))

    slow_seconds, fast_seconds = alternate([slow, fast], [0, 1, 2], warm=1)
    assert seen == [(name, batch) for batch in range(3) for name in ("slow", "fast")]
    assert fast_seconds < 0.02 <= slow_seconds < 0.2


@pytest.mark.slow
def test_a_small_run(tmp_path: Path):
    config = TrainBenchConfig.model_validate(
        {
            "phantom": {"studies": 150, "size": 64, "difficulty": "easy"},
            "set": ["image.size=32", "trainer.max_steps=6", "data.batch_size_per_device=16", "validation.max_images=0"],
            "steps": 3,
        }
    )
    lines: list[str] = []
    result = run_train(config, tmp_path, lines.append)
    assert [row["objective"] for row in result["steps"]] == ["clip", "gloria", "medclip", "sclip", "lgdea"]
    assert all(row["ratio"] > 0.5 for row in result["steps"])
    assert result["loader"]["ratio"] > 1
    assert 0 < result["graph_share"] < 1
    assert len(lines) == 5
