"""Curves of the per-item tables: ROC and precision-recall per class, rank of a query's right answer.

Every curve is exact before it is thinned, and thinning moves it by less than one pixel, however many items there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from lgdea.evaluation.results.result import Result
from lgdea.reporting.curves import Curve, share_chart

Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]
"""x (K,) and y (K,)."""

TOLERANCE = 0.003
"""Points along the axis: a chart is 300 pixels wide."""


@dataclass(frozen=True)
class CurvePair:
    """The two curves of one class, all models in each."""

    name: str
    n: int
    positive: int
    roc: Markup
    precision_recall: Markup


def roc(scores: ArrayLike, labels: ArrayLike) -> Points:
    """False and true positive rate at every distinct score, from (0, 0) to (1, 1).

    The area under straight lines between the points is ``zero-shot/auroc-v1``.

    Args:
        scores: (N,) higher means more present.
        labels: (N,) 1, 0 or NaN; NaN is left out.

    Returns:
        (K,) each; empty without both kinds of label.
    """
    positive, negative = _counts(scores, labels)
    if not len(positive) or positive[-1] == 0 or negative[-1] == 0:
        return np.zeros(0), np.zeros(0)
    return np.append(0, negative / negative[-1]), np.append(0, positive / positive[-1])


def precision_recall(scores: ArrayLike, labels: ArrayLike) -> Points:
    """Recall and precision as the steps whose area is ``zero-shot/auprc-v1``: corners, from recall 0 to 1.

    Average precision credits each step of recall with the precision at its end; so does this line, which never
    interpolates between two thresholds (Davis & Goadrich 2006).

    Args:
        scores: (N,) higher means more present.
        labels: (N,) 1, 0 or NaN; NaN is left out.

    Returns:
        (K,) each; empty without a positive label.
    """
    positive, negative = _counts(scores, labels)
    if not len(positive) or positive[-1] == 0:
        return np.zeros(0), np.zeros(0)
    recall, precision = positive / positive[-1], positive / (positive + negative)
    grows = np.diff(recall, prepend=0) > 0
    recall, precision = recall[grows], precision[grows]
    return np.stack([np.append(0, recall[:-1]), recall], axis=1).ravel(), np.repeat(precision, 2)


def rank_distribution(ranks: ArrayLike) -> Points:
    """Share of queries whose first right answer has rank x or better, as the corners of steps.

    Args:
        ranks: (N,) from 1; fractional where answers are tied; NaN is left out.

    Returns:
        (K,) each; empty without a rank.
    """
    known = np.asarray(ranks, np.float64)
    found, counts = np.unique(known[np.isfinite(known)], return_counts=True)
    if not len(found):
        return np.zeros(0), np.zeros(0)
    share = np.cumsum(counts) / counts.sum()
    return np.repeat(found, 2), np.stack([np.append(0, share[:-1]), share], axis=1).ravel()


def simplify(x: ArrayLike, y: ArrayLike, tolerance: float = TOLERANCE) -> Points:
    """Leave out points as long as the line moves by at most ``tolerance`` (Douglas & Peucker 1973).

    Args:
        x: (K,) on a scale from 0 to 1.
        y: (K,) on a scale from 0 to 1.
        tolerance: Largest distance of a point left out from the line that is drawn instead.

    Returns:
        The points kept, the first and last among them.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    keep = np.zeros(len(x), bool)
    keep[:1] = keep[-1:] = True
    open_parts = [(0, len(x) - 1)]
    while open_parts:
        first, last = open_parts.pop()
        if last - first < 2:
            continue
        distance = _distance(x[first : last + 1], y[first : last + 1])
        far = int(distance.argmax())
        if distance[far] > tolerance:
            keep[first + far] = True
            open_parts += [(first, first + far), (first + far, last)]
    return x[keep], y[keep]


