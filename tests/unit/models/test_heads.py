from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.errors import ConfigError
from lgdea.models.heads import LesionQueries, Projection, Prototypes, cosine, l2_normalize, smooth_max


def test_assignment_by_hand() -> None:
    prototypes = Prototypes(2, 2)
    # Not unit length on purpose: only the direction counts.
    prototypes.weight.data = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    share = prototypes.assign(torch.tensor([[1.0, 0.0]]), temperature=0.5)
    expected = torch.tensor([[2.0, 0.0]]).exp()
    torch.testing.assert_close(share, expected / expected.sum())


def test_a_sharp_temperature_finds_the_prototype_itself() -> None:
    torch.manual_seed(0)
    prototypes = Prototypes(64, 128)
    share = prototypes.assign(l2_normalize(prototypes.weight), temperature=0.01)
    torch.testing.assert_close(share, torch.eye(64), atol=1e-3, rtol=0)


def test_lesion_attention_is_a_distribution_over_patches() -> None:
    torch.manual_seed(0)
    out = LesionQueries(32, 5, heads=4)(torch.randn(3, 20, 32))
    assert out["lesions"].shape == (3, 5, 32)
    assert out["attention"].shape == (3, 5, 20)
    torch.testing.assert_close(out["attention"].sum(-1), torch.ones(3, 5))
    assert out["presence"].shape == (3, 5)
    assert ((out["presence"] > 0) & (out["presence"] < 1)).all()


def test_lesions_do_not_depend_on_the_order_of_patches() -> None:
    torch.manual_seed(0)
    queries = LesionQueries(16, 3).eval()
    patches = torch.randn(2, 9, 16)
    order = torch.randperm(9)
    a, b = queries(patches), queries(patches[:, order])
    torch.testing.assert_close(a["lesions"], b["lesions"])
    torch.testing.assert_close(a["attention"][..., order], b["attention"])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="not divisible by 4"):
        LesionQueries(30, 2, heads=4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 50), st.floats(1, 100))
def test_smooth_max_lies_between_mean_and_max(seed: int, count: int, sharpness: float) -> None:
    x = torch.randn(4, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    value = smooth_max(x, sharpness)
    assert (value <= x.max(-1).values + 1e-5).all()
    assert (value >= x.mean(-1) - 1e-5).all()


def test_smooth_max_teaches_the_largest_most() -> None:
    x = torch.tensor([0.1, 0.9, 0.3], requires_grad=True)
    smooth_max(x, 20).backward()
    assert x.grad is not None
    assert x.grad.argmax() == 1
    assert x.grad.sum().item() == pytest.approx(1)


def test_a_cosine_is_float32_under_autocast() -> None:
    a = l2_normalize(torch.randn(5, 64))
    b = l2_normalize(a + 1e-3 * torch.randn(5, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = a @ b.t()
        high = cosine(a, b)
        projected = Projection(64, 32)(a)
    assert low.dtype == torch.bfloat16
    assert high.dtype == projected.dtype == torch.float32
    torch.testing.assert_close(high.diagonal(), (a.double() * b.double()).sum(1).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(projected.norm(dim=-1), torch.ones(5))
