"""The Python blocks of the documentation run as they stand, one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lgdea

DOCS = Path(lgdea.__file__).parents[1] / "docs"


def run_blocks(page: str, without: str | None = None) -> dict[str, Any]:
    """Run a page's blocks in one namespace, but for those that need the page's commands, and return it."""
    names: dict[str, Any] = {"__name__": page}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        if without is None or without not in block:
            exec(compile(block, page, "exec"), names)
    return names


def test_pretraining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = run_blocks("pretraining.md")
    assert np.isfinite(names["heat_map"]).any()
    losses = names["losses"]  # of the training loop of one's own
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    tracked = pd.read_csv("runs/tracked/metrics.csv")
    assert "lr-AdamW/pg1" in set(tracked["name"])
    assert list(Path("runs/tensorboard/tracked").rglob("events.*"))


def test_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = run_blocks("links.md", without="read_csv")
    covered = names["rows"].attrs["coverage"][0]
    assert covered["after"] > covered["random"] > covered["before"]
    assert names["doubts"]["rank"].iloc[-1] == len(names["doubts"])
    assert Path("links_to_make.csv").read_text(encoding="utf-8-sig").startswith("rank,patient_id,study_id,image_id")
    page = (DOCS / "links.md").read_text(encoding="utf-8")
    shown = re.search(r"```csv\n(.*?)\n", page, re.DOTALL)
    assert shown is not None
    assert shown[1] == ",".join(names["rows"].columns)
