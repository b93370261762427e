"""Retrieval with respect to one entity: cases that agree with the query on it, among those of other patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.comparison.entity.entities import Entity, entities_of, parse_entity
from lgdea.comparison.entity.grades import StudyFacts, agreement, with_studies
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import EntityRetrievalConfig
from lgdea.evaluation.encoders.protocol import as_image_encoder
from lgdea.evaluation.metrics import retrieval as metrics
from lgdea.evaluation.results.result import Result, Value, values
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.graded import units_of
from lgdea.statistics.bootstrap import cluster_bootstrap
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.confusable import confusable_with
from lgdea.vocabulary.entailment import PRESENT

if TYPE_CHECKING:
    from lgdea.comparison.entity.model import EntityModel
    from lgdea.evaluation.tasks.entity_encoding import EntityScores
    from lgdea.records.archive import Archive

Bools = NDArray[np.bool_]
GAINS = (("conditioned", "unconditioned"), ("conditioned", "whole_image"), ("conditioned", "zero_shot"),
         ("reranked", "conditioned"))  # fmt: skip
"""Differences of two methods that a result holds."""
CROSS_SITE, CONFUSABLE = "cross_site", "confusable"
ENTITY_PREFIX = "entity: "


def entity_retrieval(
    model: EntityModel,
    archive: Archive,
    config: EntityRetrievalConfig | None = None,
    *,
    evidence: str | Path | pd.DataFrame | None = None,
    **settings: Any,
) -> Result:
    """Rank the cases of other patients for each image and each entity that it shows.

    The result's items are ``image_id, study_id, patient_id, entity, kind, unseen, positives`` and a column
    ``METHOD/METRIC`` for each method, again as ``cross_site/...`` among cases of other sites and ``confusable/...``
    among cases that show the entity or what it is mistaken for. Its classes are the kinds of entities, seen and unseen
    ones, both kinds of candidates, and each entity.

    Args:
        model: The model with its entity head.
        archive: Has images and reports of the same studies.
        config: Settings; the defaults otherwise.
        evidence: Evidence folder of the whole archive, or a table of units with ``report_id``: what cases agree in.
        **settings: Fields of :class:`EntityRetrievalConfig` laid over ``config``.

    Raises:
        UsageError: There is no evidence, it is not of all the archive's reports, or an entity has no meaning.
        DataError: The split has one patient only, or shows no entity often enough.
    """
    from lgdea.evaluation.tasks.entity_encoding import encode_for_entities

    config = common.resolve(EntityRetrievalConfig, config, settings)
    units = units_of(archive, evidence)
    if units is None:
        raise UsageError("entity-retrieval needs evidence", remedy="give an evidence folder (--evidence)")
    images = images_with_reports(archive, config.split)
    studies = pd.Index(images["study_id"].unique())
    facts = StudyFacts(with_studies(units, archive.reports), studies)
    entities = choose_entities(facts, config)
    source = common.image_source(archive, config, as_image_encoder(model.base))
    images, scorer = encode_for_entities(model, source, images, [e.text for e in entities], config.batch_size)
    study = studies.get_indexer(pd.Index(images["study_id"])).astype(np.int64)
    items = score_entities(scorer, images, facts, study, entities, config, held_out=model.facts.get("held_out", ()))
    overall, per_class = summarise(items, config)
    return Result(
        task="entity-retrieval",
        definition="entity-retrieval-v1",
        model=model.base.name,
        archive=archive.name,
        split=config.split,
        metrics=overall,
        per_class=per_class,
        config=config.model_dump(mode="json"),
        items=items,
        skipped=source.skipped,
        notes=_notes(images, entities, items, model),
    )


def images_with_reports(archive: Archive, split: str) -> pd.DataFrame:
    """Images of a split's studies with a report: ``image_id, study_id, patient_id, site, modality``.

    Raises:
        DataError: There are none, or all are of one patient.
    """
    studies = common.studies_of(archive, split)
    studies = studies[studies["study_id"].isin(archive.reports["study_id"])]
    images = archive.images[["image_id", "study_id", "modality"]].merge(
        studies[["study_id", "patient_id", "site"]], on="study_id"
    )
    patients = images["patient_id"].nunique()
    if patients < 2:
        what = "only one patient's images" if patients else "no images with reports"
        remedy = "cases are compared with those of other patients: choose another split (split=all) or archive"
        raise DataError(f"the {split} split has {what}", file=archive.folder, remedy=remedy)
    return images


def choose_entities(facts: StudyFacts, config: EntityRetrievalConfig) -> list[Entity]:
    """The entities that a configuration names, or all that the evidence speaks of.

    Raises:
        UsageError: An entity has no meaning, or nothing that evidence could grade.
        DataError: The evidence speaks of none often enough.
    """
    if not config.entities:
        found = entities_of(facts.present(), least=config.least_images)
        if not found:
            raise DataError(
                f"no entity is shown by {config.least_images} studies", remedy="lower least_images, or choose a split"
            )
        return found
    parsed = [parse_entity(text) for text in config.entities]
    for entity in parsed:
        if entity.kind == "open":
            raise UsageError(
                f"the entity {entity.text!r} is not in the vocabulary, so that no evidence can grade it",
                remedy="name a finding or a structure of it; `lgdea find` takes any words",
            )
    return parsed


def score_entities(
    scorer: EntityScores,
    images: pd.DataFrame,
    facts: StudyFacts,
    study: NDArray[np.int64],
    entities: Sequence[Entity],
    config: EntityRetrievalConfig,
    *,
    held_out: Sequence[str] = (),
) -> pd.DataFrame:
    """The items of :func:`entity_retrieval`: one row per query image and entity.

    Args:
        scorer: Ranks the N images.
        images: N rows of :func:`images_with_reports`.
        facts: Evidence of the studies.
        study: (N,) row of each image's study in ``facts``.
        entities: The entities, as ``scorer`` numbers them.
        config: Ranks and what a right answer is.
        held_out: Findings that training has never asked for; their kinds are unseen too.
    """
    vocabulary = load_vocabulary()
    unseen = frozenset[str]().union(*(vocabulary.descendants(finding) for finding in held_out))
    patient, site, modality = (pd.factorize(images[c])[0] for c in ("patient_id", "site", "modality"))
    parts = []
    for number, entity in enumerate(entities):
        of = facts.of(entity).take(study)
        queries = np.flatnonzero(of.status == PRESENT)
        if len(queries) < config.least_images:
            continue
        known = patient[queries][:, None] != patient[None, :]
        if config.same_modality:
            known &= modality[queries][:, None] == modality[None, :]
        grades = agreement(of.take(queries), of, anatomy=entity.kind == "anatomy") * known
        mistaken = facts.shows(confusable_with(entity.finding or ""))[study]
        subsets = {"": known, CROSS_SITE: known & _elsewhere(site, queries)}
        if mistaken.any():
            subsets[CONFUSABLE] = known & ((of.status == PRESENT) | mistaken)[None, :]
        scores = scorer.scores(number, queries, known)
        columns = _columns(scores, grades, subsets, config)
        head = images.loc[queries, ["image_id", "study_id", "patient_id"]].reset_index(drop=True)
        head = head.assign(entity=entity.text, kind=entity.kind, unseen=entity.finding in unseen)
        head["positives"] = (grades >= config.positive_grade).sum(axis=1)
        parts.append(head.join(pd.DataFrame(columns)))
    if not parts:
        raise DataError(
            f"no entity is shown by {config.least_images} images", remedy="lower least_images, or name other entities"
        )
    return pd.concat(parts, ignore_index=True)


def _columns(
    scores: dict[str, NDArray[np.float32]], grades: NDArray[np.float32], subsets: dict[str, Bools],
    config: EntityRetrievalConfig,
) -> dict[str, NDArray[np.float64]]:  # fmt: skip
    """Every metric of every method, among all candidates and among each subset of them; (Q,) each."""
    columns: dict[str, NDArray[np.float64]] = {}
    for subset, known in subsets.items():
        prefix = f"{subset}/" if subset else ""
        allowed = grades * known
        right = allowed >= config.positive_grade
        for method, given in scores.items():
            # What is no candidate stands behind all that are, where no rank k reaches it.
            ranked = np.where(known, given, given.min(where=known, initial=0.0) - 1.0)
            for k in config.recall_at:
                columns[f"{prefix}{method}/recall@{k}"] = metrics.recall_at_k(ranked, right, k)
            columns[f"{prefix}{method}/ndcg@{config.ndcg_at}"] = metrics.ndcg_at_k(ranked, allowed, config.ndcg_at)
        candidates = known.sum(axis=1)
        for k in config.recall_at:
            columns[f"{prefix}recall_chance@{k}"] = _recall_chance(right.sum(axis=1), candidates, k)
        columns[f"{prefix}ndcg_chance@{config.ndcg_at}"] = _ndcg_chance(allowed, candidates, config.ndcg_at)
    return columns


def _elsewhere(site: NDArray[np.int64], queries: NDArray[np.int64]) -> Bools:
    """Candidates of another site than the query's; where a site is not known, -1, nobody can say."""
    return (site[queries][:, None] != site[None, :]) & (site[queries] >= 0)[:, None] & (site >= 0)[None, :]


