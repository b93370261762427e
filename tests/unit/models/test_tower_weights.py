"""Published weights in image towers: every way in which others save them gives the same tower."""

from __future__ import annotations

import argparse
import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lgdea.errors import DataError, UsageError
from lgdea.models.image_tower import build_image_tower
from lgdea.models.serialization import load_image_tower

Weights = dict[str, Tensor]


class Unsafe:
    """What a file of weights must not bring along."""


def published(name: str, **options) -> Weights:
    """A classifier of colour pictures, as its authors save it; batch statistics are not their defaults."""
    torch.manual_seed(3)
    model = timm.create_model(name, in_chans=3, num_classes=10, **options)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for key, value in state.items():
        if key.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    return state


def expected(tower: nn.Module, weights: Weights, size: int) -> Tensor:
    """The finest features (or patch tokens) of the published model for a grey picture on three channels."""
    options = {"img_size": size} if tower.name.startswith("test_vit") else {"features_only": True}
    torch.manual_seed(0)
    whole = timm.create_model(tower.name, in_chans=3, num_classes=10)
    whole.load_state_dict(weights)
    picture = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(1)).expand(1, 3, size, size)
    with torch.no_grad():
        if "features_only" in options:
            return whole.eval().forward_intermediates(picture, intermediates_only=True)[-1]
        return whole.eval().forward_features(picture)[:, tower.prefix :]


def got(tower: nn.Module, size: int) -> Tensor:
    picture = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tower.eval()
        return tower._levels(picture)[-1] if hasattr(tower, "_levels") else tower.encode(picture)[1]


def in_file(folder: Path, content, suffix: str = ".pth") -> Path:
    file = folder / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(content, file)
    else:
        torch.save(content, file)
    return file


WAYS: dict[str, Callable[[Weights], object]] = {
    "plain": lambda w: w,
    "ordered": OrderedDict,
    "data parallel": lambda w: {f"module.{k}": v for k, v in w.items()},
    "detector": lambda w: {"state_dict": {f"backbone.{k}": v for k, v in w.items()}, "epoch": 3},
    "lightning": lambda w: {
        "state_dict": {f"model.encoder.{k}": v for k, v in w.items()},
        "hyper_parameters": {"lr": 1},
    },
    "distilled": lambda w: {
        "student": {f"module.backbone.{k}": torch.zeros_like(v) for k, v in w.items()},
        "teacher": {f"backbone.{k}": v for k, v in w.items()} | {"head.mlp.0.weight": torch.zeros(3, 3)},
        "args": argparse.Namespace(arch="vit"),
    },
    "with numbers of numpy": lambda w: {"state_dict": w, "best_acc1": np.float64(0.7), "epoch": np.int64(3)},
    "averaged": lambda w: {"state_dict": {k: torch.zeros_like(v) for k, v in w.items()}, "state_dict_ema": w},
    "contrastive": lambda w: {
        "model": {f"visual.trunk.{k}": v for k, v in w.items()} | {"logit_scale": torch.ones(())}
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "size"), [("test_resnet", 64), ("test_vit", 160)])
def test_every_way_of_saving_weights_gives_the_published_features(
    tmp_path: Path, way: str, name: str, size: int
) -> None:
    weights = published(name)
    tower = build_image_tower(name, False, size, 16)
    load_image_tower(tower, in_file(tmp_path, WAYS[way](weights)))
    torch.testing.assert_close(got(tower, size), expected(tower, weights, size), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".ckpt", ".bin"])
