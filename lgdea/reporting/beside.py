"""One query beside its healthy references: scores, references and occlusion maps, drawn as a sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lgdea.comparison.references.answers import Answers
from lgdea.comparison.references.choose import Strategy, choose_references
from lgdea.comparison.references.healthy import healthy_people, people
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.encoders.protocol import EvaluableModel
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.change_difference import finding_scores
from lgdea.evaluation.tasks.references_attribution import finding_boxes, maps_of_answers, maps_of_model
from lgdea.evaluation.tasks.references_scores import truth_of
from lgdea.manifests import read_manifest
from lgdea.records.archive import Archive
from lgdea.reporting.drawn import Drawn
from lgdea.vocabulary.phrases import canonical_phrase

if TYPE_CHECKING:
    from lgdea.reporting.cases import CaseSheet

    Maps = tuple[np.ndarray, np.ndarray]


SHOWN_REFERENCES = 4
"""References of a sheet."""


@dataclass(frozen=True, eq=False)
class Beside(Drawn):
    """A query beside references."""

    image_id: str
    finding: str
    archive: Archive
    score: float
    """Probability of the finding in the query, of a vision-language model beside its references; with other models
    than lgdea's and for cosines, the score as it is."""
    alone: float | None
    """The same of a vision-language model without references; None for other models, whose score is always that."""
    references: Mapping[str, float]
    """References, best first, with their own scores (NaN where a model was not asked for them)."""
    rules: tuple[str, ...]
    """Why each was chosen."""
    maps: Maps
    """Fall of the score where a cell is hidden, alone and beside references, (H, W) in source pixels."""

    @property
    def sheet(self) -> CaseSheet:
        """The query with both maps, and its first references, side by side."""
        from lgdea.reporting.cases import CaseColumn, CasePicture, CaseSheet

        boxes = finding_boxes(self.archive).get((self.image_id, self.finding), np.zeros((0, 4)))
        drawn = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in boxes)
        pixels = self.archive.read_image(self.image_id).pixels
        alone = f"score {self.score if self.alone is None else self.alone:.2f}"
        columns = [
            CaseColumn.with_map(pixels, self.maps[0], ("query alone", alone), drawn),
            CaseColumn.with_map(pixels, self.maps[1], ("beside references", f"score {self.score:.2f}"), drawn),
        ]
        for (image, score), rule in list(zip(self.references.items(), self.rules, strict=True))[:SHOWN_REFERENCES]:
            lines = ("healthy reference", *([] if np.isnan(score) else [f"score {score:.2f}"]), *rule.rsplit(", ", 1))
            columns.append(CaseColumn(lines, (CasePicture(self.archive.read_image(image).pixels),)))
        notes = (
            f"{self.image_id}; {len(self.references)} references, held fixed",
            "maps: fall of the score where a cell is hidden: filled with the mean, and with the mean of the references",
        )
        return CaseSheet(canonical_phrase(self.finding), tuple(columns), notes)


