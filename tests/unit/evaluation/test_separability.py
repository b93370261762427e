import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import davies_bouldin_score, silhouette_score

from lgdea.evaluation.metrics import frechet as f
from lgdea.evaluation.metrics import separability as s


@pytest.fixture(params=["plain", "ties"])
def points(request):
    """60 items of 3 unequal classes in 7 dimensions; with ties half of them are copies of others."""
    rng = np.random.default_rng(0)
    classes = np.repeat(["b", "a", "c"], [12, 18, 30])
    x = rng.normal(size=(60, 7)) + 1.5 * np.eye(7)[np.repeat([0, 1, 2], [12, 18, 30])]
    if request.param == "ties":
        x[1::2] = x[::2]
        x = np.round(x, 1)
    return x, classes


def fisher_by_loop(x, classes):
    mean, between, within = x.mean(axis=0), 0.0, 0.0
    for name in np.unique(classes):
        own = x[classes == name]
        between += len(own) * sum((own.mean(axis=0) - mean) ** 2)
        for item in own:
            within += sum((item - own.mean(axis=0)) ** 2)
    return between / within


def frechet_by_scipy(a, b):
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(ca + cb - 2 * np.real(sqrtm(ca @ cb)))


def test_the_metrics_are_those_of_sklearn_and_of_plain_loops(points):
    x, classes = points
    assert s.silhouette(x, classes) == pytest.approx(silhouette_score(x, classes, metric="cosine"))
    assert s.davies_bouldin(x, classes) == pytest.approx(davies_bouldin_score(x, classes))
    assert s.fisher_ratio(x, classes) == pytest.approx(fisher_by_loop(x, classes))
    means = [x[classes == c].mean(axis=0) for c in "abc"]
    pairs = [np.linalg.norm(a - b) for a, b in itertools.combinations(means, 2)]
    assert s.centroid_distance(x, classes) == pytest.approx(np.mean(pairs))


def test_frechet_is_that_of_scipy(points):
    x, classes = points
    codes = s.class_codes(classes)
    pairs, rest = f.weighted_frechet(x, codes, np.ones((1, 60)))
    expected = [frechet_by_scipy(x[classes == a], x[classes == b]) for a, b in itertools.combinations("abc", 2)]
    np.testing.assert_allclose(pairs[0], expected, rtol=1e-6)
    np.testing.assert_allclose(rest[0], [frechet_by_scipy(x[classes == c], x[classes != c]) for c in "abc"], rtol=1e-6)
    assert f.class_pairs(3) == [(0, 1), (0, 2), (1, 2)]


def test_frechet_of_singular_fits_is_defined_and_zero_for_the_same_sample():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(4, 9))] * 2)  # 4 items span 3 of 9 dimensions
    pairs, rest = f.weighted_frechet(x, np.repeat([0, 1], 4), np.ones((1, 8)))
    assert pairs[0, 0] == pytest.approx(0, abs=1e-6)
    shifted, _ = f.weighted_frechet(x + np.repeat([0, 2], 4)[:, None], np.repeat([0, 1], 4), np.ones((1, 8)))
    assert shifted[0, 0] == pytest.approx(9 * 4)
    assert rest.shape == (1, 2)


def test_weights_are_repeated_items(points):
    x, classes = points
    codes, counts = s.class_codes(classes), np.random.default_rng(2).integers(0, 4, 60)
    again, labels, weights = np.repeat(x, counts, axis=0), np.repeat(classes, counts), counts[None].astype(float)
    products = s.gram(x)
    assert s.weighted_fisher_ratio(products, codes, weights)[0] == pytest.approx(fisher_by_loop(again, labels))
    assert s.weighted_davies_bouldin(products, codes, weights)[0] == pytest.approx(davies_bouldin_score(again, labels))
    assert s.weighted_centroid_distance(products, codes, weights)[0] == pytest.approx(
        s.centroid_distance(again, labels)
    )
    pairs, _ = f.weighted_frechet(x, codes, weights)
    assert pairs[0, 0] == pytest.approx(frechet_by_scipy(again[labels == "a"], again[labels == "b"]), rel=1e-6)


