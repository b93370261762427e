"""``--trust-remote-code``: the code that runs is in a folder or of one commit, and is named with its hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, ViTConfig, ViTImageProcessor, ViTModel

import lgdea
from lgdea import foreign_code
from lgdea.cli import main
from lgdea.errors import UsageError
from lgdea.evaluation.encoders.registry import load_encoder
from lgdea.foreign_code import admit, list_foreign_code, trusting
from lgdea.models.hub_tower import build_hub_tower
from lgdea.models.text_tower import build_text_tower, load_tokenizer, train_tokenizer
from lgdea.phantom import generate

TEXTS = ["Small left pleural effusion.", "The lungs are clear.", "No pneumothorax."]
CODE = """from transformers import {base}Config, {base}Model

class Config({base}Config):
    model_type = "home-made-{base}"

class Model({base}Model):
    config_class = Config
"""
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def _own(folder: Path, model: Any, base: str) -> Path:
    """Save a model as one of a kind that only the folder's own file knows."""
    model.save_pretrained(folder)
    # Names as the class has them: those of kinds that transformers knows are translated when they are saved.
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "modeling_own.Config", "AutoModel": "modeling_own.Model"}
    config |= {"model_type": f"home-made-{base}", "auto_map": auto, "architectures": ["Model"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_own.py").write_text(CODE.format(base=base))
    return folder


def _text(folder: Path) -> Path:
    tokenizer = train_tokenizer(TEXTS)
    _own(folder, BertModel(BertConfig(vocab_size=len(tokenizer), **SMALL)), "Bert")
    tokenizer.save_pretrained(folder)
    return folder


def _image(folder: Path) -> Path:
    _own(folder, ViTModel(ViTConfig(image_size=32, patch_size=8, **SMALL)), "ViT")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _hash(folder: Path) -> dict[str, str]:
    return {"modeling_own.py": hashlib.sha256((folder / "modeling_own.py").read_bytes()).hexdigest()}


def test_it_is_off_and_goes_off_again(tmp_path: Path) -> None:
    folder = _text(tmp_path / "m1")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"needs Python code of its own, which is not run; .* and say --"):
            build_text_tower(str(folder), True)
        with trusting():
            assert build_text_tower(str(folder), True).dim == 16
        assert list_foreign_code() == []


@pytest.mark.parametrize("pretrained", [True, False, None])
def test_a_text_tower_runs_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pretrained: bool | None
) -> None:
    folder = _text(tmp_path / "m2")
    with trusting():
        tower = build_text_tower(str(folder), pretrained)
        assert load_tokenizer(folder)("effusion")["input_ids"]
        assert list_foreign_code() == [{"model": str(folder), "files": _hash(folder)}]
    lines = [r.getMessage() for r in caplog.records if "runs Python code" in r.getMessage()]
    digest = _hash(folder)["modeling_own.py"]
    assert lines == [f"{folder} runs Python code of its own: modeling_own.py (sha256 {digest[:12]})"]
    assert tower.describe()["own_code"] == {"model": str(folder), "files": _hash(folder)}


def test_encoders_name_it_in_their_results(tmp_path: Path) -> None:
    folder = _image(tmp_path / "m3")
    with pytest.raises(UsageError, match="which is not run"):
        load_encoder(f"hf:{folder}")
    with trusting():
        for random in ("", "@random"):
            encoder: Any = load_encoder(f"hf:{folder}{random}")
            assert any(f"ran Python code of {folder}: modeling_own.py (sha256 " in note for note in encoder.notes)


def test_a_model_trained_on_it_loads_with_the_same_code_alone(tmp_path: Path) -> None:
    text, image = _text(tmp_path / "t4"), _image(tmp_path / "i4")
    with trusting():
        model = lgdea.create_model(f"hf:{image}", text_tower=str(text), image_size=32, dim=8)
        lgdea.save_model(model, tmp_path / "saved")
        again = lgdea.load_model(tmp_path / "saved")
    ids = again.tokenize(TEXTS)
    assert torch.equal(model.eval().forward_text(**ids)["pooled"], again.forward_text(**ids)["pooled"])
    picture = torch.rand(2, 1, 32, 32)
    assert torch.equal(model.forward_image(picture)["pooled"], again.forward_image(picture)["pooled"])
    with pytest.raises(UsageError, match="which is not run"):
        lgdea.load_model(tmp_path / "saved")
    (text / "modeling_own.py").write_text(CODE.format(base="Bert") + "\n# changed\n")
    with trusting(), pytest.raises(UsageError, match="the code of this model's tower has changed; restore the files"):
        lgdea.load_model(tmp_path / "saved")


def test_code_of_another_repository_is_refused(tmp_path: Path) -> None:
    folder = _image(tmp_path / "m5")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "somebody/else--modeling.Model"
    (folder / "config.json").write_text(json.dumps(config))
    with trusting(), pytest.raises(UsageError, match=r"its code is in another repository \(somebody/else\)"):
        build_hub_tower(f"hf:{folder}", True, 32)


def test_a_name_of_the_hub_needs_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, bool]] = []
    folder = _text(tmp_path / "m6")

    def fetch(repo: str, *, revision: str, allow_patterns: list[str]) -> str:
        asked.append((repo, revision, "*.py" in allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    name = f"org/name@{'0' * 40}"
    with trusting():
        admitted = admit(name)
        assert (admitted.place, admitted.trusted, admitted.files) == (str(folder), True, _hash(folder))
        assert build_text_tower(name, True).describe()["own_code"]["model"] == name
        assert not admit("org/name").trusted
        assert not admit("org/name@main").trusted
        assert "of a fixed commit alone; write ORGANISATION/NAME@COMMIT" in str(foreign_code.refusal("org/name"))
    assert not admit(name).trusted
    assert asked == [("org/name", "0" * 40, True)] * 2 + [("org/name", "0" * 40, False)]


def test_it_is_said_on_the_command_line_alone_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, archive = _image(tmp_path / "m7"), generate(tmp_path / "archive", studies=6, size=64).folder
    command = ["embed", f"hf:{folder}", str(archive), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 2
    assert "--trust-remote-code" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main([*command, "--trust-remote-code"])
    assert left.value.code == 0
    assert "runs Python code of its own: modeling_own.py (sha256 " in " ".join(capsys.readouterr().err.split())
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())
    assert recorded["foreign_code"] == [{"model": str(folder), "files": _hash(folder)}]
    assert not foreign_code.is_trusting()
