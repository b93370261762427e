"""A tower that works in chunks: the same results and gradients, less memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lgdea.models.image_tower import build_image_tower
from lgdea.models.text_tower import build_text_tower, train_tokenizer
from lgdea.pretraining.chunks import run_in_chunks


def image_tower() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return build_image_tower("test_convnext", image_size=32, stride=8), (torch.randn(10, 1, 32, 32),)


def text_tower() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["no acute disease", "left pleural effusion"])
    mask = (torch.arange(7) < torch.arange(10)[:, None] % 6 + 2).long()
    ids = torch.randint(5, len(tokenizer), (10, 7)) * mask
    return build_text_tower("small-bert", tokenizer=tokenizer, hidden=32, dropout=0.0), (ids, mask)


def contrast(out: dict[str, Tensor]) -> Tensor:
    """A loss that needs the whole batch at once."""
    pooled = nn.functional.normalize(out["pooled"], dim=-1)
    return (5 * pooled @ pooled.T).logsumexp(dim=1).mean() + sum(v.square().mean() for v in out.values())


def gradients(tower: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    tower.zero_grad()
    contrast(tower(*inputs)).backward()
    return [p.grad.clone() for p in tower.parameters() if p.grad is not None]


@pytest.mark.parametrize("make", [image_tower, text_tower])
@pytest.mark.parametrize("size", [1, 3, 10])
def test_results_and_gradients_are_those_of_the_whole_batch(make: Any, size: int):
    tower, inputs = make()
    chunked = copy.deepcopy(tower)
    run_in_chunks(chunked, size)
    whole, parts = tower(*inputs), chunked(*inputs)
    assert whole.keys() == parts.keys()
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-5, atol=1e-6)
    expected = gradients(tower, inputs)
    assert sum(float(g.abs().sum()) for g in expected) > 0
    for found, wanted in zip(gradients(chunked, inputs), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_dropout_is_drawn_once():
    """The second pass of a chunk must see the mask of the first, or its gradient belongs to another result."""
    tower = nn.Sequential(nn.Dropout(0.5))
    run = nn.Module()
    run.forward = lambda x: {"pooled": tower(x * weight)}  # type: ignore[method-assign]
    weight = nn.Parameter(torch.ones(()))
    run_in_chunks(run, 2)
    x = torch.ones(8, 4)
    out = run(x)["pooled"]
    out.sum().backward()
    assert float(weight.grad) == pytest.approx(float(out.detach().sum()))


def test_less_is_kept_for_the_backward_pass():
    tower, (images,) = image_tower()

    def kept(module: nn.Module) -> int:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            module(images)
        return sum(sizes)

    before = kept(tower)
    run_in_chunks(tower, 2)
    assert kept(tower) < before / 5


def test_without_gradient_there_are_no_chunks():
    calls = []

    class Tower(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            calls.append(len(x))
            return {"pooled": x}

    tower = Tower()
    run_in_chunks(tower, 2)
    with torch.no_grad():
        tower(torch.zeros(5, 1))
    assert calls == [5]
    tower(torch.zeros(5, 1))
    assert calls == [5, 2, 2, 1]
