"""Patients: visits, findings at each, and how these change."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lgdea.phantom.anatomy import draw_patient, draw_visit
from lgdea.phantom.config import CatalogueEntry, PhantomConfig, catalogue
from lgdea.phantom.film import SITES, Visit
from lgdea.phantom.marks import Lesion

_COUNTS = (0.27, 0.33, 0.25, 0.15)
"""Probabilities that an ill patient starts with one, two, three or four findings."""
_ILL_START = 0.97
"""A patient of an ill history starts ill this often; the rest falls ill later."""
_HEALED = 0.03
"""Measured share of studies of an ill history whose picture is normal."""
_FATES = ("stable", "worse", "better", "resolved")
_FATE_CHANCES = (0.30, 0.20, 0.25, 0.25)


@dataclass(frozen=True)
class Appointment:
    """One visit of one patient: what the picture and the report are made from."""

    patient: int
    number: int
    day: int
    days_since_last: int
    visit: Visit
    resolved: tuple[Lesion, ...]
    """Lesions that the previous study had and this one has not."""


def count_visits(config: PhantomConfig) -> list[int]:
    """Studies per patient; together exactly ``config.studies``."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(0,)))
    left, counts = config.studies, []
    while left:
        counts.append(min(left, int(rng.geometric(1 - config.revisits)), 6))
        left -= counts[-1]
    return counts


def plan_patient(patient: int, visits: int, config: PhantomConfig) -> list[Appointment]:
    """All visits of one patient; depends on nothing but the seed, the patient's number and the settings."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(1, patient)))
    anatomy = draw_patient(rng)
    site = list(SITES)[int(rng.random() < 0.4)]
    ill = rng.random() >= max(0.0, (config.normal_share - _HEALED) / (1 - _HEALED))
    lesions: list[Lesion] = []
    if ill and (visits == 1 or rng.random() < _ILL_START):
        for _ in range(1 + int(rng.choice(len(_COUNTS), p=_COUNTS))):
            _add(lesions, anatomy.age, config, rng)
    resolved: list[Lesion] = []
    day, gap, plan = 0, 0, []
    for number in range(visits):
        if number:
            gap = int(np.ceil(rng.lognormal(3.2, 1.3)))
            day += gap
            if ill:
                lesions, resolved = _evolve(lesions, anatomy.age, config, rng)
        bedside = any(catalogue()[x.finding].ap for x in lesions)
        portable = bool(rng.random() < (0.85 if bedside else 0.08))
        today = draw_visit(anatomy, rng, portable, config.nuisance)
        visit = Visit(today, tuple(lesions), site, portable, int(rng.integers(2**31)))
        plan.append(Appointment(patient, number, day, gap, visit, tuple(resolved)))
    return plan


def _add(
    lesions: list[Lesion], age: float, config: PhantomConfig, rng: np.random.Generator, change: str = "unspecified"
) -> None:
    """Draw one more finding that can stand beside those there, in place; nothing when none can."""
    weights = np.array([_weight(name, entry, lesions, age, config) for name, entry in catalogue().items()])
    if weights.sum() <= 0:
        return
    name = list(catalogue())[int(rng.choice(len(weights), p=weights / weights.sum()))]
    entry = catalogue()[name]
    side = entry.side or ("right", "left", "bilateral")[int(rng.choice(3, p=entry.sides))]
    if name in ("pneumothorax", "chest_tube", "rib_fracture", "subcutaneous_emphysema"):
        # One injury, one side.
        side = next(
            (x.laterality for x in lesions if x.finding in ("pneumothorax", "chest_tube", "rib_fracture")), side
        )
    zone = None if entry.zones is None else ("upper", "middle", "lower")[int(rng.choice(3, p=entry.zones))]
    severity = float(rng.beta(2 * (1.5 - config.mild), 2 * (0.5 + config.mild)))
    lesions.append(Lesion(name, side, zone, severity, int(rng.integers(2**31)), change, entry.chronic))


def _weight(name: str, entry: CatalogueEntry, lesions: list[Lesion], age: float, config: PhantomConfig) -> float:
    present = {x.finding for x in lesions}
    if name in present or age < entry.age or present & set(entry.never):
        return 0.0
    if any(name in catalogue()[other].never for other in present):
        return 0.0
    weight = entry.weight * config.prevalence.get(name, 1.0)
    for other in present:
        weight *= entry.companions.get(other, 1.0)
    return weight


def _evolve(
    lesions: list[Lesion], age: float, config: PhantomConfig, rng: np.random.Generator
) -> tuple[list[Lesion], list[Lesion]]:
    """The next visit: chronic findings stay, others grow, shrink, stay or go, and a new one may come."""
    kept: list[Lesion] = []
    gone: list[Lesion] = []
    for lesion in lesions:
        fate = "stable" if lesion.chronic else _FATES[int(rng.choice(len(_FATES), p=_FATE_CHANCES))]
        step = float(rng.uniform(0.22, 0.4))
        if fate == "resolved":
            gone.append(replace(lesion, change=fate))
        elif fate == "worse" and lesion.severity < 0.75:
            kept.append(replace(lesion, change=fate, severity=min(1.0, lesion.severity + step)))
        elif fate == "better" and lesion.severity > 0.25:
            kept.append(replace(lesion, change=fate, severity=max(0.0, lesion.severity - step)))
        else:
            kept.append(replace(lesion, change="stable"))
    if rng.random() < (0.5 if not kept else 0.3) and len(kept) < 5:
        _add(kept, age, config, rng, change="new")
    return kept, gone
