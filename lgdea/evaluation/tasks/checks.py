"""What can be checked of a task's input before a model is loaded, which takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lgdea.errors import UsageError
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.retrieval import both_sides

if TYPE_CHECKING:
    import pandas as pd

    from lgdea.records.archive import Archive

_LABELLED = ("zero-shot", "probe", "features", "references")


def check_task(
    task: str, archive: Archive, config: Any, units: pd.DataFrame | None = None, *, classes: bool = True
) -> None:
    """Refuse a task that its archive, labels or settings make impossible.

    Args:
        task: Name of the task.
        archive: Of the items.
        config: Its settings.
        units: Evidence, where it is given.
        classes: Whether the classes can be looked up; a model may bring findings of its own.

    Raises:
        UsageError: No such labeller or class, or several labellers and none is named.
        DataError: The split has no images, labels or boxes.
    """
    common.images_of(archive, config.split)
    if config.image_cache is not None:
        common.image_source(archive, config)
    if task == "grounding":
        common.phrase_boxes(archive, config.split)
    if task == "retrieval":
        _check_retrieval(archive, config, units)
    if task in _LABELLED and (task != "references" or len(archive.labels)):
        labels = common.labels_of(archive, config.labeller)
        if classes:
            common.scored_classes(config.classes, labels)


def _check_retrieval(archive: Archive, config: Any, units: pd.DataFrame | None) -> None:
    both_sides(archive, config.split)
    if units is not None or archive.labels.empty:  # without labels there is Recall alone
        return
    try:
        common.labels_of(archive, config.labeller)
    except UsageError as error:
        raise UsageError(
            error.problem, file=error.file, remedy=f"{error.remedy}, or grade by --evidence, which is finer"
        ) from None
