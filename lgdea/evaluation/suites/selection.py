"""Selection of an archive's items by a suite's rules and lists."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import ChangeConfig, EvaluationConfig, GroundingConfig, RetrievalConfig, ZeroShotConfig
from lgdea.evaluation.suites.suite import Benchmark, Exclusive, Suite, Task
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.change_items import items_of, pairs_of, truth_of
from lgdea.evaluation.tasks.retrieval import both_sides

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

_FRONTAL = re.compile(r"\b(AP|PA|frontal)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Selected:
    """Items of a suite in one archive: ids of images and reports, and all that the task may see."""

    images: list[str]
    reports: list[str]
    archive: Archive
    counts: dict[str, int]
    extra: int = 0
    """Items that the rule selects and the suite's list lacks; they are left out."""

    @property
    def ids(self) -> frozenset[str]:
        """Ids of images and reports together."""
        return frozenset(self.images) | frozenset(self.reports)


def select(suite: Suite, task: Task, archive: Archive, config: EvaluationConfig) -> Selected:
    """The items of a suite in an archive.

    Raises:
        UsageError: The suite is for another dataset, or the archive's labeller is unclear.
        DataError: The archive was built otherwise than the suite asks, or has nothing that the task could score.
    """
    if archive.name != suite.dataset:
        raise UsageError(
            f"is an archive of {archive.name}, the suite {suite.label} is for {suite.dataset}", file=archive.folder,
            remedy=f"build it with `{suite.build}`",
        )  # fmt: skip
    lacking = _find_difference(suite.requires, archive.info)
    if lacking:
        raise DataError(
            f"is not the archive of the suite {suite.label} ({lacking})", file=archive.folder,
            remedy=f"build it with `{suite.build}`",
        )  # fmt: skip
    benchmark = suite.tasks[task]
    if benchmark.select.frontal:
        frontal = archive.images["view"].map(lambda view: isinstance(view, str) and bool(_FRONTAL.search(view)))
        archive = archive.with_tables(images=archive.images[frontal.astype(bool)])
    if isinstance(config, ZeroShotConfig):
        return _zero_shot(benchmark, archive, config)
    if isinstance(config, RetrievalConfig):
        return _retrieval(benchmark, archive, config)
    if isinstance(config, ChangeConfig):
        return _change(benchmark, archive, config)
    assert isinstance(config, GroundingConfig)
    return _grounding(benchmark, archive, config)


def _zero_shot(benchmark: Benchmark, archive: Archive, config: ZeroShotConfig) -> Selected:
    labels = common.labels_of(archive, config.labeller)
    images = common.images_of(archive, config.split)
    if benchmark.select.exclusive is not None:
        rule = benchmark.select.exclusive
        found = _exclusive(rule, labels, images, None if benchmark.ids else rule.per_class)
    else:
        truth = common.label_matrix(labels, images, common.scored_classes(config.classes, labels))
        known = images["image_id"].to_numpy()[~np.isnan(truth).all(axis=1)]
        found = pd.DataFrame({"image_id": known, "finding": None})
    chosen = _keep_listed(found, benchmark)
    ids = chosen["image_id"].tolist()
    part = _part(archive, config.split, ids)
    if benchmark.select.exclusive is not None:
        part = part.with_tables(labels=_one_hot(chosen, benchmark.select.exclusive, labels, archive.images))
    return Selected(ids, [], part, {"images": len(ids)}, len(found) - len(chosen))


