"""Cases of an archive that are most like one of its images with respect to an entity, drawn as a sheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lgdea.comparison.entity.entities import Entity
from lgdea.errors import DataError
from lgdea.imaging.read import read_image
from lgdea.records.archive import Archive
from lgdea.reporting.cases import CaseColumn, CaseSheet
from lgdea.reporting.drawn import Drawn

if TYPE_CHECKING:
    import pandas as pd

    from lgdea.comparison.entity.model import EntityModel
    from lgdea.comparison.entity.ranking import EntityViews
    from lgdea.imaging.geometry import Geometry


@dataclass(frozen=True)
class Case:
    """A case that was found."""

    image_id: str
    study_id: str
    patient_id: str
    score: float
    """Of the reranked candidates a s + (1 - a) p, of the others their similarity s less 2."""
    similarity: float
    """In [0, 1]: presence of the entity in the case, times how alike the two are with respect to it."""
    presence: float
    """Probability that the case shows the entity."""

    @property
    def told_score(self) -> str:
        """The score as it is printed; a dash behind the reranked candidates, which the similarity alone orders."""
        return f"{self.score:.2f}" if self.score >= 0 else "-"


@dataclass(frozen=True)
class Cases(Drawn):
    """The cases of an archive that are most like one of its images with respect to an entity."""

    entity: Entity
    query: Case
    """The query itself, its presence of the entity included."""
    cases: tuple[Case, ...]
    archive: Archive
    maps: Mapping[str, Any]
    """Attention of the entity by image id, (H, W) in source pixels, NaN outside the crop; query and cases."""
    candidates: int
    """Images that were searched."""
    skipped: tuple[Mapping[str, str], ...] = ()
    """``{"id", "reason"}`` of each image that cannot be read and was left out."""

    @property
    def sheet(self) -> CaseSheet:
        """Query and cases side by side, each with the entity's heat map below."""
        columns = []
        for number, case in enumerate([self.query, *self.cases]):
            title = f"{number}   score {case.told_score}" if number else "query"
            lines = (title, case.image_id, f"P(shown) {case.presence:.2f}")
            pixels = read_image(self.archive.image_path(case.image_id)).pixels
            columns.append(CaseColumn.with_map(pixels, self.maps[case.image_id], lines))
        return CaseSheet(f"cases like the first with respect to: {self.entity.text}", tuple(columns))


class CaseSearch:
    """Images of an archive, encoded once with respect to some entities, to find cases among them.

    Args:
        model: Encodes and ranks.
        archive: Has the images.
        images: Ids of the images; those that cannot be read are left out.
        entities: What cases can be asked to agree in.

    Raises:
        DataError: None of the images can be read.
    """

    def __init__(self, model: EntityModel, archive: Archive, images: Sequence[str], entities: Sequence[Entity]) -> None:
        self.model, self.archive = model.eval(), archive
        self.prepare: Any = model.base.preprocess
        self.column = {entity.text: number for number, entity in enumerate(entities)}
        ids, self.views, self.skipped = self._encode(list(images))
        self.row = {image: number for number, image in enumerate(ids)}

    def find(self, query: Any, entity: Entity, candidates: pd.DataFrame, top: int) -> Cases:
        """Rank the candidates, rerank the first ones, and draw the maps of what was found.

        Args:
            query: Its ``image_id``, ``study_id`` and ``patient_id``.
            entity: One of those that the images were encoded for.
            candidates: The same of the images that may be found.
            top: Number of cases.

        Raises:
            DataError: The query cannot be read.
        """
        from lgdea.comparison.entity.ranking import rerank

        if query["image_id"] not in self.row:
            file = self.archive.image_path(query["image_id"])
            raise DataError("the query image cannot be read", file=file, remedy="choose another image")
        column = self.column[entity.text]
        row = np.array([self.row[query["image_id"]]], np.int64)
        known = candidates[candidates["image_id"].isin(self.row)].set_index("image_id")
        places = np.array([self.row[image] for image in known.index], np.int64)
        similarity = np.full((1, len(self.row)), -np.inf, np.float32)
        similarity[0, places] = self.views.similarity(column, row)[0, places]
        top_reranked = int(self.model.facts.get("rerank_top", 20))
        scores = rerank(self.model, self.views, column, row, similarity, top=top_reranked)[0]
        presence = 1 / (1 + np.exp(-self.views.presence[:, column].numpy()))

        def case(facts: Any, image: str, score: float, likeness: float) -> Case:
            shown = float(presence[self.row[image]])
            return Case(image, facts["study_id"], facts["patient_id"], float(score), float(likeness), shown)

        best = places[np.argsort(-scores[places], kind="stable")][:top]
        names = list(self.row)
        cases = tuple(case(known.loc[names[i]], names[i], scores[i], similarity[0, i]) for i in best)
        asked = case(query, query["image_id"], 1.0, 1.0)
        maps = {found.image_id: self._map(found.image_id, entity) for found in (asked, *cases)}
        return Cases(entity, asked, cases, self.archive, maps, len(places), tuple(self.skipped))

    def _encode(self, wanted: list[str]) -> tuple[list[str], EntityViews, list[dict[str, str]]]:
        """Ids and views of the images that can be read, and the others."""
        import torch

        from lgdea.comparison.entity.ranking import EntityViews
        from lgdea.evaluation.encoders.protocol import as_image_encoder, frame_of
        from lgdea.evaluation.images import ImageSource
        from lgdea.progress import track

        source = ImageSource(self.archive, frame=frame_of(as_image_encoder(self.model.base)))
        ids: list[str] = []

        def batches() -> Iterator[torch.Tensor]:
            steps = track(source.batches(wanted, 64), "encoding images", len(wanted), lambda batch: len(batch[0]))
            for read, pixels in steps:
                ids.extend(read)
                yield torch.stack([self.prepare(image)[0] for image in pixels])

        read_batches = batches()
        first = next(read_batches, None)
        if first is None:
            raise DataError("no image can be read", file=self.archive.folder, remedy="check its image_root")
        views = EntityViews.encode(self.model, chain([first], read_batches), list(self.column))
        return ids, views, source.skipped

    def _map(self, image: str, entity: Entity) -> Any:
        """Attention of the entity, (H, W) in source pixels."""
        import torch

        geometry: Geometry
        tensor, geometry = self.prepare(read_image(self.archive.image_path(image)))
        with torch.inference_mode():
            z = self.model.embed_phrases([entity.text])
            attention = self.model(tensor[None].to(self.model.base.device), z).attention[0, 0]
        return geometry.map_to_source(attention.reshape(self.model.base.grid).float().cpu().numpy())