def _recall_chance(hits: NDArray[np.int64], candidates: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    chance = np.full(len(hits), np.nan)
    for count in np.unique(candidates):
        rows = candidates == count
        chance[rows] = metrics.recall_chance(hits[rows], int(count), k)
    return chance


def _ndcg_chance(grades: NDArray[np.float32], candidates: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    ideal = metrics.ideal_gains(grades, k)
    mean = grades.sum(axis=1) / np.maximum(candidates, 1)
    reached = np.arange(ideal.shape[1])[None, :] < candidates[:, None]
    return metrics.ndcg_from_gains(mean[:, None] * reached, ideal, k)


def summarise(
    items: pd.DataFrame, config: EntityRetrievalConfig
) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    """Means over an entity's queries, then over entities, with intervals by patient: overall, and by class."""
    plain = [c for c in map(str, items) if "@" in c and not c.startswith((f"{CROSS_SITE}/", f"{CONFUSABLE}/"))]
    everyone = np.ones(len(items), bool)
    overall = _values(items, everyone, plain, config)
    groups: dict[str, Bools] = {
        f"kind: {kind}": items["kind"].eq(kind).to_numpy() for kind in sorted(set(items["kind"]))
    }
    if items["unseen"].any():
        unseen = items["unseen"].to_numpy()
        groups |= {"entities: seen": ~unseen, "entities: unseen": unseen}
    groups |= {f"{ENTITY_PREFIX}{text}": items["entity"].eq(text).to_numpy() for text in dict.fromkeys(items["entity"])}
    per_class = {name: _values(items, rows, plain, config) for name, rows in groups.items()}
    for subset, name in ((CROSS_SITE, "candidates: of other sites"), (CONFUSABLE, "candidates: confusable")):
        own = {f"{subset}/{c}": c for c in plain if f"{subset}/{c}" in items}
        asked = items[list(own)].notna().any(axis=1).to_numpy() if own else ~everyone
        if asked.any():
            renamed = items.drop(columns=plain).rename(columns=own)
            per_class[name] = _values(renamed, asked, plain, config)
    return overall, per_class


def _values(items: pd.DataFrame, rows: Bools, names: list[str], config: EntityRetrievalConfig) -> dict[str, Value]:
    """Metrics and their gains of some items."""
    chosen = items[rows]
    table = {name: chosen[name].to_numpy(float) for name in names}
    scored = [name for name in names if "_chance@" not in name]
    for better, base in GAINS:
        for name in scored:
            method, _, metric = name.partition("/")
            if method == better and f"{base}/{metric}" in table:
                table[f"{better}-{base}/{metric}"] = table[name] - table[f"{base}/{metric}"]
    columns = np.stack(list(table.values()), axis=1)
    statistic = macro_mean(columns, pd.factorize(chosen["entity"])[0])
    interval = cluster_bootstrap(
        statistic, chosen["patient_id"].to_numpy(), replicates=config.bootstrap_replicates, seed=config.seed
    )
    counts = [int(n) for n in (~np.isnan(columns)).sum(axis=0)]
    found = values(list(table), interval, counts, [_definition(name) for name in table])
    # Each method's chance level stands where reports look for it.
    for name in scored:
        method, _, metric = name.partition("/")
        found[f"{method}/{metric.replace('@', '_chance@')}"] = found[metric.replace("@", "_chance@")]
    return {name: value for name, value in found.items() if "/" in name}


def macro_mean(columns: NDArray[np.float64], groups: NDArray[np.int64]) -> Callable[[NDArray[np.float64]], Any]:
    """Statistic: weights (R, N) to the mean over groups of each group's weighted mean, (R, M); NaN cells are left out.

    Args:
        columns: (N, M).
        groups: (N,) group of each row.
    """
    member = np.equal.outer(np.arange(groups.max() + 1), groups)  # (G, N)
    there = ~np.isnan(columns)
    filled = np.where(there, columns, 0.0)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total, defined = np.zeros((len(weights), columns.shape[1])), np.zeros((len(weights), columns.shape[1]))
        for rows in member:
            mass = weights[:, rows] @ there[rows]
            mean = np.divide(weights[:, rows] @ filled[rows], mass, out=np.zeros_like(mass), where=mass > 0)
            total, defined = total + mean, defined + (mass > 0)
        return np.divide(total, defined, out=np.full_like(total, np.nan), where=defined > 0)

    return statistic


def _definition(name: str) -> str:
    method, _, metric = name.rpartition("/")
    stem = metric.partition("@")[0]
    kind = "gain" if "-" in method else stem.replace("_", "-")
    return f"entity-retrieval/{kind}-v1"


def _notes(images: pd.DataFrame, entities: Sequence[Entity], items: pd.DataFrame, model: EntityModel) -> list[str]:
    asked = items["entity"].nunique()
    notes = [f"{len(images)} images, {asked} of {len(entities)} entities, {len(items)} queries"]
    sites = images["site"].dropna().nunique()
    notes.append(f"{sites} sites" if sites > 1 else "one site: no candidates of other sites")
    held_out = model.facts.get("held_out", [])
    notes.append(f"never asked for in training: {', '.join(held_out)}" if held_out else "no entity was held out")
    notes.append(f"reranked score: {model.mix:g} cos + {1 - model.mix:g} p")
    return notes
