"""Folders with the characters that YAML, shells and URLs take for their own go through every verb."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lgdea.cli import app

NAMES = ["my #1: 100%20 {x} [y]", '- a=b & it\'s "so", Größe 肺 😀']


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_takes_a_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / name
    root.mkdir()
    monkeypatch.chdir(root)  # one relative path too
    archive, evidence, pairing = root / "archive", root / "evidence", root / "pairing.parquet"
    _run("data", "build", "phantom", "default", "--out", "archive", "--option", "studies=40", "--option", "size=64")
    _run("data", "verify", archive)
    _run("extract", archive, "--out", evidence)
    _run("extract", "score", evidence, "--gold", "phantom", "--archive", archive)
    _run("extract", "page", evidence, "--archive", archive, "--out", root / "page.html")
    _run("data", "pair", archive, "--fraction", 0.5, "--out", pairing)
    inputs = {"archive": archive, "evidence": evidence, "pairing": pairing, "image_cache": root / "cache"}
    settings = [part for key, path in inputs.items() for part in ("--set", f"data.{key}={path}")]
    small = ["--set", "trainer.max_steps=2", "--set", "image.size=64", "--set", "data.batch_size_per_device=8"]
    _run("config", "show", "pretrain", "--config", "demo-lgdea", *settings, *small)
    _run("pretrain", "--config", "demo-lgdea", *settings, *small, "--out", root / "run")
    model, results = root / "run" / "model", root / "results"
    options = ["--set", "bootstrap_replicates=10", "--set", "split=all"]
    _run("eval", "zero-shot", model, archive, "--out", results, *options)
    _run("eval", "retrieval", model, archive, "--out", results, "--evidence", evidence, *options)
    _run("eval", "compare", results, "--format", "csv", "--out", root / "all.csv")
    _run("embed", model, archive, "--out", root / "embeddings")
    _run("heatmap", model, next(archive.rglob("*.png")), "effusion", "--out", root / "maps")
    _run("report", results, root / "run", "--archive", archive, "--evidence", evidence, "--out", root / "report.html")
    for file in ("page.html", "all.csv", "report.html", "run/config.yaml", "embeddings/_SUCCESS", "maps/boxes.json"):
        assert (root / file).exists(), file
