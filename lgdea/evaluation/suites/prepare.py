"""Input of a task from a suite and an archive, and the notes of its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import EvaluationConfig
from lgdea.evaluation.results.identity import ids_sha256, item_ids, model_identity
from lgdea.evaluation.suites.selection import Selected, select
from lgdea.evaluation.suites.suite import FREE_SETTINGS, Benchmark, Expected, Suite, Task

if TYPE_CHECKING:
    from lgdea.evaluation.results.result import Result
    from lgdea.records.archive import Archive


@dataclass(frozen=True)
class TaskInput:
    """Archive and settings of a task, and the suite that fixes them, if any."""

    archive: Archive
    """With a suite: of the scored split only what belongs to it."""
    config: Any
    """Settings, of the task's own class."""
    suite: str | None = None
    ids: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def annotate_result(self, result: Result, model: str | Path = "") -> Result:
        """Return ``result`` with the suite, the model's hash, and a note when not all of the suite's items are in it.

        Args:
            result: Result of the task.
            model: The model's folder or name.
        """
        signed = replace(result, suite=self.suite, model_hash=model_identity(model) if str(model) else "")
        if self.suite is None:
            return signed
        notes = [*self.notes, *result.notes]
        missing = self.ids - set(item_ids(result.items))
        if missing:
            unread = len(missing & {item["id"] for item in result.skipped})
            rest = len(missing) - unread
            others = f", {rest:,} that could not be scored without them or in any class" if rest else ""
            notes.insert(
                0,
                f"{len(missing):,} of the {len(self.ids):,} ids of {self.suite} are not in this result "
                f"({unread:,} unreadable{others}): it compares only with results of the same ids",
            )
        return replace(signed, notes=notes)


def prepare_task(suite: Suite, task: Task, archive: Archive, config: EvaluationConfig | None = None) -> TaskInput:
    """Select the part of ``archive`` that a suite scores and the settings that it fixes.

    Args:
        suite: The suite.
        task: One of its tasks.
        archive: An archive of its dataset.
        config: Only settings of :data:`~lgdea.evaluation.suites.suite.FREE_SETTINGS`, which change no meaning.

    Raises:
        UsageError: The suite has no such task, is for another dataset, or fixes a setting that ``config`` changes.
        DataError: The archive was built otherwise, or its items are not those of the suite.
    """
    settings = _settings(suite, task, config)
    benchmark = suite.tasks[task]
    selected = select(suite, task, archive, settings)
    _check(suite, task, benchmark, selected, archive)
    return TaskInput(selected.archive, settings, suite.label, selected.ids, tuple(_notes(suite, benchmark, selected)))


def freeze(suite: Suite, archive: Archive, tasks: list[Task] | None = None) -> Suite:
    """Write the ids that a suite's rules select in ``archive`` into the suite, with their hash and number.

    Args:
        suite: The suite.
        archive: An archive of its dataset.
        tasks: Some of its tasks; all by default.

    Raises:
        UsageError: The suite has no such task or is for another dataset.
        DataError: The archive has no items for a task, or not those that the suite has written out already.
    """
    frozen = {}
    for task in tasks or list(suite.tasks):
        settings = _settings(suite, task, None)
        selected = select(suite, task, archive, settings)
        benchmark = suite.tasks[task]
        _check(suite, task, benchmark, selected, archive)
        ids = tuple(sorted(selected.ids))
        frozen[task] = benchmark.model_copy(
            update={"ids": ids, "ids_sha256": ids_sha256(ids), "expected": Expected(**selected.counts)}
        )
    return suite.model_copy(update={"tasks": frozen})


def shortfall(benchmark: Benchmark, counts: Mapping[str, int]) -> list[str]:
    """Differences from the expected numbers: ``984 boxes expected, 29 here``."""
    expected = benchmark.expected.model_dump(exclude_none=True)
    return [f"{n:,} {what} expected, {counts[what]:,} here" for what, n in expected.items() if counts[what] != n]


def _settings(suite: Suite, task: Task, config: EvaluationConfig | None) -> EvaluationConfig:
    fixed = suite.config(task)
    if config is None:
        return fixed
    given = {key: getattr(config, key) for key in config.model_fields_set}
    for key, value in given.items():
        if key not in FREE_SETTINGS and value != getattr(fixed, key):
            raise UsageError(
                f"the suite {suite.label} fixes {key}={getattr(fixed, key)}, not {value}",
                remedy="leave it out, or leave out --suite",
            )
    return fixed.model_copy(update={key: value for key, value in given.items() if key in FREE_SETTINGS})


def _check(suite: Suite, task: Task, benchmark: Benchmark, selected: Selected, archive: Archive) -> None:
    """Refuse other items than those that the suite has written out, and an archive without any."""
    where = f"the suite {suite.label} ({task})"
    remedy = "use the whole dataset as published, or freeze a suite for this archive with `lgdea eval freeze`"
    if benchmark.ids is not None:
        missing = sorted(set(benchmark.ids) - selected.ids)
        if missing:
            others = f"; it has {selected.extra:,} others that fit the rule" if selected.extra else ""
            whole = len(set(benchmark.ids))
            raise DataError(
                f"lacks {len(missing):,} of the {whole:,} ids of {where}, the first is {missing[0]}{others}",
                file=archive.folder,
                remedy=remedy,
            )
    if not selected.ids:
        raise DataError(f"has no items for {where}", file=archive.folder, remedy=remedy)
    if benchmark.ids_sha256 is None:
        return
    found = ids_sha256(selected.ids)
    different = shortfall(benchmark, selected.counts)
    if found != benchmark.ids_sha256 or different:
        numbers = (
            "; ".join(different) or f"{len(selected.ids):,} ids of sha256 {found[:12]}, not {benchmark.ids_sha256[:12]}"
        )
        raise DataError(f"has other items than {where}: {numbers}", file=archive.folder, remedy=remedy)


def _notes(suite: Suite, benchmark: Benchmark, selected: Selected) -> list[str]:
    different = shortfall(benchmark, selected.counts)
    notes = [f"not the whole of {suite.label}: {'; '.join(different)}"] if different else []
    if selected.extra:
        notes.append(f"{selected.extra:,} items of this archive fit the rule of {suite.label} but are not in its list")
    return [*notes, *suite.remarks]
