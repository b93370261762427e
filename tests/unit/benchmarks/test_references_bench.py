"""The references benchmark, run for real on a tiny phantom, and resumed."""

from __future__ import annotations

import json

import torch

import lgdea
from benchmarks import references
from lgdea.phantom import generate


def test_each_setting_is_run_once_and_stands_in_the_table(tmp_path, monkeypatch, capsys):
    prevalence = {"cardiomegaly": 8.0, "atelectasis": 8.0}
    archive = generate(tmp_path / "archive", studies=200, size=64, prevalence=prevalence, masks=False, workers=1)
    torch.manual_seed(0)
    base = lgdea.create_model(
        "test_resnet", texts=archive.reports["text"], image_size=64, hidden=32, layers=1, dim=16, prototypes=4
    )
    model, out = lgdea.save_model(base, tmp_path / "base"), tmp_path / "out"
    arguments = ["references", model, archive.folder, "--out", out, "--replicates", "10", "--attribution", "2"]
    monkeypatch.setattr("sys.argv", [*map(str, arguments), "--only", "all"])
    references.main()
    said = capsys.readouterr().out
    assert "| ratio/demographic |" in said
    assert "pointing_paired" in said
    file = out / "references-all.json"
    content = json.loads(file.read_text())
    content["notes"] = ["as it was"]
    file.write_text(json.dumps(content))
    references.main()
    assert "note: as it was" in capsys.readouterr().out, "a result that is there is not made again"
    assert list(references.runs_of(["a", "b"])) == ["all", "a-to-b", "b-to-a"]
