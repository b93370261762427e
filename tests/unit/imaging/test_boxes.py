import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.imaging.boxes import boxes_of_map


def regions_by_flood(warm):
    """4-connected regions as sets of (row, column), by flooding."""
    left, regions = {tuple(p) for p in np.argwhere(warm)}, []
    while left:
        edge, region = [left.pop()], set()
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            edge += near
        regions.append(region)
    return regions


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.sampled_from([0.0, 0.05, 0.5]), st.booleans())
def test_boxes_by_flooding(seed, level, min_area, holes):
    rng = np.random.default_rng(seed)
    heat = rng.integers(-4, 3, (7, 9)) / 4.0
    if holes:
        heat[:, :3] = np.nan
    seen = heat[~np.isnan(heat)]
    threshold = min(seen.mean() + level * (seen.max() - seen.mean()), seen.max())
    expected = []
    for region in regions_by_flood(np.nan_to_num(heat, nan=-99.0) >= threshold):
        values = [heat[p] for p in region]
        if len(region) >= min_area * seen.size or max(values) == seen.max():
            ys, xs = zip(*region, strict=True)
            box = (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
            expected.append((-max(values), round(-np.mean(values), 9), box))
    found = boxes_of_map(heat, level=level, min_area=min_area)
    assert sorted((-b.peak, round(-b.score, 9), b.box) for b in found) == sorted(expected)
    assert [b.peak for b in found] == sorted((b.peak for b in found), reverse=True)
    assert found[0].peak == seen.max()


@pytest.mark.parametrize("heat", [np.full((3, 4), 0.1, np.float32), np.full((3, 4), np.nan), np.full((2, 2), -np.inf)])
def test_a_flat_map_has_no_box(heat):
    assert boxes_of_map(heat) == []


def test_the_rule_knows_no_scale():
    heat = np.random.default_rng(0).normal(size=(20, 30))
    boxes = [b.box for b in boxes_of_map(heat)]
    assert boxes == [b.box for b in boxes_of_map(4 * heat - 128)]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        boxes_of_map(np.zeros(4))
    with pytest.raises(ValueError, match="level"):
        boxes_of_map(np.eye(2), level=1.5)
    assert boxes_of_map(np.eye(2))[0].to_dict() == {"box": [0, 0, 1, 1], "score": 1.0, "peak": 1.0}
