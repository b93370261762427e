"""``--json`` of every verb: one document of one form on stdout, and nothing else there."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

import lgdea
from lgdea.cli import app
from lgdea.models.serialization import save_model
from tests.e2e.test_cli import VERBS
from tests.helpers.command_line import run_lgdea

WITHOUT = {("config", "schema"), ("app",)}
"""What it prints is JSON Schema itself; a server."""


def _commands(group: typer.Typer, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for command in group.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")  # type: ignore[union-attr]
        yield (*above, name), command.callback
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from _commands(inner.typer_instance, (*above, str(inner.name)))


def test_every_verb_has_the_flag() -> None:
    found = {verb: set(inspect.signature(callback).parameters) for verb, callback in _commands(app)}
    assert set(found) == set(VERBS)
    assert {verb for verb, options in found.items() if not options & {"json", "as_json"}} == WITHOUT


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives, evidence, a model and results to work on."""
    folder = tmp_path_factory.mktemp("world")
    archive = lgdea.build_archive("phantom", "default", folder / "a", studies=60, size=64)
    lgdea.build_archive("b", reports=archive.reports.assign(patient_id="p")[["study_id", "text", "patient_id"]].head(2), out=folder / "b")  # fmt: skip # noqa: E501
    lgdea.extract(archive, out=folder / "e")
    torch.manual_seed(0)
    model = lgdea.create_model("test_resnet", texts=list(archive.reports["text"]), image_size=64, hidden=32)
    save_model(model, folder / "m")
    return folder


COMMANDS = [
    ("data list", ""),
    ("data card", "openi"),
    ("data build", "phantom default --option studies=60 --option size=64 --out {new}/a"),
    ("data verify", "{w}/a"),
    ("data merge", "{w}/a {w}/b --out {new}/m"),
    ("data pair", "{w}/a --fraction 0.5 --out {new}/p.parquet"),
    ("data suggest-links", "{w}/a --budget 1 --evidence {w}/e --pairing {w}/p.parquet --out {new}/s.csv"),
    ("extract run", "{w}/a --out {new}/e"),
    ("extract score", "{w}/e --gold phantom --archive {w}/a"),
    ("extract page", "{w}/e --archive {w}/a --out {new}/e.html"),
    ("extract diff", "{w}/e {w}/e --archive {w}/a"),
    ("extract review", "{w}/e --archive {w}/a --out {new}/r.csv"),
    ("prompts list", ""),
    ("prompts show", "evidence-v2"),
    ("prompts check", "evidence-v2"),
    ("config show", "eval probe"),
    ("embed", "{w}/m {w}/a --out {new}/embedded"),
    ("eval zero-shot", "{w}/m {w}/a --out {w}/results -s min_positive=1 -s bootstrap_replicates=5 --split all"),
    ("eval suites", ""),
    ("eval compare", "one={w}/results two={w}/results --replicates 5"),
    ("report", "{w}/results --replicates 0 --out {new}/r.html"),
    ("heatmap", "{w}/m {image} effusion --out {new}/maps"),
    ("verify", "{w}/e"),
    ("doctor", ""),
]


@pytest.mark.parametrize(("verb", "arguments"), COMMANDS, ids=[verb for verb, _ in COMMANDS])
def test_stdout_holds_one_document_of_one_form(
    verb: str, arguments: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((world / "a" / "images").iterdir())
    if "{w}/p.parquet" in arguments:
        lgdea.make_pairing(world / "a", 0.2, out=world / "p.parquet")
    words = arguments.format(w=world, new=tmp_path, image=image).split()
    code, out, err = run_lgdea(capsys, *verb.split(), *words, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert list(document) == ["command", "lgdea_version", "written", "result"]
    assert (document["command"], document["lgdea_version"]) == (verb, lgdea.__version__)
    assert isinstance(document["result"], dict)
    assert "NaN" not in out
    for place in document["written"]:
        assert Path(place).exists()
    assert bool(document["written"]) == ("--out" in words)


def test_the_short_form_of_extract_has_the_name_of_the_long_one(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run_lgdea(capsys, "extract", world / "a", "--out", tmp_path / "e", "--json")
    assert json.loads(out)["command"] == "extract run"


def test_an_error_leaves_stdout_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_lgdea(capsys, "data", "pair", tmp_path, "--fraction", "1", "--out", tmp_path / "p", "--json")
    assert (code, out) == (2, "")
    assert err.startswith("lgdea: ")
