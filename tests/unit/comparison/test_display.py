"""Grey values mapped by healthy references: a display curve is undone, whatever the picture shows."""

from __future__ import annotations

import numpy as np
import pytest

from lgdea.comparison.references.display import LEVELS, grey_quantiles, mean_quantiles, standardise


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    return [np.clip(rng.beta(2, 3, size=(60 + n, 50)) + rng.normal(0, 0.02), 0, 1).astype(np.float32) for n in range(9)]


@pytest.mark.parametrize("power", [0.4, 0.8, 1.0, 2.5])
def test_a_display_curve_is_undone(people, power):
    query, *references = people
    seen = mean_quantiles([grey_quantiles(r**power) for r in references])
    known = mean_quantiles([grey_quantiles(r) for r in references])
    shown = standardise(query**power, seen, known)
    inside = (query > 0.05) & (query < 0.8)  # the ends of a curve are told by few pixels
    assert np.abs(shown - query)[inside].max() < 0.03
    if power != 1:
        assert np.abs(shown - query).mean() < np.abs(query**power - query).mean() / 5


def test_what_the_query_shows_does_not_bend_the_map(people):
    """Half of the query is bright: by its own quantiles that would be darkened, by its references it stays."""
    query, *references = people
    known = mean_quantiles([grey_quantiles(r) for r in references])
    ill = query.copy()
    ill[:30] = 0.75
    assert standardise(ill, known, known)[:30].mean() == pytest.approx(0.75, abs=0.01)
    assert standardise(ill, grey_quantiles(ill), known)[:30].mean() < 0.65


def test_order_is_kept_and_nothing_is_undefined(people):
    known = mean_quantiles([grey_quantiles(p) for p in people])
    black = np.zeros(len(LEVELS))  # of a picture with one grey value
    for seen in (known, black, np.repeat([0.0, 0.5], [20, 13])):
        shown = standardise(np.linspace(0, 1, 100)[None], seen, known)
        assert np.isfinite(shown).all()
        assert (np.diff(shown) >= 0).all()
        assert known[0] - 1e-6 <= shown.min() <= shown.max() <= known[-1] + 1e-6


def test_large_pictures_count_as_small_ones(people):
    small = people[0]
    large = np.repeat(np.repeat(small, 20, axis=0), 20, axis=1)
    assert grey_quantiles(large) == pytest.approx(grey_quantiles(small), abs=0.02)
    assert grey_quantiles(large).shape == LEVELS.shape
