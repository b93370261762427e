"""Models on a Hugging Face Hub: a real client and real sockets, a server of this machine in the place of the Hub."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard, constants

import lgdea
from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.evaluation.encoders.registry import load_encoder, local_folder
from lgdea.evaluation.results.identity import model_identity
from lgdea.models.hub import find_model, push_folder
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.model_folder import write_card
from tests.helpers.command_line import run_lgdea, uncounted_environment
from tests.helpers.hub_server import HubServer, serve

TEXTS = ["Moderate left pleural effusion.", "No pneumothorax."]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The client's settings are what HF_ENDPOINT, HF_HUB_CACHE, HF_TOKEN and HF_HUB_DISABLE_XET set at its import."""
    monkeypatch.chdir(tmp_path)
    for server in serve(tmp_path / "hub", gated=frozenset({"clinic/closed"})):
        point_at(monkeypatch, server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield server


@pytest.fixture
def saved(make_model: Callable[..., LgdeaModel], tmp_path: Path) -> Path:
    folder = lgdea.save_model(make_model(findings=["cardiomegaly"]), tmp_path / "saved", {"name": "chest"})
    return write_card(folder, license="cc-by-nc-4.0").parent


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        point_at(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")


def test_a_pushed_model_comes_back_bit_for_bit(hub: HubServer, saved: Path) -> None:
    place = push_folder(saved, "clinic/chest")
    assert hub.private == {"clinic/chest": True}
    model = lgdea.load_model(saved)
    for name in ("clinic/chest", "hf://clinic/chest", f"clinic/chest@{place.revision}", "clinic/chest@main"):
        again = lgdea.load_model(name)
        assert again.name == f"clinic/chest@{place.revision}"
        assert again.card_fields == {"name": "chest"}
        np.testing.assert_array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))
    folder = find_model("clinic/chest").folder
    assert model_identity("clinic/chest") == model_identity(str(folder)) == model_identity(str(saved))
    assert lgdea.verify_folder(folder).problems == []
    assert {p.name for p in folder.iterdir()} == {p.name for p in saved.iterdir()}
    assert f"PUT large/{json.loads((saved / 'config.json').read_text())['files']['model.safetensors']}" in hub.requests


def test_methods_of_the_model_push_save_and_load(
    hub: HubServer, make_model: Callable[..., LgdeaModel], tmp_path: Path
) -> None:
    model = make_model()
    place = model.push_to_hub("clinic/direct", license="apache-2.0", private=False, revision="try", message="first")
    assert hub.private == {"clinic/direct": False}
    again = LgdeaModel.from_pretrained("clinic/direct", revision="try")
    assert again.name == f"clinic/direct@{place.revision}"
    np.testing.assert_array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))
    local = LgdeaModel.from_pretrained(again.save_pretrained(tmp_path / "local"))
    np.testing.assert_array_equal(local.encode_text(TEXTS), model.encode_text(TEXTS))
    with pytest.raises(UsageError, match=r"clinic/direct holds no model of lgdea: it has no config\.json"):
        lgdea.load_model("clinic/direct")  # its main branch is empty


def test_a_card_edited_on_the_hub_is_no_damage(hub: HubServer, saved: Path) -> None:
    push_folder(saved, "clinic/chest")
    hub.add_commit("clinic/chest", "main", {"README.md": b"---\nlicense: mit\n---\n# Mine\n"})
    lgdea.load_model("clinic/chest")
    assert lgdea.describe_model("clinic/chest")["license"] == "mit"


@pytest.mark.parametrize("name", ["model.safetensors", "preprocess.json", "tokenizer.json", "config.json"])
def test_a_file_that_was_changed_on_the_way_is_refused(hub: HubServer, saved: Path, name: str) -> None:
    push_folder(saved, "clinic/chest")
    content = bytearray((saved / name).read_bytes())
    content[-20] ^= 1
    hub.add_commit("clinic/chest", "main", {name: bytes(content)})
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        lgdea.load_model("clinic/chest")


