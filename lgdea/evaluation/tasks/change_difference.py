"""The baseline of interval change: the difference of two single-image scores of a finding, with thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.comparison.change.states import COARSE, STATES
from lgdea.errors import DataError
from lgdea.evaluation.config import ChangeConfig
from lgdea.evaluation.encoders.protocol import EvaluableModel
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.metrics.change import balanced_accuracy
from lgdea.evaluation.tasks.change_items import items_of, pairs_of, truth_of
from lgdea.evaluation.tasks.zero_shot import class_scores
from lgdea.progress import track

if TYPE_CHECKING:
    from lgdea.records.archive import Archive
    from lgdea.vocabulary import ScoredClass

Floats = NDArray[np.float64]
LEVELS = np.linspace(0.05, 0.95, 25)


@dataclass(frozen=True)
class Thresholds:
    """When a standardised score counts as present, and how far two must lie apart to count as changed."""

    present: float
    changed: float


def image_scores(
    model: EvaluableModel, source: ImageSource, images: list[str], findings: list[str], batch_size: int
) -> pd.DataFrame:
    """Zero-shot scores of findings, index image id; logits where the model gives probabilities."""
    done, blocks = [], []
    for ids, pixels in track(source.batches(images, batch_size), "scoring images", len(images), lambda b: len(b[0])):
        blocks.append(finding_scores(model, pixels, findings))
        done += ids
    scores = np.concatenate(blocks) if blocks else np.zeros((0, len(findings)))
    return pd.DataFrame(scores, index=done, columns=findings)


def finding_scores(model: EvaluableModel, pixels: Sequence[NDArray[np.float32]], findings: list[str]) -> Floats:
    """Zero-shot scores (B, F) of findings in images; logits where the model gives probabilities."""
    from lgdea.vocabulary import ScoredClass

    classes: list[ScoredClass] = [ScoredClass(name, frozenset([name])) for name in findings]
    scores = class_scores(model, pixels, classes, "phrase" if model.scoring == "presence" else "pair")
    if model.scoring != "presence":
        return scores
    inside = scores.clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


def standardise(scores: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Scores of each finding with the mean and the deviation of ``reference`` taken out."""
    return (scores - reference.mean()) / reference.std(ddof=0).replace(0, 1)


def answer(before: Floats, now: Floats, thresholds: Thresholds, coarse: bool) -> NDArray[np.str_]:
    """States (N,) from standardised scores (N,) of the prior and the current image.

    Present in one alone: new or resolved. Else worse or better when the difference is large enough.
    """
    gap = now - before
    was, is_now = before >= thresholds.present, now >= thresholds.present
    states = np.where(gap > thresholds.changed, "worse", np.where(gap < -thresholds.changed, "better", "stable"))
    states = np.where(is_now & ~was, "new", np.where(was & ~is_now, "resolved", states))
    return np.array([COARSE[str(s)] for s in states]) if coarse else states


def choose_thresholds(before: Floats, now: Floats, truth: NDArray[np.str_], coarse: bool) -> Thresholds:
    """The thresholds with the best balanced accuracy on items whose truth may be seen."""
    levels = np.quantile(np.concatenate([before, now]), LEVELS)
    gaps = np.quantile(np.abs(now - before), LEVELS)
    grid = [Thresholds(float(p), float(c)) for p in (*levels, np.inf) for c in gaps]
    return max(grid, key=lambda t: balanced_accuracy(truth, answer(before, now, t, coarse)))


def default_thresholds(before: Floats, now: Floats) -> Thresholds:
    """Thresholds where no truth may be seen: a third of the items is stable, nothing is new or resolved."""
    return Thresholds(np.inf, float(np.quantile(np.abs(now - before), 1 / 3)))


def one_hot(states: NDArray[np.str_]) -> Floats:
    """Probabilities (N, 5) that are 1 for the state answered."""
    return (np.asarray(states)[:, None] == np.array(STATES)[None, :]).astype(np.float64)


def differences(
    model: EvaluableModel,
    source: ImageSource,
    archive: Archive,
    items: pd.DataFrame,
    config: ChangeConfig,
    units: pd.DataFrame | None,
    notes: list[str],
) -> list[str | None]:
    """Answer of the difference of zero-shot scores to each item, None where an image cannot be read."""
    findings = sorted(items["class"].unique())
    images = list(dict.fromkeys([*items["image_prior"], *items["image_id"]]))
    scores = image_scores(model, source, images, findings, config.batch_size)
    chosen = _tuning_items(archive, config, units, findings)
    if chosen is None:
        notes.append("difference of scores: no truth to choose thresholds on, so a third of the pairs is called stable")
        reference = scores
    else:
        others = list(dict.fromkeys([*chosen["image_prior"], *chosen["image_id"]]))
        reference = image_scores(model, source, others, findings, config.batch_size)
    before, now, known = _sides(items, standardise(scores, reference))
    if chosen is None:
        thresholds = default_thresholds(before[known], now[known])
    else:
        a, b, fit = _sides(chosen, standardise(reference, reference))
        state = chosen["state"].to_numpy(str)[fit]
        thresholds = choose_thresholds(a[fit], b[fit], state, config.states == 3)
    states = answer(np.nan_to_num(before), np.nan_to_num(now), thresholds, config.states == 3)
    return [str(s) if ok else None for s, ok in zip(states, known, strict=True)]


def _tuning_items(
    archive: Archive, config: ChangeConfig, units: pd.DataFrame | None, findings: list[str]
) -> pd.DataFrame | None:
    """Items of the split on which thresholds may be chosen, None where there are none."""
    if config.split in (config.baseline_split, "all"):
        return None
    try:
        pairs = pairs_of(archive, config, config.baseline_split)
        truth, _ = truth_of(archive, pairs, config, units)
    except DataError:
        return None
    items = items_of(pairs.table, truth[truth["finding"].isin(findings)])
    return items if items["state"].nunique() > 1 else None


def _sides(items: pd.DataFrame, scores: pd.DataFrame) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Scores (N,) of the prior and the current image of each item, and which items have both."""
    columns = pd.Index(scores.columns).get_indexer(pd.Index(items["class"]))
    sides = []
    for name in ("image_prior", "image_id"):
        rows = pd.Index(scores.index).get_indexer(pd.Index(items[name]))
        sides.append(np.where(rows >= 0, scores.to_numpy(float)[rows, columns], np.nan))
    return sides[0], sides[1], ~np.isnan(sides[0] + sides[1])
