from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import lgdea
from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.manifests import FILES, SEAL
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import load_image_tower, load_model, save_model

TEXTS = ["Moderate left pleural effusion.", "No pneumothorax."]


@pytest.fixture
def folder(make_model: Callable[..., LgdeaModel], tmp_path: Path) -> Path:
    return save_model(
        make_model(findings=["cardiomegaly"]), tmp_path / "model", {"data": "synthetic", "results": {"AUROC": 0.5}}
    )


@pytest.mark.parametrize("tower", ["mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_a_reloaded_model_embeds_bit_for_bit_the_same(
    make_model: Callable[..., LgdeaModel], tmp_path: Path, tower: str
) -> None:
    model = make_model(tower, scoring="global", findings=["edema"])
    model.train()
    model.forward_image(torch.rand(4, 1, 64, 64))  # move the batch norm statistics away from their defaults
    images = [np.random.default_rng(i).random((70, 50 + i)) for i in range(3)]
    again = load_model(save_model(model, tmp_path / "model"))
    np.testing.assert_array_equal(again.encode_image(images), model.encode_image(images))
    np.testing.assert_array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))
    np.testing.assert_array_equal(again.heat_map(images[0], "edema"), model.heat_map(images[0], "edema"))
    assert again.settings == model.settings
    assert again.preprocess == model.preprocess
    assert again.evidence(images[0]) == model.evidence(images[0])
    assert not again.training


def test_the_folder_holds_no_pickle_and_a_card(folder: Path) -> None:
    names = {p.name for p in folder.iterdir()}
    assert {"config.json", "model.safetensors", "preprocess.json", "tokenizer.json", "README.md"} <= names
    assert not [n for n in names if n.endswith((".bin", ".pt", ".pkl", ".tmp"))]
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: lgdea\npipeline_tag: zero-shot-image-classification\n")
    assert "mobilenetv3_small_050, 64 px, stride 16" in card
    assert "| AUROC | 0.5 |" in card
    assert "no medical device" in card


def test_the_package_loads_it(folder: Path) -> None:
    assert lgdea.load_model(folder).findings == ("cardiomegaly",)


def test_saving_over_an_older_model_replaces_it(make_model: Callable[..., LgdeaModel], folder: Path) -> None:
    model = make_model(prototypes=5)
    save_model(model, folder)
    assert load_model(folder).prototypes.weight.shape == (5, 32)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocess.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name}: .*missing"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocess.json", "tokenizer.json"])
def test_a_cut_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    with pytest.raises(LgdeaError, match=name) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    unsealed = {name: value for name, value in config.items() if name not in (FILES, SEAL)}  # as earlier versions wrote
    (folder / "config.json").write_text(json.dumps({**unsealed, **changes}))


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit(folder, model={**config["model"], "prototypes": 99})
    with pytest.raises(DataError, match=r"prototypes.weight has shape \(12, 32\), the configuration says \(99, 32\)"):
        load_model(folder)


def test_missing_and_unknown_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["extra"] = weights.pop("presence_bias")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors: is not as it was written"):
        load_model(folder)
    edit(folder)
    with pytest.raises(DataError, match="presence_bias is missing, extra is unknown"):
        load_model(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    edit(folder, format_version=7, lgdea_version="9.0")
    with pytest.raises(UsageError, match=r"format version 7.*upgrade lgdea .*9\.0"):
        load_model(folder)


def test_a_model_of_the_first_format_ranks_by_its_pooled_embeddings(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({n: v for n, v in weights.items() if not n.startswith("retrieval_head.")}, folder / "model.safetensors")
    edit(folder)
    with pytest.raises(DataError, match=r"retrieval_head\.\w+ is missing"):
        load_model(folder)
    edit(folder, format_version=1)
    model = load_model(folder)
    tokens = model.tokenize(TEXTS)
    with torch.no_grad():
        pooled = model.forward_text(**tokens)["pooled"]
    found = model.encode_text(TEXTS)[:, -model.dim :]
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), pooled.numpy(), atol=1e-6)


def test_a_model_of_the_second_format_keeps_its_centres(folder: Path) -> None:
    weights = old_names(load_file(folder / "model.safetensors"))
    for name in ("patch_centre", "phrases", "image_shift", "report_shift"):
        del weights[f"whole.{name}"]
    weights["whole.image_centre"] += 1
    weights["whole.usual_presence"] = torch.ones(3)  # no longer known
    save_file(weights, folder / "model.safetensors")
    edit(folder, format_version=2)
    model = load_model(folder)
    assert torch.equal(model.retrieval_head.image_centre, weights["whole.image_centre"])
    assert not model.retrieval_head.patch_centre.any()


def test_a_model_of_the_fourth_format_is_read_by_its_old_names(
    make_model: Callable[..., LgdeaModel], tmp_path: Path
) -> None:
    model = make_model(findings=["pleural_effusion", "nodule"])
    for buffer in model.retrieval_head.buffers():
        buffer.normal_()
    folder = save_model(model, tmp_path / "model")
    wanted = load_model(folder).encode_text(TEXTS)
    save_file(old_names(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    edit(folder, format_version=4)
    np.testing.assert_array_equal(load_model(folder).encode_text(TEXTS), wanted)


def old_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights by the names of formats 1 to 4."""
    return {name.replace("retrieval_head.", "whole."): value for name, value in weights.items()}


def test_a_configuration_changed_by_hand_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit(folder, model={**config["model"], "dimension": 3})
    with pytest.raises(DataError, match="does not describe a model"):
        load_model(folder)


def test_no_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such model folder"):
        load_model(tmp_path / "nothing")


def test_a_model_without_preprocessing_is_not_saved(make_model: Callable[..., LgdeaModel], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no preprocessing"):
        save_model(make_model(preprocess=None), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_tower_takes_the_weights_of_a_model_or_of_a_tower(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    wanted = model.image_tower.state_dict()
    save_file(dict(wanted), tmp_path / "tower.safetensors")
    for file in (folder / "model.safetensors", tmp_path / "tower.safetensors"):
        tower = build_image_tower(**model.image_tower.describe())
        assert not torch.equal(next(tower.parameters()), next(model.image_tower.parameters()))
        load_image_tower(tower, file)
        assert all(torch.equal(value, wanted[name]) for name, value in tower.state_dict().items())


def test_weights_of_another_tower_are_refused(folder: Path, tmp_path: Path) -> None:
    tower = build_image_tower("test_convnext", image_size=64, stride=8)
    with pytest.raises(DataError, match=r"model\.safetensors: the weights do not fit .*image\.tower"):
        load_image_tower(tower, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"none\.safetensors: the file of weights is missing"):
        load_image_tower(tower, tmp_path / "none.safetensors")