def test_the_suffix_may_be_any(tmp_path: Path, suffix: str) -> None:
    weights = published("test_resnet")
    tower = build_image_tower("test_resnet", False, 64, 16)
    load_image_tower(tower, in_file(tmp_path, weights, suffix))
    torch.testing.assert_close(got(tower, 64), expected(tower, weights, 64), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["mobilenetv3_small_050", "tf_efficientnet_lite0", "convnext_atto", "swin_tiny_patch4_window7_224", "densenet121"],
)
def test_all_of_a_feature_pyramid_is_filled(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """timm's wrappers for features call parts otherwise than the published model does."""
    tower = build_image_tower(name, False, 128, 16)
    with caplog.at_level(logging.INFO, "lgdea"):
        load_image_tower(tower, in_file(tmp_path, published(name)))
    (line,) = caplog.messages
    count = sum(not key.endswith("num_batches_tracked") for key in tower.backbone.state_dict())
    assert f"{count} of {count} tensors of {name} loaded; stem folded to one channel; " in line
    assert "stay random" not in line


def test_one_line_says_what_was_left_on_either_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = published("test_resnet")
    del weights["layer4.0.conv1.weight"]
    weights["projector.weight"] = torch.zeros(3, 3)
    tower = build_image_tower("test_resnet", False, 64, 8)
    with caplog.at_level(logging.INFO, "lgdea"):
        load_image_tower(tower, in_file(tmp_path, {f"module.{k}": v for k, v in weights.items()}))
    (line,) = caplog.messages
    assert "prefix 'module.' taken off" in line
    assert "1 stay random (layer4.0.conv1.weight)" in line
    assert "3 of the file not used (fc.weight, fc.bias, projector.weight)" in line


def test_position_embeddings_are_resized(tmp_path: Path) -> None:
    weights = published("test_vit")  # 160 px: 10 x 10 patches
    tower = build_image_tower("test_vit", False, 64, 16)
    load_image_tower(tower, in_file(tmp_path, weights))
    grid = weights["pos_embed"][:, -100:].reshape(1, 10, 10, -1).permute(0, 3, 1, 2)
    wanted = nn.functional.interpolate(grid, size=(4, 4), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tower.backbone.pos_embed.data[:, -16:], wanted, rtol=1e-3, atol=1e-3)


def test_weights_of_another_architecture_are_one_clear_line(tmp_path: Path) -> None:
    tower = build_image_tower("test_resnet", False, 64, 16)
    before = {key: value.clone() for key, value in tower.state_dict().items()}
    with pytest.raises(DataError, match=r"only \d+ of the \d+ tensors of test_resnet fit .*set image\.tower") as caught:
        load_image_tower(tower, in_file(tmp_path, published("test_vit")))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in tower.state_dict().items())


def test_weights_of_other_widths_are_told_by_their_shapes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wider = {key: value.repeat_interleave(2, dim=0) for key, value in published("test_resnet").items() if value.dim()}
    with pytest.raises(DataError, match=r"only 0 of .* of another shape, such as conv1\.\S+: \(\d.*\) for \(\d"):
        load_image_tower(build_image_tower("test_resnet", False, 64, 16), in_file(tmp_path, wider))
    weights = published("test_resnet")
    weights["layer1.0.conv1.weight"] = weights["layer1.0.conv1.weight"][1:]
    with caplog.at_level(logging.WARNING, "lgdea"):
        load_image_tower(build_image_tower("test_resnet", False, 64, 16), in_file(tmp_path, weights))
    assert "1 of another shape, such as layer1.0.conv1.weight: (" in caplog.messages[0]


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = published("test_resnet")
    weights["layer1.0.conv1.weight"][0, 0, 0, 0] = float("inf")
    with pytest.raises(DataError, match=r"tensor layer1\.0\.conv1\.weight holds values that are not finite"):
        load_image_tower(build_image_tower("test_resnet", False, 64, 16), in_file(tmp_path, weights))
    tower = build_image_tower("test_resnet", False, 64, 16)
    own = {name: value.contiguous() for name, value in tower.state_dict().items()}
    own["mix.weight"] = torch.full_like(own["mix.weight"], float("nan"))
    save_file(own, tmp_path / "tower.safetensors")
    with pytest.raises(DataError, match=r"tensor mix\.weight holds values that are not finite"):
        load_image_tower(tower, tmp_path / "tower.safetensors")


