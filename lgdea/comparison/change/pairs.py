"""Pairs of a study and its prior: an earlier study of the same patient by date and time, never by id.

Ids say nothing about time (those of MIMIC-CXR are random), so a study whose date is missing, or cannot be told from
that of another study, has no prior; it is listed with its reason.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from lgdea.errors import DataError, UsageError

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

Prefer = Literal["same-view", "latest"]
COLUMNS = [
    "patient_id", "study_prior", "study_current", "image_prior", "image_current", "view_prior", "view_current",
    "rule", "days", "nth",
]  # fmt: skip
"""Columns of pairs: ``days`` between the two studies (a fraction where their times of day are known), ``rule`` by which
the images were matched, ``nth`` = 1 for the study directly before, NaN where the order is not known."""
RULES = ("same view", "same projection", "view unknown", "both lateral")
"""Ways in which the two images match, best first: AP with AP; AP with PA; one view is not known; lateral views."""
NATURAL = ("the patient has no other study with an image", "it is the patient's first study")
"""Reasons that are no fault of the data."""
TIMES = "study_time"
"""Extra table of an archive with ``study_id`` and ``seconds`` since midnight."""
LISTED = "pairs"
"""Extra table of an archive with pairs that its source has published."""

_LATERAL = re.compile(r"lateral|^l{1,2}$|^r?l?lat\b|^lao|^rao", re.IGNORECASE)
_AP = re.compile(r"(?<![a-z])a\.?p(?![a-z])|antero-?posterior", re.IGNORECASE)
_PA = re.compile(r"(?<![a-z])p\.?a(?![a-z])|postero-?anterior", re.IGNORECASE)
_FRONTAL = re.compile(r"frontal", re.IGNORECASE)


@dataclass(frozen=True)
class Pairs:
    """Pairs of studies, and the studies that have none.

    Attributes:
        table: One row per pair, :data:`COLUMNS`.
        skipped: ``{"id", "reason"}`` of each study without a pair.
    """

    table: pd.DataFrame
    skipped: list[dict[str, str]] = field(default_factory=list)

    @property
    def refused(self) -> list[dict[str, str]]:
        """The skipped studies that are neither a patient's first nor its only one."""
        return [item for item in self.skipped if item["reason"] not in NATURAL]


def view_class(view: object) -> str | None:
    """The view of a chest image as ``PA``, ``AP``, ``frontal`` or ``lateral``; None where it is not known.

    >>> view_class("AP Supine"), view_class("AP_horizontal"), view_class("LATERAL"), view_class(None)
    ('AP', 'AP', 'lateral', None)
    """
    if not isinstance(view, str):
        return None
    for name, pattern in (("lateral", _LATERAL), ("AP", _AP), ("PA", _PA), ("frontal", _FRONTAL)):
        if pattern.search(view.strip()):
            return name
    return None


def choose_priors(
    archive: Archive, split: str = "test", *, prefer: Prefer = "same-view", max_days: float | None = None
) -> Pairs:
    """Pair each study with a prior: an earlier study of the same patient.

    Definition: of the earlier studies, those whose image matches best (:data:`RULES`), and of these the latest; with
    ``prefer="latest"`` the latest one that matches in any way. A study is refused, with its reason, when its own date
    is missing, or when another study of the patient, by date and time the same as it or as its prior, might as well
    be the prior. Images of different modalities, and a frontal beside a lateral one, are never paired.

    Args:
        archive: Its studies have ``day``; an extra table ``study_time`` adds the time of day.
        split: Split of the current studies, and of the priors, as patients do not cross splits; ``all`` takes all.
        prefer: What counts first.
        max_days: Priors longer ago are left out.
    """
    studies = archive.studies if split == "all" else archive.studies[archive.studies["split"] == split]
    images = archive.images[archive.images["study_id"].isin(studies["study_id"])]
    pictures = _pictures(images)
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for visits in _visits(studies[studies["study_id"].isin(pictures)], archive):
        if len(visits) == 1:
            skipped.append(_skip(visits[0].study_id, NATURAL[0]))
            continue
        for current in visits:
            found = _prior(current, visits, pictures, prefer, max_days)
            if isinstance(found, str):
                skipped.append(_skip(current.study_id, found))
            else:
                rows.append(found)
    return Pairs(pd.DataFrame(rows, columns=COLUMNS), skipped)


