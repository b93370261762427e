"""Boxes against boxes: localisation hits at IoU and IoBB, false boxes per image, average precision.

Boxes are (M, 4) ``x_min, y_min, x_max, y_max``, half-open, source pixels. Letters: M found boxes, N true boxes, D found
boxes of all images, I images (or (image, phrase) items), R rows of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RECALL_POINTS = np.linspace(0, 1, 101)


def overlaps(found: ArrayLike, truth: ArrayLike) -> tuple[Floats, Floats]:
    """IoU, and IoBB = intersection over the area of the FOUND box (Wang et al. 2017): two (M, N).

    Args:
        found: (M, 4) boxes ``(x_min, y_min, x_max, y_max)``, half-open.
        truth: (N, 4) boxes.

    Raises:
        ValueError: An argument is not (M, 4), or a box has no area.

    Example:
        >>> [round(float(x[0, 0]), 4) for x in overlaps([[0, 0, 2, 2]], [[0, 1, 4, 3]])]
        [0.2, 0.5]
    """
    a, b = _boxes(found), _boxes(truth)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    both = np.prod(np.maximum(sides, 0), axis=2)
    area_a, area_b = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b))
    return both / (area_a[:, None] + area_b[None, :] - both), both / area_a[:, None]


def hit_share(ratios: ArrayLike, threshold: float) -> float:
    """Share of the true boxes that some found box overlaps by more than ``threshold``.

    Definitions ``grounding/iou-hit-v1`` and ``grounding/iobb-hit-v1`` (localisation accuracy of Wang et al. 2017).

    Args:
        ratios: (M, N) of :func:`overlaps`; M may be 0.
        threshold: T; the overlap must exceed it.

    Returns:
        A value in [0, 1]; NaN without a true box.

    Example:
        >>> hit_share([[0.4, 0.0], [0.2, 0.1]], 0.3)
        0.5
    """
    ratios = _ratios(ratios)
    return float((ratios > threshold).any(axis=0).mean()) if ratios.shape[1] else float("nan")


def false_boxes(ratios: ArrayLike, threshold: float) -> int:
    """Number of found boxes that overlap no true box by more than ``threshold``.

    Definitions ``grounding/iou-false-v1`` and ``grounding/iobb-false-v1`` (Wang et al. 2017, who count them per
    image).

    Args:
        ratios: (M, N) overlaps of M found and N true boxes, IoU or IoBB.
        threshold: Overlap above which a found box is not false.

    Example:
        >>> false_boxes([[0.4, 0.0], [0.2, 0.1]], 0.3)
        1
    """
    return int((~(_ratios(ratios) > threshold).any(axis=1)).sum())


def match_boxes(ious: ArrayLike, scores: ArrayLike, threshold: float) -> Bools:
    """Match the found boxes of one image to its true boxes, one to one; True for a found box with a match.

    Found boxes choose in order of their score, each the free true box that it overlaps most, if by at least
    ``threshold`` (Lin et al. 2014, COCO). Of equal scores the larger overlap chooses first.

    Args:
        ious: (M, N) of :func:`overlaps`.
        scores: (M,) higher is surer.
        threshold: Least IoU.

    Returns:
        (M,) in the given order.

    Example:
        >>> match_boxes([[0.6], [0.9]], [0.8, 0.7], 0.5)
        array([ True, False])
    """
    ious, scores = _ratios(ious), np.asarray(scores, np.float64)
    if scores.shape != ious.shape[:1]:
        raise ValueError(f"overlaps {ious.shape} must be (M, N) and scores {scores.shape} (M,)")
    right = np.zeros(len(scores), bool)
    if ious.size == 0:
        return right
    free = np.ones(ious.shape[1], bool)
    largest = ious.max(axis=1)
    order = np.lexsort((-largest, -scores))
    for i in order[largest[order] >= threshold]:
        overlap = np.where(free, ious[i], -1.0)
        best = int(overlap.argmax())
        if overlap[best] >= threshold:
            right[i], free[best] = True, False
    return right


class Detections(NamedTuple):
    """All found boxes of one class, matched at one threshold."""

    scores: Floats
    """(D,)."""
    right: Bools
    """(D,) of :func:`match_boxes`, image by image."""
    image: NDArray[np.int64]
    """(D,) row of each box's image."""
    n_truth: Floats
    """(I,) true boxes of each image."""