def test_what_is_no_file_of_weights_is_told_by_what_it_is(tmp_path: Path) -> None:
    tower = build_image_tower("test_resnet", False, 64, 16)
    (tmp_path / "page.pth").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"page\.pth: is no file of weights: neither safetensors nor"):
        load_image_tower(tower, tmp_path / "page.pth")
    with pytest.raises(DataError, match=r"is a folder, not a file of weights; set image\.weights to a file in it"):
        load_image_tower(tower, tmp_path)
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "program.pt")
    with pytest.raises(UsageError, match=r"is a TorchScript program, .*; save its weights alone"):
        load_image_tower(tower, tmp_path / "program.pt")
    save_file(published("test_resnet"), tmp_path / "weights.bin")  # safetensors by another name
    assert load_image_tower(tower, tmp_path / "weights.bin") is None


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    tower = build_image_tower("test_resnet", False, 64, 16)
    file = in_file(tmp_path, {"state_dict": published("test_resnet"), "config": Unsafe()})
    with pytest.raises(
        UsageError, match=r"weights\.pth: holds Python objects .*never unpickled; save its weights alone"
    ):
        load_image_tower(tower, file)
    torch.save(timm.create_model("test_resnet"), file)  # a whole model
    with pytest.raises(UsageError, match=r"never unpickled") as caught:
        load_image_tower(tower, file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises((DataError, UsageError)) as caught:
        load_image_tower(build_image_tower("test_resnet", False, 64, 16), file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"epoch": 3}, {}, [torch.zeros(2)], torch.zeros(2)])
def test_a_file_without_named_tensors_is_one_clear_line(tmp_path: Path, content) -> None:
    with pytest.raises(DataError, match="no tensors by name"):
        load_image_tower(build_image_tower("test_resnet", False, 64, 16), in_file(tmp_path, content))


def test_original_names_are_converted_as_timm_does(tmp_path: Path) -> None:
    """A CLIP file of OpenAI's or open_clip's names, text side and all, under a prefix or not."""
    torch.manual_seed(0)
    width, layers, names = 64, 6, {}
    visual = {
        "class_embedding": (width,),
        "positional_embedding": (101, width),
        "conv1.weight": (width, 3, 16, 16),
        **{f"{norm}.{part}": (width,) for norm in ("ln_pre", "ln_post") for part in ("weight", "bias")},
        "proj": (width, 32),
    }
    for i in range(layers):
        block = f"transformer.resblocks.{i}"
        visual |= {f"{block}.{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        visual |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        visual |= {f"{block}.attn.out_proj.weight": (width, width), f"{block}.attn.out_proj.bias": (width,)}
        visual |= {f"{block}.mlp.c_fc.weight": (4 * width, width), f"{block}.mlp.c_fc.bias": (4 * width,)}
        visual |= {f"{block}.mlp.c_proj.weight": (width, 4 * width), f"{block}.mlp.c_proj.bias": (width,)}
    names = {f"visual.{name}": torch.randn(shape) for name, shape in visual.items()}
    names |= {
        "text_projection": torch.zeros(3, 3),
        "token_embedding.weight": torch.zeros(5, 3),
        "logit_scale": torch.ones(1),
    }
    for content in (names, {"state_dict": {f"module.{k}": v for k, v in names.items()}}):
        options = {"embed_dim": width, "depth": layers, "num_heads": 2, "pre_norm": True, "no_embed_class": False}
        tower = build_image_tower("vit_base_patch16_clip_224", False, 160, options=options)
        load_image_tower(tower, in_file(tmp_path, content))
        state = tower.backbone.state_dict()
        wanted = names["visual.conv1.weight"].sum(dim=1, keepdim=True)
        torch.testing.assert_close(state["patch_embed.proj.weight"], wanted)
        torch.testing.assert_close(
            state["blocks.3.mlp.fc1.weight"], names["visual.transformer.resblocks.3.mlp.c_fc.weight"]
        )
        torch.testing.assert_close(state["norm_pre.weight"], names["visual.ln_pre.weight"])


def test_momentum_contrast_gives_its_query_encoder(tmp_path: Path) -> None:
    weights = published("test_resnet")
    content = {f"module.encoder_q.{k}": v for k, v in weights.items()}
    content |= {f"module.encoder_k.{k}": torch.zeros_like(v) for k, v in weights.items()} | {
        "module.queue": torch.zeros(4, 4)
    }
    tower = build_image_tower("test_resnet", False, 64, 16)
    load_image_tower(tower, in_file(tmp_path, {"state_dict": content}))
    torch.testing.assert_close(got(tower, 64), expected(tower, weights, 64), rtol=1e-4, atol=1e-4)