def prior_of(archive: Archive, study_id: str, *, prefer: Prefer = "same-view", max_days: float | None = None) -> Any:
    """The pair of one study, a row of :data:`COLUMNS`.

    Raises:
        UsageError: The archive has no such study.
        DataError: It has no prior; the message says why.
    """
    mine = archive.studies[archive.studies["study_id"] == study_id]
    if mine.empty:
        raise UsageError(f"has no study {study_id!r}", file=archive.folder, remedy="check the id")
    patient = archive.studies["patient_id"] == mine["patient_id"].iloc[0]
    pairs = choose_priors(
        archive.with_tables(studies=archive.studies[patient]), "all", prefer=prefer, max_days=max_days
    )
    row = pairs.table[pairs.table["study_current"] == study_id]
    if row.empty:
        reasons = [item["reason"] for item in pairs.skipped if item["id"] == study_id]
        raise DataError(
            f"study {study_id} has no prior: {reasons[0] if reasons else 'it has no image'}",
            file=archive.folder,
            remedy="give two images by --prior and --current, or mend the dates",
        )
    return row.iloc[0]


def listed_pairs(archive: Archive, split: str = "all") -> Pairs:
    """Pairs that the archive's source has published, in its extra table ``pairs``; dates that contradict are refused.

    Raises:
        UsageError: The archive has no such table.
    """
    table = archive.extra(LISTED)
    if table is None:
        raise UsageError("lists no pairs", file=archive.folder, remedy="choose them by date: pairs=dates")
    studies = archive.studies if split == "all" else archive.studies[archive.studies["split"] == split]
    days = studies.set_index("study_id")["day"].astype(float)
    patients = studies.set_index("study_id")["patient_id"]
    views = archive.images.set_index("image_id")["view"]
    table = table[table["study_prior"].isin(days.index) & table["study_current"].isin(days.index)]
    table = table[table["image_prior"].isin(views.index) & table["image_current"].isin(views.index)]
    gap = days.reindex(table["study_current"]).to_numpy() - days.reindex(table["study_prior"]).to_numpy()
    same = (table["study_prior"] == table["study_current"]).to_numpy()
    wrong = same | (gap <= 0)
    skipped = [
        _skip(str(now), f"the listed prior {before} is " + ("the same study" if twin else "not earlier by date"))
        for before, now, twin, bad in zip(table["study_prior"], table["study_current"], same, wrong, strict=True)
        if bad
    ]
    kept = table[~wrong]
    pairs = pd.DataFrame(
        {
            "patient_id": patients.reindex(kept["study_current"]).to_numpy(),
            **{c: kept[c].to_numpy() for c in ("study_prior", "study_current", "image_prior", "image_current")},
            **{f"view_{side}": views.reindex(kept[f"image_{side}"]).to_numpy() for side in ("prior", "current")},
            "rule": "listed by the source",
            "days": gap[~wrong],
            "nth": np.nan,
        },
        columns=COLUMNS,
    )
    return Pairs(pairs.reset_index(drop=True), skipped)


class _Visit(NamedTuple):
    """A study with its date: ``day``, and ``seconds`` since midnight, NaN where not known."""

    study_id: str
    patient_id: str
    day: float
    seconds: float


class _Picture(NamedTuple):
    image_id: str
    view: object
    modality: str
    view_class: str | None


def _pictures(images: pd.DataFrame) -> dict[str, list[_Picture]]:
    """Images by study, frontal before lateral."""
    found: dict[str, list[_Picture]] = defaultdict(list)
    columns = (images[c] for c in ("study_id", "image_id", "view", "modality"))
    for study, image, view, modality in zip(*columns, strict=True):
        found[study].append(_Picture(image, view, modality, view_class(view)))
    return {study: sorted(rows, key=lambda row: row.view_class == "lateral") for study, rows in found.items()}


