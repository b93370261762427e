import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.pretraining.sampler import MixedSampler, PoolOrder, proportions


def sampler(**changes) -> MixedSampler:
    return MixedSampler(
        **{"pairs": 10, "images": 40, "reports": 33, "per_step": (4, 6, 5), "steps": 50, "seed": 3, **changes}
    )


def same(a, b) -> bool:
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("pairs", "images", "reports"))


def test_a_resumed_run_draws_what_the_uninterrupted_run_would():
    whole = list(sampler())
    resumed = list(sampler(start=23))
    assert len(resumed) == 27
    assert all(same(a, b) for a, b in zip(whole[23:], resumed, strict=True))
    assert len(sampler(start=23)) == 50


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 60), count=st.integers(1, 60), step=st.integers(0, 500), seed=st.integers(0, 99))
def test_no_item_is_twice_in_a_batch_and_any_step_can_be_asked_for(size, count, step, seed):
    count = min(size, count)
    items = PoolOrder(size, count, seed=seed, name="pairs").take(step)
    assert len(set(items.tolist())) == count
    assert items.min() >= 0
    assert items.max() < size


def test_a_pass_sees_every_item_once_when_the_batch_divides_the_pool():
    order = PoolOrder(12, 4, seed=0, name="pairs")
    seen = np.concatenate([order.take(step) for step in range(3)])
    assert sorted(seen.tolist()) == list(range(12))
    again = np.concatenate([order.take(step) for step in range(3, 6)])
    assert sorted(again.tolist()) == list(range(12))
    assert seen.tolist() != again.tolist()


def test_seeds_and_pools_have_orders_of_their_own():
    base = PoolOrder(50, 10, seed=0, name="pairs").take(0).tolist()
    assert PoolOrder(50, 10, seed=1, name="pairs").take(0).tolist() != base
    assert PoolOrder(50, 10, seed=0, name="images").take(0).tolist() != base


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ((100, 900, 900), (32, 32, 16)),
        ((10, 900, 900), (10, 54, 16)),
        ((100, 0, 0), (64, 0, 0)),
        ((5, 0, 3), (5, 0, 3)),
    ],
)
def test_small_pools_give_their_place_to_others(pool, expected):
    assert proportions(batch_size=64, paired_share=0.5, reports=16, pool=pool) == expected
