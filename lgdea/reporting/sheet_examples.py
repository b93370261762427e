"""Comparisons for the page, as sheets: retrieved cases, and queries beside healthy references.

A sheet is that of ``lgdea find`` or ``lgdea compare beside``; what cannot be drawn is said in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgdea.errors import DataError, LgdeaError
from lgdea.progress import track
from lgdea.reporting.beside_method import beside_method
from lgdea.reporting.cases import CaseSheet
from lgdea.reporting.sheet_parts import PageColumn, PhotoStore, page_columns
from lgdea.reporting.worst import Case

if TYPE_CHECKING:
    import pandas as pd

    from lgdea.evaluation.results.result import Result
    from lgdea.records.archive import Archive

SHOWN_CASES = 4
"""Retrieved cases beside a query."""

SheetMaker = Callable[["Result", Sequence[Case]], Iterator[CaseSheet | LgdeaError]]
"""Draws cases of a result with one model: for each its sheet, or why there is none."""
SheetKey = tuple[str, str, str]
"""Task, image and entity or finding of a case."""


@dataclass(frozen=True)
class SheetExample:
    """A case as one model compares it; without columns, ``notes`` say why there is no picture."""

    label: str
    columns: tuple[PageColumn, ...]
    notes: tuple[str, ...]


def sheet_key(case: Case) -> SheetKey:
    """Key of a case's sheets."""
    return case.task, case.item, case.phrase


def sheet_examples(
    results: Mapping[str, Result], cases: Sequence[Case], makers: Mapping[str, SheetMaker], store: PhotoStore
) -> dict[SheetKey, tuple[SheetExample, ...]]:
    """The sheets of cases of one task by every model.

    Args:
        results: Label to result; a model that has none draws what the first one's settings say.
        cases: What to draw.
        makers: Label to what draws with its model.
        store: Gets the photographs.
    """
    found: dict[SheetKey, tuple[SheetExample, ...]] = {}
    for label, make in makers.items() if cases else ():
        result = results.get(label, next(iter(results.values())))
        for case, made in zip(cases, make(result, cases), strict=True):
            if isinstance(made, LgdeaError):
                example = SheetExample(label, (), (f"no picture: {made}",))
            else:
                example = SheetExample(label, page_columns(made, store), made.notes)
            found[sheet_key(case)] = (*found.get(sheet_key(case), ()), example)
    return found


def retrieved_sheets(
    model: Path, archive: Archive, result: Result, cases: Sequence[Case]
) -> Iterator[CaseSheet | LgdeaError]:
    """Queries of entity retrieval beside the first cases that a model finds, among those that were evaluated.

    Args:
        model: Model folder with an entity head.
        archive: The archive of the result.
        result: Whose split is searched.
        cases: The queries.
    """
    from lgdea.comparison.entity.entities import parse_entity
    from lgdea.comparison.entity.train import load_entity_model
    from lgdea.evaluation.tasks.entity_retrieval import images_with_reports
    from lgdea.reporting.found_cases import CaseSearch

    try:
        images = images_with_reports(archive, result.split)
        entities = {case.phrase: parse_entity(case.phrase) for case in cases}
        search = CaseSearch(load_entity_model(model), archive, images["image_id"].tolist(), list(entities.values()))
    except LgdeaError as error:
        yield from [error] * len(cases)
        return
    rows = images.set_index("image_id", drop=False)

    def draw(case: Case) -> CaseSheet:
        if case.item not in rows.index:
            problem = f"has no image {case.item!r} with a report in the {result.split} split"
            raise DataError(problem, file=archive.folder, remedy="give the archive of the results")
        query: Any = rows.loc[case.item]
        candidates = images[images["patient_id"] != query["patient_id"]]
        if result.config.get("same_modality", True):
            candidates = candidates[candidates["modality"] == query["modality"]]
        return search.find(query, entities[case.phrase], candidates, SHOWN_CASES).sheet

    yield from _each(draw, cases, "drawing retrieved cases")


def beside_sheets(
    model: Any, archive: Archive, units: pd.DataFrame | None, result: Result, cases: Sequence[Case]
) -> Iterator[CaseSheet | LgdeaError]:
    """Queries beside the healthy references that were evaluated, with the fall of the score where a cell is hidden.

    Args:
        model: The model.
        archive: The archive of the result.
        units: Evidence of its reports, where it has no labels.
        result: Says how references are chosen.
        cases: The queries.
    """
    from lgdea.evaluation.encoders.protocol import as_evaluable
    from lgdea.reporting.beside import BesideReader

    method, config = beside_method(result), result.config
    try:
        reader = BesideReader(as_evaluable(model), archive, config.get("pool_split", "train"), units)
    except LgdeaError as error:
        yield from [error] * len(cases)
        return

    def draw(case: Case) -> CaseSheet:
        chosen: Any = method.strategy
        grid, seed = int(config.get("grid", 8)), int(config.get("seed", 0))
        return reader.read(case.item, case.phrase, strategy=chosen, k=method.k, grid=grid, seed=seed).sheet

    yield from _each(draw, cases, "drawing references")


def _each(draw: Callable[[Case], CaseSheet], cases: Sequence[Case], what: str) -> Iterator[CaseSheet | LgdeaError]:
    for case in track(cases, what, len(cases)):
        try:
            yield draw(case)
        except LgdeaError as error:
            yield error
