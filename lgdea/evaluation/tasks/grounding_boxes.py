"""The boxes of a heat map against the true ones, beside boxes that know nothing of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgdea.evaluation.config import GroundingConfig
from lgdea.evaluation.metrics import detection as metrics
from lgdea.evaluation.metrics.classification import macro
from lgdea.evaluation.results.result import Value, values
from lgdea.imaging.boxes import boxes_of_map
from lgdea.statistics.bootstrap import Interval, cluster_bootstrap

Floats = NDArray[np.float64]
KINDS = ("", "_whole", "_centre")
"""The map's own boxes, one box of the whole image, one in its middle."""


@dataclass(frozen=True)
class BoxScores:
    """Overlaps and scores of one (image, phrase) for average precision."""

    n_truth: int
    ious: dict[str, Floats]
    """By kind, (M, N)."""
    scores: dict[str, Floats]
    """By kind, (M,)."""


def score_boxes(heat: Floats, edges: Floats, config: GroundingConfig) -> tuple[dict[str, float], BoxScores]:
    """Hits and false boxes of one map, as columns of the items, and what average precision needs.

    Args:
        heat: (H, W) map, source pixels.
        edges: (N, 4) true boxes; they are clipped to the image, those outside it are left out.
        config: How boxes are made of the map, and the thresholds.
    """
    height, width = heat.shape
    truth = np.clip(edges, 0, [width, height, width, height])
    truth = truth[(truth[:, 2:] > truth[:, :2]).all(axis=1)]
    warm = boxes_of_map(heat, level=config.box_level, min_area=config.box_min_area)
    found = {
        "": (np.array([b.box for b in warm], np.float64).reshape(-1, 4), np.array([b.score for b in warm])),
        "_whole": (metrics.whole_box(width, height), np.zeros(1)),
        "_centre": (metrics.centre_box(width, height), np.zeros(1)),
    }
    columns: dict[str, float] = {}
    ious = {}
    for kind, (boxes, _) in found.items():
        ious[kind], iobb = metrics.overlaps(boxes, truth)
        # Of a box of the whole image both are the same.
        for name, ratios in {"iou": ious[kind], "iobb": iobb}.items() if kind != "_whole" else [("iou", ious[kind])]:
            columns |= {f"{name}_hit{kind}@{t:g}": metrics.hit_share(ratios, t) for t in config.hit_thresholds}
            if not kind:
                columns |= {f"{name}_false@{t:g}": metrics.false_boxes(ratios, t) for t in config.hit_thresholds}
    return columns, BoxScores(len(truth), ious, {kind: scores for kind, (_, scores) in found.items()})


def average_precisions(
    boxes: list[BoxScores], classes: NDArray[Any], clusters: NDArray[Any], config: GroundingConfig
) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    """Average precision of every class at every threshold, and its mean over classes (mAP).

    Returns:
        ``ap@T_macro`` with interval, and ``ap_whole@T_macro`` and ``ap_centre@T_macro`` without; per class ``ap@T``.
    """
    names = [str(name) for name in np.unique(classes)]
    n_truth = np.array([item.n_truth for item in boxes])
    counts = [int(n_truth[classes == name].sum()) for name in names] + [int(n_truth.sum())]
    overall: dict[str, Value] = {}
    per_class: dict[str, dict[str, Value]] = {name: {} for name in names}
    for kind in KINDS:
        for t in config.ap_thresholds:
            interval = _interval(boxes, classes, clusters, names, kind, t, config)
            definition = f"grounding/ap{kind.replace('_', '-')}-v1"
            columns = values([*names, "macro"], interval, counts, [definition] * len(counts))
            overall[f"ap{kind}@{t:g}_macro"] = columns.pop("macro")
            if not kind:
                for name, value in columns.items():
                    per_class[name][f"ap@{t:g}"] = value
    return overall, per_class


def _interval(
    boxes: list[BoxScores],
    classes: NDArray[Any],
    clusters: NDArray[Any],
    names: list[str],
    kind: str,
    threshold: float,
    config: GroundingConfig,
) -> Interval:
    parts = []
    for name in names:
        rows = np.flatnonzero(classes == name)
        mine = [boxes[i] for i in rows]
        ious, scores = [b.ious[kind] for b in mine], [b.scores[kind] for b in mine]
        parts.append((rows, metrics.detections(ious, scores, [b.n_truth for b in mine], threshold)))

    def statistic(weights: Floats) -> Floats:
        areas = [metrics.weighted_average_precision(found, weights[:, rows]) for rows, found in parts]
        return np.stack([*areas, macro(np.stack(areas), axis=0)], axis=1)

    replicates = 0 if kind else config.bootstrap_replicates  # a reference needs no interval of its own
    return cluster_bootstrap(statistic, clusters, replicates=replicates, seed=config.seed)
