"""Graded agreement of studies on one entity: presence, side, place and severity, from the evidence of their reports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.comparison.entity.entities import Entity
from lgdea.statistics.overlap import jaccard
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.entailment import (
    ABSENT,
    ASSERTIONS,
    NORMAL,
    NOT_MENTIONED,
    PRESENT,
    UNCERTAIN,
    UNSPECIFIED,
    Key,
    implies_absence,
    is_abnormal,
)
from lgdea.vocabulary.phrases import canonical_phrase

Floats = NDArray[np.float32]
SIDE_BITS = {"right": 1, "left": 2, "bilateral": 3}
SEVERITIES = {"minimal": 0, "mild": 1, "moderate": 2, "severe": 3}
UNKNOWN = 0.5
"""Agreement with a candidate whose report leaves an attribute open, and weight of one that states it with doubt."""


@dataclass(frozen=True)
class EntityFacts:
    """What N studies state of one entity."""

    status: NDArray[np.int8]
    """(N,) NOT_MENTIONED, ABSENT, UNCERTAIN or PRESENT."""
    sides: NDArray[np.int64]
    """(N,) bit 1 right, bit 2 left; 0 when no side is said, or the entity names it itself."""
    severity: NDArray[np.float64]
    """(N,) the highest of 0 minimal .. 3 severe; NaN when none is said."""
    places: Floats
    """(N, A) 1 for each structure that it sits in, and those around it; an anatomy: for each finding in it."""
    phrases: list[str]
    """N texts: the most exact that the study states of the entity; its denial where it is not present."""

    def take(self, rows: NDArray[np.int64]) -> EntityFacts:
        """The facts of some of the studies, in the order of ``rows``."""
        phrases = [self.phrases[row] for row in rows]
        return EntityFacts(self.status[rows], self.sides[rows], self.severity[rows], self.places[rows], phrases)


def agreement(queries: EntityFacts, candidates: EntityFacts, *, anatomy: bool = False) -> Floats:
    """Graded agreement (Q, C) in [0, 1] of studies on one entity.

    Definition: 0 unless both show the entity. Else (1 + sum of a's agreement over the attributes a that the query
    states) / (1 + their number), with a of side (overlap |A and B| / |A or B|), place (overlap of the structures and
    those around them) and severity (1 - distance / 3); 1/2 for an attribute that the candidate leaves open. A
    candidate that states the entity with doubt has half of it. Of an ``anatomy`` it is the overlap of the findings
    that sit in it.
    """
    shown = np.select([candidates.status == PRESENT, candidates.status == UNCERTAIN], [1.0, UNKNOWN], 0.0)
    weight = (queries.status == PRESENT)[:, None] * shown[None, :]
    overlap = jaccard(queries.places, candidates.places)
    if anatomy:
        return np.asarray(weight * overlap, np.float32)
    both = np.bitwise_count(queries.sides[:, None] & candidates.sides[None, :])
    either = np.bitwise_count(queries.sides[:, None] | candidates.sides[None, :])
    distance = np.abs(queries.severity[:, None] - candidates.severity[None, :])
    total, stated = np.ones(weight.shape), np.ones((len(weight), 1))
    attributes: list[tuple[NDArray[Any], Any, Any]] = [  # agreement, asked by the query, left open by the candidate
        (both / np.maximum(either, 1), queries.sides > 0, candidates.sides == 0),
        (overlap, queries.places.any(axis=1), np.logical_not(candidates.places.any(axis=1))),
        (1 - distance / 3, ~np.isnan(queries.severity), np.isnan(candidates.severity)),
    ]
    for agree, asked, left_open in attributes:
        total = total + asked[:, None] * np.where(left_open[None, :], UNKNOWN, np.nan_to_num(agree))
        stated = stated + asked[:, None]
    return np.asarray(weight * total / stated, np.float32)


class StudyFacts:
    """The evidence of studies, asked entity by entity.

    Args:
        units: Rows of :class:`~lgdea.evidence.schema.Unit` with a ``study_id``.
        studies: Ids of N studies, in the order of the rows of all results; units of others are left out.
    """

    def __init__(self, units: pd.DataFrame, studies: pd.Index) -> None:
        units = units[units["study_id"].isin(studies)]
        self.count = len(studies)
        names = ("finding", "anatomy", "laterality", "severity", "assertion")
        rows = [[None if pd.isna(v) else v for v in units[name]] for name in names]
        codes: dict[tuple[Key, int], int] = {}
        of_unit = [
            codes.setdefault(((f, a, side, severity), ASSERTIONS[assertion]), len(codes))
            for f, a, side, severity, assertion in zip(*rows, strict=True)
        ]
        self.unit_code = np.array(of_unit, np.int64)
        self.unit_study = studies.get_indexer(pd.Index(units["study_id"])).astype(np.int64)
        self.keys = [key for key, _ in codes]
        self.key_status = np.array([status for _, status in codes], np.int8)

    def of(self, entity: Entity) -> EntityFacts:
        """The facts of all studies on ``entity``; nothing is known of an open one."""
        match = np.array([_status(entity, k, int(s)) for k, s in zip(self.keys, self.key_status, strict=True)], np.int8)
        hits = match[self.unit_code] if len(self.unit_code) else np.zeros(0, np.int8)
        status = np.full(self.count, NOT_MENTIONED, np.int8)
        np.maximum.at(status, self.unit_study, hits)
        said = hits >= UNCERTAIN
        said &= (hits == PRESENT) | (status[self.unit_study] != PRESENT)  # doubt adds nothing to what is certain
        study, code = self.unit_study[said], self.unit_code[said]
        sides = np.zeros(self.count, np.int64)
        severity = np.full(self.count, -1.0)
        if len(self.keys):
            free = entity.laterality not in SIDE_BITS
            np.bitwise_or.at(sides, study, np.array([_sides(key) * free for key in self.keys])[code])
            np.maximum.at(severity, study, np.array([SEVERITIES.get(key[3], -1) for key in self.keys], float)[code])
        severity[severity < 0] = np.nan
        return EntityFacts(
            status, sides, severity, self._places(entity, study, code), self._phrases(entity, study, code)
        )

    def overlap_facts(self) -> Floats:
        """(N, F) what is present in each study, findings with their sides."""
        present = self.key_status[self.unit_code] == PRESENT
        names = {(key[0], _sides(key)) for key in self.keys}
        column = {name: i for i, name in enumerate(sorted(names))}
        facts = np.zeros((self.count, len(column)), np.float32)
        of_key = np.array([column[key[0], _sides(key)] for key in self.keys], np.int64)
        facts[self.unit_study[present], of_key[self.unit_code[present]]] = 1
        return facts

    def shows(self, findings: frozenset[str]) -> NDArray[np.bool_]:
        """(N,) whether any of ``findings``, or a kind of one, is present."""
        vocabulary = load_vocabulary()
        hit = [
            key[0] in vocabulary.findings and bool(vocabulary.ancestors(key[0]) & findings) and status == PRESENT
            for key, status in zip(self.keys, self.key_status, strict=True)
        ]
        shown = np.zeros(self.count, bool)
        shown[self.unit_study[np.array(hit, bool)[self.unit_code]]] = True
        return shown

    def present(self) -> list[tuple[str, str, str | None]]:
        """(finding, laterality, anatomy) of the present units, once per study."""
        keep = self.key_status[self.unit_code] == PRESENT
        unique = {(s, *self.keys[c][:3]) for s, c in zip(self.unit_study[keep], self.unit_code[keep], strict=True)}
        return [(finding, side, anatomy) for _, finding, anatomy, side in sorted(unique, key=str)]

    def _places(self, entity: Entity, study: NDArray[np.int64], code: NDArray[np.int64]) -> Floats:
        of_key = [_surroundings(k[1]) if entity.finding is not None else {(k[0], _sides(k))} for k in self.keys]
        names = sorted({name for c in set(code) for name in of_key[c]}, key=str)
        column = {name: i for i, name in enumerate(names)}
        places = np.zeros((self.count, len(names)), np.float32)
        for row, c in zip(study, code, strict=True):
            places[row, [column[name] for name in of_key[c]]] = 1
        return places

    def _phrases(self, entity: Entity, study: NDArray[np.int64], code: NDArray[np.int64]) -> list[str]:
        phrases = [f"no {entity.text}"] * self.count
        told = np.zeros(self.count, np.int64)
        for row, c in zip(study, code, strict=True):
            key = self.keys[c]
            exact = 1 + sum(part not in (None, UNSPECIFIED) for part in key[1:])
            if exact > told[row]:
                phrases[row], told[row] = canonical_phrase(*key), exact
        return phrases


def with_studies(units: pd.DataFrame, reports: pd.DataFrame) -> pd.DataFrame:
    """Units with the ``study_id`` of their report."""
    return units.merge(reports[["report_id", "study_id"]], on="report_id")


def _status(entity: Entity, unit: Key, status: int) -> int:
    """Status that a unit gives to the entity."""
    vocabulary = load_vocabulary()
    finding, place = unit[0], unit[1]
    if finding not in vocabulary.findings or entity.kind == "open":
        return NOT_MENTIONED
    if finding == NORMAL:
        denied = entity.finding is None or is_abnormal(entity.finding)
        return ABSENT if status == PRESENT and denied else NOT_MENTIONED
    sided = SIDE_BITS.get(entity.laterality, 0)
    on_side = (_sides(unit) & sided) == sided
    if entity.finding is None:
        where = _ancestors(place or vocabulary.findings[finding].default_anatomy)
        inside = entity.anatomy in where or (sided and on_side and bool(_without_side(entity.anatomy) & where))
        return status if status != ABSENT and inside and on_side else NOT_MENTIONED
    if status == ABSENT:
        asked = (entity.finding, entity.anatomy, entity.laterality, UNSPECIFIED)
        return ABSENT if implies_absence(unit, asked) else NOT_MENTIONED
    same = entity.finding in vocabulary.ancestors(finding)
    inside = entity.anatomy is None or entity.anatomy in _ancestors(place)
    return status if same and inside and on_side else NOT_MENTIONED


@cache
def _ancestors(place: str | None) -> frozenset[str]:
    vocabulary = load_vocabulary()
    return vocabulary.ancestors(place) if place in vocabulary.anatomy else frozenset()


@cache
def _without_side(place: str | None) -> frozenset[str]:
    """The structures that ``place`` is one side of: of the left upper lobe, the upper lobe."""
    anatomy = load_vocabulary().anatomy
    if place not in anatomy or anatomy[place].laterality == UNSPECIFIED:
        return frozenset()
    return frozenset(p for p in anatomy[place].parents if anatomy[p].laterality == UNSPECIFIED)


@cache
def _surroundings(place: str | None) -> frozenset[str]:
    """A place and what is around it, without sides, which are compared apart, and without the whole chest."""
    if place is None:
        return frozenset()
    anatomy = load_vocabulary().anatomy
    around = {p for p in _ancestors(place) if anatomy[p].laterality == UNSPECIFIED}
    return frozenset(around - {"chest", "lung"}) or frozenset(around)


def _sides(key: Key) -> int:
    entry = load_vocabulary().anatomy.get(key[1] or "")
    said = entry.laterality if entry is not None and entry.laterality != UNSPECIFIED else key[2]
    return SIDE_BITS.get(key[2], 0) or SIDE_BITS.get(said, 0)