def _visits(studies: pd.DataFrame, archive: Archive) -> list[list[_Visit]]:
    """Visits of each patient, in order of time where it is known."""
    times = archive.extra(TIMES)
    seconds = pd.Series(np.nan, index=studies.index)
    if times is not None and len(times):
        seconds = studies["study_id"].map(times.drop_duplicates("study_id").set_index("study_id")["seconds"])
    by_patient: dict[str, list[_Visit]] = defaultdict(list)
    columns = (studies["study_id"], studies["patient_id"], studies["day"].astype(float), seconds.astype(float))
    for row in zip(*columns, strict=True):
        by_patient[row[1]].append(_Visit(*row))
    return [sorted(visits, key=lambda v: (v.day, v.seconds)) for visits in by_patient.values()]


def _prior(
    current: _Visit,
    visits: list[_Visit],
    pictures: dict[str, list[_Picture]],
    prefer: Prefer,
    max_days: float | None,
) -> dict[str, Any] | str:
    """The pair of ``current``, or why it has none; ``visits`` are the patient's studies."""
    earlier = _earlier(current, visits)
    if isinstance(earlier, str):
        return earlier
    near = [item for item in earlier if max_days is None or item[0] <= max_days]
    if not near:
        return f"no study in the {max_days:g} days before it"
    matches = [(age, visit, _match(pictures[visit.study_id], pictures[current.study_id])) for age, visit in near]
    found = [(match[0], age, visit, match[1]) for age, visit, match in matches if match is not None]
    if not found:
        return "no earlier image of the same projection"
    best = min(item[0] for item in found) if prefer == "same-view" else len(RULES)
    fit = sorted((item for item in found if item[0] <= best), key=lambda item: (-item[2].day, -_or(item[2].seconds, 0)))
    twin = next((item[2] for item in fit[1:] if math.isnan(_before(item[2], fit[0][2]))), None)
    if twin is not None:
        return f"which of {fit[0][2].study_id} and {twin.study_id} is the later is not known: the same date"
    rank, days, visit, (before, now) = fit[0]
    return {
        "patient_id": current.patient_id,
        "study_prior": visit.study_id,
        "study_current": current.study_id,
        "image_prior": before.image_id,
        "image_current": now.image_id,
        "view_prior": before.view if isinstance(before.view, str) else None,
        "view_current": now.view if isinstance(now.view, str) else None,
        "rule": RULES[rank],
        "days": days,
        "nth": float(1 + sum(_before(visit, other) > 0 for _, other in earlier)),
    }


def _earlier(current: _Visit, visits: list[_Visit]) -> list[tuple[float, _Visit]] | str:
    """Earlier visits with the days between, or why it cannot be told which they are."""
    if math.isnan(current.day):
        return "its date is not known"
    others = [visit for visit in visits if visit is not current and not math.isnan(visit.day)]
    if not others:
        return "no other study of the patient has a date"
    ages = [_before(visit, current) for visit in others]
    unordered = next((v.study_id for v, age in zip(others, ages, strict=True) if math.isnan(age)), None)
    if unordered is not None:
        return f"which came first, it or {unordered}, is not known: the same date and no different time"
    return [(age, visit) for age, visit in zip(ages, others, strict=True) if age > 0] or NATURAL[1]


def _before(other: _Visit, current: _Visit) -> float:
    """Days by which ``other`` is earlier (negative: later), NaN when it cannot be told."""
    days = current.day - other.day
    if math.isnan(other.seconds) or math.isnan(current.seconds):
        return days if days else math.nan
    gap = days + (current.seconds - other.seconds) / 86_400
    return round(gap, 5) if gap else math.nan


def _or(value: float, other: float) -> float:
    return other if math.isnan(value) else value


def _match(before: list[_Picture], now: list[_Picture]) -> tuple[int, tuple[_Picture, _Picture]] | None:
    """The best pair of images and the rank of its rule."""
    best = None
    for a in now:
        for b in before:
            rank = _rule(b, a)
            if rank is not None and (best is None or rank < best[0]):
                best = (rank, (b, a))
    return best


def _rule(before: _Picture, now: _Picture) -> int | None:
    if before.modality != now.modality:
        return None
    views = (before.view_class, now.view_class)
    lateral = [view == "lateral" for view in views]
    if all(lateral):
        return RULES.index("both lateral")
    if any(lateral):
        return None
    if None in views:
        return RULES.index("view unknown")
    return RULES.index("same view" if views[0] == views[1] else "same projection")


def _skip(study: str, reason: str) -> dict[str, str]:
    return {"id": str(study), "reason": reason}
