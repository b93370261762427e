"""The references benchmark, run for real on a tiny phantom, and resumed."""

from __future__ import annotations

import json

import numpy as np
import torch

import lgdea
from benchmarks import references
from lgdea.phantom import generate
from lgdea.records.archive import Archive


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


def test_pictures_of_one_site_have_another_display_curve(tmp_path):
    archive = generate(tmp_path / "archive", studies=30, size=64, masks=False, workers=1)
    changed = Archive.open(references.shown_otherwise(archive, "hillside", 2.0, tmp_path / "changed"))
    sites = archive.images.merge(archive.studies, on="study_id").set_index("image_id")["site"]
    assert set(sites) == {"harbour", "hillside"}
    for image, site in sites.items():
        before, after = (a.read_image(image).pixels for a in (archive, changed))
        np.testing.assert_allclose(after, before ** (2.0 if site == "hillside" else 1.0), atol=0.003)
    assert changed.labels.equals(archive.labels)
    assert changed.studies.equals(archive.studies)
