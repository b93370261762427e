"""Folders and names that hold no model: one line says what is wrong with which, and what helps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lgdea.comparison.finetune.model import load_vlm
from lgdea.errors import UsageError
from lgdea.evaluation.encoders.registry import load_encoder
from lgdea.models.hub_tower import build_hub_tower
from lgdea.models.text_tower import build_text_tower, load_tokenizer

LOADERS: dict[str, Callable[[str], Any]] = {
    "tokenizer": load_tokenizer,
    "text tower": build_text_tower,
    "image tower": lambda name: build_hub_tower(f"hf:{name}", True, 32),
    "model": lambda name: load_encoder(f"hf:{name}"),
    "vision-language model": load_vlm,
}


@pytest.mark.parametrize("what", LOADERS)
@pytest.mark.parametrize("name", ["/nowhere/minilm", "./minilm", "../minilm", "~/minilm", "a/b/c", "a b", "", "C:\\m"])
def test_neither_a_folder_nor_a_name(what: str, name: str) -> None:
    with pytest.raises(UsageError, match=f"no such folder of the {what}, and no name .* Hub can have; check the path"):
        LOADERS[what](name)


@pytest.mark.parametrize("what", LOADERS)
def test_an_empty_folder_and_a_file(tmp_path: Path, what: str) -> None:
    with pytest.raises(UsageError, match=f"the folder of the {what} is empty"):
        LOADERS[what](str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(UsageError, match=f"model.bin: is a file, not the folder of the {what}"):
        LOADERS[what](str(tmp_path / "model.bin"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no tokenizer: its vocabulary is empty; copy tokenizer.json"),
        ({"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"}, "holds no tokenizer: its vocabulary is empty"),
        ({"tokenizer.json": '{"x": 1'}, "the tokenizer in this folder cannot be loaded .JSONDecodeError"),
        ({"tokenizer.json": "{}"}, "the tokenizer in this folder cannot be loaded .KeyError"),
        ({"tokenizer.json": "[1]"}, "the tokenizer in this folder cannot be loaded"),
        ({"tokenizer_config.json": "\x00"}, "the tokenizer in this folder cannot be loaded"),
        ({"tokenizer_config.json": '{"tokenizer_class": "NoSuchTokenizer"}'}, "tokenizer"),
    ],
)
def test_a_folder_whose_tokenizer_is_missing_or_damaged(tmp_path: Path, files: dict[str, str], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"model_type": "no-such"}', '{"model_type": "bert", "hidden_size": "x"}']
)
def test_a_folder_whose_configuration_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match="the text tower in this folder cannot be loaded"):
        build_text_tower(str(tmp_path))
