from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from lgdea.evaluation.metrics import detection as m

corner = st.integers(0, 6)
box = st.tuples(corner, corner, st.integers(1, 6), st.integers(1, 6)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
boxes = st.lists(box, max_size=4)
scored = st.lists(st.tuples(box, st.sampled_from([-0.6, -0.1, 0.0, 0.4, 0.9])), max_size=4)
images = st.lists(st.tuples(scored, boxes), min_size=1, max_size=4)


def pixels(b):
    return {(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])}


@given(boxes, boxes)
def test_overlaps_are_those_of_sets_of_pixels(found, truth):
    iou, iobb = m.overlaps(found, truth)
    assert iou.shape == iobb.shape == (len(found), len(truth))
    for i, a in enumerate(found):
        for j, b in enumerate(truth):
            both = pixels(a) & pixels(b)
            assert iou[i, j] == pytest.approx(len(both) / len(pixels(a) | pixels(b)))
            assert iobb[i, j] == pytest.approx(len(both) / len(pixels(a)))


@given(boxes, boxes, st.sampled_from([0.1, 0.3, 0.5]))
def test_hits_and_false_boxes_by_loop(found, truth, threshold):
    for ratios in m.overlaps(found, truth):
        hits = [any(ratios[i, j] > threshold for i in range(len(found))) for j in range(len(truth))]
        false = [not any(ratios[i, j] > threshold for j in range(len(truth))) for i in range(len(found))]
        assert m.hit_share(ratios, threshold) == pytest.approx(np.mean(hits) if truth else np.nan, nan_ok=True)
        assert m.false_boxes(ratios, threshold) == sum(false)


def matched_by_loop(found, scores, truth, threshold):
    """COCO's rule with lists; of equal scores the larger overlap first."""
    ious = m.overlaps(found, truth)[0]
    free, right = set(range(len(truth))), [False] * len(found)
    for i in sorted(range(len(found)), key=lambda i: (-scores[i], -max(ious[i], default=0.0))):
        choice = max(free, key=lambda j: (ious[i, j], -j), default=None)
        if choice is not None and ious[i, choice] >= threshold:
            right[i] = True
            free.remove(choice)
    return right


def precision_by_loop(items, n_truth):
    """Items (score, right): at each recall 0, .01, .. the best precision at it or beyond, tied scores taken at once."""
    points, found, right = [], 0, 0
    for _, group in groupby(sorted(items, key=lambda x: -x[0]), key=lambda x: x[0]):
        for _, hit in group:
            found, right = found + 1, right + hit
        points.append((right, right / found))
    # Recall r / 100 is reached when 100 * right >= r * n_truth, in whole numbers.
    best = [max((p for hits, p in points if 100 * hits >= r * n_truth), default=0.0) for r in range(101)]
    return sum(best) / 101


def gather(case, threshold):
    ious = [m.overlaps([b for b, _ in found], truth)[0] for found, truth in case]
    scores = [[s for _, s in found] for found, _ in case]
    return m.detections(ious, scores, [len(truth) for _, truth in case], threshold)


@given(images, st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_average_precision_by_loop(case, threshold):
    items = []
    for found, truth in case:
        scores = [s for _, s in found]
        items += zip(scores, matched_by_loop([b for b, _ in found], scores, truth, threshold), strict=True)
    n_truth = sum(len(truth) for _, truth in case)
    expected = precision_by_loop(items, n_truth) if n_truth else np.nan
    assert m.average_precision(gather(case, threshold)) == pytest.approx(expected, nan_ok=True)


@given(images, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_weights_mean_repeated_images(case, counts):
    again = [image for image, count in zip(case, counts, strict=False) for _ in range(count)]
    expected = m.average_precision(gather(again, 0.3)) if again else np.nan
    weights = np.array([counts[: len(case)]], float)
    assert m.weighted_average_precision(gather(case, 0.3), weights)[0] == pytest.approx(expected, nan_ok=True)


def test_average_precision_is_near_that_of_scikit_learn_when_every_truth_is_found():
    # The areas below the stepped and the interpolated curve meet where precision falls steadily and points are many.
    rng = np.random.default_rng(0)
    right = rng.random(4000) < np.linspace(0.9, 0.1, 4000)
    found = m.Detections(np.linspace(1, -1, 4000), right, np.zeros(4000, int), np.array([right.sum()], float))
    assert m.average_precision(found) == pytest.approx(average_precision_score(right, found.scores), abs=0.01)


def test_a_true_box_answers_to_one_found_box():
    found = [((0, 0, 4, 4), 0.9), ((0, 0, 4, 4), 0.8), ((0, 0, 4, 4), 0.7)]
    assert m.average_precision(gather([(found, [(0, 0, 4, 4)])], 0.5)) == 1.0
    second = [((0, 0, 4, 3), 0.9), ((0, 0, 4, 4), 0.8)]
    assert gather([(second, [(0, 0, 4, 4)])], 0.5).right.tolist() == [True, False]


def test_order_cannot_matter_among_tied_boxes():
    case = [([((0, 0, 2, 2), 0.5), ((5, 5, 7, 7), 0.5)], [(0, 0, 2, 2)]), ([((9, 9, 10, 10), 0.5)], [(0, 0, 2, 2)])]
    for order in (case, case[::-1]):
        assert m.average_precision(gather(order, 0.5)) == pytest.approx((1 / 3) * 51 / 101)


def test_nothing_found_and_nothing_to_find():
    assert m.average_precision(gather([([], [(0, 0, 1, 1)])], 0.5)) == 0.0
    assert np.isnan(m.average_precision(gather([([((0, 0, 1, 1), 0.1)], [])], 0.5)))
    assert np.isnan(m.average_precision(m.detections([], [], [], 0.5)))
    assert np.isnan(m.hit_share(np.zeros((2, 0)), 0.1))
    assert m.hit_share(np.zeros((0, 2)), 0.1) == 0.0
    assert m.false_boxes(np.zeros((2, 0)), 0.1) == 2


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no area"):
        m.overlaps([[1, 1, 1, 2]], [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match=r"\(M, 4\)"):
        m.overlaps([1, 1, 1, 2], [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="NaN"):
        m.detections([[[0.5]]], [[np.nan]], [1], 0.5)
    with pytest.raises(ValueError, match="must be"):
        m.match_boxes([[0.5]], [0.1, 0.2], 0.5)


def test_trivial_boxes():
    assert m.whole_box(8, 4).tolist() == [[0, 0, 8, 4]]
    iou, iobb = m.overlaps(m.centre_box(8, 4), m.whole_box(8, 4))
    assert (iou[0, 0], iobb[0, 0]) == (0.25, 1.0)
