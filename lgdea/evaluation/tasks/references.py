"""Reading beside healthy references: is a finding told better than from the query alone?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lgdea.comparison.references.answers import MADE_BY, Answers
from lgdea.errors import DataError
from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.encoders.protocol import EvaluableModel, model_name, notes_of
from lgdea.evaluation.metrics.references import METRICS, balanced_accuracy_test, method_statistic
from lgdea.evaluation.results.result import Result, Value
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.references_attribution import (
    attribution_of_answers,
    attribution_of_model,
    attribution_values,
)
from lgdea.evaluation.tasks.references_scores import SINGLE, Floats, Scored, score_beside
from lgdea.statistics.bootstrap import cluster_bootstrap

if TYPE_CHECKING:
    from pathlib import Path

    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive


def references(
    model: EvaluableModel | LgdeaModel | Answers,
    archive: Archive,
    config: ReferencesConfig | None = None,
    *,
    evidence: str | Path | pd.DataFrame | None = None,
    **settings: Any,
) -> Result:
    """Tell findings from a query alone and beside K healthy references, by strategy and number.

    An image-text model's evidence scores are compared by z-score and likelihood ratio; the answers of a vision-language
    model (:class:`~lgdea.comparison.references.answers.Answers`) are taken as they are. The result's items are
    ``image_id, study_id, patient_id, class, label``, and each method's score and call: ``single``, ``single/call``,
    ``ratio/demographic@10`` ...

    Args:
        model: The model, or a vision-language model's answers.
        archive: Has images, and labels or reports.
        config: Settings; the defaults otherwise.
        evidence: Evidence folder of the whole archive, or a table of units: the truth where the archive has no labels.
        **settings: Fields of :class:`ReferencesConfig` laid over ``config``.

    Raises:
        UsageError: There is no healthy image, or a strategy that was asked for cannot be followed.
        DataError: No class can be scored.
    """
    from lgdea.evaluation.tasks.graded import units_of

    config = common.resolve(ReferencesConfig, config, settings)
    if isinstance(model, Answers):
        scored = _of_answers(model, archive, config)
        attribution: pd.DataFrame | None = attribution_of_answers(model, archive, scored)
    else:
        scored = score_beside(model, archive, config, units_of(archive, evidence))
        attribution = attribution_of_model(model, archive, config, scored) if config.attribution else None
    overall, per_class = _summarise(scored, config)
    items = _items(scored)
    if attribution is not None and len(attribution):
        patients = attribution["image_id"].map(scored.images.set_index("image_id")["patient_id"]).to_numpy(object)
        overall |= attribution_values(attribution, patients, config)
        items = items.merge(attribution, on=["image_id", "class"], how="left")
    where = [] if config.site is None else [f"images of {config.site}"]
    where += [] if config.threshold_site is None else [f"thresholds from images of {config.threshold_site}"]
    return Result(
        task="references",
        definition="references-v1",
        model=model_name(model),
        archive=archive.name,
        split=config.split,
        metrics=overall,
        per_class=per_class,
        config=config.model_dump(mode="json"),
        items=items,
        skipped=scored.skipped,
        notes=where + scored.notes + notes_of(model),
    )


def _of_answers(answers: Answers, archive: Archive, config: ReferencesConfig) -> Scored:
    """The queries and findings to which every question, alone and beside references, was answered."""
    table = answers.table
    if config.strategies is not None:
        table = table[table["strategy"].isin(config.strategies) | table["k"].eq(0)]
    table = table[table["k"].isin([0, *config.counts])]
    methods = [
        SINGLE if k == 0 else f"paired/{strategy}@{k}"
        for strategy, k in zip(table["strategy"], table["k"], strict=True)
    ]
    table = table.assign(method=methods).drop_duplicates(["query_id", "class", "method"])
    names = [SINGLE, *sorted(set(methods) - {SINGLE}, key=_by_strategy)]
    wide = table.pivot(index=["query_id", "class"], columns="method", values=["score", "label"])
    if SINGLE not in set(methods) or len(names) < 2:
        raise _not_both(answers, config)
    whole = wide["score"].dropna().index
    lost = len(wide) - len(whole)
    classes = sorted(whole.get_level_values("class").unique())
    ids = whole.get_level_values("query_id").unique()
    images = common.images_of(archive, "all")
    images = images[images["image_id"].isin(ids)].reset_index(drop=True)
    if images.empty:
        raise _no_query(answers, archive, len(whole))

    def fill(values: pd.Series) -> Floats:
        return values.loc[whole].unstack("class").reindex(index=images["image_id"], columns=classes).to_numpy(float)

    truth = fill(wide["label"][SINGLE])
    scored = Scored(images, classes, truth)
    for name in names:
        scored.scores[name] = np.nan_to_num(fill(wide["score"][name]))
        scored.calls[name] = (scored.scores[name] >= 0.5).astype(np.float64)
    if lost:
        scored.notes.append(f"{lost} of {len(wide)} questions have no answer in every setting and are left out")
    return scored


def _not_both(answers: Answers, config: ReferencesConfig) -> DataError:
    """The error that the answers are not of both kinds, the query alone and beside references."""
    ways = answers.table[["strategy", "k"]].drop_duplicates().sort_values(["k", "strategy"])
    there = ["alone"] if ways["k"].eq(0).any() else []
    there += [f"{strategy}@{k}" for strategy, k in ways[ways["k"] > 0].itertuples(index=False)]
    chosen = " or ".join(["counts"] if config.strategies is None else ["counts", "strategies"])
    return DataError(
        f"hold no answers to the query alone and beside references; there are: {', '.join(there) or 'none'}",
        file=answers.folder, remedy=f"ask for the others with `{MADE_BY}`, or choose among these ({chosen})",
    )  # fmt: skip


def _no_query(answers: Answers, archive: Archive, whole: int) -> DataError:
    """The error that nothing can be scored: answers of another archive, or none answered in every way."""
    if not set(answers.table["query_id"]) & set(archive.images["image_id"]):
        return DataError(
            f"no query is an image of {archive.name} ({archive.folder}), e.g. {answers.table['query_id'].iloc[0]}",
            file=answers.folder, remedy="evaluate with the archive that the references are of",
        )  # fmt: skip
    return DataError(
        f"{whole} queries of this archive were answered in every way", file=answers.folder,
        remedy=f"ask again with `{MADE_BY}`, or for fewer ways (counts, strategies)",
    )  # fmt: skip


def _by_strategy(method: str) -> tuple[str, int]:
    stem, _, k = method.rpartition("@")
    return stem, int(k)


def _summarise(scored: Scored, config: ReferencesConfig) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    methods, classes = list(scored.scores), scored.classes
    scores = np.stack([scored.scores[m] for m in methods])
    calls = np.stack([scored.calls[m] for m in methods])
    clusters = scored.images["patient_id"].to_numpy()
    statistic = method_statistic(scores, calls, scored.truth)
    interval = cluster_bootstrap(statistic, clusters, replicates=config.bootstrap_replicates, seed=config.seed)
    shape = (2, len(methods), len(METRICS), len(classes) + 1)
    parts = [np.asarray(part).reshape(shape) for part in interval]
    known = [int(n) for n in (~np.isnan(scored.truth)).sum(axis=0)]
    overall: dict[str, Value] = {}
    per_class: dict[str, dict[str, Value]] = {name: {} for name in classes}
    for m, method in enumerate(methods):
        kind = re.sub(r"/.*", "", method)
        for j, metric in enumerate(METRICS):
            definition = f"references/{metric.replace('_', '-')}-{kind}-v1"
            overall[f"{method}/{metric}_macro"] = _value(parts, (0, m, j, -1), len(scored.images), definition)
            for c, name in enumerate(classes):
                per_class[name][f"{method}/{metric}"] = _value(parts, (0, m, j, c), known[c], definition)
            if m and metric != "f1":
                gain = f"references/{metric.replace('_', '-')}-gain-v1"
                overall[f"{method}/{metric}_gain"] = _value(parts, (1, m, j, -1), len(scored.images), gain)
        if m and config.bootstrap_replicates:
            test = balanced_accuracy_test(
                calls[m], calls[0], scored.truth, clusters, replicates=config.bootstrap_replicates, seed=config.seed
            )
            overall[f"{method}/p_value"] = Value(test.p_value, n=test.n, definition="references/p-value-v1")
    return overall, per_class


def _value(parts: list[Floats], at: tuple[int, ...], n: int, definition: str) -> Value:
    value, low, high = (float(part[at]) for part in parts)
    return Value(value, low, high, n, definition)


def _items(scored: Scored) -> pd.DataFrame:
    rows, columns = np.nonzero(~np.isnan(scored.truth))
    ids = {name: scored.images[name].to_numpy()[rows] for name in ("image_id", "study_id", "patient_id")}
    found: dict[str, Any] = {**ids, "class": np.array(scored.classes)[columns], "label": scored.truth[rows, columns]}
    for method, scores in scored.scores.items():
        found[method], found[f"{method}/call"] = scores[rows, columns], scored.calls[method][rows, columns]
    return pd.DataFrame(found)
