"""The change benchmark, run for real on a tiny phantom, and resumed."""

from __future__ import annotations

import json

import torch

import lgdea
from benchmarks import change
from lgdea.phantom import generate


def test_a_seed_is_trained_once_and_stands_in_the_table(tmp_path, monkeypatch, capsys):
    archive = generate(tmp_path / "archive", studies=150, size=64, difficulty="easy", revisits=0.75, masks=False)
    evidence = lgdea.extract(archive, out=tmp_path / "evidence").folder
    torch.manual_seed(0)
    base = lgdea.create_model(
        "test_resnet", texts=archive.reports["text"], image_size=64, hidden=32, layers=1, dim=16, prototypes=4
    )
    model = lgdea.save_model(base, tmp_path / "base")
    out = tmp_path / "out"
    settings = ["trainer.max_steps=2", "trainer.accelerator=cpu", "data.pairs_per_device=8", "head.width=16"]
    arguments = [
        "change",
        model,
        archive.folder,
        "--evidence",
        evidence,
        "--out",
        out,
        "--seeds",
        3,
        "--set",
        *settings,
    ]
    monkeypatch.setattr("sys.argv", [str(argument) for argument in (*arguments, "--set", *settings)])
    change.main()
    file = out / "results" / "change-3.json"
    content = json.loads(file.read_text())
    assert (content["seed"], content["steps"], content["task"]) == (3, 2, "change")
    assert content["metrics"]["swap_consistency"]["value"] == 1  # by construction, whatever the weights
    row = capsys.readouterr().out.strip().splitlines()[-1]
    value = content["metrics"]["balanced_accuracy"]["value"]
    assert row.startswith(f"| change-3 | 2 | {value:.3f} [")
    del content["metrics"]["set_accuracy"]
    content["metrics"]["swap_flipped"] |= {"value": None, "low": None, "high": None}  # all is called stable
    file.write_text(json.dumps(content | {"steps": 7}))
    change.main()  # the result is there: it is read, not made again
    row = capsys.readouterr().out.strip().splitlines()[-1]
    assert row.startswith("| change-3 | 7 | ")
    assert row.endswith("| - | - |")
