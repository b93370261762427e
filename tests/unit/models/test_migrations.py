"""Models that earlier versions of lgdea wrote, stored as they wrote them, and models of later ones.

``formats/format-N`` was written by the lgdea of its time; its weights are multiples of 1/8, which packs them well.
``expected.npz`` holds what that lgdea computed with it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import lgdea
from lgdea.errors import DataError, UsageError
from lgdea.models.migrations import FORMAT_VERSION, MIGRATIONS, migrate

FORMATS = Path(__file__).parent / "formats"
IMAGE = np.linspace(0, 1, 80 * 60).reshape(80, 60).astype(np.float32)
TEXTS = ["left pleural effusion", "no pneumothorax"]


def test_every_earlier_format_has_its_step() -> None:
    assert list(MIGRATIONS) == list(range(1, FORMAT_VERSION))


@pytest.mark.parametrize("version", [2, 4, 5])
def test_a_stored_model_of_an_earlier_format_computes_what_it_did(version: int) -> None:
    expected = np.load(FORMATS / f"format-{version}" / "expected.npz")
    assert json.loads((FORMATS / f"format-{version}" / "config.json").read_text())["format_version"] == version
    model = lgdea.load_model(FORMATS / f"format-{version}")
    assert model.preprocess is not None
    with torch.no_grad():
        pooled = model.forward_image(model.preprocess(IMAGE)[0][None])["pooled"]
    np.testing.assert_allclose(pooled, expected["pooled"], atol=1e-5)
    assert np.ptp(expected["pooled"]) > 0.1
    if version >= 4:  # since then retrieval embeddings are what they are; heat maps are those of this version
        np.testing.assert_allclose(model.encode_text(TEXTS), expected["text"], atol=1e-5)
        np.testing.assert_allclose(model.encode_image(IMAGE), expected["image"], atol=1e-5)
        heat_map = np.nan_to_num(model.heat_map(IMAGE, TEXTS[0]), nan=-9)
        np.testing.assert_allclose(heat_map, expected["heat"], atol=1e-5)
        assert np.abs(np.diff(expected["text"], axis=0)).max() > 1e-3


def test_an_earlier_model_saved_again_is_of_todays_format(tmp_path: Path) -> None:
    model = lgdea.load_model(FORMATS / "format-2")
    folder = lgdea.save_model(model, tmp_path / "model")
    assert json.loads((folder / "config.json").read_text())["format_version"] == FORMAT_VERSION
    np.testing.assert_array_equal(lgdea.load_model(folder).encode_text(TEXTS), model.encode_text(TEXTS))


def test_what_the_head_lacked_is_uncalibrated_and_what_is_gone_is_left_out() -> None:
    folder = FORMATS / "format-2"
    old = load_file(folder / "model.safetensors")
    config, weights = migrate(json.loads((folder / "config.json").read_text()), old)
    assert config["format_version"] == FORMAT_VERSION
    assert torch.equal(weights["retrieval_head.image_centre"], old["whole.image_centre"])
    assert old["whole.image_centre"].any()
    assert not weights["retrieval_head.patch_centre"].any()
    assert weights["retrieval_head.phrases"].shape == (2, 16)
    assert not [name for name in weights if name.startswith("whole.") or "usual_presence" in name]


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (FORMAT_VERSION + 1, rf"format version {FORMAT_VERSION + 1}, this lgdea reads up to .*; upgrade lgdea .*9\.0"),
        (0, "format version 0"),
        (-1, "format version -1"),
        ("5", "format version '5'"),
        (None, "is no model of lgdea"),
    ],
)
def test_a_format_that_is_not_known_is_refused_in_one_line(version: object, says: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FORMATS / "format-4", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text()) | {"format_version": version, "lgdea_version": "9.0"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=says) as caught:
        lgdea.load_model(folder)
    assert "\n" not in str(caught.value)


def test_an_earlier_model_without_one_of_its_tensors_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = Path(shutil.copytree(FORMATS / "format-4", tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    del weights["whole.phrases"], weights["presence_bias"]
    weights["prototypes.weight"] = weights["prototypes.weight"][:2].contiguous()
    weights["nonsense"] = torch.zeros(1)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"presence_bias is missing, retrieval_head\.phrases is missing, nonsense") as e:
        lgdea.load_model(folder)
    assert "prototypes.weight has shape (2, 16), the configuration says (4, 16)" in str(e.value)
