"""Scores and calls of queries alone and beside healthy references, by lgdea's own evidence scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.comparison.references.choose import STRATEGIES, choose_references
from lgdea.comparison.references.healthy import Truth, healthy_people, people, truth_of_labels, truth_of_reports
from lgdea.comparison.references.relative import LikelihoodRatio, explained_share, healthy_deviation, z_scores
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.encoders.protocol import EvaluableModel, as_evaluable
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.metrics.classification import choose_balanced_threshold
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.change_difference import image_scores
from lgdea.evaluation.tasks.references_display import Display

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

Floats = NDArray[np.float64]
SINGLE, SELF = "single", "self"


@dataclass
class Scored:
    """Queries with the scores and calls of every method; the query alone is the first.

    Attributes:
        images: ``image_id, study_id, patient_id``, N rows.
        classes: C names.
        truth: (N, C) 1, 0 or NaN.
        scores: Method to (N, C).
        calls: Method to (N, C) of 1 and 0.
        beside: Strategy to the references of each image, best first.
        notes: What the reader must know.
        skipped: ``{"id", "reason"}``.
    """

    images: pd.DataFrame
    classes: list[str]
    truth: Floats
    scores: dict[str, Floats] = field(default_factory=dict)
    calls: dict[str, Floats] = field(default_factory=dict)
    beside: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)


def truth_of(archive: Archive, config: ReferencesConfig, units: pd.DataFrame | None) -> Truth:
    """Labels of the classes in all images, and who is healthy: by the archive's labels, else by the reports' evidence.

    Raises:
        UsageError: The archive has no labels, and there is no evidence.
    """
    images = people(archive, "all")
    if archive.labels.empty:
        if units is None:
            raise UsageError("has no labels", file=archive.folder, remedy="give evidence of its reports: --evidence")
        found = truth_of_reports(units, archive.reports, images)
        labels = found.values.reset_index().melt("image_id", var_name="finding").merge(images[["image_id", "study_id"]])
    else:
        labels = common.labels_of(archive, config.labeller)
        found = truth_of_labels(common.label_values(labels, images))
    classes = [c for c in common.scored_classes(config.classes, labels) if "no_finding" not in c.findings]
    values = pd.DataFrame(
        common.label_matrix(labels, images, classes), index=found.values.index, columns=[c.name for c in classes]
    )
    return Truth(values, found.healthy, found.rule)


def score_beside(
    model: EvaluableModel | LgdeaModel, archive: Archive, config: ReferencesConfig, units: pd.DataFrame | None
) -> Scored:
    """Score the queries of a split alone and beside references of each strategy and number.

    Raises:
        UsageError: No healthy image, or a strategy that was asked for cannot be followed.
        DataError: No class can be scored.
    """
    model = as_evaluable(model)
    truth = truth_of(archive, config, units)
    healthy = healthy_people(archive, config.pool_split, truth)
    queries = _of_site(people(archive, config.split), config.site, archive)
    chosen_on = _of_site(people(archive, config.threshold_split), config.threshold_site, archive)
    if shared := set(queries["image_id"]) & set(chosen_on["image_id"]):
        raise UsageError(
            f"split {config.split} and threshold_split {config.threshold_split} share {len(shared)} images: what is "
            "scored must not choose the thresholds",
            file=archive.folder,
            remedy="choose other splits",
        )
    classes, notes = _scorable(truth.values, queries, chosen_on, config, archive)
    source = common.image_source(archive, config, model)
    ids = list(dict.fromkeys([*queries["image_id"], *chosen_on["image_id"], *healthy["image_id"]]))
    table = image_scores(model, source, ids, classes, config.batch_size)
    queries, chosen_on, healthy = (_readable(part, table) for part in (queries, chosen_on, healthy))
    if queries.empty:
        raise DataError("none of the labelled images can be read", file=archive.folder, remedy="check image_root")
    labels = truth.values[classes]
    scored = Scored(queries, classes, labels.reindex(queries["image_id"]).to_numpy(float), notes=notes)
    scored.notes.append(f"{len(healthy)} healthy images of {healthy['patient_id'].nunique()} people: {truth.rule}")
    calibration = _Calibration(
        table.reindex(chosen_on["image_id"]).to_numpy(float),
        labels.reindex(chosen_on["image_id"]).to_numpy(float),
        truth.healthy.reindex(chosen_on["image_id"]).fillna(False).to_numpy(bool),
    )
    if not calibration.healthy.any():
        raise UsageError(
            f"the {config.threshold_split} split has no healthy image to calibrate on ({truth.rule})",
            file=archive.folder, remedy="choose another threshold_split or threshold_site",
        )  # fmt: skip
    own = table.reindex(queries["image_id"]).to_numpy(float)
    _add(scored, SINGLE, own, calibration.scores, calibration)
    both = pd.concat([queries, chosen_on], ignore_index=True)
    display = _display(model, archive, both, healthy, classes, config) if config.standardise else None
    if display is not None:
        _add_split(scored, SELF, display.alone(list(both["image_id"])), calibration)
    for strategy in config.strategies or STRATEGIES:
        beside = _beside(strategy, both, healthy, config, scored, model, source)
        if beside is None:
            continue
        _score_strategy(strategy, beside, table, healthy, own, calibration, config, scored)
        for k in config.counts if display is not None else ():
            first = {query: ids[:k] for query, ids in scored.beside[strategy].items()}
            table_k = display.beside(list(both["image_id"]), first)  # type: ignore[union-attr]
            _add_split(scored, f"standardised/{strategy}@{k}", table_k, calibration)
    scored.skipped += source.skipped
    return scored


@dataclass(frozen=True)
class _Calibration:
    """Scores (V, C) and labels (V, C) of the images on which thresholds are chosen, and which are healthy (V,)."""

    scores: Floats
    labels: Floats
    healthy: NDArray[np.bool_]


def _display(
    model: EvaluableModel, archive: Archive, both: pd.DataFrame, healthy: pd.DataFrame, classes: list[str],
    config: ReferencesConfig,
) -> Display:  # fmt: skip
    """Grey values of the archive as it is, and of healthy people of the threshold site, whose display is mapped to."""
    known = _of_site(healthy, config.threshold_site, archive)
    images = list(dict.fromkeys([*both["image_id"], *healthy["image_id"]]))
    source = ImageSource(archive, workers=config.workers)
    return Display(model, source, images, list(known["image_id"]), classes, config.batch_size)


def _add_split(scored: Scored, method: str, table: pd.DataFrame, calibration: _Calibration) -> None:
    """Add a method whose scores are those of the queries, then those of the images on which thresholds are chosen."""
    scores = table.to_numpy(float)
    _add(scored, method, scores[: len(scored.images)], scores[len(scored.images) :], calibration)


def _of_site(images: pd.DataFrame, site: str | None, archive: Archive) -> pd.DataFrame:
    if site is None:
        return images
    known = sorted({s for s in images["site"] if isinstance(s, str)})
    if site not in known:
        raise UsageError(f"has no site {site!r}", file=archive.folder, remedy=f"known: {', '.join(known) or 'none'}")
    return images[images["site"] == site].reset_index(drop=True)


def _scorable(
    values: pd.DataFrame, queries: pd.DataFrame, chosen_on: pd.DataFrame, config: ReferencesConfig, archive: Archive
) -> tuple[list[str], list[str]]:
    enough = np.ones(values.shape[1], bool)
    for images in (queries, chosen_on):
        labels = values.reindex(images["image_id"]).to_numpy(float)
        for side in (0, 1):
            enough &= (labels == side).sum(axis=0) >= config.min_positive
    classes = [str(name) for name, ok in zip(values, enough, strict=True) if ok]
    if not classes:
        where = f"{config.split} and in {config.threshold_split}"
        remedy = "choose another split, site or class list, or lower min_positive"
        raise common.too_few(archive, values.melt(), config.min_positive, where, remedy)
    left = [str(name) for name in values if name not in classes]
    return classes, [f"too few images to score {len(left)} classes: {', '.join(left)}"] if left else []


def _readable(images: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return images[images["image_id"].isin(table.index)].reset_index(drop=True)


def _beside(
    strategy: Any, both: pd.DataFrame, healthy: pd.DataFrame, config: ReferencesConfig, scored: Scored,
    model: EvaluableModel, source: ImageSource,
) -> NDArray[np.int64] | None:  # fmt: skip
    """Row of each query's references among the healthy images, (N + V, K), -1 where there are fewer.

    A strategy that was not asked for by name and cannot be followed is left out, with a note.
    """
    embeddings = None
    if strategy == "embedding":
        parts = [common.embed_images(model, source, part, config.batch_size) for part in (both, healthy)]
        embeddings = (parts[0][1], parts[1][1])
    most = max(config.counts)
    try:
        found = choose_references(both, healthy, strategy, most, seed=config.seed, embeddings=embeddings)
    except UsageError as error:
        if config.strategies is not None:
            raise
        scored.notes.append(f"left out: {error.problem}")
        return None
    scored.notes += found.notes
    if found.skipped:
        first = found.skipped[0]
        scored.notes.append(
            f"{strategy}: {len(found.skipped)} images have no references, e.g. {first['id']}: {first['reason']}; "
            "they are read alone"
        )
    scored.beside[strategy] = {str(q): list(g) for q, g in found.table.groupby("query_id")["reference_id"]}
    rows = np.full((len(both), most), -1)
    at = pd.Index(both["image_id"]).get_indexer(pd.Index(found.table["query_id"]))
    rows[at, found.table["rank"].to_numpy(int) - 1] = pd.Index(healthy["image_id"]).get_indexer(
        pd.Index(found.table["reference_id"])
    )
    return rows


def _score_strategy(
    strategy: str, beside: NDArray[np.int64], table: pd.DataFrame, healthy: pd.DataFrame, own: Floats,
    calibration: _Calibration, config: ReferencesConfig, scored: Scored,
) -> None:  # fmt: skip
    """Add the z-score and the likelihood ratio of a strategy for each number of references."""
    of_healthy = table.reindex(healthy["image_id"]).to_numpy(float)
    references = np.where(beside[..., None] >= 0, of_healthy[beside], np.nan)  # (N + V, K, C)
    well = calibration.healthy
    shares = [
        explained_share(calibration.scores[well, c], references[len(own) :][well, :, c]) for c in range(own.shape[1])
    ]
    scored.notes.append(
        f"{strategy}: {beside.shape[1]} references explain {np.mean(shares):.1%} of the variance of healthy people's "
        f"scores in {config.threshold_split}"
    )
    for k in config.counts:
        mine, theirs = references[: len(own), :k], references[len(own) :, :k]
        tables: dict[str, tuple[Floats, Floats]] = {}
        columns: dict[str, list[tuple[Floats, Floats]]] = {"z": [], "ratio": []}
        for c in range(own.shape[1]):
            held, labels = calibration.scores[:, c], calibration.labels[:, c]
            deviation = healthy_deviation(held[calibration.healthy], theirs[calibration.healthy, :, c])
            columns["z"].append(
                (z_scores(own[:, c], mine[..., c], deviation), z_scores(held, theirs[..., c], deviation))
            )
            ratio = LikelihoodRatio.fit(held, theirs[..., c], labels)
            columns["ratio"].append((ratio(own[:, c], mine[..., c]), ratio(held, theirs[..., c])))
        for name, pairs in columns.items():
            tables[name] = tuple(np.stack(side, axis=1) for side in zip(*pairs, strict=True))  # type: ignore[assignment]
        for name, (mine_scores, their_scores) in tables.items():
            _add(scored, f"{name}/{strategy}@{k}", mine_scores, their_scores, calibration)


def _add(scored: Scored, method: str, scores: Floats, held: Floats, calibration: _Calibration) -> None:
    """Add a method with thresholds from the held-out scores; a query without references keeps its call alone."""
    thresholds = np.array([
        choose_balanced_threshold(*_known(held[:, c], calibration.labels[:, c])) for c in range(scores.shape[1])
    ])  # fmt: skip
    calls = (scores >= thresholds).astype(np.float64)
    alone = np.isnan(scores)
    if alone.any():
        calls = np.where(alone, scored.calls[SINGLE], calls)
        scores = np.where(alone, thresholds + np.where(calls > 0, 0.0, -1e-9), scores)
    scored.scores[method], scored.calls[method] = scores, calls


def _known(scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(scores)
    return scores[known], labels[known]