def class_curves(results: Mapping[str, Result], colours: Mapping[str, int]) -> list[CurvePair]:
    """ROC and precision-recall of every class of a zero-shot result, in order of class; classes without both kinds
    of label have none."""
    by_class: dict[str, dict[str, pd.DataFrame]] = {}
    for label, result in results.items():
        if {"class", "score", "label"} <= set(result.items):
            for name, rows in result.items[result.items["label"].notna()].groupby("class"):
                by_class.setdefault(str(name), {})[label] = rows
    return [pair for name, found in sorted(by_class.items()) if (pair := _pair(name, found, colours)) is not None]


def rank_charts(results: Mapping[str, Result], colours: Mapping[str, int]) -> list[tuple[str, Markup]]:
    """(direction, chart) of the rank of the first right answer, for every direction of a retrieval result."""
    found: dict[str, list[Curve]] = {}
    for label, result in results.items():
        if {"direction", "first_positive_rank"} <= set(result.items):
            for direction, rows in result.items.groupby("direction", sort=False):
                ranks, share = rank_distribution(rows["first_positive_rank"])
                if len(ranks):
                    found.setdefault(str(direction), []).append(Curve(label, colours[label], ranks, share))
    charts = []
    for direction, curves in found.items():
        widest = max(10.0, *(float(c.steps.max()) for c in curves))
        thinned = [_thin_ranks(c, widest) for c in curves]
        chart = share_chart(f"{direction}: share of queries", thinned, x_name="rank", y_name="share", x_high=widest)
        charts.append((direction, chart))
    return charts


def _pair(name: str, found: Mapping[str, pd.DataFrame], colours: Mapping[str, int]) -> CurvePair | None:
    roc_curves, pr_curves = [], []
    for label, rows in found.items():
        scores, labels = rows["score"].to_numpy(float), rows["label"].to_numpy(float)
        points = roc(scores, labels)
        if len(points[0]):
            roc_curves.append(Curve(label, colours[label], *simplify(*points)))
            pr_curves.append(Curve(label, colours[label], *simplify(*precision_recall(scores, labels))))
    if not roc_curves:
        return None
    labels = next(iter(found.values()))["label"].to_numpy(float)
    positive = int((labels == 1).sum())
    level = positive / len(labels)
    first = share_chart(
        f"ROC of {name}",
        roc_curves,
        x_name="false positive rate",
        y_name="true positive rate",
        chance=[(0, 0), (1, 1)],
    )
    second = share_chart(
        f"Precision and recall of {name}",
        pr_curves,
        x_name="recall",
        y_name="precision",
        chance=[(0, level), (1, level)],
    )
    return CurvePair(name, len(labels), positive, first, second)


def _thin_ranks(curve: Curve, widest: float) -> Curve:
    position = np.log(curve.steps) / np.log(widest)
    kept, share = simplify(position, curve.values)
    return Curve(curve.label, curve.colour, np.exp(kept * np.log(widest)), share)


def _counts(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    """Positive and negative items at or above each distinct score, highest first: (K,) each."""
    values, truth = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    values, truth = values[~np.isnan(truth)], truth[~np.isnan(truth)]
    order = np.argsort(-values, kind="stable")
    last = np.flatnonzero(np.diff(values[order], append=np.nan) != 0)
    positive = np.cumsum(truth[order] == 1)[last]
    return positive.astype(np.float64), (last + 1 - positive).astype(np.float64)


def _distance(x: Floats, y: Floats) -> Floats:
    """Distance of each point from the line between the first and the last."""
    dx, dy = x[-1] - x[0], y[-1] - y[0]
    length = float(np.hypot(dx, dy))
    if length == 0:
        return np.hypot(x - x[0], y - y[0])
    # Along the segment, not the endless line: a curve may turn back behind its ends.
    along = np.clip(((x - x[0]) * dx + (y - y[0]) * dy) / length**2, 0, 1)
    return np.hypot(x - x[0] - along * dx, y - y[0] - along * dy)
