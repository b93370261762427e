"""States of change and their truth: what a dataset lists, what the phantom drew, or what the reports say."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

STATES = ("new", "worse", "stable", "better", "resolved")
"""States of a finding that at least one of the two studies shows."""
MIRROR = {"new": "resolved", "worse": "better", "stable": "stable", "better": "worse", "resolved": "new"}
"""State of the same finding when prior and current are exchanged."""
COARSE = {"new": "worse", "worse": "worse", "stable": "stable", "better": "better", "resolved": "better"}
"""State when only three are told apart, as in MS-CXR-T."""
COARSE_STATES = ("worse", "stable", "better")
Source = Literal["auto", "listed", "image", "evidence"]
LISTED = "changes"
"""Extra table of an archive with ``image_prior``, ``image_current``, ``finding``, ``state`` and perhaps ``quality``."""
IMAGE_TRUTH = "image_truth"
"""Extra table of the phantom: what each picture has, with the severity as a number."""
SAME, DIFFERENT = 0.05, 0.2
"""Difference of severity (0 to 1) below which a finding is stable and from which it is worse or better; what lies
between is neither and is left out. From one visit to the next the phantom's steps are 0 or at least 0.22."""
Drawn = dict[str, tuple[tuple[str, str | None], float]]
"""Finding to its place and its severity in one picture of the phantom."""
TRUTH_COLUMNS = ["pair", "finding", "state", "quality"]


def mirror(states: NDArray[np.int64] | list[int]) -> NDArray[np.int64]:
    """Numbers of the mirrored states.

    >>> mirror([0, 1, 2]).tolist()  # new, worse, stable
    [4, 3, 2]
    """
    return len(STATES) - 1 - np.asarray(states, np.int64)


