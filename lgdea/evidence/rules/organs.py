"""Findings of other organs: a renal cyst is no lung cyst, an effusion of the knee no pleural one.

Words like "mass", "cyst" or "edema" are said of every organ. The vocabulary reads them as the chest's; here they become
the finding of the organ that the clause names, else of the organ that the heading or the title of the study names
(``organs.yaml``), and nothing where the vocabulary has none.
"""

from __future__ import annotations

from collections.abc import Iterable

from lgdea.evidence.rules.clauses import ClauseContext
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.mention import Mention
from lgdea.evidence.rules.organ_tables import load_organs
from lgdea.evidence.rules.study_context import NAMES_LUNG, StudyContext
from lgdea.vocabulary import load_vocabulary


def settle_organs(mentions: Iterable[Mention], clause: ClauseContext, study: StudyContext) -> list[Mention]:
    """Give general findings to the organ that they are of, and leave out those that the vocabulary has no name for."""
    organs = load_organs()
    result: list[Mention] = []
    for mention in mentions:
        if mention.finding == "nipple_shadow" and _is_breast_study(clause, study):
            continue
        if (mention.finding in organs.general or mention.finding in organs.nowhere) and not mention.normal:
            finding = _finding_there(mention, clause, study.structure)
            if finding is None:
                continue
            mention.finding = finding
        elif mention.finding == "pacemaker" and study.icd_drains and clause.raw[mention.i].lower() in {"icd", "icds"}:
            mention.finding = "chest_tube"
        if mention.place == "vertebral_level" and not _sits_in_bone(mention.finding):
            mention.place, mention.place_hit = None, None  # "the tip of the tube is at T4"
        result.append(mention)
    return result


def _sits_in_bone(finding: str) -> bool:
    vocabulary = load_vocabulary()
    usual = vocabulary.findings[finding].default_anatomy
    return usual is None or "bone" in vocabulary.ancestors(usual)


def _finding_there(mention: Mention, clause: ClauseContext, structure: str | None) -> str | None:
    organs, lexicon = load_organs(), clause.lexicon
    place = _find_organ(mention, clause, structure)
    if place is None:
        return mention.finding
    if any(part in organs.nowhere.get(mention.finding, ()) for part in lexicon.whole(place)):
        return None
    if mention.finding not in organs.general or not lexicon.is_elsewhere(place):
        return mention.finding
    there = lexicon.finding_at(organs.there.get(mention.finding, {}), lexicon.structure_anatomy.get(place, place))
    everywhere = load_vocabulary().findings[mention.finding].default_anatomy is None  # "calcification"
    return there or (mention.finding if everywhere else None)


def _find_organ(mention: Mention, clause: ClauseContext, structure: str | None) -> str | None:
    """The structure that a finding's word is said of, None for what only the chest has ("pulmonary nodule")."""
    hit = next((h for h in clause.hits if (h.i, h.j) == (mention.i, mention.j)), None)
    own = None if hit is None else hit.tags.get("inner_place")
    if own is not None and not clause.lexicon.is_elsewhere(own):
        return None
    if mention.finding == "atelectasis" and mention.head != "collapsed":
        return None
    place = mention.place if mention.place_hit is not None else None
    place = place or own or _nearest_organ(mention, clause)
    if structure is not None and place == "lung" and not NAMES_LUNG.search(" ".join(clause.raw)):
        return structure  # "the right lobe" of the liver or the thyroid
    # Scans of the abdomen show the lung bases: their "effusion" is a pleural one.
    if mention.finding == "pleural_effusion" and structure == "abdomen":
        return place
    return place or structure


def _is_breast_study(clause: ClauseContext, study: StudyContext) -> bool:
    """Return whether nipples are looked at for themselves, not as shadows on the lung."""
    return study.structure == "breast" or any("normal" in hit.tags for hit in clause.hits)


def _nearest_organ(mention: Mention, clause: ClauseContext) -> str | None:
    """The structure that stands nearest in the clause, however it is joined."""
    places: list[Hit] = [hit for hit in clause.hits if "place" in hit.tags]
    if not places:
        return None
    nearest = min(places, key=lambda hit: min(abs(hit.j - mention.i), abs(hit.i - mention.j)))
    return nearest.tags["place"]
