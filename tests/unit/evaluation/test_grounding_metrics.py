import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from lgdea.evaluation.metrics import grounding as m

edge = st.integers(0, 9)
boxes_in_ten = st.lists(st.tuples(edge, edge, st.integers(1, 10), st.integers(1, 10)), min_size=1, max_size=3).map(
    lambda rows: [(x, y, min(x + w, 10), min(y + h, 10)) for x, y, w, h in rows]
)


def random_map(seed, holes=True):
    rng = np.random.default_rng(seed)
    heat = rng.normal(0, 0.4, (10, 10)).round(1)
    if holes:
        heat[:, :2] = np.nan
    return heat


@given(boxes_in_ten)
def test_the_mask_is_the_union_of_half_open_boxes(boxes):
    mask = m.box_mask(boxes, 10, 10)
    for y in range(10):
        for x in range(10):
            assert mask[y, x] == any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)


def test_a_tiny_or_overhanging_box_keeps_its_pixels():
    assert np.argwhere(m.box_mask([[4.4, 2.4, 4.45, 2.45]], 10, 10)).tolist() == [[2, 4]]
    assert m.box_mask([[-5, -5, 2, 1]], 10, 10).sum() == 2
    assert m.box_mask([[9.8, 9.8, 30, 30]], 10, 10).sum() == 1
    with pytest.raises(ValueError, match="no box lies inside"):
        m.box_mask([[10, 0, 12, 3]], 10, 10)


@given(boxes_in_ten, st.integers(0, 50))
def test_cnr_by_loop(boxes, seed):
    heat, mask = random_map(seed), m.box_mask(boxes, 10, 10)
    inside = [max(v, 0.0) for v, i in zip(heat.ravel(), mask.ravel(), strict=True) if i and not np.isnan(v)]
    outside = [max(v, 0.0) for v, i in zip(heat.ravel(), mask.ravel(), strict=True) if not i and not np.isnan(v)]
    if not inside or not outside:
        assert np.isnan(m.cnr(heat, mask))
        return
    noise = np.sqrt(np.var(inside) + np.var(outside))
    if noise > 0:
        assert m.cnr(heat, mask) == pytest.approx(abs(np.mean(inside) - np.mean(outside)) / noise)


@given(boxes_in_ten, st.integers(0, 50))
def test_miou_agrees_with_scikit_learn(boxes, seed):
    heat, mask = random_map(seed), m.box_mask(boxes, 10, 10)
    filled = np.nan_to_num(heat, nan=-1.0)
    expected = np.mean([jaccard_score(mask.ravel(), filled.ravel() > t) for t in m.THRESHOLDS])
    assert m.miou(heat, mask) == pytest.approx(expected)


@given(boxes_in_ten, st.integers(0, 50), st.sampled_from([0.0, 1.5]))
def test_pointing_by_loop(boxes, seed, tolerance):
    heat = random_map(seed)
    hits = []
    for y, x in np.argwhere(heat == np.nanmax(heat)):
        distance = min(
            np.hypot(max(x0 - x - 0.5, x + 0.5 - x1, 0), max(y0 - y - 0.5, y + 0.5 - y1, 0)) for x0, y0, x1, y1 in boxes
        )
        hits.append(distance <= tolerance)
    assert m.pointing(heat, boxes, tolerance) == pytest.approx(np.mean(hits))


def test_the_mask_itself_scores_perfectly():
    boxes = [[1, 1, 4, 5], [6, 6, 9, 8]]
    mask = m.box_mask(boxes, 10, 10)
    heat = mask.astype(float)
    assert m.miou(heat, mask) == 1.0
    assert m.pointing(heat, boxes) == 1.0
    assert m.cnr(heat, mask) == np.inf


def test_a_map_without_warmth_finds_nothing_but_still_points():
    heat = np.full((10, 10), -0.5)
    heat[2, 3] = -0.1
    mask = m.box_mask([[3, 2, 4, 3]], 10, 10)
    assert m.cnr(heat, mask) == 0.0
    assert m.miou(heat, mask) == 0.0
    assert m.pointing(heat, [[3, 2, 4, 3]]) == 1.0


def test_a_constant_map_points_by_chance():
    mask = m.box_mask([[0, 0, 5, 4]], 10, 10)
    heat = np.full((10, 10), -0.3)
    assert m.pointing(heat, [[0, 0, 5, 4]]) == pytest.approx(0.2)
    assert m.pointing_chance(heat, mask) == pytest.approx(0.2)
    heat[:, 5:] = np.nan
    assert m.pointing_chance(heat, mask) == pytest.approx(0.4)


def test_a_map_that_is_all_nan_scores_nothing():
    heat, mask = np.full((4, 4), np.nan), m.box_mask([[0, 0, 2, 2]], 4, 4)
    values = [m.cnr(heat, mask), m.miou(heat, mask), m.pointing(heat, [[0, 0, 2, 2]]), m.pointing_chance(heat, mask)]
    assert np.isnan(values).all()


def test_a_box_outside_the_crop_counts_as_missed():
    heat = np.full((10, 10), np.nan)
    heat[:, 5:] = 0.0
    heat[0:2, 5:7] = 1.0
    mask = m.box_mask([[5, 0, 7, 2], [0, 0, 2, 2]], 10, 10)
    assert m.miou(heat, mask) == pytest.approx(0.5)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="must both be"):
        m.cnr(np.zeros((3, 4)), np.ones((4, 3), bool))
    with pytest.raises(ValueError, match="mask is empty"):
        m.miou(np.zeros((3, 4)), np.zeros((3, 4), bool))
    with pytest.raises(ValueError, match=r"\(M, 4\)"):
        m.box_mask([1, 2, 3, 4], 5, 5)


@given(boxes_in_ten, st.integers(0, 99), st.integers(0, 99), st.sampled_from([0.0, 1.5]))
def test_a_place_hits_as_a_map_that_is_highest_there(boxes, x, y, tolerance):
    heat = np.zeros((10, 10))
    heat[y // 10, x // 10] = 1
    assert m.point_hit((x / 100, y / 100), boxes, 10, 10, tolerance) == m.pointing(heat, boxes, tolerance)


@given(boxes_in_ten, st.sampled_from([1, 4, 7]))
def test_coverage_by_loop(boxes, cells):
    mask = m.coverage(boxes, 10, 10, cells)
    for r in range(cells):
        for c in range(cells):
            x, y = (c + 0.5) * 10 / cells, (r + 0.5) * 10 / cells
            assert mask[r, c] == any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)


def test_the_best_place_is_in_the_middle_of_its_plateau():
    shares = np.zeros((8, 16))
    shares[2:5, 4:9] = 0.5
    assert m.best_place(shares) == (6.5 / 16, 3.5 / 8)
    assert m.best_place(np.eye(1)) == (0.5, 0.5)
