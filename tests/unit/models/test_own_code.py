"""Folders with Python files that transformers would run once somebody answers its question with yes."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import BertConfig

from lgdea.errors import UsageError
from lgdea.evaluation.encoders.registry import load_encoder
from lgdea.models.text_tower import build_text_tower, load_tokenizer
from lgdea.phantom import generate
from lgdea.records.archive import Archive
from lgdea.records.pairing import make_pairing, write_pairing

REFUSAL = "needs Python code of its own, which is not run; choose a model of a kind that transformers knows"


def home_made(folder: Path, *, config: bool = True) -> Path:
    """A model of a kind that only its own file ``code.py`` knows; with ``config=False`` a BERT with such pixels."""
    folder.mkdir()
    auto = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    if config:
        (folder / "config.json").write_text(json.dumps({"model_type": "home-made", "auto_map": auto}))
    else:
        BertConfig(vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(folder)
    words = {"tokenizer_class": "HomeMade", "auto_map": {"AutoTokenizer": ["code.Words", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    pixels = {"image_processor_type": "HomeMade", "auto_map": {"AutoImageProcessor": "code.Pixels"}}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    marker = folder.parent / "executed"
    classes = "\n".join(f"class {name}: pass" for name in ("Config", "Model", "Words", "Pixels"))
    (folder / "code.py").write_text(f"open({str(marker)!r}, 'w').close()\n{classes}\n")
    return folder


def open_clip_of(folder: Path, **text: object) -> str:
    """The name of an open_clip model whose tokenizer, and whatever ``text`` says, is that of :func:`home_made`."""
    text |= {"hf_tokenizer_name": str(home_made(folder)), "context_length": 24}
    vision = {"image_size": 32, "patch_size": 8, "layers": 1, "width": 32, "head_width": 16}
    content = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return f"open_clip:local-dir:{folder}@random"


@pytest.mark.parametrize(
    "load",
    [
        lambda folder: load_encoder(f"hf:{home_made(folder)}"),
        lambda folder: load_encoder(f"hf:{home_made(folder)}@random"),
        lambda folder: load_encoder(f"hf:{home_made(folder, config=False)}@random"),
        lambda folder: load_encoder(open_clip_of(folder, hf_model_name=str(folder))),
        lambda folder: load_encoder(open_clip_of(folder, width=32, heads=2, layers=1)),
        lambda folder: load_tokenizer(home_made(folder)),
        lambda folder: build_text_tower(str(home_made(folder)), pretrained=True),
        lambda folder: build_text_tower(str(home_made(folder)), pretrained=False),
    ],
    ids=["hf", "hf-random", "hf-processor", "open_clip-tower", "open_clip-words", "words", "tower", "arch"],
)
def test_it_is_refused_whatever_somebody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load):
    asked = []
    monkeypatch.setattr(builtins, "input", lambda question="": asked.append(question) or "yes")
    with pytest.raises(UsageError, match=REFUSAL) as refused:
        load(tmp_path / "model")
    assert str(tmp_path / "model") in str(refused.value)
    assert not (tmp_path / "executed").exists()
    assert not asked


def test_a_yes_on_the_command_line_runs_nothing(tmp_path: Path):
    model, archive = home_made(tmp_path / "model"), generate(tmp_path / "archive", studies=60, size=64).folder
    write_pairing(make_pairing(Archive.open(archive), 1.0), tmp_path / "pairing.parquet")
    data = {"archive": archive, "evidence": tmp_path / "evidence", "pairing": tmp_path / "pairing.parquet"}
    settings = [f"data.{key}={path}" for key, path in data.items()] + [f"text.tower={model}", "image.tower=test_resnet"]
    lgdea([], "extract", archive, "--out", tmp_path / "evidence")
    options = [word for setting in [*settings, "image.size=64", "trainer.max_steps=2"] for word in ("--set", setting)]
    for command in (
        ["eval", "zero-shot", f"hf:{model}", archive, "--out", tmp_path / "results"],
        ["pretrain", "--out", tmp_path / "run", "--config", "demo-clip", *options],
    ):
        code, error = lgdea(["yes"] * 20, *command)
        last = error.splitlines()[-1]  # above it transformers may warn that it does not know the kind
        assert code == 2
        assert str(model) in last
        assert REFUSAL in last
    assert not (tmp_path / "executed").exists()


def lgdea(answers: list[str], *arguments: object) -> tuple[int, str]:
    """Exit status and stderr of the command, with ``answers`` on its stdin."""
    command = [sys.executable, "-m", "lgdea", *map(str, arguments)]
    text = "\n".join(answers)
    done = subprocess.run(command, check=False, input=text, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr
