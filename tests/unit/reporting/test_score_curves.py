from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from lgdea.evaluation.results.result import Result
from lgdea.reporting.score_curves import class_curves, precision_recall, rank_charts, rank_distribution, roc, simplify
from lgdea.statistics.roc import auroc


def scored(n: int, seed: int = 0, digits: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(float)
    return np.round(rng.normal(size=n) + labels, digits), labels


@pytest.mark.parametrize(("n", "digits"), [(10, 1), (200, 1), (200, 6), (3000, 2)])
def test_points_are_those_of_scikit_learn(n: int, digits: int) -> None:
    scores, labels = scored(n, seed=n, digits=digits)
    x, y = roc(scores, labels)
    fpr, tpr, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(x, fpr)
    np.testing.assert_allclose(y, tpr)
    recall, precision = precision_recall(scores, labels)
    expected, at, _ = metrics.precision_recall_curve(labels, scores)
    # Theirs run from high to low recall and also keep the thresholds at which recall stands still.
    reached, first = np.unique(at[::-1], return_index=True)
    np.testing.assert_allclose(recall[1::2], reached[1:])
    np.testing.assert_allclose(precision[1::2], expected[::-1][first[1:]])


@pytest.mark.parametrize("n", [12, 500])
def test_the_area_below_the_line_is_the_reported_number(n: int) -> None:
    scores, labels = scored(n)
    labels[::7] = np.nan
    known = ~np.isnan(labels)
    assert metrics.auc(*roc(scores, labels)) == pytest.approx(auroc(scores, labels))
    recall, precision = precision_recall(scores, labels)
    area = float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))
    assert area == pytest.approx(metrics.average_precision_score(labels[known], scores[known]))


def test_one_kind_of_label_or_nothing_has_no_curve() -> None:
    for labels in ([1, 1], [0, 0], [np.nan, np.nan], []):
        assert len(roc(np.zeros(len(labels)), labels)[0]) == 0
    assert len(precision_recall([0.1, 0.2], [0, 0])[0]) == 0
    assert precision_recall([0.1, 0.2], [1, 1])[1].tolist() == [1, 1, 1, 1]
    assert len(rank_distribution([np.nan])[0]) == 0


def test_rank_distribution_counts_queries() -> None:
    ranks, share = rank_distribution([1, 3, 3, np.nan, 2.5])
    assert ranks[1::2].tolist() == [1, 2.5, 3]
    assert share[1::2].tolist() == [0.25, 0.5, 1.0]
    assert share[0] == 0


def gap(x: np.ndarray, y: np.ndarray, kept_x: np.ndarray, kept_y: np.ndarray) -> float:
    """Largest distance of any point from the simplified line, by brute force."""
    worst = 0.0
    for px, py in zip(x, y, strict=True):
        dx, dy = np.diff(kept_x), np.diff(kept_y)
        length = np.maximum(dx**2 + dy**2, 1e-300)
        t = np.clip(((px - kept_x[:-1]) * dx + (py - kept_y[:-1]) * dy) / length, 0, 1)
        worst = max(worst, float(np.hypot(px - kept_x[:-1] - t * dx, py - kept_y[:-1] - t * dy).min()))
    return worst


@pytest.mark.parametrize("curve", [roc, precision_recall])
def test_thinning_moves_no_point_by_a_pixel(curve) -> None:
    points = curve(*scored(4000, digits=9))
    kept = simplify(*points)
    assert len(kept[0]) < len(points[0]) / 5
    assert (kept[0][0], kept[1][0], kept[0][-1], kept[1][-1]) == (*(p[0] for p in points), *(p[-1] for p in points))
    assert gap(*points, *kept) <= 0.003 + 1e-12


def test_thinning_of_nothing_and_of_a_closed_line() -> None:
    assert [len(p) for p in simplify([], [])] == [0, 0]
    assert simplify([0.0, 1.0, 0.0], [0.0, 0.0, 0.0])[0].tolist() == [0, 1, 0]


def result(items: pd.DataFrame, task: str) -> Result:
    return Result(task, "v1", "m", "a", "test", {}, {}, {}, items)


def test_a_hundred_thousand_items_are_a_few_kilobytes() -> None:
    scores, labels = scored(100_000, digits=9)
    items = pd.DataFrame({"class": "nodule", "score": scores, "label": labels})
    (pair,) = class_curves({"a": result(items, "zero-shot")}, {"a": 0})
    assert (pair.n, pair.positive) == (100_000, int(labels.sum()))
    assert len(pair.roc) + len(pair.precision_recall) < 20_000


def test_models_are_overlaid_and_a_class_of_one_kind_is_left_out() -> None:
    scores, labels = scored(50)
    both = [pd.DataFrame({"class": "nodule", "score": s, "label": labels}) for s in (scores, -scores)]
    none = pd.DataFrame({"class": "mass", "score": scores, "label": np.zeros(50)})
    found = {"a": result(pd.concat([both[0], none]), "zero-shot"), "b": result(both[1], "zero-shot")}
    (pair,) = class_curves(found, {"a": 0, "b": 1})
    assert re.findall(r'data-label="(\w)"', pair.roc) == ["a", "b"]
    assert class_curves({"a": result(pd.DataFrame(), "zero-shot")}, {"a": 0}) == []


def test_ranks_stand_on_a_logarithmic_axis() -> None:
    items = pd.DataFrame({"direction": "image_to_report", "first_positive_rank": [1.0, 10.0, 1000.0]})
    ((direction, svg),) = rank_charts({"a": result(items, "retrieval")}, {"a": 0})
    assert direction == "image_to_report"
    assert "data-log" in svg
    assert 'data-range="0 3 0 1"' in svg
    ticks = re.findall(r'text-anchor="middle">([^<]+)<', svg)
    assert ticks == ["1", "10", "100", "1k"]
