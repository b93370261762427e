"""Healthy images of an archive: by labels, else by what the reports say; and the label of each finding in an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lgdea.comparison.change.labels import ABSENT, PRESENT, UNCERTAIN, study_facts
from lgdea.comparison.change.pairs import view_class
from lgdea.errors import UsageError

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

NORMAL = "no_finding"
BY_NO_FINDING = "labelled no finding, and nothing else present or uncertain"
BY_ABSENT = "every finding labelled absent"
BY_REPORT = "report says no finding, and states nothing present or uncertain"


@dataclass(frozen=True)
class Truth:
    """What is known of images.

    Attributes:
        values: Labels by finding, index ``image_id``: 1 present, 0 absent, NaN uncertain or unknown.
        healthy: Whether each image is of a healthy person, in the order of ``values``.
        rule: What healthy means here.
    """

    values: pd.DataFrame
    healthy: pd.Series
    rule: str


def truth_of_labels(values: pd.DataFrame) -> Truth:
    """Read labels: healthy is ``no_finding`` with nothing else present or uncertain.

    Where nobody labelled ``no_finding``, healthy is what has every finding of the table labelled absent.

    Args:
        values: Labels by finding, index ``image_id``: 1 present, 0 absent, -1 uncertain, NaN unknown.
    """
    findings = values.drop(columns=NORMAL, errors="ignore")
    if NORMAL in values:
        healthy, rule = values[NORMAL].eq(1) & ~findings.isin([1, -1]).any(axis=1), BY_NO_FINDING
    else:
        healthy, rule = findings.eq(0).all(axis=1) & bool(findings.shape[1]), BY_ABSENT
    return Truth(findings.where(findings >= 0), healthy, rule)


def truth_of_reports(evidence: pd.DataFrame, reports: pd.DataFrame, images: pd.DataFrame) -> Truth:
    """Read reports: healthy is a report that says no finding and states nothing present or uncertain, devices included.

    Args:
        evidence: Rows of ``Unit``.
        reports: ``report_id`` and ``study_id``.
        images: ``image_id`` and ``study_id``.
    """
    findings = sorted(set(evidence["finding"]) - {NORMAL})
    studies = images["study_id"].drop_duplicates().tolist()
    status = study_facts(evidence, reports, studies, findings).status
    table = np.full(status.shape, np.nan)
    table[status == PRESENT], table[status == ABSENT] = 1.0, 0.0
    units = evidence.merge(reports[["report_id", "study_id"]], on="report_id")
    says_normal = set(units[units["finding"].eq(NORMAL) & units["assertion"].eq("present")]["study_id"])
    ill = (status == PRESENT).any(axis=1) | (status == UNCERTAIN).any(axis=1)
    healthy = np.array([study in says_normal for study in studies]) & ~ill
    rows = pd.Index(studies).get_indexer(pd.Index(images["study_id"]))
    index = pd.Index(images["image_id"], name="image_id")
    values = pd.DataFrame(table[rows], index=index, columns=findings)
    return Truth(values, pd.Series(healthy[rows], index=index), BY_REPORT)


def people(archive: Archive, split: str) -> pd.DataFrame:
    """Images of a split with what references are chosen by.

    Returns:
        ``image_id, study_id, patient_id, site, age, sex, view, modality``; ``view`` is ``PA``, ``AP``, ``frontal``,
        ``lateral`` or None.
    """
    studies = archive.studies if split == "all" else archive.studies[archive.studies["split"] == split]
    columns = ["study_id", "patient_id", "site", "age", "sex"]
    images = archive.images[["image_id", "study_id", "view", "modality"]].merge(studies[columns], on="study_id")
    return images.assign(view=images["view"].map(view_class))


def healthy_people(archive: Archive, split: str, truth: Truth) -> pd.DataFrame:
    """Rows of :func:`people` that are healthy.

    Raises:
        UsageError: There are none.
    """
    images = people(archive, split)
    known = truth.healthy.reindex(images["image_id"]).fillna(False).to_numpy(bool)
    if not known.any():
        raise UsageError(
            f"the {split} split has no healthy image ({truth.rule})", file=archive.folder,
            remedy="take references from another split, or give evidence of the reports",
        )  # fmt: skip
    return images[known].reset_index(drop=True)