def test_copies_of_an_image_are_no_pairs_for_the_silhouette(points):
    x, classes = points
    codes, distances = s.class_codes(classes), s.cosine_distances(x)
    weights = np.random.default_rng(3).integers(0, 3, 60).astype(float)
    total, mass = 0.0, 0.0
    for i in range(60):

        def mean(rows, i=i):
            w = np.where(np.arange(60) == i, 0, weights) * rows
            return (w * distances[i]).sum() / w.sum()

        a, b = mean(codes == codes[i]), min(mean(codes == c) for c in range(3) if c != codes[i])
        total, mass = total + weights[i] * (b - a) / max(a, b), mass + weights[i]
    assert s.weighted_silhouette(distances, codes, weights[None])[0] == pytest.approx(total / mass)


def test_unknown_classes_are_left_out(points):
    x, classes = points
    known = np.arange(60) % 3 > 0
    partly = np.where(known, classes.astype(object), np.nan)
    assert s.silhouette(x, partly) == pytest.approx(silhouette_score(x[known], classes[known], metric="cosine"))
    assert s.fisher_ratio(x, partly) == pytest.approx(fisher_by_loop(x[known], classes[known]))
    assert s.davies_bouldin(x, partly) == pytest.approx(davies_bouldin_score(x[known], classes[known]))
    assert s.centroid_distance(x, partly) == pytest.approx(s.centroid_distance(x[known], classes[known]))


METRICS = (s.silhouette, s.fisher_ratio, s.davies_bouldin, s.centroid_distance)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [[], ["a"] * 5, [np.nan] * 5, ["a", "a", np.nan, np.nan, np.nan]])
def test_fewer_than_two_classes_have_no_value(metric, classes):
    assert np.isnan(metric(np.random.default_rng(0).normal(size=(len(classes), 3)), classes))


def test_no_items_have_no_frechet_distance():
    pairs, rest = f.weighted_frechet(np.zeros((0, 3)), np.zeros(0, int), np.ones((2, 0)))
    assert (pairs.shape, rest.shape) == ((2, 0), (2, 0))
    pairs, _ = f.weighted_frechet(np.eye(3), np.array([0, 0, 1]), np.ones((1, 3)))
    assert np.isnan(pairs).all()


def test_points_in_one_place():
    same = np.ones((6, 4))
    assert s.silhouette(same, [0, 0, 0, 1, 1, 1]) == 0 == silhouette_score(same, [0, 0, 0, 1, 1, 1], metric="cosine")
    assert np.isnan(s.fisher_ratio(same, [0, 0, 0, 1, 1, 1]))
    assert np.isnan(s.davies_bouldin(same, [0, 0, 0, 1, 1, 1]))
    two = np.repeat(np.eye(4)[:2], 3, axis=0)
    assert s.silhouette(two, [0, 0, 0, 1, 1, 1]) == 1.0
    assert s.fisher_ratio(two, [0, 0, 0, 1, 1, 1]) == np.inf
    assert s.davies_bouldin(two, [0, 0, 0, 1, 1, 1]) == 0.0


def test_a_class_of_one_item_has_silhouette_zero(points):
    x, classes = points
    classes = np.array(["alone", *classes[1:]])
    assert s.silhouette(x, classes) == pytest.approx(silhouette_score(x, classes, metric="cosine"))
    samples = s.silhouette_samples(s.cosine_distances(x), s.class_codes(classes), np.ones((1, 60)))
    assert samples[0, 0] == 0


def test_a_class_that_was_not_drawn_does_not_count(points):
    x, classes = points
    codes = s.class_codes(classes)
    weights = (classes != "b").astype(float)[None]
    two = classes != "b"
    assert s.weighted_davies_bouldin(s.gram(x), codes, weights)[0] == pytest.approx(
        s.davies_bouldin(x[two], classes[two])
    )
    assert s.weighted_fisher_ratio(s.gram(x), codes, weights)[0] == pytest.approx(s.fisher_ratio(x[two], classes[two]))
    alone = (classes == "a").astype(float)[None]
    for metric in (s.weighted_fisher_ratio, s.weighted_davies_bouldin, s.weighted_centroid_distance):
        assert np.isnan(metric(s.gram(x), codes, alone)[0])
    assert np.isnan(s.weighted_silhouette(s.cosine_distances(x), codes, alone)[0])


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="finite"):
        s.silhouette([[np.nan], [1.0]], ["a", "b"])
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        s.fisher_ratio([1.0, 2.0], ["a", "b"])
