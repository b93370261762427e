"""Zero-shot classification: each class is scored by its texts, no label is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import ZeroShotConfig
from lgdea.evaluation.encoders.protocol import EvaluableModel, as_evaluable, check_output, model_name, notes_of
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.metrics import classification as metrics
from lgdea.evaluation.results.result import Result, Value, values
from lgdea.evaluation.tasks import common
from lgdea.progress import track
from lgdea.statistics.bootstrap import cluster_bootstrap, weighted_mean
from lgdea.statistics.roc import weighted_auroc

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive
    from lgdea.vocabulary import ScoredClass

Floats = NDArray[np.float64]
METRICS = ("auroc", "auprc", "f1", "mcc", "prevalence")


def zero_shot(
    model: EvaluableModel | LgdeaModel, archive: Archive, config: ZeroShotConfig | None = None, **settings: Any
) -> Result:
    """Score every class in every labelled image of a split.

    Thresholds of F1 and MCC come from the validation split. The result's items are ``image_id, study_id, patient_id,
    class, score, label`` (label null when nobody knows).

    Args:
        model: The model.
        archive: Has images and labels.
        config: Settings; the defaults otherwise.
        **settings: Fields of :class:`ZeroShotConfig` laid over ``config``.

    Raises:
        DataError: No class can be scored, or the model's scores are not finite.
        UsageError: The class list or labeller does not exist.
    """
    config = common.resolve(ZeroShotConfig, config, settings)
    name, model = model_name(model), as_evaluable(model)
    labels = common.labels_of(archive, config.labeller)
    images = common.images_of(archive, config.split)
    classes, truth, notes = _scorable(common.scored_classes(config.classes, labels), labels, images, config, archive)
    style = config.texts if config.texts != "auto" else ("phrase" if model.scoring == "presence" else "pair")

    source = common.image_source(archive, config, model)
    images, truth, scores = _score(model, source, images, truth, classes, style, config.batch_size)
    if images.empty:
        raise DataError("none of the labelled images can be read", file=archive.folder, remedy="check image_root")
    thresholds = _thresholds(model, source, archive, labels, classes, style, config)
    notes += _threshold_notes(thresholds, classes, config)
    clusters = images["patient_id"].to_numpy()
    overall, per_class = _summarise(scores, truth, thresholds, clusters, [c.name for c in classes], config)
    overall |= _single_label(scores, truth, clusters, classes, config)
    return Result(
        task="zero-shot",
        definition="zero-shot-v1",
        model=name,
        archive=archive.name,
        split=config.split,
        metrics=overall,
        per_class=per_class,
        config={**config.model_dump(mode="json"), "texts": style, "labeller": str(labels["labeller"].iloc[0])},
        items=_items(images, classes, scores, truth),
        skipped=source.skipped,
        notes=notes + notes_of(model),
    )


def class_scores(
    model: EvaluableModel, pixels: Sequence[NDArray[np.float32]], classes: Sequence[ScoredClass], style: str
) -> Floats:
    """Score of each class in each image: (B, C). A class of several findings scores as its highest one."""
    texts = [[_texts(finding, style) for finding in common.roots(scored)] for scored in classes]
    phrases = list(dict.fromkeys(t for parts in texts for both in parts for group in both for t in group))
    column = {phrase: i for i, phrase in enumerate(phrases)}
    scores = np.asarray(model.score_phrases(pixels, phrases), np.float64)
    check_output(scores, (len(pixels), len(phrases)), "phrase scores")

    def mean(group: list[str]) -> Floats:
        return np.asarray(scores[:, [column[t] for t in group]].mean(axis=1)) if group else np.zeros(len(scores))

    return np.stack([np.max([mean(yes) - mean(no) for yes, no in parts], axis=0) for parts in texts], axis=1)


def _texts(finding: str, style: str) -> tuple[list[str], list[str]]:
    from lgdea.vocabulary.phrases import canonical_phrase, class_texts

    if style == "phrase":
        return [canonical_phrase(finding)], []
    positive, negative = class_texts(finding)
    return positive, negative if style == "pair" else []


def _scorable(
    classes: list[ScoredClass], labels: pd.DataFrame, images: pd.DataFrame, config: ZeroShotConfig, archive: Archive
) -> tuple[list[ScoredClass], Floats, list[str]]:
    """Classes with enough images of both kinds, their labels, and what was left out."""
    truth = common.label_matrix(labels, images, classes)
    positive, negative = (truth == 1).sum(axis=0), (truth == 0).sum(axis=0)
    enough = (positive >= config.min_positive) & (negative >= config.min_positive)
    few = [
        f"{c.name} ({p} positive, {n} negative)"
        for c, p, n, ok in zip(classes, positive, negative, enough, strict=True)
        if not ok and p + n > 0
    ]
    notes = [f"too few images to score {len(few)} classes: {', '.join(few)}"] if few else []
    scorable = [c.name for c, ok in zip(classes, enough, strict=True) if ok]
    missing = [name for name in config.single_label_classes or () if scorable and name not in scorable]
    if missing:
        raise UsageError(
            f"cannot let {', '.join(missing)} compete in single-label accuracy: not among the scored classes",
            remedy=f"choose single_label_classes from {', '.join(scorable)}",
        )
    unlabelled = [c.name for c, n in zip(classes, positive + negative, strict=True) if n == 0]
    if unlabelled:
        notes.append(
            f"{len(unlabelled)} of {len(classes)} classes have no labels in the {config.split} split: "
            f"{common.list_some(unlabelled)}"
        )
    if not enough.any():
        remedy = "choose another split or class list, or lower min_positive"
        raise common.too_few(archive, labels, config.min_positive, config.split, remedy)
    return [c for c, ok in zip(classes, enough, strict=True) if ok], truth[:, enough], notes


def _score(
    model: EvaluableModel,
    source: ImageSource,
    images: pd.DataFrame,
    truth: Floats,
    classes: list[ScoredClass],
    style: str,
    batch_size: int,
) -> tuple[pd.DataFrame, Floats, Floats]:
    """Readable images with any label, their labels and their scores (N, C)."""
    known = np.flatnonzero(~np.isnan(truth).all(axis=1))
    images, truth = images.iloc[known].reset_index(drop=True), truth[known]
    done: list[str] = []
    blocks = []
    batches = source.batches(images["image_id"].tolist(), batch_size)
    for ids, pixels in track(batches, "scoring images", len(images), lambda batch: len(batch[0])):
        blocks.append(class_scores(model, pixels, classes, style))
        done += ids
    keep = images["image_id"].isin(done).to_numpy()
    scores = np.concatenate(blocks) if blocks else np.zeros((0, len(classes)))
    return images[keep].reset_index(drop=True), truth[keep], scores


def _thresholds(
    model: EvaluableModel,
    source: ImageSource,
    archive: Archive,
    labels: pd.DataFrame,
    classes: list[ScoredClass],
    style: str,
    config: ZeroShotConfig,
) -> Floats:
    if common.studies_of(archive, config.threshold_split).empty:
        return np.full(len(classes), np.nan)
    images = common.images_of(archive, config.threshold_split)
    truth = common.label_matrix(labels, images, classes)
    _, truth, scores = _score(model, source, images, truth, classes, style, config.batch_size)
    return metrics.multilabel(metrics.choose_threshold, scores, truth)


def _threshold_notes(thresholds: Floats, classes: list[ScoredClass], config: ZeroShotConfig) -> list[str]:
    notes = [
        f"class {scored.name} has no F1 and MCC: its validation images are all of one kind"
        for scored, threshold in zip(classes, thresholds, strict=True)
        if np.isnan(threshold)
    ]
    if config.threshold_split in (config.split, "all"):
        notes.append("F1 and MCC are optimistic: their thresholds were chosen on the images that they score")
    return notes


def _summarise(
    scores: Floats, truth: Floats, thresholds: Floats, clusters: NDArray[Any], names: list[str], config: ZeroShotConfig
) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    def statistic(weights: Floats) -> Floats:
        rows = []
        for c in range(len(names)):
            f1, mcc = metrics.weighted_f1_mcc(scores[:, c], truth[:, c], float(thresholds[c]), weights)
            area = weighted_auroc(scores[:, c], truth[:, c], weights)
            precision = metrics.weighted_auprc(scores[:, c], truth[:, c], weights)
            rows.append(np.stack([area, precision, f1, mcc, weighted_mean(truth[:, c])(weights)]))
        table = np.stack(rows)  # (C, metrics, R)
        return np.concatenate([table, metrics.macro(table, axis=0)[None]]).reshape(-1, len(weights)).T

    interval = cluster_bootstrap(statistic, clusters, replicates=config.bootstrap_replicates, seed=config.seed)
    counts = [int(n) for n in (~np.isnan(truth)).sum(axis=0)] + [len(truth)]
    definitions = [f"zero-shot/{metric}-v1" for metric in METRICS]
    tables = [
        values(list(METRICS), [part.reshape(-1, len(METRICS))[row] for part in interval], n, definitions)
        for row, n in enumerate(counts)
    ]
    per_class = dict(zip(names, tables, strict=False))
    for name, threshold, n in zip(names, thresholds, counts, strict=False):
        per_class[name]["threshold"] = Value(float(threshold), n=n, definition="zero-shot/threshold-v1")
    return {f"{metric}_macro": value for metric, value in tables[-1].items()}, per_class


def _single_label(
    scores: Floats, truth: Floats, clusters: NDArray[Any], classes: list[ScoredClass], config: ZeroShotConfig
) -> dict[str, Value]:
    """5x200-style accuracy over images with exactly one positive class and no unknown one."""
    wanted = config.single_label_classes
    competing = [
        c for c, scored in enumerate(classes)
        if (scored.name in wanted if wanted is not None else "no_finding" not in scored.findings)
    ]  # fmt: skip
    columns = np.array(competing, np.int64)
    rows = np.flatnonzero((truth[:, columns] == 1).sum(axis=1) == 1)
    rows = rows[~np.isnan(truth[np.ix_(rows, columns)]).any(axis=1)]
    rows = np.random.default_rng(config.seed).permutation(rows)
    targets = truth[np.ix_(rows, columns)].argmax(axis=1) if len(rows) else np.zeros(0, int)
    present = np.unique(targets)
    if len(present) < 2:
        return {}
    keep = np.sort(np.concatenate([np.flatnonzero(targets == c)[: config.single_label_per_class] for c in present]))
    rows, targets = rows[keep], np.searchsorted(present, targets[keep])
    credit = metrics.top1_credit(scores[np.ix_(rows, columns[present])], targets)

    def statistic(weights: Floats) -> Floats:
        means = [weighted_mean(credit[targets == c])(weights[:, targets == c]) for c in range(len(present))]
        return metrics.macro(np.stack(means, axis=1))

    interval = cluster_bootstrap(statistic, clusters[rows], replicates=config.bootstrap_replicates, seed=config.seed)
    chance = Value(1 / len(present), n=len(rows), definition="zero-shot/single-label-chance-v1")
    accuracy = values(["single_label_accuracy"], interval, len(rows), ["zero-shot/single-label-accuracy-v1"])
    return accuracy | {"single_label_chance": chance}


def _items(images: pd.DataFrame, classes: list[ScoredClass], scores: Floats, truth: Floats) -> pd.DataFrame:
    count = len(classes)
    return pd.DataFrame(
        {
            **{key: np.repeat(images[key].to_numpy(), count) for key in ("image_id", "study_id", "patient_id")},
            "class": np.tile([c.name for c in classes], len(images)),
            "score": scores.ravel(),
            "label": truth.ravel(),
        }
    )
