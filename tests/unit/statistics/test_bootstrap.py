import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lgdea.statistics import bootstrap as b
from lgdea.statistics.roc import auroc, weighted_auroc


def test_weights_are_whole_patients_drawn_with_return():
    clusters = np.array(["b", "a", "b", "c"])
    weights = np.concatenate(list(b.cluster_weights(clusters, 50, seed=0)))
    assert weights.shape == (50, 4)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)


def test_blocks_of_weights_differ_and_repeat_with_the_seed(monkeypatch):
    clusters = np.arange(30)
    monkeypatch.setattr(b, "_CELLS", 90)
    blocks = list(b.cluster_weights(clusters, 10, seed=1))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    assert len(np.unique(np.concatenate(blocks), axis=0)) == 10
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(list(b.cluster_weights(clusters, 10, seed=1))))


def test_the_interval_of_a_mean_is_that_of_scipy():
    x = np.random.default_rng(0).normal(3, 1, 200)
    value, low, high = b.cluster_bootstrap(b.weighted_mean(x), np.arange(200), replicates=4000, seed=0)
    expected = stats.bootstrap((x,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    assert value == pytest.approx(x.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        # Five copies per patient: treating them as independent would cover far too rarely.
        x = np.repeat(rng.normal(0, 1, 40), 5)
        _, low, high = b.cluster_bootstrap(b.weighted_mean(x), np.repeat(np.arange(40), 5), replicates=300, seed=seed)
        inside += low <= 0 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_an_auroc_interval_by_explicit_resampling():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60).astype(float)
    scores = labels + rng.normal(0, 1, 60)
    patients = rng.integers(0, 20, 60)
    _, low, high = b.cluster_bootstrap(lambda w: weighted_auroc(scores, labels, w), patients, replicates=200, seed=5)
    weights = np.concatenate(list(b.cluster_weights(patients, 200, seed=5))).astype(int)
    areas = [auroc(np.repeat(scores, w), np.repeat(labels, w)) for w in weights]
    assert (low, high) == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])))


def test_no_bounds_without_two_patients():
    value, low, high = b.cluster_bootstrap(b.weighted_mean(np.array([1.0, 3.0])), np.array(["p", "p"]))
    assert value == 2.0
    assert np.isnan(low)
    assert np.isnan(high)


def test_undefined_replicates_are_left_out():
    x = np.array([np.nan, np.nan, 1.0, 2.0])
    value, low, high = b.cluster_bootstrap(b.weighted_mean(x), np.arange(4), replicates=500)
    assert value == 1.5
    assert 1.0 <= low < high <= 2.0
    assert np.isnan(b.cluster_bootstrap(b.weighted_mean(np.full(3, np.nan)), np.arange(3)).high)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, np.nan]), min_size=1), st.lists(st.integers(0, 3), min_size=1))
def test_weighted_statistics_are_those_of_repeated_items(items, counts):
    x = np.array(items)
    counts = np.resize(counts, len(x))
    again = np.repeat(x, counts)
    again = again[~np.isnan(again)]
    weights = counts[None].astype(float)
    mean = again.mean() if len(again) else np.nan
    median = np.sort(again)[(len(again) - 1) // 2] if len(again) else np.nan
    assert b.weighted_mean(x)(weights)[0] == pytest.approx(mean, nan_ok=True)
    assert b.weighted_median(x)(weights)[0] == pytest.approx(median, nan_ok=True)


def test_class_means_end_with_their_own_mean():
    means = b.class_means([1.0, 3.0, 10.0, np.nan], ["a", "a", "b", "c"])(np.ones((1, 4)))
    np.testing.assert_allclose(means, [[2.0, 10.0, np.nan, 6.0]])


def test_permutation_agrees_with_scipy_on_independent_items():
    rng = np.random.default_rng(1)
    a, c = rng.normal(0.3, 1, 12), rng.normal(0, 1, 12)
    expected = stats.permutation_test(
        (a, c), lambda x, y: np.mean(x - y), permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    ours = b.permutation_test(a, c)
    assert ours.difference == pytest.approx(expected.statistic)
    assert ours.p_value == pytest.approx(expected.pvalue)
    assert b.permutation_test(a, c, replicates=4000).p_value == pytest.approx(expected.pvalue, abs=0.03)


def test_permutation_keeps_the_items_of_a_patient_together():
    # 40 items of 2 patients: four sign patterns, so no p-value can be below 1/4.
    a, c, patients = np.ones(40), np.zeros(40), np.repeat([0, 1], 20)
    assert b.permutation_test(a, c, patients).p_value == 0.25
    assert b.permutation_test(a, c).p_value < 0.001
    assert b.permutation_test(c, a, patients).p_value == 1.0


def test_equal_models_are_not_better():
    a = np.random.default_rng(0).random(50)
    assert b.permutation_test(a, a).p_value == 1.0
    assert b.swap_test(lambda x: float(x.mean()), a, a, np.arange(50), replicates=20).p_value == 1.0


def test_permutation_without_items_has_no_p_value():
    assert np.isnan(b.permutation_test([np.nan], [1.0]).p_value)
    with pytest.raises(ValueError, match="paired"):
        b.permutation_test([1.0], [1.0, 2.0])


def test_swapping_is_the_sign_test_for_a_mean():
    rng = np.random.default_rng(2)
    a, c, patients = rng.normal(0.3, 1, 60), rng.normal(0, 1, 60), rng.integers(0, 25, 60)
    by_sign = b.permutation_test(a, c, patients, replicates=4000)
    by_swap = b.swap_test(lambda x: float(x.mean()), a, c, patients, replicates=4000)
    assert by_swap.difference == pytest.approx(by_sign.difference)
    assert by_swap.p_value == pytest.approx(by_sign.p_value, abs=0.04)
