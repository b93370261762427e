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
from lgdea.comparison.references.triples import FILES, make_triples, write_triples
from lgdea.errors import UsageError
from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.graded import units_of
from lgdea.evaluation.tasks.references_scores import truth_of
from lgdea.outputs import claim_folder
from lgdea.progress import track
from lgdea.records.archive import Archive
from lgdea.records.schema import check_split

if TYPE_CHECKING:
    from lgdea.comparison.references.choose import Vectors


@dataclass(frozen=True)
class ChosenReferences:
    """References of the queries of a split.

    Attributes:
        references: The choice, one row per query and reference.
        triples: The same with each finding that is asked and its label.
        truth: Who is healthy, and by which rule.
        unreadable: ``{"id", "reason"}`` of each image that cannot be read and is therefore left out; looked at are
            those of the triples, and with ``embedding`` all that are compared.
    """

    references: References
    triples: pd.DataFrame
    truth: Truth
    unreadable: list[dict[str, str]]


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
    overwrite: bool = False,
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
        overwrite: Whether triples that are there are replaced.

    Raises:
        UsageError: ``out`` holds something else or earlier triples, no healthy image, or a strategy that cannot be
            followed; the line says why.
    """
    claim_folder(out, FILES, what="set of triples", overwrite=overwrite)
    archive = archive if isinstance(archive, Archive) else Archive.open(archive)
    for part in (split, pool_split):
        check_split(part)
    loaded = load_compare_prompt(prompt)
    named = classes if isinstance(classes, str) else tuple(classes)
    config = ReferencesConfig.model_validate({"classes": named, "labeller": labeller})
    truth = truth_of(archive, config, units_of(archive, evidence))
    healthy = healthy_people(archive, pool_split, truth)
    queries = people(archive, split)
    if queries.empty:
        raise UsageError(f"the {split} split has no images", file=archive.folder, remedy="choose another split")
    found, triples, unreadable = _choose(
        [_pool(strategy, model, archive, queries, healthy) for strategy in strategies],
        archive,
        truth.values,
        k,
        most,
        seed,
    )
    facts = {
        "archive": archive.name, "split": split, "pool_split": pool_split, "k": k, "strategies": list(strategies),
        "healthy": truth.rule, "healthy_images": len(healthy), "seed": seed, "notes": found.notes,
        "skipped": found.skipped, "unreadable": unreadable,
    }  # fmt: skip
    write_triples(out, triples, loaded, image_root=archive.image_root, facts=facts)
    return ChosenReferences(found, triples, truth, unreadable)


@dataclass(frozen=True)
class _Pool:
    """Queries and healthy images of one strategy, with their embeddings where it compares them."""

    strategy: Strategy
    queries: pd.DataFrame
    healthy: pd.DataFrame
    embeddings: tuple[Vectors, Vectors] | None
    unreadable: list[dict[str, str]]

    def choose(self, bad: set[str], k: int, seed: int) -> References:
        """References without the images that cannot be read."""
        sides = (self.queries, self.healthy)
        kept = [~side["image_id"].isin(bad).to_numpy() for side in sides]
        queries, healthy = (side[keep].reset_index(drop=True) for side, keep in zip(sides, kept, strict=True))
        vectors = None if self.embeddings is None else (self.embeddings[0][kept[0]], self.embeddings[1][kept[1]])
        return choose_references(queries, healthy, self.strategy, k, seed=seed, embeddings=vectors)


def _pool(strategy: Strategy, model: Any, archive: Archive, queries: pd.DataFrame, healthy: pd.DataFrame) -> _Pool:
    if strategy != "embedding":
        return _Pool(strategy, queries, healthy, None, [])
    from lgdea.api.evaluation import resolve_model
    from lgdea.evaluation.encoders.protocol import as_image_encoder

    if model is None:
        raise UsageError("embedding: no model whose embeddings are compared", remedy="name one: --model")
    encoder = as_image_encoder(resolve_model(model))
    source = common.image_source(archive, ReferencesConfig.model_validate({}), encoder)
    parts = [common.embed_images(encoder, source, part, 64) for part in (queries, healthy)]
    vectors = np.asarray(parts[0][1]), np.asarray(parts[1][1])
    return _Pool(strategy, parts[0][0], parts[1][0], vectors, source.skipped)


def _choose(
    pools: Sequence[_Pool], archive: Archive, values: pd.DataFrame, k: int, most: int | None, seed: int
) -> tuple[References, pd.DataFrame, list[dict[str, str]]]:
    """References, triples, and the images that cannot be read: whatever they stood for is chosen again without them."""
    unreadable = {item["id"]: item["reason"] for pool in pools for item in pool.unreadable}
    source = ImageSource(archive)
    known: set[str] = set()
    paths = archive.images.set_index("image_id")["path"]
    while True:
        parts = [pool.choose(set(unreadable), k, seed) for pool in pools]
        found = References(
            pd.concat([part.table for part in parts], ignore_index=True),
            [item for part in parts for item in part.skipped],
            list(dict.fromkeys(note for part in parts for note in part.notes)),
        )
        triples = make_triples(found.table, values, paths, most=most, seed=seed)
        images = sorted(({*triples["query_id"], *triples["reference_id"]}) - known)
        known |= set(images)
        outcomes = zip(images, track(source.read_ahead(images, 64), "reading images", len(images)), strict=True)
        bad = {image: outcome for image, outcome in outcomes if isinstance(outcome, str)}
        if not bad:
            return found, triples, [{"id": image, "reason": reason} for image, reason in unreadable.items()]
        unreadable |= bad
