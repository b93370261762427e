"""Retrieval in both directions: recall of the right report, and agreement in evidence of what is found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError
from lgdea.evaluation.config import RetrievalConfig
from lgdea.evaluation.encoders.protocol import EvaluableModel, as_evaluable, l2_normalize, model_name, notes_of
from lgdea.evaluation.results.result import Result, Value, values
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.graded import study_evidence, units_of
from lgdea.evaluation.tasks.ranking import DIRECTIONS, Gallery, rank
from lgdea.progress import track
from lgdea.statistics.bootstrap import cluster_bootstrap, weighted_mean, weighted_median

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

Vectors = NDArray[np.float32]


def retrieval(
    model: EvaluableModel | LgdeaModel,
    archive: Archive,
    config: RetrievalConfig | None = None,
    *,
    evidence: str | Path | pd.DataFrame | None = None,
    **settings: Any,
) -> Result:
    """Rank all reports of a split for each image, and all images for each report, by cosine of their embeddings.

    Reports that are identical word for word (letter case and spacing aside) get one embedding, are tied, and are all
    right answers. The result's items are ``direction, query_id, study_id, patient_id, n_positive,
    first_positive_rank`` and one column per metric.

    Args:
        model: The model.
        archive: Has images and reports of the same studies.
        config: Settings; the defaults otherwise.
        evidence: Evidence folder of the whole archive, or a table of units, that grades what is found; the archive's
            labels by default.
        **settings: Fields of :class:`RetrievalConfig` laid over ``config``.

    Raises:
        UsageError: The evidence folder is not of all the archive's reports.
        DataError: The split has no study with both a readable image and a report, or embeddings are not finite.
    """
    config = common.resolve(RetrievalConfig, config, settings)
    name, model = model_name(model), as_evaluable(model)
    units = units_of(archive, evidence)
    images, reports, skipped = both_sides(archive, config.split)
    source = common.image_source(archive, config, model)
    images, image_vectors = common.embed_images(model, source, images, config.batch_size)
    if images.empty:
        raise DataError("no image with a report can be read", file=archive.folder, remedy="check image_root")
    reports = reports[reports["study_id"].isin(images["study_id"])].reset_index(drop=True)
    text_vectors = _embed_texts(model, reports)
    studies = pd.Index(images["study_id"].unique())
    facts, notes = study_evidence(archive, studies, units, config)
    gallery = Gallery(
        image_vectors=image_vectors,
        text_vectors=text_vectors,
        image_study=studies.get_indexer(pd.Index(images["study_id"])),
        report_study=studies.get_indexer(pd.Index(reports["study_id"])),
        report_text=reports["text_code"].to_numpy(),
        facts=facts,
    )

    parts: list[pd.DataFrame] = []
    overall: dict[str, Value] = {}
    for direction, queries in zip(DIRECTIONS, (images, reports), strict=True):
        table = rank(gallery, direction, config)
        ids = queries["image_id" if direction == "image_to_report" else "report_id"]
        head = {"direction": direction, "query_id": ids, **{c: queries[c] for c in ("study_id", "patient_id")}}
        parts.append(pd.DataFrame(head).reset_index(drop=True).join(table))
        overall |= summarise(parts[-1], direction, config)
    return Result(
        task="retrieval",
        definition="retrieval-v1",
        model=name,
        archive=archive.name,
        split=config.split,
        metrics=overall,
        per_class={},
        config=config.model_dump(mode="json"),
        items=pd.concat(parts, ignore_index=True),
        skipped=skipped + source.skipped,
        notes=[f"{len(images)} images and {len(reports)} reports of {len(studies)} studies", *notes, *notes_of(model)],
    )


def word_key(text: str) -> str:
    """Key that reports share when they are identical word for word."""
    return " ".join(text.lower().split())


def summarise(items: pd.DataFrame, direction: str, config: RetrievalConfig) -> dict[str, Value]:
    """Means over the queries of one direction (the items of :func:`retrieval`) with their intervals."""
    names = [c for c in items.columns if "@" in c]
    clusters, settings = items["patient_id"].to_numpy(), (config.bootstrap_replicates, config.seed)
    table = items[names].to_numpy(float)
    interval = cluster_bootstrap(weighted_mean(table), clusters, replicates=settings[0], seed=settings[1])
    definitions = [f"retrieval/{c.split('@')[0].replace('_', '-')}-v1" for c in names]
    counts = [int(n) for n in (~np.isnan(table)).sum(axis=0)]
    result = values([f"{direction}/{c}" for c in names], interval, counts, definitions)
    ranks = items["first_positive_rank"].to_numpy(float)
    median = cluster_bootstrap(weighted_median(ranks), clusters, replicates=settings[0], seed=settings[1])
    return result | values([f"{direction}/median_rank"], median, len(ranks), ["retrieval/median-rank-v1"])


def both_sides(archive: Archive, split: str) -> tuple[pd.DataFrame, pd.DataFrame, list[dict[str, str]]]:
    """Images and reports of the studies that have both; an empty report does not count."""
    studies = common.studies_of(archive, split)[["study_id", "patient_id"]]
    reports = archive.reports.merge(studies, on="study_id").reset_index(drop=True)
    reports["key"] = reports["text"].map(word_key)
    empty = reports["key"] == ""
    skipped = [{"id": i, "reason": "the report is empty"} for i in reports.loc[empty, "report_id"]]
    reports = reports[~empty]
    images = archive.images.merge(studies, on="study_id")
    images = images[images["study_id"].isin(reports["study_id"])].reset_index(drop=True)
    if images.empty:
        raise DataError(
            f"the {split} split has no study with both an image and a report",
            file=archive.folder,
            remedy="choose another split or archive",
        )
    return images, reports, skipped


def _embed_texts(model: EvaluableModel, reports: pd.DataFrame) -> Vectors:
    """Vectors (T, D) of the distinct texts; adds their number in ``text_code`` to ``reports``."""
    codes, _ = pd.factorize(reports["key"])
    reports["text_code"] = codes
    texts = reports["text"][~reports["key"].duplicated()].tolist()
    step = 256
    starts = range(0, len(texts), step)
    blocks = [
        np.asarray(model.encode_texts(texts[i : i + step])) for i in track(starts, "encoding reports", len(starts))
    ]
    return l2_normalize(np.concatenate(blocks), "report embeddings")
