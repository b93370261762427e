import numpy as np
import pytest

from lgdea.annotation.bootstrap_f1 import bca, f1, resample


def _macro(counts):
    return np.nanmean(f1(counts), axis=1, keepdims=True)


def test_f1_by_hand_and_undefined_where_nothing_is_there():
    assert f1(np.array([3.0, 1.0, 2.0])) == pytest.approx(6 / 9)
    assert f1(np.array([0.0, 1.0, 0.0])) == 0.0
    assert np.isnan(f1(np.zeros(3)))


def test_resampled_sums_are_those_of_as_many_reports():
    counts = np.ones((37, 2, 3))
    assert (resample(counts, 150, 0) == 37).all()
    assert (resample(counts, 5, 0) == resample(counts, 5, 0)).all()
    assert not np.array_equal(resample(np.eye(30)[:, :3, None], 5, 0), resample(np.eye(30)[:, :3, None], 5, 1))


def test_the_interval_holds_the_estimate_and_narrows_with_more_reports():
    rng = np.random.default_rng(3)
    widths = []
    for reports in (50, 200, 3200):
        counts = np.zeros((reports, 4, 3))
        counts[np.arange(reports), rng.integers(4, size=reports), rng.choice(3, size=reports, p=[0.8, 0.1, 0.1])] = 1
        point, low, high = bca(counts, resample(counts, 400, 0), f1)
        assert ((low <= point) & (point <= high)).all()
        widths.append(float((high - low).mean()))
    assert widths[0] > 1.5 * widths[1] > 1.5 * 1.5 * widths[2]


def test_a_rare_class_neither_drops_out_nor_counts_as_zero():
    """One class has a single, right report; most resamples that miss it would otherwise pull the mean down."""
    counts = np.zeros((100, 2, 3))
    counts[:99, 0, 0] = 1
    counts[99, 1, 0] = 1
    point, low, high = bca(counts, resample(counts, 500, 0), f1)
    assert point.tolist() == low.tolist() == high.tolist() == [1.0, 1.0]


def test_skewed_counts_give_an_interval_that_leans_to_the_longer_tail():
    counts = np.zeros((60, 1, 3))
    counts[:58, 0, 0] = 1
    counts[58:, 0, 2] = 1
    point, low, high = bca(counts, resample(counts, 2000, 0), f1)
    assert point[0] == pytest.approx(116 / 118)
    assert point[0] - low[0] > 2 * (high[0] - point[0]) > 0


def test_no_reports_give_no_score():
    point, low, high = bca(np.zeros((0, 1, 3)), np.zeros((10, 1, 3)), f1)
    assert (point[0], low[0], high[0]) == (0.0, 0.0, 0.0)


def test_coverage_of_the_macro_mean():
    """95% intervals of samples from a known population hold its macro F1 about that often."""
    rng = np.random.default_rng(0)
    population = np.zeros((4000, 3, 3))
    rows = np.arange(4000)
    population[rows, rng.choice(3, size=4000, p=[0.6, 0.3, 0.1]), rng.choice(3, size=4000, p=[0.85, 0.1, 0.05])] = 1
    truth = _macro(population.sum(axis=0)[None])[0, 0]
    held = 0
    for trial in range(60):
        sample = population[rng.integers(4000, size=300)]
        _, low, high = bca(sample, resample(sample, 300, trial), _macro)
        held += low[0] <= truth <= high[0]
    assert held >= 52
