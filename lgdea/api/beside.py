"""One query beside its healthy references: scores, references and occlusion maps, drawn as a sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lgdea.api.drawn import Drawn
from lgdea.comparison.references.answers import Answers, is_answers, read_answers
from lgdea.comparison.references.choose import Strategy, choose_references
from lgdea.comparison.references.healthy import healthy_people, people
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.encoders.protocol import as_evaluable
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.change_difference import finding_scores
from lgdea.evaluation.tasks.graded import units_of
from lgdea.evaluation.tasks.references_attribution import finding_boxes, maps_of_answers, maps_of_model
from lgdea.evaluation.tasks.references_scores import truth_of
from lgdea.manifests import read_manifest
from lgdea.records.archive import Archive
from lgdea.records.schema import check_split
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


def read_beside(
    model: Any,
    archive: str | Path | Archive,
    image_id: str,
    finding: str,
    *,
    strategy: Strategy = "demographic",
    k: int = 5,
    pool_split: str = "train",
    evidence: str | Path | None = None,
    grid: int = 8,
    seed: int = 0,
    device: str | None = None,
) -> Beside:
    """Read a finding in a query beside K healthy references, with occlusion maps alone and beside them.

    Args:
        model: Model folder, model, or a folder of answers of ``lgdea compare ask`` with attribution.
        archive: Archive of the query and the healthy images, or its folder.
        image_id: The query.
        finding: Vocabulary id.
        strategy: How references are chosen; of answers, as they were.
        k: References.
        pool_split: Split of the healthy images.
        evidence: Evidence folder, where the archive has no labels.
        grid: Cells along each side of the query.
        seed: Seed of the draws.
        device: Where to put a model given by name.

    Raises:
        UsageError: No such image or finding, no healthy image, or the answers have no cells of this query.
    """
    archive = archive if isinstance(archive, Archive) else Archive.open(archive)
    _check(archive, image_id, finding)
    check_split(pool_split)
    if isinstance(model, str | Path) and is_answers(model):
        return _of_answers(read_answers(model), archive, image_id, finding)
    from lgdea.api.evaluation import resolve_model

    encoder = as_evaluable(resolve_model(model, device))
    config = ReferencesConfig.model_validate({})
    healthy = healthy_people(archive, pool_split, truth_of(archive, config, units_of(archive, evidence)))
    queries = people(archive, "all")
    query = queries[queries["image_id"] == image_id].reset_index(drop=True)
    embeddings = None
    if strategy == "embedding":
        source = common.image_source(archive, config, encoder)
        parts = [common.embed_images(encoder, source, part, 64) for part in (query, healthy)]
        healthy, embeddings = parts[1][0], (np.asarray(parts[0][1]), np.asarray(parts[1][1]))
    found = choose_references(query, healthy, strategy, k, seed=seed, embeddings=embeddings)
    if found.table.empty:
        raise DataError(f"{image_id} has no reference: {found.skipped[0]['reason']}", file=archive.folder)
    chosen = found.table["reference_id"].tolist()
    pictures = [np.asarray(archive.read_image(i).pixels) for i in (image_id, *chosen)]
    scores = finding_scores(encoder, pictures, [finding])[:, 0]
    if encoder.scoring == "presence":
        scores = 1 / (1 + np.exp(-scores))
    maps = maps_of_model(encoder, archive, image_id, chosen, finding, grid, 64)
    return Beside(
        image_id, finding, archive, float(scores[0]), None, dict(zip(chosen, map(float, scores[1:]), strict=True)),
        tuple(found.table["rule"]), maps,
    )  # fmt: skip


def _check(archive: Archive, image_id: str, finding: str) -> None:
    from lgdea.vocabulary import load_vocabulary

    load_vocabulary().descendants(finding)  # refuses an unknown id
    if image_id not in set(archive.images["image_id"]):
        raise UsageError(f"has no image {image_id!r}", file=archive.folder, remedy="check the id")


def _of_answers(answers: Answers, archive: Archive, image_id: str, finding: str) -> Beside:
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