def detections(
    ious: Sequence[ArrayLike], scores: Sequence[ArrayLike], n_truth: ArrayLike, threshold: float
) -> Detections:
    """Match every image: I overlaps (M_i, N_i) and I scores (M_i,) to :class:`Detections`.

    Args:
        ious: I overlaps (M_i, N_i) of M_i found and N_i true boxes (:func:`overlaps`).
        scores: I scores (M_i,) of the found boxes.
        n_truth: (I,) true boxes of each image.
        threshold: Overlap that makes a hit.

    Example:
        >>> float(average_precision(detections([[[0.8]]], [[0.9]], [1], 0.9)))
        0.0
    """
    n_truth = np.asarray(n_truth, np.float64)
    rows = [match_boxes(a, b, threshold) for a, b in zip(ious, scores, strict=True)]
    image = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    flat = np.concatenate([np.zeros(0), *(np.asarray(s, np.float64) for s in scores)])
    if np.isnan(flat).any():
        raise ValueError("a score is NaN")
    return Detections(flat, np.concatenate([np.zeros(0, bool), *rows]), image, n_truth)


def average_precision(found: Detections) -> float:
    """Mean over recalls 0, 0.01, ..., 1 of the highest precision at that recall or beyond (Lin et al. 2014, COCO).

    Definition ``grounding/ap-v1``. Found boxes with the same score are one threshold, so their order cannot matter.

    Args:
        found: Matched boxes of all images (:func:`detections`).

    Returns:
        A value in [0, 1]; 0 when nothing is found, NaN without a true box.

    Example:
        >>> found = detections([[[0.8], [0.0]]], [[0.9, 0.5]], [1], 0.3)
        >>> average_precision(found)
        1.0
    """
    return float(weighted_average_precision(found, np.ones((1, len(found.n_truth))))[0])


def weighted_average_precision(found: Detections, weights: Floats) -> Floats:
    """:func:`average_precision` for every row of ``weights`` (R, I), how often each image counts: (R,)."""
    truth = weights @ found.n_truth
    result = np.where(truth > 0, 0.0, np.nan)
    if len(found.scores) == 0:
        return result
    order = np.argsort(-found.scores, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(found.scores[order]) != 0, True])
    count = weights[:, found.image[order]]
    right = np.cumsum(count * found.right[order], axis=1)[:, ends]
    all_found = np.cumsum(count, axis=1)[:, ends]
    precision = np.divide(right, all_found, out=np.zeros_like(right), where=all_found > 0)
    # The highest precision at this recall or beyond: the running maximum from the right.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    known = np.flatnonzero(truth > 0)
    # One search for all rows: recalls lie in [0, 1], so each row gets a range of its own. A recall of 0.3 that is
    # reached exactly must not be missed by the last bit of 3 / 10.
    shift = 2.0 * np.arange(len(known))[:, None]
    at = np.searchsorted((right[known] / truth[known, None] + shift).ravel(), (RECALL_POINTS - 1e-9 + shift).ravel())
    at = at.reshape(len(known), len(RECALL_POINTS)) - np.arange(len(known))[:, None] * len(ends)
    reached = np.take_along_axis(precision[known], np.minimum(at, len(ends) - 1), axis=1)
    result[known] = np.where(at < len(ends), reached, 0.0).mean(axis=1)
    return result


def whole_box(width: int, height: int) -> Floats:
    """Box of the whole image, (1, 4): the answer of a detector without any knowledge."""
    return np.array([[0.0, 0.0, width, height]])


def centre_box(width: int, height: int) -> Floats:
    """Box with half of the image's width and height in its middle, (1, 4)."""
    return np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]])


def _boxes(boxes: ArrayLike) -> Floats:
    boxes = np.asarray(boxes, np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be (M, 4), not {boxes.shape}")
    if not (boxes[:, 2:] > boxes[:, :2]).all():
        raise ValueError("a box has no area")
    return boxes


def _ratios(ratios: ArrayLike) -> Floats:
    ratios = np.asarray(ratios, np.float64)
    if ratios.ndim != 2:
        raise ValueError(f"overlaps must be (M, N), not {ratios.shape}")
    return ratios
