"""Linear and nearest-neighbour probes of frozen image embeddings, trained on few labels and on all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import ProbeConfig
from lgdea.evaluation.encoders.protocol import ImageEncoder, as_image_encoder, model_name, notes_of
from lgdea.evaluation.metrics import classification as metrics
from lgdea.evaluation.results.result import Result, Value, values
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.classifiers import LinearProbe, Standardised, neighbour_scores, nested_subsets
from lgdea.progress import track
from lgdea.statistics.bootstrap import cluster_bootstrap, weighted_mean
from lgdea.statistics.roc import auroc, weighted_auroc

if TYPE_CHECKING:
    from lgdea.evaluation.images import ImageSource
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive
    from lgdea.vocabulary import ScoredClass

Floats = NDArray[np.float64]
PROBES = ("linear", "knn")


@dataclass(frozen=True)
class _Part:
    """Labelled, readable images of one split: vectors (N, D) and labels (N, C)."""

    images: pd.DataFrame
    vectors: Floats
    truth: Floats


@dataclass
class _Scores:
    """Test scores (draws, N, C) by setting (``linear@10%``), and what was chosen for them."""

    by_setting: dict[str, Floats] = field(default_factory=dict)
    chosen: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def probe(
    model: ImageEncoder | LgdeaModel, archive: Archive, config: ProbeConfig | None = None, **settings: Any
) -> Result:
    """Train probes on the embeddings of the training split's images and score every class in those of another split.

    Metrics are named ``<probe>@<percent of labels>%/<metric>``. The result's items are ``image_id, study_id,
    patient_id, class, label`` and the scores of each draw, ``linear@10%/0``, ``linear@10%/1``, ...

    Args:
        model: Anything that embeds images.
        archive: Has images and labels.
        config: Settings; the defaults otherwise.
        **settings: Fields of :class:`ProbeConfig` laid over ``config``.

    Raises:
        DataError: No class can be scored, no training image can be read, or embeddings are not finite.
        UsageError: The class list or labeller does not exist, or patients are both trained on and scored.
    """
    config = common.resolve(ProbeConfig, config, settings)
    name, encoder = model_name(model), as_image_encoder(model)
    labels = common.labels_of(archive, config.labeller)
    _check_patients(archive, config)
    classes, notes = _scorable(common.scored_classes(config.classes, labels), labels, archive, config)
    source = common.image_source(archive, config, encoder)
    train, choose, test = (
        _embed(encoder, source, archive, split, labels, classes, config)
        for split in (config.train_split, config.choose_split, config.split)
    )
    for part, split in ((train, config.train_split), (test, config.split)):
        if part is None or part.images.empty:
            raise DataError(
                f"none of the labelled images of {split} can be read", file=archive.folder, remedy="check image_root"
            )
    assert train is not None
    assert test is not None
    scores = _score(train, choose, test, [c.name for c in classes], config)
    overall, per_class = _summarise(scores.by_setting, test, [c.name for c in classes], config)
    counts = f"{len(train.images)} training images of {train.images['patient_id'].nunique()} patients"
    return Result(
        task="probe",
        definition="probe-v1",
        model=name,
        archive=archive.name,
        split=config.split,
        metrics=overall,
        per_class=per_class,
        config={
            **config.model_dump(mode="json"),
            "labeller": str(labels["labeller"].iloc[0]),
            "chosen": scores.chosen,
        },
        items=_items(test, [c.name for c in classes], scores.by_setting),
        skipped=source.skipped,
        notes=[*notes_of(encoder), counts, *notes, *scores.notes],
    )


def _check_patients(archive: Archive, config: ProbeConfig) -> None:
    """Raise if a patient is on two sides."""
    splits = [("split", config.split), ("train_split", config.train_split), ("choose_split", config.choose_split)]
    patients = {key: set(common.studies_of(archive, split)["patient_id"]) for key, split in splits}
    for a, b in (("split", "train_split"), ("split", "choose_split"), ("train_split", "choose_split")):
        if both := len(patients[a] & patients[b]):
            raise UsageError(
                f"{a} and {b} share {both} patients",
                file=archive.folder,
                remedy="choose splits without common patients",
            )


def _scorable(
    classes: list[ScoredClass], labels: pd.DataFrame, archive: Archive, config: ProbeConfig
) -> tuple[list[ScoredClass], list[str]]:
    """Classes with enough scored images of both kinds and a training image of each, and what was left out."""
    counts = []
    for split in (config.split, config.train_split):
        truth = common.label_matrix(labels, common.images_of(archive, split), classes)
        counts.append(np.stack([(truth == 1).sum(axis=0), (truth == 0).sum(axis=0)]).min(axis=0))
    enough = (counts[0] >= config.min_positive) & (counts[1] >= 1)
    if not enough.any():
        where = f"{config.split} and one of each in {config.train_split}"
        remedy = "choose other splits or classes, or lower min_positive"
        raise common.too_few(archive, labels, config.min_positive, where, remedy)
    few = [c.name for c, ok in zip(classes, enough, strict=True) if not ok]
    notes = [f"too few labelled images to probe {len(few)} classes: {', '.join(few)}"] if few else []
    return [c for c, ok in zip(classes, enough, strict=True) if ok], notes


def _embed(
    encoder: ImageEncoder,
    source: ImageSource,
    archive: Archive,
    split: str,
    labels: pd.DataFrame,
    classes: list[ScoredClass],
    config: ProbeConfig,
) -> _Part | None:
    if common.studies_of(archive, split).empty:
        return None
    images = common.images_of(archive, split)
    truth = common.label_matrix(labels, images, classes)
    known = ~np.isnan(truth).all(axis=1)
    wanted = images.iloc[np.flatnonzero(known)].reset_index(drop=True)
    done, vectors = common.embed_images(encoder, source, wanted, config.batch_size, f"encoding {split} images")
    return _Part(done, vectors.astype(np.float64), truth[known][wanted["image_id"].isin(done["image_id"]).to_numpy()])


def _score(train: _Part, choose: _Part | None, test: _Part, names: list[str], config: ProbeConfig) -> _Scores:
    """Both probes on every subset of the training labels."""
    scale, linear, result = Standardised.of(train.vectors), LinearProbe(), _Scores()
    subsets = nested_subsets(train.images["patient_id"], config.fractions, config.draws, config.seed)
    unchosen = choose is None or not _two_kinds(choose.truth).any()
    costs, neighbours = config.costs, config.neighbours
    if unchosen:
        costs, neighbours = (min(costs, key=lambda c: abs(np.log(c))),), (min(neighbours, key=lambda k: abs(k - 20)),)
        result.notes.append(
            f"{config.choose_split} has no labels to choose by: cost {costs[0]:g} and {neighbours[0]} neighbours"
        )
    queries = [part.vectors for part in ([test] if unchosen or choose is None else [test, choose])]
    validation = None if unchosen or choose is None else choose.truth

    draws = [(fraction, mask) for fraction, masks in subsets.items() for mask in masks]
    for fraction, mask in track(draws, "training probes", len(draws)):
        truth, vectors = train.truth[mask], train.vectors[mask]
        by_cost = linear.label_scores(scale(vectors), truth, [scale(q) for q in queries], costs)
        _keep(result, f"linear@{100 * fraction:g}%", by_cost, validation)
        by_votes = _by_neighbours(vectors, truth, queries, neighbours, config)
        _keep(result, f"knn@{100 * fraction:g}%", by_votes, validation)
    for fraction, masks in subsets.items():
        result.notes += _subset_notes(fraction, [train.truth[mask] for mask in masks], train, masks, names)
    result.by_setting = dict(sorted(result.by_setting.items(), key=lambda s: PROBES.index(s[0].split("@")[0])))
    result.notes += linear.notes
    return result


def _by_neighbours(
    vectors: Floats, truth: Floats, queries: list[Floats], neighbours: tuple[int, ...], config: ProbeConfig
) -> Iterator[tuple[float, list[Floats]]]:
    found = [neighbour_scores(vectors, truth, query, neighbours, config.temperature) for query in queries]
    for i, k in enumerate(neighbours):
        yield k, [scores[i] for scores in found]


def _keep(
    result: _Scores, setting: str, candidates: Iterator[tuple[float, list[Floats]]], validation: Floats | None
) -> None:
    """Add the test scores of the candidate that is best on validation; of equally good ones the first."""
    best, kept = -np.inf, (np.nan, np.zeros((0, 0)))
    for choice, scores in candidates:
        area = 0.0
        if validation is not None:
            area = float(metrics.macro(metrics.multilabel(auroc, scores[1], validation)))
        if area > best:
            best, kept = area, (choice, scores[0])
    result.chosen.setdefault(setting, []).append(kept[0])
    so_far = result.by_setting.get(setting)
    result.by_setting[setting] = kept[1][None] if so_far is None else np.concatenate([so_far, kept[1][None]])


def _subset_notes(
    fraction: float, truths: list[Floats], train: _Part, masks: list[NDArray[np.bool_]], names: list[str]
) -> list[str]:
    patients = [train.images["patient_id"][mask].nunique() for mask in masks]
    images = [int(mask.sum()) for mask in masks]
    draws = f", {len(masks)} draws" if len(masks) > 1 else ""
    span = f"{min(images)}" if min(images) == max(images) else f"{min(images)} to {max(images)}"
    note = f"{100 * fraction:g}% of the labels: {patients[0]} patients, {span} images{draws}"
    blind = np.sum([~_two_kinds(truth) for truth in truths], axis=0)
    if blind.any():
        of = ", ".join(f"{name} in {n}" for name, n in zip(names, blind, strict=True) if n)
        note += f"; by chance, as the drawn labels are all of one kind: {of}"
    return [note]


def _two_kinds(truth: Floats) -> NDArray[np.bool_]:
    return np.asarray((truth == 1).any(axis=0) & (truth == 0).any(axis=0))


def _summarise(
    by_setting: dict[str, Floats], test: _Part, names: list[str], config: ProbeConfig
) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    clusters, truth = test.images["patient_id"].to_numpy(), test.truth
    counts = [int(n) for n in (~np.isnan(truth)).sum(axis=0)] + [len(truth)]
    options: dict[str, Any] = {"replicates": config.bootstrap_replicates, "seed": config.seed}
    tables: list[dict[str, Value]] = [{} for _ in counts]
    for setting, scores in by_setting.items():
        kind = setting.split("@")[0]

        def statistic(weights: Floats, scores: Floats = scores) -> Floats:
            rows = [
                [np.mean([metric(s[:, c], truth[:, c], weights) for s in scores], axis=0)
                 for metric in (weighted_auroc, metrics.weighted_auprc)]
                for c in range(len(names))
            ]  # fmt: skip
            table = np.array(rows)  # (C, 2, R)
            return np.concatenate([table, metrics.macro(table, axis=0)[None]]).reshape(-1, len(weights)).T

        interval = cluster_bootstrap(statistic, clusters, **options)
        for row, (table, n) in enumerate(zip(tables, counts, strict=True)):
            end = "_macro" if row == len(names) else ""
            columns = [f"{setting}/{metric}{end}" for metric in ("auroc", "auprc")]
            definitions = [f"probe/{kind}-{metric}-v1" for metric in ("auroc", "auprc")]
            table.update(values(columns, [part.reshape(-1, 2)[row] for part in interval], n, definitions))
        if len(scores) > 1:
            areas = [metrics.macro(metrics.multilabel(auroc, s, truth)) for s in scores]
            spread = Value(float(np.std(areas, ddof=1)), n=len(areas), definition="probe/draw-sd-v1")
            tables[-1][f"{setting}/auroc_draw_sd"] = spread
    share = cluster_bootstrap(lambda w: _prevalence(truth, w), clusters, **options)
    for row, (table, n) in enumerate(zip(tables, counts, strict=True)):
        key = "prevalence_macro" if row == len(names) else "prevalence"
        table.update(values([key], [part[row] for part in share], n, ["probe/prevalence-v1"]))
    return tables[-1], dict(zip(names, tables, strict=False))


def _prevalence(truth: Floats, weights: Floats) -> Floats:
    share = weighted_mean(truth)(weights)
    return np.concatenate([share, metrics.macro(share, axis=1)[:, None]], axis=1)


def _items(test: _Part, names: list[str], by_setting: dict[str, Floats]) -> pd.DataFrame:
    keys = ("image_id", "study_id", "patient_id")
    return pd.DataFrame(
        {
            **{key: np.repeat(test.images[key].to_numpy(), len(names)) for key in keys},
            "class": np.tile(names, len(test.images)),
            "label": test.truth.ravel(),
            **{f"{s}/{d}": part.ravel() for s, scores in by_setting.items() for d, part in enumerate(scores)},
        }
    )
