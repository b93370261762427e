from __future__ import annotations

import copy

import pytest
import torch

import lgdea
from lgdea.errors import ConfigError
from lgdea.models.freezing import copy_unfrozen, freeze_tower
from lgdea.models.image_tower import build_image_tower

TEXTS = ["Small left pleural effusion.", "The lungs are clear."]


def make(image: str = "test_resnet", size: int = 64, **settings):
    torch.manual_seed(0)
    return lgdea.create_model(image, texts=TEXTS, image_size=size, stride=16, hidden=32, layers=3, dim=16, **settings)


def train(model, steps: int = 3):
    """Both sides, in training mode, with weight decay; returns the state before."""
    before = copy.deepcopy(model.state_dict())
    used = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(used, lr=1e-2, weight_decay=0.1)
    for step in range(steps):
        model.train()
        size = model.image_tower.image_size
        images = torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(step))
        out = model.forward_image(images)
        texts = model.forward_text(**model.tokenize(TEXTS))
        loss = sum(out[name].square().sum() + out[name].sum() for name in ("pooled", "patches"))
        loss = loss + texts["pooled"].sum() + texts["tokens"].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before


def changed(model, before) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(("image", "size"), [("test_resnet", 64), ("test_vit", 64), ("mobilenetv3_small_050", 64)])
def test_a_frozen_tower_has_no_gradient_and_does_not_change_not_even_its_batch_statistics(
    image: str, size: int
) -> None:
    model = make(image, size, image_freeze="all", text_freeze="all")
    before = train(model)
    moved = changed(model, before)
    assert not [name for name in moved if ".backbone." in name]
    assert "project_pooled.layers.0.weight" in moved or any(name.startswith("project_pooled") for name in moved)
    assert all(p.grad is None for tower in (model.image_tower, model.text_tower) for p in tower.backbone.parameters())
    if image != "test_vit":  # what lgdea adds to a convnet is trained
        assert any(name.startswith("image_tower.lateral") for name in moved)
    assert model.training
    assert not model.image_tower.backbone.training


def test_without_freezing_everything_moves() -> None:
    model = make()
    moved = changed(model, train(model))
    assert {name for name in model.state_dict() if "image_tower.backbone" in name and "running" in name} <= moved


@pytest.mark.parametrize(
    ("image", "count", "still", "moving"),
    [
        ("test_resnet", 1, ("conv1", "bn1", "layer1", "layer2", "layer3"), ("layer4",)),
        ("test_resnet", 2, ("conv1", "bn1", "layer1", "layer2"), ("layer3", "layer4")),
        (
            "test_vit",
            2,
            ("cls_token", "pos_embed", "patch_embed", "blocks.0", "blocks.3"),
            ("blocks.4", "blocks.5", "norm"),
        ),
        ("mobilenetv3_small_050", 1, ("conv_stem", "bn1", "blocks.0", "blocks.4"), ("blocks.5",)),
    ],
)
def test_all_but_the_last_blocks(image: str, count: int, still: tuple[str, ...], moving: tuple[str, ...]) -> None:
    model = make(image, image_freeze=f"all_but_last_{count}")
    moved = changed(model, train(model))
    inside = {name.removeprefix("image_tower.backbone.") for name in moved if "image_tower.backbone" in name}
    assert not [name for name in inside if name.startswith(still)]
    for part in moving:
        assert [name for name in inside if name.startswith(part)], part


def test_the_last_layers_of_a_text_tower() -> None:
    model = make(text_freeze="all_but_last_1")
    moved = {n.removeprefix("text_tower.backbone.") for n in changed(model, train(model)) if "text_tower.backbone" in n}
    assert not [name for name in moved if name.startswith(("embeddings", "encoder.layer.0", "encoder.layer.1"))]
    assert [name for name in moved if name.startswith("encoder.layer.2")]


def test_dropout_of_a_frozen_text_tower_is_off() -> None:
    model = make(text_freeze="all", dropout=0.5).train()
    tokens = model.tokenize(TEXTS)
    assert torch.equal(model.text_tower(**tokens)["pooled"], model.text_tower(**tokens)["pooled"])


@pytest.mark.parametrize("freeze", ["some", "all_but_last_0", "all_but_last_", "All", ""])
def test_other_words_are_one_clear_line(freeze: str) -> None:
    with pytest.raises(ConfigError, match="freeze cannot be"):
        freeze_tower(build_image_tower("test_resnet", False, 64, 16), freeze)


def test_more_blocks_than_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"freeze: all_but_last_7 wants more than the 6 blocks of tower 'test_vit'; choose at most 6"
    ):
        freeze_tower(build_image_tower("test_vit", False, 64, 16), "all_but_last_7")


def test_a_copy_shares_what_is_frozen_and_nothing_else() -> None:
    model = make(image_freeze="all_but_last_1")
    twin = copy_unfrozen(model)
    for (name, mine), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert (mine is other) == (not mine.requires_grad), name
    twin.train()
    assert not twin.image_tower.backbone.layer1.training
    assert twin.image_tower.backbone.layer4.training