def _exclusive(rule: Exclusive, labels: pd.DataFrame, images: pd.DataFrame, per_class: int | None) -> pd.DataFrame:
    """``image_id, finding`` of a single-label set, at most ``per_class`` of each; see ``suites.Exclusive``."""
    from lgdea.vocabulary import load_vocabulary

    values = common.label_values(labels, images)
    roots = {finding for scored in load_vocabulary().classes(rule.among) for finding in common.roots(scored)}
    counted = values[[f for f in values if f in (roots | set(rule.findings)) - {"no_finding"}]]
    alone = (counted.notna() & (counted != 0)).sum(axis=1) == 1
    parts = []
    for finding in (f for f in rule.findings if f in values):
        ids = values.index[alone & (values[finding] == 1)]
        first = sorted(ids, key=lambda name: hashlib.sha256(str(name).encode()).hexdigest())[:per_class]
        parts.append(pd.DataFrame({"image_id": first, "finding": finding}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["image_id", "finding"])


def _one_hot(chosen: pd.DataFrame, rule: Exclusive, labels: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The labels, those of the chosen images replaced by what they were chosen for: one present, the rest absent."""
    rows = chosen.merge(images[["image_id", "study_id"]], on="image_id").merge(
        pd.DataFrame({"class": rule.findings}), how="cross"
    )
    value = (rows["finding"] == rows["class"]).astype(float)
    made = rows[["study_id", "image_id"]].assign(
        finding=rows["class"], value=value, labeller=str(labels["labeller"].iloc[0])
    )
    others = labels[~labels["study_id"].isin(rows["study_id"])]
    return pd.concat([others, made], ignore_index=True)


def _retrieval(benchmark: Benchmark, archive: Archive, config: RetrievalConfig) -> Selected:
    every_image, reports, _ = both_sides(archive, config.split)
    every_report = reports[reports["study_id"].isin(every_image["study_id"])]
    images, reports = _keep_listed(every_image, benchmark), _keep_listed(every_report, benchmark, "report_id")
    extra = len(every_image) + len(every_report) - len(images) - len(reports)
    image_ids, report_ids = images["image_id"].tolist(), reports["report_id"].tolist()
    part = _part(archive, config.split, image_ids)
    outside = ~archive.reports["study_id"].isin(common.studies_of(archive, config.split)["study_id"])
    part = part.with_tables(reports=archive.reports[outside | archive.reports["report_id"].isin(report_ids)])
    return Selected(image_ids, report_ids, part, {"images": len(image_ids), "reports": len(report_ids)}, extra)


def _grounding(benchmark: Benchmark, archive: Archive, config: GroundingConfig) -> Selected:
    from lgdea.vocabulary import load_vocabulary

    wanted = benchmark.select.findings
    if wanted is not None:
        kinds = {kind for finding in wanted for kind in load_vocabulary().descendants(finding)}
        archive = archive.with_tables(boxes=archive.boxes[archive.boxes["finding"].isin(kinds)])
    every_box = common.phrase_boxes(archive, config.split)
    boxes = _keep_listed(every_box, benchmark)
    ids = boxes["image_id"].drop_duplicates().tolist()
    phrases = len(boxes[["image_id", "phrase"]].drop_duplicates())
    counts = {"images": len(ids), "boxes": len(boxes), "phrases": phrases}
    return Selected(ids, [], _part(archive, config.split, ids), counts, every_box["image_id"].nunique() - len(ids))


def _change(benchmark: Benchmark, archive: Archive, config: ChangeConfig) -> Selected:
    """Pairs by their ids; a suite that lists some needs the archive's own list of pairs, which is cut to them."""
    pairs = pairs_of(archive, config, config.split)
    truth, _ = truth_of(archive, pairs, config, None)
    items = items_of(pairs.table, truth)
    found = items.drop_duplicates("pair_id")
    chosen = found if benchmark.ids is None else found[found["pair_id"].isin(set(benchmark.ids))]
    ids = chosen["pair_id"].tolist()
    if len(chosen) < len(found):
        kept = archive.images["image_id"].isin([*chosen["image_prior"], *chosen["image_id"]])
        archive = archive.with_tables(images=archive.images[kept])
    counts = {"pairs": len(ids), "changes": int(items["pair_id"].isin(ids).sum())}
    return Selected(ids, [], archive, counts, len(found) - len(chosen))


def _part(archive: Archive, split: str, image_ids: list[str]) -> Archive:
    """Keep only these images and their boxes of the scored split; the other splits stay, thresholds come from them."""
    outside = ~archive.images["study_id"].isin(common.studies_of(archive, split)["study_id"])
    images = archive.images[outside | archive.images["image_id"].isin(image_ids)]
    boxes = archive.boxes[archive.boxes["image_id"].isin(images["image_id"])]
    return archive.with_tables(images=images, boxes=boxes)


def _keep_listed(rows: pd.DataFrame, benchmark: Benchmark, column: str = "image_id") -> pd.DataFrame:
    """Keep the rows that the suite's list names; all of them where it has none."""
    return rows if benchmark.ids is None else rows[rows[column].isin(set(benchmark.ids))]


def _find_difference(wanted: Mapping[str, Any], found: Any, path: str = "") -> str:
    """The first key of nested ``wanted`` that ``found`` has otherwise, in words; empty when there is none."""
    for key, value in wanted.items():
        here = found.get(key) if isinstance(found, Mapping) else None
        name = f"{path}{key}"
        if isinstance(value, Mapping) and value:
            deeper = _find_difference(value, here, f"{name}.")
            if deeper:
                return deeper
        elif here != value:
            return f"{name} is {here}, not {value}"
    return ""
