"""Page content of one task: its tables, each with its picture and its text forms to copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup

from lgdea.errors import LgdeaError
from lgdea.evaluation.results.long_table import long_table
from lgdea.reporting.change_examples import ChangeExample, change_examples
from lgdea.reporting.examples import HeatMapper, ImageExample, image_examples
from lgdea.reporting.interval_chart import Plot, class_plot, table_plots
from lgdea.reporting.latex import latex_table
from lgdea.reporting.measures import ClassTable, TaskTables
from lgdea.reporting.overlays import data_uri, photo
from lgdea.reporting.score_curves import CurvePair, class_curves, rank_charts
from lgdea.reporting.sheet_examples import SheetExample, SheetKey, SheetMaker, sheet_examples, sheet_key
from lgdea.reporting.sheet_parts import PhotoStore
from lgdea.reporting.worst import Case, CaseGroup, worst_cases

if TYPE_CHECKING:
    from lgdea.comparison.change.model import ChangeModel
    from lgdea.records.archive import Archive

THUMBNAIL = 160
"""Longer side, pixels."""
THUMBNAILS = 300
"""At most this many on a page, about 6 kB each; cases beyond them are shown without."""
HEAT_MAPS = 12
LETTERS = 400
"""A report longer than this is cut."""


@dataclass(frozen=True)
class Copies:
    """One table as text."""

    latex: str
    csv: str


@dataclass(frozen=True)
class ClassView:
    """One metric by class."""

    table: ClassTable
    plot: Plot
    copies: Copies


@dataclass(frozen=True)
class TaskView:
    """One task."""

    table: TaskTables
    plots: tuple[Plot, ...]
    copies: Copies
    classes: tuple[ClassView, ...]
    curves: tuple[CurvePair, ...]
    ranks: tuple[tuple[str, Markup], ...]
    worst: tuple[CaseGroup, ...]


@dataclass(frozen=True)
class Media:
    """Thumbnails, texts and heat maps of the cases, each once however many cases show it."""

    thumbnails: Mapping[str, str]
    """Image id to ``data:`` address."""
    reports: Mapping[str, str]
    """Report id, and study id, to text."""
    maps: Mapping[tuple[str, str], ImageExample]
    """(image id, phrase) to its boxes and heat maps."""
    changes: Mapping[tuple[str, str, str], ChangeExample] = field(default_factory=dict)
    """(prior image id, current image id, finding in words) to both with the maps of each model."""
    sheets: Mapping[SheetKey, tuple[SheetExample, ...]] = field(default_factory=dict)
    """Retrieved cases, and healthy references, of each model."""
    photos: Sequence[tuple[str, str, int, int]] = ()
    """Photographs of the sheets."""


def task_view(table: TaskTables, colours: Mapping[str, int], baseline: str | None) -> TaskView:
    """Build the view of one task without the parts that need the archive."""
    rows = long_table([table.source])
    overall = rows[(rows["class"] == "") & rows["metric"].isin([row.metric for row in table.rows])]
    classes = [
        ClassView(
            classes,
            class_plot(table, classes, colours),
            Copies(
                latex_table(table, baseline, classes),
                _csv(rows[(rows["class"] != "") & (rows["metric"] == classes.metric)]),
            ),
        )
        for classes in table.per_class
    ]
    order = [row.name for row in table.per_class[0].rows] if table.per_class else []
    curves = sorted(class_curves(table.results, colours), key=lambda c: order.index(c.name) if c.name in order else -1)
    return TaskView(
        table=table,
        plots=tuple(table_plots(table, colours)),
        copies=Copies(latex_table(table, baseline), _csv(overall)),
        classes=tuple(classes),
        curves=tuple(curves),
        ranks=tuple(rank_charts(table.results, colours)),
        worst=tuple(worst_cases(table, baseline)),
    )


def gather_media(
    views: Sequence[TaskView],
    archive: Archive | None,
    models: Mapping[str, HeatMapper],
    readers: Mapping[str, ChangeModel],
    makers: Mapping[str, Mapping[str, SheetMaker]],
) -> Media:
    """Thumbnails, report texts, heat maps and comparisons of the cases whose results are of ``archive``; an image that
    cannot be read has no thumbnail.

    Args:
        views: The tasks.
        archive: Has the images.
        models: Label to a model that draws heat maps.
        readers: Label to a model with a change head.
        makers: Task and label to what draws sheets of its cases.
    """
    views = [view for view in views if archive and view.table.archive == archive.name]
    cases = [case for view in views for case in _cases(view)]
    if archive is None or not cases:
        return Media({}, {}, {})
    pairs = [(case.item, case.phrase) for case in cases if case.task == "grounding"]
    maps = image_examples(archive, list(dict.fromkeys(pairs))[:HEAT_MAPS], models) if models else {}
    thumbnails: dict[str, str] = {}
    known = set(archive.images["image_id"])
    compared = [(case.prior, case.item, case.what) for case in cases if case.task == "change"]
    changes = change_examples(archive, list(dict.fromkeys(compared))[:HEAT_MAPS], readers)
    sheets, store = _sheets(views, makers)
    pictured = {key for key, examples in sheets.items() if any(example.columns for example in examples)}
    plain = [
        c for c in cases
        if (c.item, c.phrase) not in maps and (c.prior, c.item, c.what) not in changes and sheet_key(c) not in pictured
    ]  # fmt: skip
    shown = dict.fromkeys(item for c in plain for item in (c.prior, c.item) if item in known)
    for item in list(shown)[:THUMBNAILS]:
        if (uri := _thumbnail(archive, item)) is not None:
            thumbnails[item] = uri
    wanted = archive.reports[archive.reports["study_id"].isin({c.study for c in cases if c.task == "retrieval"})]
    texts = [_cut(str(text)) for text in wanted["text"]]
    reports = dict(zip(wanted["study_id"], texts, strict=True)) | dict(zip(wanted["report_id"], texts, strict=True))
    return Media(thumbnails, reports, maps, changes, sheets, store.photos)


def _sheets(
    views: Sequence[TaskView], makers: Mapping[str, Mapping[str, SheetMaker]]
) -> tuple[dict[SheetKey, tuple[SheetExample, ...]], PhotoStore]:
    """Sheets of the first cases of each task that is drawn in sheets, one of each list in turn."""
    sheets: dict[SheetKey, tuple[SheetExample, ...]] = {}
    store = PhotoStore()
    for view in views:
        # What tells models apart, and what they did well, are few lists; the worst are as many as there are classes.
        groups = sorted(view.worst, key=lambda group: not (group.pair or group.best))
        in_turn = [case for row in zip_longest(*(group.cases for group in groups)) for case in row if case is not None]
        wanted = {sheet_key(case): case for case in in_turn if sheet_key(case) not in sheets}
        left = HEAT_MAPS - sum(task == view.table.task for task, _, _ in sheets)
        chosen = list(wanted.values())[:left]
        sheets |= sheet_examples(view.table.results, chosen, makers.get(view.table.task, {}), store)
    return sheets, store


def _cases(view: TaskView) -> Iterator[Case]:
    return (case for group in view.worst for case in group.cases)


def _thumbnail(archive: Archive, image_id: str) -> str | None:
    try:
        return data_uri(photo(archive.read_image(image_id).pixels, max_side=THUMBNAIL))
    except LgdeaError:
        return None


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LETTERS else text[:LETTERS] + " …"


def _csv(rows: pd.DataFrame) -> str:
    return str(rows.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
