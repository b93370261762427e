"""The Python of docs/evaluation.md, run from top to bottom in a folder that has what it names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lgdea.imaging.transforms import Preprocess
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import save_model
from lgdea.models.text_tower import build_text_tower, train_tokenizer
from lgdea.phantom import generate

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive = generate("archives/phantom", studies=60, size=64)
    shutil.copy(archive.image_path(archive.images["image_id"].iloc[0]), "chest.png")
    tokenizer = train_tokenizer(["The heart is enlarged.", "No pneumothorax."])
    for seed, run in enumerate(("first", "clip")):
        torch.manual_seed(seed)
        text = build_text_tower("small-bert", False, tokenizer, hidden=32)
        tower = build_image_tower("test_resnet", False, 64, 16)
        model = LgdeaModel(tower, text, tokenizer, preprocess=Preprocess(64), dim=16, prototypes=4, lesion_queries=2)
        save_model(model, Path("runs") / run / "model")
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    for block in blocks:
        exec(compile(block, "docs/evaluation.md", "exec"), names)
    assert len(blocks) == 4
    assert set(names["results"]) == {"zero-shot", "retrieval", "grounding"}
    assert set(names["differences"]["task"]) == {"zero-shot", "grounding"}
    assert names["again"].to_frame().shape == names["table"].shape
    assert Path("map.png").is_file()
