from __future__ import annotations

import pytest
import torch

from lgdea.errors import ConfigError, UsageError
from lgdea.models.cached_rows import pack
from lgdea.models.image_tower import (
    PyramidTower,
    TokenTower,
    backbone_features,
    build_image_tower,
    centred,
    sincos_position,
)

CONVNETS = ["mobilenetv3_small_050", "efficientvit_b0", "resnet18", "convnext_atto"]


@pytest.mark.parametrize("name", CONVNETS)
@pytest.mark.parametrize(("size", "stride"), [(96, 8), (96, 16), (128, 16)])
def test_convnets_give_a_grid_of_image_size_over_stride(name: str, size: int, stride: int) -> None:
    tower = build_image_tower(name, False, size, stride).eval()
    out = tower(torch.rand(2, 1, size, size))
    side = size // stride
    assert tower.grid == (side, side)
    assert out["patches"].shape == (2, side * side, tower.dim)
    assert out["pooled"].shape == (2, tower.dim)


@pytest.mark.parametrize("size", [96, 128])
def test_a_vision_transformer_keeps_its_own_grid(size: int) -> None:
    tower = build_image_tower("vit_tiny_patch16_224", False, size, 8).eval()
    out = tower(torch.rand(2, 1, size, size))
    side = size // 16
    assert isinstance(tower, TokenTower)
    assert (tower.grid, tower.stride, tower.dim) == ((side, side), 16, 192)
    assert out["patches"].shape == (2, side * side, 192)
    assert out["pooled"].shape == (2, 192)


def test_a_hierarchical_transformer_is_fused_like_a_convnet() -> None:
    tower = build_image_tower("swin_tiny_patch4_window7_224", False, 128, 16).eval()
    assert isinstance(tower, PyramidTower)
    assert tower(torch.rand(1, 1, 128, 128))["patches"].shape == (1, 64, tower.dim)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_backbone_features_are_of_the_backbone_alone(name: str) -> None:
    tower = build_image_tower(name, False, 128, 16).eval()
    images = torch.rand(2, 1, 128, 128)
    with torch.no_grad():
        features = backbone_features(tower, images)
        width = tower.dim if isinstance(tower, TokenTower) else tower.channels[-1]
        assert features.shape == (2, 2 * width)
        cached = backbone_features(tower, pack(tower.encode(images)))
        torch.testing.assert_close(cached, features, atol=0.02, rtol=0.01)
        for part, weight in tower.named_parameters():
            if not part.startswith("backbone."):
                weight.fill_(torch.nan)
        torch.testing.assert_close(backbone_features(tower, images), features)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet18", "vit_tiny_patch16_224"])
@pytest.mark.parametrize(("row", "column"), [(1, 4), (4, 1)])
def test_a_patch_token_changes_most_where_the_picture_changed(name: str, row: int, column: int) -> None:
    torch.manual_seed(0)
    tower = build_image_tower(name, False, 96, 16).eval()
    image = torch.rand(1, 1, 96, 96)
    changed = image.clone()
    changed[..., row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] += 1.0
    with torch.no_grad():
        moved = (tower(changed)["patches"] - tower(image)["patches"]).norm(dim=-1)[0]
    peak = int(moved.argmax())
    assert abs(peak // 6 - row) <= 1
    assert abs(peak % 6 - column) <= 1


@pytest.mark.parametrize(
    ("name", "shift"),
    [("mobilenetv3_small_050", -0.5), ("resnet18", -0.5), ("tf_mobilenetv3_small_100", 0.5), ("convnext_atto", 0.0)],
)
@pytest.mark.parametrize("stride", [8, 16])
def test_features_are_moved_to_the_centres_of_their_cells(name: str, shift: float, stride: int) -> None:
    """The centroid of what a patch sees lies in its cell's middle, whatever the backbone's padding does."""
    torch.manual_seed(1)
    tower = build_image_tower(name, False, 128, stride).eval()
    assert isinstance(tower, PyramidTower)
    assert tower.shift == shift
    images = torch.randn(4, 1, 128, 128, requires_grad=True)
    row, column = tower.grid[0] // 2, tower.grid[1] // 2 - 1
    level = centred(tower._levels(images)[0], tower.shift)[:, :, row, column]
    (gradient,) = torch.autograd.grad((level * torch.randn_like(level)).sum(), images)
    weight = gradient.square().sum(dim=(0, 1)) / gradient.square().sum()
    place = torch.arange(128) + 0.5
    assert abs(float((weight.sum(1) * place).sum()) / stride - (row + 0.5)) < 0.3
    assert abs(float((weight.sum(0) * place).sum()) / stride - (column + 0.5)) < 0.3


def test_half_a_cell_by_hand() -> None:
    level = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    assert centred(level, 0.0) is level
    assert centred(level, -0.5).tolist() == [[[[4.0, 5.0], [6.0, 7.0]]]]
    assert centred(level, 0.5).tolist() == [[[[1.0, 2.0], [3.0, 4.0]]]]


def test_patches_know_left_from_right() -> None:
    position = sincos_position(6, 6, 4)
    assert position.shape == (1, 16, 6, 6)
    cells = position[0].flatten(1).t()
    assert torch.cdist(cells, cells).fill_diagonal_(9).min() > 0.3
    # The first pair of channels is the row's angle, the ninth and tenth the column's.
    assert torch.allclose(position[0, 0, :, 0], position[0, 0, :, 5])
    assert position[0, 8, 0, 0].item() == pytest.approx(-position[0, 8, 0, 5].item())


def test_gradients_reach_every_parameter() -> None:
    tower = build_image_tower("mobilenetv3_small_050", False, 64, 8)
    out = tower(torch.rand(2, 1, 64, 64))
    (out["pooled"].square().sum() + out["patches"].square().sum()).backward()
    assert [name for name, p in tower.named_parameters() if p.grad is None] == []


def test_an_unknown_name_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r"no image tower 'mobilenetv3_small_05x'; did you mean mobilenetv3_small_0"):
        build_image_tower("mobilenetv3_small_05x", False, 96, 16)


def test_a_wrong_size_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="not a multiple of the stride 16"):
        build_image_tower("resnet18", False, 100, 16)
    with pytest.raises(ConfigError, match="no features of stride 7"):
        build_image_tower("resnet18", False, 98, 7)
    with pytest.raises(ConfigError, match="multiple of the patch size"):
        build_image_tower("vit_tiny_patch16_224", False, 100, 16)


def test_pretrained_without_a_network_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="pretrained weights of image tower 'resnet18' cannot be loaded") as caught:
        build_image_tower("resnet18", True, 96, 16)
    assert "\n" not in str(caught.value)
    assert "pretrained: false" in str(caught.value)
