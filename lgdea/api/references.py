"""Healthy references in Python: choose them, and read a query beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lgdea.comparison.references.choose import References, Strategy, choose_references
from lgdea.comparison.references.healthy import Truth, healthy_people, people
from lgdea.comparison.references.prompt import DEFAULT_PROMPT, load_compare_prompt
from lgdea.comparison.references.triples import make_triples, write_triples
from lgdea.errors import UsageError
from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.graded import units_of
from lgdea.evaluation.tasks.references_scores import truth_of
from lgdea.records.archive import Archive

if TYPE_CHECKING:
    from lgdea.comparison.references.choose import Vectors


@dataclass(frozen=True)
class ChosenReferences:
    """References of the queries of a split.

    Attributes:
        references: The choice, one row per query and reference.
        triples: The same with each finding that is asked and its label.
        truth: Who is healthy, and by which rule.
    """

    references: References
    triples: pd.DataFrame
    truth: Truth


def make_reference_set(
    archive: str | Path | Archive,
    out: str | Path,
    *,
    strategies: Sequence[Strategy] = ("random",),
    k: int = 5,
    model: Any = None,
    evidence: str | Path | None = None,
    split: str = "test",
    pool_split: str = "train",
    classes: str | Sequence[str] = "labels",
    labeller: str | None = None,
    most: int | None = None,
    prompt: str = DEFAULT_PROMPT,
    seed: int = 0,
) -> ChosenReferences:
    """Choose K healthy references for every query of a split, and write (query, reference, label) triples.

    Args:
        archive: Archive or its folder.
        out: Folder for ``triples.parquet``, ``trl.jsonl`` (training rows) and ``report.json``.
        strategies: Ways of choosing.
        k: References per query.
        model: Model folder or model whose embeddings the strategy ``embedding`` compares.
        evidence: Evidence folder, where the archive has no labels.
        split: Split of the queries.
        pool_split: Split of the healthy images.
        classes: Class list, vocabulary ids or ``labels``: what is asked.
        labeller: Whose labels, when there are several.
        most: At most so many queries of each finding that show it, and so many that do not.
        prompt: Comparative prompt of the training rows.
        seed: Seed of the draws.

    Raises:
        UsageError: No healthy image, or a strategy that cannot be followed; the line says why.
    """
    archive = archive if isinstance(archive, Archive) else Archive.open(archive)
    loaded = load_compare_prompt(prompt)
    named = classes if isinstance(classes, str) else tuple(classes)
    config = ReferencesConfig.model_validate({"classes": named, "labeller": labeller})
    truth = truth_of(archive, config, units_of(archive, evidence))
    healthy = healthy_people(archive, pool_split, truth)
    queries = people(archive, split)
    if queries.empty:
        raise UsageError(f"the {split} split has no images", file=archive.folder, remedy="choose another split")
    parts = []
    for strategy in strategies:
        given: tuple[pd.DataFrame, pd.DataFrame, tuple[Vectors, Vectors] | None] = (queries, healthy, None)
        if strategy == "embedding":
            given = _embed(model, archive, queries, healthy)
        parts.append(choose_references(given[0], given[1], strategy, k, seed=seed, embeddings=given[2]))
    found = References(
        pd.concat([part.table for part in parts], ignore_index=True),
        [item for part in parts for item in part.skipped],
        [note for part in parts for note in part.notes],
    )
    paths = archive.images.set_index("image_id")["path"]
    triples = make_triples(found.table, truth.values, paths, most=most, seed=seed)
    facts = {
        "archive": archive.name, "split": split, "pool_split": pool_split, "k": k, "strategies": list(strategies),
        "healthy": truth.rule, "healthy_images": len(healthy), "seed": seed, "notes": found.notes,
        "skipped": found.skipped,
    }  # fmt: skip
    write_triples(out, triples, loaded, image_root=archive.image_root, facts=facts)
    return ChosenReferences(found, triples, truth)


def _embed(
    model: Any, archive: Archive, queries: pd.DataFrame, healthy: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[Vectors, Vectors]]:
    """Queries and healthy images that can be read, with their embeddings."""
    from lgdea.api.evaluation import resolve_model
    from lgdea.evaluation.encoders.protocol import as_image_encoder

    if model is None:
        raise UsageError("embedding: no model whose embeddings are compared", remedy="name one: --model")
    encoder = as_image_encoder(resolve_model(model))
    source = common.image_source(archive, ReferencesConfig.model_validate({}), encoder)
    parts = [common.embed_images(encoder, source, part, 64) for part in (queries, healthy)]
    return parts[0][0], parts[1][0], (np.asarray(parts[0][1]), np.asarray(parts[1][1]))
