"""The evidence of studies as facts in a matrix, the ground for graded relevance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import RetrievalConfig
from lgdea.evaluation.tasks import common

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

Bools = NDArray[np.bool_]


def units_of(archive: Archive, evidence: str | Path | pd.DataFrame | None) -> pd.DataFrame | None:
    """The units of an evidence folder; a table, or None, as it is.

    Raises:
        UsageError: The folder is not evidence of all the archive's reports.
    """
    if evidence is None or isinstance(evidence, pd.DataFrame):
        return evidence
    from lgdea.evidence.coverage import require_all_reports
    from lgdea.evidence.io import read_evidence

    require_all_reports(evidence, archive)
    return read_evidence(evidence)


def study_evidence(
    archive: Archive, studies: pd.Index, evidence: pd.DataFrame | None, config: RetrievalConfig
) -> tuple[Bools | None, list[str]]:
    """Present findings of each study.

    A fact is a finding (with its side when ``config.laterality``) that the study's reports assert as present or,
    without evidence, that the labeller calls present; a study whose labels are all absent has the fact ``no_finding``.

    Args:
        archive: Gives reports and labels.
        studies: Ids, in the order of the rows.
        evidence: Units; None takes the archive's labels.
        config: ``laterality`` and ``labeller``.

    Returns:
        (len(studies), F), None when there is neither evidence nor labels; and notes on studies without any fact.

    Raises:
        DataError: No study has any fact, as when the evidence is that of another archive.
        UsageError: ``laterality`` is asked of labels, which have none, or the labeller is unclear.
    """
    if evidence is not None:
        facts = _from_units(archive, evidence, config.laterality)
        origin = "evidence"
    elif len(archive.labels):
        if config.laterality:
            raise UsageError("labels have no laterality", remedy="give --evidence, or leave laterality out")
        facts = _from_labels(common.labels_of(archive, config.labeller))
        origin = "labels"
    else:
        return None, ["neither evidence nor labels: retrieval is not graded"]
    facts = facts[facts["study_id"].isin(studies)]
    if facts.empty:
        raise DataError(
            f"nothing is present in the {origin} of these studies", remedy="check that they belong together"
        )
    rows = studies.get_indexer(pd.Index(facts["study_id"]))
    columns, names = pd.factorize(facts["fact"], sort=True)
    matrix = np.zeros((len(studies), len(names)), bool)
    matrix[rows, columns] = True
    bare = int((~matrix.any(axis=1)).sum())
    notes = (
        [f"{bare} of {len(studies)} studies have nothing present in the {origin} and are not graded"] if bare else []
    )
    return matrix, [f"graded by {origin}", *notes]


def _from_units(archive: Archive, evidence: pd.DataFrame, laterality: bool) -> pd.DataFrame:
    units = evidence[evidence["assertion"] == "present"].merge(
        archive.reports[["report_id", "study_id"]], on="report_id"
    )
    fact = units["finding"] + "|" + units["laterality"] if laterality else units["finding"]
    return units[["study_id"]].assign(fact=fact)


def _from_labels(labels: pd.DataFrame) -> pd.DataFrame:
    present = labels[labels["value"] == 1]
    clear = labels[(labels["value"] == 0) & ~labels["study_id"].isin(labels["study_id"][labels["value"].ne(0)])]
    return pd.concat(
        [
            present[["study_id"]].assign(fact=present["finding"]),
            clear[["study_id"]].drop_duplicates().assign(fact="no_finding"),
        ]
    )
