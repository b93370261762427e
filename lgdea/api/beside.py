"""Reading one query beside healthy references in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgdea.comparison.references.answers import is_answers, read_answers
from lgdea.comparison.references.choose import Strategy
from lgdea.evaluation.encoders.protocol import as_evaluable
from lgdea.evaluation.tasks.graded import units_of
from lgdea.records.archive import Archive
from lgdea.records.schema import check_split
from lgdea.reporting.beside import Beside, BesideReader, beside_of_answers, check_query


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
    check_query(archive, image_id, finding)
    check_split(pool_split)
    if isinstance(model, str | Path) and is_answers(model):
        return beside_of_answers(read_answers(model), archive, image_id, finding)
    from lgdea.api.evaluation import resolve_model

    reader = BesideReader(as_evaluable(resolve_model(model, device)), archive, pool_split, units_of(archive, evidence))
    return reader.read(image_id, finding, strategy=strategy, k=k, grid=grid, seed=seed)