def test_a_pinned_commit_stays_while_main_moves(
    hub: HubServer, saved: Path, make_model: Callable[..., LgdeaModel], caplog: pytest.LogCaptureFixture
) -> None:
    first = push_folder(saved, "clinic/chest")
    other = lgdea.save_model(make_model(findings=["edema"], prototypes=5), saved.parent / "other")
    write_card(other, license="cc-by-nc-4.0")
    second = push_folder(other, "clinic/chest")
    assert first.revision != second.revision
    with caplog.at_level(logging.INFO, logger="lgdea"):
        assert lgdea.load_model("clinic/chest").findings == ("edema",)
    assert f"write clinic/chest@{second.revision} to keep to it" in caplog.text
    assert lgdea.load_model("clinic/chest", revision=first.revision).findings == ("cardiomegaly",)


def test_offline_the_cache_answers(hub: HubServer, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = push_folder(saved, "clinic/chest")
    lgdea.load_model("clinic/chest")
    go_offline(monkeypatch)
    hub.requests.clear()
    assert lgdea.load_model("clinic/chest").name == place.name
    assert local_folder("clinic/chest") == find_model("clinic/chest").folder
    with pytest.raises(UsageError, match=r"clinic/other is .* not whole in the Hugging Face cache, and the Hub cannot"):
        lgdea.load_model("clinic/other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert lgdea.load_model("clinic/chest").name == place.name
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        lgdea.load_model("clinic/other")
    weights = place.revision and find_model("clinic/chest").folder / "model.safetensors"
    weights.unlink()
    with pytest.raises(LgdeaError, match=r"not whole|missing"):
        lgdea.load_model("clinic/chest")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clinic/none", "clinic/none is no folder here, and the Hub has no repository clinic/none that you may read"),
        ("hf://clinic/none", "the Hub has no repository clinic/none"),
        ("clinic/chest@v9", "clinic/chest has no revision v9"),
        ("clinic/closed", "access to clinic/closed has to be granted first"),
        ("hf://chest", "hf://chest names no repository"),
        ("hf://a/b/c", "hf://a/b/c names no repository"),
        ("hf://clinic/..", "names no repository|has no repository|cannot be fetched"),
        ("nothing", "nothing: no such model folder"),
        ("./clinic/none", "clinic/none: no such model folder"),
        ("saved/none", "saved/none: no such model folder"),  # `saved` is a folder here: a path mistyped
        ("other/bert", r"other/bert holds no model of lgdea; write hf:other/bert"),
    ],
)
def test_what_is_not_there_is_one_line_with_a_remedy(hub: HubServer, saved: Path, name: str, says: str) -> None:
    push_folder(saved, "clinic/chest")
    hub.add_commit("other/bert", "main", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x" * 100})
    hub.requests.clear()
    for load in (lgdea.load_model, load_encoder):
        with pytest.raises(UsageError, match=says) as caught:
            load(name)
        assert "\n" not in str(caught.value)
        assert "; " in str(caught.value)
    if "no such model folder" in says or "names no" in says:
        assert hub.requests == []
    assert not [request for request in hub.requests if "safetensors" in request]


def test_a_path_is_never_a_repository(hub: HubServer, saved: Path) -> None:
    push_folder(saved, "clinic/chest")
    with pytest.raises(UsageError, match="no such model folder"):
        lgdea.load_model(Path("clinic/chest"))
    assert lgdea.load_model(Path("hf://clinic/chest")).findings == ("cardiomegaly",)
    shutil.copytree(saved, Path("clinic/chest"))
    assert lgdea.load_model("clinic/chest").name == "chest"  # a folder that exists goes first
    with pytest.raises(UsageError, match="a folder has no revisions"):
        lgdea.load_model("clinic/chest", revision="main")


def test_only_the_model_is_pushed_and_fetched(hub: HubServer, saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    (saved / "patients.csv").write_text("name\n")
    (saved / "notes.json").write_text("{}")
    (saved / "modeling.py").write_text("raise SystemExit\n")
    (saved / "folder").mkdir()
    (saved / "folder" / "x.json").write_text("{}")
    place = push_folder(saved, "clinic/chest")
    there = set(hub.files("clinic/chest", place.revision))
    assert not there & {"patients.csv", "notes.json", "modeling.py", "folder/x.json"}
    assert "not pushed, as no part of the model: modeling.py, notes.json, patients.csv" in caplog.text
    hub.add_commit("clinic/chest", "main", {"evil.py": b"raise SystemExit", "weights.bin": b"x", "onnx/a.json": b"{}"})
    lgdea.load_model("clinic/chest")
    assert not [r for r in hub.requests if r.endswith(("evil.py", "weights.bin", "a.json"))]


def test_what_an_earlier_push_had_more_is_removed(hub: HubServer, saved: Path) -> None:
    hub.add_commit("clinic/chest", "main", {"entity_head.json": b"{}", "README.md": b"old", "onnx/x.json": b"{}"})
    place = push_folder(saved, "clinic/chest")
    there = set(hub.files("clinic/chest", place.revision))
    assert "entity_head.json" not in there
    assert "onnx/x.json" in there


def test_a_push_needs_a_licence_and_whole_files(hub: HubServer, saved: Path) -> None:
    with pytest.raises(UsageError, match="clinic/chest@v1 names no repository"):
        push_folder(saved, "clinic/chest@v1")
    (saved / "README.md").write_text("# Mine\n")
    with pytest.raises(UsageError, match=r"README\.md: the model card names no licence"):
        push_folder(saved, "clinic/chest")
    (saved / "README.md").write_text("---\nlicense: [unclosed\n---\n")
    with pytest.raises(UsageError, match="names no licence"):
        push_folder(saved, "clinic/chest")
    write_card(saved, license="mit", force=True)
    (saved / "preprocess.json").write_text("{}")
    with pytest.raises(DataError, match=r"preprocess\.json: is not as it was written"):
        push_folder(saved, "clinic/chest")
    assert hub.requests == []


def test_a_refused_push_is_one_line(hub: HubServer, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_offline(monkeypatch)
    with pytest.raises(UsageError, match="clinic/chest cannot be pushed") as caught:
        push_folder(saved, "clinic/chest")
    assert "\n" not in str(caught.value)


def test_the_command_line_pushes_and_shows(hub: HubServer, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_lgdea(capsys, "model", "push", str(saved), "clinic/chest")
    assert code == 0, err
    assert "pushed: clinic/chest@" in out
    code, out, _ = run_lgdea(capsys, "model", "info", "clinic/chest", "--json")
    found = json.loads(out)["result"]
    assert code == 0
    assert found["repo"] == "clinic/chest"
    assert found["license"] == "cc-by-nc-4.0"
    assert found["revision"] == hub.refs("clinic/chest")["main"]
    code, out, _ = run_lgdea(capsys, "model", "info", "clinic/chest")
    assert hub.refs("clinic/chest")["main"] in out.replace("\n", "")


def test_environment_variables_reach_the_client(hub: HubServer, saved: Path, tmp_path: Path) -> None:
    place = push_folder(saved, "clinic/chest")
    home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "lgdea", "model", "info", "clinic/chest", "--json"]
    for offline in ("0", "1"):
        hub.requests.clear()
        environment = {**os.environ, **uncounted_environment(), **home, "HF_HUB_OFFLINE": offline}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"]["revision"] == place.revision
        assert bool(hub.requests) == (offline == "0")


def test_the_head_of_a_card_is_what_the_hub_reads(saved: Path) -> None:
    card = ModelCard.load(saved / "README.md")
    assert card.data.license == "cc-by-nc-4.0"
    assert card.data.library_name == "lgdea"
    assert card.data.pipeline_tag == "zero-shot-image-classification"
    assert "radiology" in (card.data.tags or [])
