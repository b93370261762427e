"""Training targets of change: what linked reports state, what two reports of a patient imply, what propagates.

A target is the weight of each of seven events (:data:`EVENTS`): six states of a finding, and "in both", which is what
is known when two reports have the finding and neither says whether it has changed. The loss of an event is minus the
logarithm of its probability, and that of "in both" is the sum over worse, stable and better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.comparison.change.states import STATES, stated_changes
from lgdea.vocabulary.entailment import ABSENT, NORMAL, NOT_MENTIONED, PRESENT, UNCERTAIN, is_abnormal
from lgdea.vocabulary.tables import load_vocabulary

EVENTS = (*STATES, "absent", "both")
GRADES = ("minimal", "mild", "moderate", "severe")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class StudyFacts:
    """What the reports of N studies say of F findings.

    Attributes:
        status: (N, F) NOT_MENTIONED, ABSENT, UNCERTAIN or PRESENT.
        grade: (N, F) severity 0 (minimal) to 3 (severe), NaN where none is said.
    """

    status: NDArray[np.int8]
    grade: Floats


def study_facts(
    evidence: pd.DataFrame, reports: pd.DataFrame, studies: Sequence[str], findings: Sequence[str]
) -> StudyFacts:
    """Read the facts of studies from evidence; kinds of a finding count for it, and a normal report denies them all.

    Args:
        evidence: Rows of ``Unit``.
        reports: ``report_id`` and ``study_id``.
        studies: N ids.
        findings: F vocabulary ids.
    """
    vocabulary = load_vocabulary()
    units = evidence.merge(reports[["report_id", "study_id"]], on="report_id")
    row = {study: i for i, study in enumerate(studies)}
    column = {finding: i for i, finding in enumerate(findings)}
    abnormal = [i for i, finding in enumerate(findings) if is_abnormal(finding)]
    status = np.zeros((len(studies), len(findings)), np.int8)
    grade = np.full(status.shape, np.nan, np.float32)
    known = {"present": PRESENT, "uncertain": UNCERTAIN, "absent": ABSENT}
    columns = (units[c] for c in ("study_id", "finding", "assertion", "laterality", "severity"))
    for study, finding, assertion, side, severity in zip(*columns, strict=True):
        i, value = row.get(study), known[assertion]
        if i is None or finding not in vocabulary.findings:
            continue
        if finding == NORMAL:
            if value == PRESENT:
                status[i, abnormal] = np.maximum(status[i, abnormal], ABSENT)
            continue
        # "No effusion on the left" does not deny an effusion; "no opacity" denies every kind of opacity.
        if value == ABSENT and side in ("left", "right"):
            continue
        related = vocabulary.descendants(finding) if value == ABSENT else vocabulary.ancestors(finding)
        for name in related:
            j = column.get(name)
            if j is not None:
                status[i, j] = max(status[i, j], value)
                if value == PRESENT and severity in GRADES and name == finding:
                    grade[i, j] = np.fmax(grade[i, j], GRADES.index(severity))
    return StudyFacts(status, grade)


def linked_targets(
    pairs: pd.DataFrame,
    evidence: pd.DataFrame,
    reports: pd.DataFrame,
    findings: Sequence[str],
    *,
    unmentioned_weight: float = 0.2,
    graded_weight: float = 0.5,
) -> Floats:
    """Targets of pairs whose studies are both linked to their reports, (N, F, 7).

    What the current report states counts most, where the prior is the study directly before. Else both reports
    decide: present after absent is new; more severe by their words is worse.

    Args:
        pairs: N rows of :data:`~lgdea.comparison.change.pairs.COLUMNS`.
        evidence: Rows of ``Unit``.
        reports: ``report_id`` and ``study_id``.
        findings: F vocabulary ids.
        unmentioned_weight: Weight of a conclusion from a report that does not mention the finding.
        graded_weight: Weight of a conclusion from two words of severity.
    """
    studies = list(dict.fromkeys([*pairs["study_prior"], *pairs["study_current"]]))
    facts, place = study_facts(evidence, reports, studies, findings), pd.Index(studies)
    before, now = place.get_indexer(pairs["study_prior"]), place.get_indexer(pairs["study_current"])
    a, b = facts.status[before], facts.status[now]
    target = np.zeros((len(pairs), len(findings), len(EVENTS)), np.float32)

    def put(event: str, rows: NDArray[np.bool_], weight: float | Floats) -> None:
        target[..., EVENTS.index(event)] += np.where(rows, weight, 0).astype(np.float32)

    certain = np.where((a == NOT_MENTIONED) | (b == NOT_MENTIONED), unmentioned_weight, 1.0)
    free_a, free_b = a < UNCERTAIN, b < UNCERTAIN
    gap = facts.grade[now] - facts.grade[before]
    both = (a == PRESENT) & (b == PRESENT)
    put("new", free_a & (b == PRESENT), certain)
    put("resolved", (a == PRESENT) & free_b, certain)
    put("absent", free_a & free_b, certain)
    put("worse", both & (gap > 0), graded_weight)
    put("better", both & (gap < 0), graded_weight)
    put("both", both & ~(np.abs(gap) > 0), 1.0)
    _state(target, pairs, stated_changes(evidence, reports)[0], findings)
    return target


def _state(target: Floats, pairs: pd.DataFrame, stated: pd.DataFrame, findings: Sequence[str]) -> None:
    """Put stated changes in the place of what was concluded."""
    numbered = pairs.reset_index(drop=True).reset_index(names="pair")
    near = numbered[numbered["nth"] == 1].merge(stated, left_on="study_current", right_on="study_id")
    near = near[near["finding"].isin(findings)]
    rows = near["pair"].to_numpy()
    columns = pd.Index(findings).get_indexer(pd.Index(near["finding"]))
    target[rows, columns] = 0
    target[rows, columns, [EVENTS.index(state) for state in near["state"]]] = 1


def propagated_targets(prior: Floats, current: Floats, weight: Floats) -> Floats:
    """Targets of pairs of unlinked images from the evidence that propagates to them, (N, F, 7).

    Both images' evidence taken as independent: new = (1 - p) q, resolved = p (1 - q), in both = p q.

    Args:
        prior: (N, F) p, expected evidence of the prior image, in [0, 1].
        current: (N, F) q, of the current one.
        weight: (N,) confidence of the pair.
    """
    target = np.zeros((*prior.shape, len(EVENTS)), np.float32)
    target[..., EVENTS.index("new")] = (1 - prior) * current
    target[..., EVENTS.index("resolved")] = prior * (1 - current)
    target[..., EVENTS.index("absent")] = (1 - prior) * (1 - current)
    target[..., EVENTS.index("both")] = prior * current
    return target * weight[:, None, None]
