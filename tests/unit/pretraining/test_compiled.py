"""What of a tower is compiled."""

from __future__ import annotations

import pytest
from torch import nn

from lgdea.models.image_tower import build_image_tower
from lgdea.models.text_tower import build_text_tower, train_tokenizer
from lgdea.pretraining.compiled import compile_tower


def _compiled(tower: nn.Module) -> list[nn.Module]:
    return [part for part in tower.modules() if part._compiled_call_impl is not None]


def _text(layers: int) -> nn.Module:
    return build_text_tower("small-bert", tokenizer=train_tokenizer(["no effusion"]), hidden=32, layers=layers)


@pytest.mark.parametrize("tower", [build_image_tower("test_vit", image_size=64), _text(5)])
def test_a_transformer_is_compiled_block_by_block(tower):
    names = list(tower.state_dict())
    compile_tower(tower)
    blocks = _compiled(tower)
    assert len(blocks) >= 5
    assert len({type(block) for block in blocks}) == 1
    assert tower not in blocks
    assert list(tower.state_dict()) == names


@pytest.mark.parametrize("tower", [build_image_tower("resnet18", image_size=64), _text(2)])
def test_others_are_compiled_whole(tower):
    compile_tower(tower)
    assert _compiled(tower) == [tower]
