"""Cases like one, or that show an entity most, from the archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lgdea.app.bench import Bench
from lgdea.comparison.entity.entities import Entity, parse_entity
from lgdea.errors import DataError
from lgdea.reporting.cases import CaseColumn, CaseSheet

MOST_SEARCHED = 2000
"""Images of one search: each is read and encoded while somebody waits."""
BATCH = 64
SPLITS = ("all", "test", "val", "train")


@dataclass(frozen=True, eq=False)
class Found:
    """Cases side by side, and in ``notes`` how they were found and what the model lacks for a better way."""

    sheet: CaseSheet
    notes: tuple[str, ...]


def find(bench: Bench, text: str, image: str | None, *, top: int = 5, split: str = "all") -> Found:
    """Find cases of other patients that agree with an image in an entity; without an image, those that show it most.

    Args:
        bench: Holds model and archive.
        text: The entity in any words.
        image: Id of the query image; None for none.
        top: How many.
        split: Part of the archive.

    Raises:
        UsageError: The entity means nothing.
        DataError: There is no image to search.
    """
    entity = parse_entity(text)
    if image is not None:
        bench.archive.image_path(
            image
        )  # an image that cannot be shown is left out of a search, but not in silence here
    images, said = _candidates(bench, split, image)
    if image is not None and bench.has_head("entity"):
        from lgdea.api.comparison import find_cases

        part = bench.archive.with_tables(images=images)
        assert bench.entity_model is not None
        found = find_cases(bench.entity_model, part, image, text, top=top, split=split)
        return Found(found.sheet, (f"ranked by the entity head, which compares query and case; {said}",))
    lacks = (
        "no query image: cases are ranked by the phrase's score alone (zero-shot)"
        if bench.has_head("entity")
        else "the model folder has no entity head: cases are ranked by the phrase's score alone (zero-shot), "
        + ("not by what query and case have in common" if image is not None else "which needs no query")
        + "; `lgdea compare train MODEL ARCHIVE --config entity` trains one"
    )
    return Found(_rank_by_phrase(bench, entity, images, image, top), (lacks, said))


def _candidates(bench: Bench, split: str, image: str | None) -> tuple[pd.DataFrame, str]:
    """Images to search, the query among them, and how many of how many these are."""
    images, studies = bench.archive.images, bench.archive.studies.set_index("study_id")
    patients = images["study_id"].map(studies["patient_id"])
    kept = pd.Series(True, index=images.index)
    if split != "all":
        kept &= images["study_id"].map(studies["split"]) == split
    query = images["image_id"] == image
    if image is not None:
        kept &= patients != patients[query].iloc[0]
    pool = images[kept]
    if pool.empty:
        raise DataError(f"the {split} split has no image of another patient", remedy="choose another split")
    searched = pool.head(MOST_SEARCHED)
    where = "of the archive" if split == "all" else f"of the {split} split"
    part = f"the first {len(searched):,} of {len(pool):,}" if len(searched) < len(pool) else f"all {len(pool):,}"
    return pd.concat([images[query], searched]), f"searched: {part} images {where}" + (
        ", the query's patient left out" if image is not None else ""
    )


def _rank_by_phrase(bench: Bench, entity: Entity, images: pd.DataFrame, query: str | None, top: int) -> CaseSheet:
    """Images by the score of the entity's words, each with its map."""
    from lgdea.evaluation.encoders.protocol import frame_of
    from lgdea.evaluation.images import ImageSource

    model: Any = bench.model
    ids: list[str] = []
    scores: list[np.ndarray] = []
    source = ImageSource(bench.archive, frame=frame_of(model))
    for read, pixels in source.batches(images["image_id"].tolist(), BATCH):
        ids += read
        scores.append(np.asarray(model.score_phrases(pixels, [entity.text]))[:, 0])
    if not ids:
        raise DataError("none of these images can be read", remedy="`lgdea data verify` says why")
    values = dict(zip(ids, np.concatenate(scores).tolist(), strict=True))
    ranked = sorted((one for one in values if one != query), key=lambda one: -values[one])[:top]
    name = "P(shown)" if model.scoring == "presence" else "similarity"
    columns = []
    for number, one in enumerate([*([query] if query in values else []), *ranked]):
        title = "query" if one == query else f"case {number + (query not in values)}"
        image = bench.read_pixels(str(one))
        (heat,) = model.heat_maps(image, [entity.text])
        columns.append(CaseColumn.with_map(image, heat, (title, str(one), f"{name} {values[one]:.2f}")))
    return CaseSheet(f"cases that show most of: {entity.text}", tuple(columns))
