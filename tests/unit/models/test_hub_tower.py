"""Vision encoders of transformers as image towers."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import lgdea
from lgdea.errors import ConfigError, UsageError
from lgdea.models.image_tower import build_image_tower
from lgdea.models.serialization import load_image_tower
from tests.helpers import tiny_encoders
from tests.helpers.vision_encoders import MEAN, SIDE, STD, vision_encoder

TEXTS = ["Small left pleural effusion.", "The lungs are clear."]
WITH_PATCHES = ["dinov2", "dinov2-registers", "vit", "deit", "beit", "clip-vision", "siglip-vision"]
PREFIX = {"dinov2": 1, "dinov2-registers": 5, "vit": 1, "deit": 2, "beit": 1, "clip-vision": 1, "siglip-vision": 0}


def as_published(model, grey: torch.Tensor) -> torch.Tensor:
    """What the encoder makes of a grey picture that its own processor has normalised."""
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    options = {"interpolate_pos_encoding": True} if grey.shape[-1] != SIDE else {}
    if options and "dinov2" in model.config.model_type:
        options = {}
    with torch.no_grad():
        return model(pixel_values=(grey.expand(-1, 3, -1, -1) - mean) / std, **options)


@pytest.mark.parametrize("size", [SIDE, 48])
@pytest.mark.parametrize("kind", WITH_PATCHES)
def test_patches_are_those_of_the_encoder_for_its_own_preprocessing(tmp_path: Path, kind: str, size: int) -> None:
    model = vision_encoder(kind, tmp_path)
    made = lgdea.create_model(f"hf:{tmp_path}", texts=TEXTS, image_size=size, hidden=32, dim=16).eval()
    tower, side = made.image_tower, size // 8
    assert (tower.grid, tower.stride, tower.dim) == ((side, side), 8, 32)
    assert (made.preprocess.mean, made.preprocess.std) == (pytest.approx(np.mean(MEAN)), pytest.approx(np.mean(STD)))
    grey = torch.rand(2, 1, size, size)
    with torch.no_grad():
        out = tower(made.preprocess.normalise(grey))
    published = as_published(model, grey)
    torch.testing.assert_close(out["patches"], published.last_hidden_state[:, PREFIX[kind] :], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out["pooled"], published.pooler_output, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "side"), [("swin", 8), ("convnext", 2)])
def test_hierarchical_encoders_give_their_last_grid(tmp_path: Path, kind: str, side: int) -> None:
    model = vision_encoder(kind, tmp_path)
    size = 32 if kind == "swin" else 64
    tower = build_image_tower(f"hf:{tmp_path}", None, size).eval()
    assert tower.grid == (side, side)
    with torch.no_grad():
        out = tower(torch.rand(2, 1, size, size))
    assert out["patches"].shape == (2, side * side, model.config.hidden_sizes[-1] if kind == "convnext" else 16)


@pytest.mark.parametrize(("row", "column"), [(1, 3), (3, 1)])
def test_patches_stand_row_by_row(tmp_path: Path, row: int, column: int) -> None:
    vision_encoder("dinov2", tmp_path)
    tower = build_image_tower(f"hf:{tmp_path}", None, 48).eval()
    image = torch.rand(1, 1, 48, 48)
    changed = image.clone()
    changed[..., row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 3
    with torch.no_grad():
        moved = (tower(changed)["patches"] - tower(image)["patches"]).norm(dim=-1)[0]
    assert divmod(int(moved.argmax()), 6) == (row, column)


@pytest.mark.parametrize("make", [tiny_encoders.clip, tiny_encoders.siglip])
def test_of_an_image_text_model_the_image_side_is_taken(tmp_path: Path, make) -> None:
    whole = make(tmp_path)
    tower = build_image_tower(f"hf:{tmp_path}", None, tiny_encoders.SIDE).eval()
    images = torch.rand(2, 1, tiny_encoders.SIDE, tiny_encoders.SIDE)
    with torch.no_grad():
        wanted = whole.vision_model(pixel_values=images * tower.scale + tower.offset).last_hidden_state
        torch.testing.assert_close(tower(images)["patches"], wanted[:, tower.prefix :], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["dinov2", "siglip-vision", "convnext"])
def test_a_saved_model_needs_its_folder_no_more(tmp_path: Path, kind: str) -> None:
    vision_encoder(kind, tmp_path / "encoder")
    model = lgdea.create_model(f"hf:{tmp_path / 'encoder'}", texts=TEXTS, image_size=64, hidden=32, dim=16)
    lgdea.save_model(model, tmp_path / "model")
    shutil.rmtree(tmp_path / "encoder")
    again = lgdea.load_model(tmp_path / "model")
    image = np.random.default_rng(0).random((70, 60))
    np.testing.assert_array_equal(again.encode_image(image), model.encode_image(image))
    np.testing.assert_array_equal(again.heat_map(image, "nodule"), model.heat_map(image, "nodule"))


def test_it_trains_and_freezes(tmp_path: Path) -> None:
    vision_encoder("dinov2", tmp_path)
    name = f"hf:{tmp_path}"
    tower = lgdea.create_model(name, texts=TEXTS, image_size=SIDE, image_freeze="all_but_last_1").image_tower
    out = tower(torch.rand(2, 1, SIDE, SIDE))
    (out["patches"].sum() + out["pooled"].sum()).backward()
    with_gradient = {n for n, p in tower.named_parameters() if p.grad is not None}
    assert {n.split(".")[2] for n in with_gradient if "layer." in n} == {"layer"} or with_gradient
    assert not [n for n in with_gradient if "layer.0." in n or "layer.1." in n or "embeddings" in n]
    assert [n for n in with_gradient if "layer.2." in n]


def test_published_weights_go_into_it_too(tmp_path: Path) -> None:
    model = vision_encoder("dinov2", tmp_path / "encoder")
    torch.save({"teacher": {f"backbone.{k}": v + 1 for k, v in model.state_dict().items()}}, tmp_path / "own.pth")
    tower = build_image_tower(f"hf:{tmp_path / 'encoder'}", False, SIDE)
    load_image_tower(tower, tmp_path / "own.pth")
    for key, value in model.state_dict().items():
        assert torch.equal(tower.backbone.state_dict()[key], value + 1)


def test_random_weights_only_when_asked(tmp_path: Path) -> None:
    model = vision_encoder("vit", tmp_path)
    key, value = next((k, v) for k, v in model.state_dict().items() if "attention" in k)
    assert torch.equal(build_image_tower(f"hf:{tmp_path}", None, SIDE).backbone.state_dict()[key], value)
    assert torch.equal(build_image_tower(f"hf:{tmp_path}", True, SIDE).backbone.state_dict()[key], value)
    assert not torch.equal(build_image_tower(f"hf:{tmp_path}", False, SIDE).backbone.state_dict()[key], value)


def test_without_an_image_processor_a_warning_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vision_encoder("vit", tmp_path, processor=False)
    with caplog.at_level(logging.WARNING, "lgdea"):
        tower = build_image_tower(f"hf:{tmp_path}", None, SIDE)
    assert tower.normalisation is None
    assert "does not say how its pictures were normalised" in caplog.text


def test_encoders_without_a_fixed_grid_are_one_clear_line(tmp_path: Path) -> None:
    vision_encoder("vit-mae", tmp_path / "mae")
    with pytest.raises(ConfigError, match="looks at other patches each time"):
        build_image_tower(f"hf:{tmp_path / 'mae'}", None, SIDE)
    vision_encoder("dinov2", tmp_path / "dino")
    with pytest.raises(ConfigError, match=r"image size 50 is not a multiple of the patch size 8 .*use 48"):
        build_image_tower(f"hf:{tmp_path / 'dino'}", None, 50)
    transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2).save_pretrained(
        tmp_path / "bert"
    )
    with pytest.raises((ConfigError, UsageError)) as caught:
        build_image_tower(f"hf:{tmp_path / 'bert'}", False, SIDE)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_had_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cases = {
        f"hf:{tmp_path / 'nowhere'}": "nowhere: no such folder of the image tower",
        "hf:microsoft/rad-dino": "image tower 'microsoft/rad-dino' cannot be loaded, and is no folder here",
    }
    for name, message in cases.items():
        with pytest.raises(UsageError, match=message) as caught:
            build_image_tower(name, None, SIDE)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    vision_encoder("vit", tmp_path / "vit")
    vision_encoder("convnext", tmp_path / "convnext")
    shutil.copy(tmp_path / "convnext" / "model.safetensors", tmp_path / "vit" / "model.safetensors")
    with pytest.raises(UsageError, match=r"its checkpoint lacks \d+ weights of the vision encoder"):
        build_image_tower(f"hf:{tmp_path / 'vit'}", None, SIDE)


def test_code_that_a_folder_brings_along_is_never_run(tmp_path: Path) -> None:
    vision_encoder("vit", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(UsageError, match="needs Python code of its own, which is not run"):
        build_image_tower(f"hf:{tmp_path}", None, SIDE)
    assert not (tmp_path / "ran").exists()