def change_truth(
    archive: Archive, pairs: pd.DataFrame, source: Source = "auto", evidence: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """True states of the findings of pairs.

    ``listed`` takes the archive's own table; ``image`` compares what the phantom drew into the two pictures, whatever
    studies lie between; ``evidence`` is what the current study's reports state, and only where the prior is the study
    directly before, which is what a report compares with.

    Args:
        archive: The archive.
        pairs: Rows of :data:`~lgdea.comparison.change.pairs.COLUMNS`.
        source: ``auto`` takes the first of them that there is.
        evidence: Rows of :class:`~lgdea.evidence.schema.Unit`.

    Returns:
        ``pair`` (row number in ``pairs``), ``finding``, ``state`` and ``quality`` (null where the source gives none);
        and notes on what was left out.

    Raises:
        UsageError: The archive has no truth of this kind.
        DataError: A listed state is none.
    """
    if source == "auto":
        names = archive.extra_names
        source = "listed" if LISTED in names else "image" if IMAGE_TRUTH in names else "evidence"
    if source == "listed":
        return _listed(archive, pairs)
    if source == "image":
        return _drawn(archive, pairs)
    if evidence is None:
        raise UsageError(
            "has no truth about change of its own", file=archive.folder, remedy="give --evidence of its reports"
        )
    return _stated(archive, pairs, evidence)


def stated_changes(evidence: pd.DataFrame, reports: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The change that the reports of each study state, by finding.

    A finding of which a study states several different changes (one lung better, the other worse) is left out, and so
    is what is only suspected.

    Args:
        evidence: Rows of ``Unit``.
        reports: ``report_id`` and ``study_id``.

    Returns:
        ``study_id``, ``finding``, ``state``; and how many (study, finding) contradict themselves.
    """
    units = evidence[evidence["change"].isin(STATES) & (evidence["assertion"] != "uncertain")]
    units = units.merge(reports[["report_id", "study_id"]], on="report_id")
    rows = units[["study_id", "finding", "change"]].drop_duplicates().rename(columns={"change": "state"})
    torn = rows.duplicated(["study_id", "finding"], keep=False)
    return rows[~torn].reset_index(drop=True), len(rows.loc[torn, ["study_id", "finding"]].drop_duplicates())


def drawn_change(before: Drawn, now: Drawn) -> dict[str, str]:
    """State by finding of two pictures of one patient of the phantom.

    A finding that has gone in one place and come in another, and one whose severity moved a little over several
    visits, has no state.

    Args:
        before: Finding to (side and zone, severity) in the prior picture.
        now: The same in the current one.

    Example:
        >>> place = ("left", "lower")
        >>> drawn_change({"mass": (place, 0.3), "edema": (place, 0.5)}, {"mass": (place, 0.6)})
        {'edema': 'resolved', 'mass': 'worse'}
    """
    states = {finding: "resolved" for finding in before if finding not in now}
    for finding, (place, severity) in now.items():
        if finding not in before:
            states[finding] = "new"
        elif before[finding][0] == place:
            gap = severity - before[finding][1]
            if abs(gap) < SAME:
                states[finding] = "stable"
            elif abs(gap) >= DIFFERENT:
                states[finding] = "worse" if gap > 0 else "better"
    return states


def drawn_findings(archive: Archive) -> dict[str, Drawn]:
    """What the phantom drew into the picture of each study; a study without findings is not there.

    Raises:
        UsageError: The archive is no phantom.
    """
    table = archive.extra(IMAGE_TRUTH)
    if table is None:
        raise UsageError("has no truth about its pictures", file=archive.folder, remedy="truth=image is the phantom's")
    found: dict[str, Drawn] = defaultdict(dict)
    columns = (table[c] for c in ("study_id", "finding", "laterality", "zone", "severity_value"))
    for study, finding, side, zone, severity in zip(*columns, strict=True):
        found[study][finding] = ((side, zone if isinstance(zone, str) else None), float(severity))
    return dict(found)


def _drawn(archive: Archive, pairs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    drawn = drawn_findings(archive)
    rows = [
        (number, finding, state, None)
        for number, (before, now) in enumerate(zip(pairs["study_prior"], pairs["study_current"], strict=True))
        for finding, state in drawn_change(drawn.get(before, {}), drawn.get(now, {})).items()
    ]
    return pd.DataFrame(rows, columns=TRUTH_COLUMNS), ["truth: what the phantom drew into both pictures"]


def _stated(archive: Archive, pairs: pd.DataFrame, evidence: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    states, torn = stated_changes(evidence, archive.reports)
    numbered = pairs.reset_index(drop=True).reset_index(names="pair")
    rows = numbered[["pair", "study_current", "nth"]].merge(states, left_on="study_current", right_on="study_id")
    far = rows["nth"] > 1
    notes = ["truth: the change that the current study's reports state"]
    if torn:
        notes.append(f"{torn} findings of a study are left out: its reports state several different changes of them")
    if far.any():
        notes.append(f"{int(far.sum())} stated changes are left out: the report compares with a study in between")
    return rows[~far].assign(quality=None)[TRUTH_COLUMNS].reset_index(drop=True), notes


def _listed(archive: Archive, pairs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    table = archive.extra(LISTED)
    if table is None:
        raise UsageError("lists no changes", file=archive.folder, remedy="set truth=image or truth=evidence")
    unknown = table.loc[~table["state"].isin(STATES), "state"]
    if len(unknown):
        raise DataError(
            f"{unknown.iloc[0]!r} is no state of change", file=archive.folder / f"{LISTED}.parquet",
            row=int(unknown.index[0]) + 1, remedy=f"states are {', '.join(STATES)}",
        )  # fmt: skip
    numbered = pairs.reset_index(drop=True).reset_index(names="pair")
    rows = numbered[["pair", "image_prior", "image_current"]].merge(table, on=["image_prior", "image_current"])
    if "quality" not in rows:
        rows["quality"] = None
    return rows[TRUTH_COLUMNS].reset_index(drop=True), ["truth: the changes that the source lists"]
