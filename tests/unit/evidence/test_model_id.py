"""A model's identity changes with its weights and is known before they are loaded."""

from __future__ import annotations

import os

import pytest
from huggingface_hub import constants

from lgdea.errors import EvidenceError
from lgdea.evidence.backends.model_id import hash_folder, resolve_revision

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(bytes(40 * 2**20))
    return tmp_path


def test_a_folder_is_named_by_what_it_holds_not_by_where_it_is(folder, tmp_path_factory):
    before = resolve_revision(str(folder))
    assert before.startswith("sha256:")
    assert len(before) == len("sha256:") + 16
    moved = tmp_path_factory.mktemp("other") / "moved"
    folder.rename(moved)
    assert resolve_revision(str(moved)) == before
    (moved / "config.json").write_text('{"model_type": "mistral"}')
    assert resolve_revision(str(moved)) != before


@pytest.mark.parametrize("where", [0, -1])
def test_a_large_file_counts_to_its_first_and_last_byte(folder, where):
    before = hash_folder(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[where] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert hash_folder(folder) != before


def test_retrained_weights_of_the_same_size_differ(folder):
    before = hash_folder(folder)
    (folder / "model.safetensors").write_bytes(os.urandom(40 * 2**20))
    assert hash_folder(folder) != before


def test_a_folder_without_a_model_and_a_missing_one_are_named(tmp_path):
    with pytest.raises(EvidenceError, match=r"no config\.json"):
        resolve_revision(str(tmp_path))
    with pytest.raises(EvidenceError, match="nothing: no such model folder"):
        resolve_revision(str(tmp_path / "nothing"))
    with pytest.raises(EvidenceError, match="no such model folder"):
        resolve_revision("./nothing")


def test_a_commit_is_taken_as_it_is():
    assert resolve_revision("someone/model", COMMIT) == COMMIT


def test_a_cached_model_is_named_by_its_commit_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    home = tmp_path / "models--someone--model"
    (home / "snapshots" / COMMIT).mkdir(parents=True)
    (home / "snapshots" / COMMIT / "config.json").write_text("{}")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    assert resolve_revision("someone/model") == COMMIT
    with pytest.raises(EvidenceError, match="'someone/other' is neither a local folder nor in the cache"):
        resolve_revision("someone/other")
    with pytest.raises(EvidenceError, match="neither a local folder nor in the cache"):
        resolve_revision("someone/model", "v2")


def test_a_name_that_no_hub_could_have_is_one_line():
    with pytest.raises(EvidenceError, match="no model 'a/b/c'"):
        resolve_revision("a/b/c")
