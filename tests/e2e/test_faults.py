"""A short part of the fault injection that ``make faults`` runs whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.suite import run_suite


@pytest.mark.slow
def test_nothing_is_silent_lost_doubled_or_a_traceback(tmp_path: Path) -> None:
    kinds = ["server", "inputs", "flips", "kill-writes"]
    assert run_suite(tmp_path, kinds, share=0.03, disturbed=("extract", "pretrain")) == 0, (
        tmp_path / "trials.jsonl"
    ).read_text()