class BesideReader:
    """Healthy people of an archive, to read queries of it beside them.

    Args:
        encoder: The model.
        archive: Archive of the queries and the healthy images.
        pool_split: Split of the healthy images.
        units: Evidence of its reports, where the archive has no labels.

    Raises:
        UsageError: The archive tells of nobody whether they are healthy, or nobody is.
    """

    def __init__(
        self, encoder: EvaluableModel, archive: Archive, pool_split: str = "train", units: pd.DataFrame | None = None
    ) -> None:
        self.encoder, self.archive = encoder, archive
        self.config = ReferencesConfig.model_validate({})
        self.healthy = healthy_people(archive, pool_split, truth_of(archive, self.config, units))

    def read(
        self, image_id: str, finding: str, *, strategy: Strategy = "demographic", k: int = 5, grid: int = 8,
        seed: int = 0,
    ) -> Beside:  # fmt: skip
        """Read a finding in a query beside K of the healthy people, with occlusion maps alone and beside them.

        Args:
            image_id: The query.
            finding: Vocabulary id.
            strategy: How references are chosen.
            k: References.
            grid: Cells along each side of the query.
            seed: Seed of the draws.

        Raises:
            UsageError: No such image or finding, or the strategy cannot be followed.
            DataError: The query has no reference, or an image cannot be read.
        """
        check_query(self.archive, image_id, finding)
        pixels = self.archive.read_image(image_id).pixels
        queries = people(self.archive, "all")
        query = queries[queries["image_id"] == image_id].reset_index(drop=True)
        healthy, embeddings = self.healthy, None
        if strategy == "embedding":
            healthy, of_healthy = self._embedded
            embeddings = (self._embed(query)[1], of_healthy)
        found = choose_references(query, healthy, strategy, k, seed=seed, embeddings=embeddings)
        if found.table.empty:
            raise DataError(f"{image_id} has no reference: {found.skipped[0]['reason']}", file=self.archive.folder)
        chosen = found.table["reference_id"].tolist()
        pictures = [np.asarray(pixels), *(np.asarray(self.archive.read_image(i).pixels) for i in chosen)]
        scores = finding_scores(self.encoder, pictures, [finding])[:, 0]
        if self.encoder.scoring == "presence":
            scores = 1 / (1 + np.exp(-scores))
        maps = maps_of_model(self.encoder, self.archive, image_id, chosen, finding, grid, 64)
        own = dict(zip(chosen, map(float, scores[1:]), strict=True))
        return Beside(
            image_id, finding, self.archive, float(scores[0]), None, own, tuple(found.table["rule"]), maps
        )  # fmt: skip

    @cached_property
    def _embedded(self) -> tuple[pd.DataFrame, np.ndarray]:
        """The healthy images that can be read, and their embeddings."""
        return self._embed(self.healthy)

    def _embed(self, images: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        source = common.image_source(self.archive, self.config, self.encoder)
        read, embeddings = common.embed_images(self.encoder, source, images, 64)
        return read, np.asarray(embeddings)


def check_query(archive: Archive, image_id: str, finding: str) -> None:
    """Refuse what cannot be read, before anything is computed.

    Raises:
        UsageError: No such image or finding.
    """
    from lgdea.vocabulary import load_vocabulary

    load_vocabulary().descendants(finding)  # refuses an unknown id
    if image_id not in set(archive.images["image_id"]):
        raise UsageError(f"has no image {image_id!r}", file=archive.folder, remedy="check the id")


def beside_of_answers(answers: Answers, archive: Archive, image_id: str, finding: str) -> Beside:
    """The same of a vision-language model's answers, which were asked with cells hidden.

    Raises:
        UsageError: The answers have no cells of this query.
    """
    maps = maps_of_answers(answers, archive, image_id, finding)
    if maps is None:
        first = answers.hidden[["query_id", "class"]].drop_duplicates().head(3)
        known = [f"{query} {of}" for query, of in first.itertuples(index=False)]
        raise UsageError(
            f"hold no hidden cells of {image_id}, {finding}", file=answers.folder,
            remedy=f"ask for them with --attribution; there are: {', '.join(known) or 'none'}",
        )  # fmt: skip
    here = (answers.table["query_id"] == image_id) & (answers.table["class"] == finding)
    table = answers.table[here].sort_values("k")
    last = table.iloc[-1]
    chosen = _references_of(answers, image_id, finding, str(last["strategy"]), int(last["k"]))
    return Beside(
        image_id, finding, archive, float(last["score"]), float(table.iloc[0]["score"]),
        {i: float("nan") for i in chosen if i in set(archive.images["image_id"])}, tuple(chosen.values()), maps,
    )  # fmt: skip


def _references_of(answers: Answers, image_id: str, finding: str, strategy: str, k: int) -> dict[str, str]:
    """References and their rules, from the triples that were asked; none where these are no longer there."""
    from lgdea.comparison.references.triples import read_triples

    manifest = read_manifest(answers.folder / "run.json")
    folder = Path(manifest["inputs"]["triples"]).parent
    if not folder.is_dir():
        return {}
    table, _ = read_triples(folder)
    table = table[(table["query_id"] == image_id) & (table["class"] == finding) & (table["strategy"] == strategy)]
    return dict(table[table["rank"] <= k].sort_values("rank")[["reference_id", "rule"]].itertuples(index=False))
