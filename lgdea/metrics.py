"""Metrics as pure functions of NumPy arrays, with the bootstrap and the test behind every published interval.

Letters: N items, C classes, Q queries, R rows of weights, (H, W) pixels. Labels are 1 present, 0 absent, NaN unknown.
A metric that is not defined is NaN. Ties count by expectation. docs/metrics.md has the formulas and sources.

>>> from lgdea import metrics
>>> metrics.auroc([0.9, 0.1, 0.5], [1, 0, 0])
1.0
>>> import numpy as np
>>> hits = np.array([1.0, 0.0, 1.0, 1.0])
>>> value, low, high = metrics.cluster_bootstrap(metrics.weighted_mean(hits), ["p1", "p1", "p2", "p3"])
>>> metrics.format_interval(float(value), float(low), float(high))
'0.750 [0.500, 1.000]'
"""

from __future__ import annotations

from lgdea.evaluation.metrics.classification import (
    auprc,
    choose_threshold,
    f1_mcc_at_threshold,
    macro,
    multilabel,
    single_label_accuracy,
    top1_credit,
)
from lgdea.evaluation.metrics.detection import (
    average_precision,
    detections,
    false_boxes,
    hit_share,
    match_boxes,
    overlaps,
)
from lgdea.evaluation.metrics.frechet import fit_gaussian, frechet_distance
from lgdea.evaluation.metrics.grounding import box_mask, cnr, miou, pointing, pointing_chance
from lgdea.evaluation.metrics.retrieval import (
    first_positive_rank,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    recall_chance,
    ties_at_best_positive,
)
from lgdea.evaluation.metrics.separability import davies_bouldin, fisher_ratio, silhouette
from lgdea.evaluation.results.differences import holm
from lgdea.statistics.bootstrap import (
    class_means,
    cluster_bootstrap,
    permutation_test,
    swap_test,
    weighted_mean,
    weighted_median,
)
from lgdea.statistics.format import format_interval
from lgdea.statistics.overlap import jaccard
from lgdea.statistics.roc import auroc

__all__ = [
    "auprc",
    "auroc",
    "average_precision",
    "box_mask",
    "choose_threshold",
    "class_means",
    "cluster_bootstrap",
    "cnr",
    "davies_bouldin",
    "detections",
    "f1_mcc_at_threshold",
    "false_boxes",
    "first_positive_rank",
    "fisher_ratio",
    "fit_gaussian",
    "format_interval",
    "frechet_distance",
    "hit_share",
    "holm",
    "jaccard",
    "macro",
    "match_boxes",
    "miou",
    "multilabel",
    "ndcg_at_k",
    "overlaps",
    "permutation_test",
    "pointing",
    "pointing_chance",
    "precision_at_k",
    "recall_at_k",
    "recall_chance",
    "silhouette",
    "single_label_accuracy",
    "swap_test",
    "ties_at_best_positive",
    "top1_credit",
    "weighted_mean",
    "weighted_median",
]
