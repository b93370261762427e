"""Findings of other organs: a renal cyst is no lung cyst, an effusion of the knee no pleural one.

Words like "mass", "cyst" or "edema" are said of every organ. The vocabulary reads them as the chest's; here they become
the finding of the organ that the clause names, else of the organ that the heading or the title of the study names
(``organs.yaml``), and nothing where the vocabulary has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lgdea.evidence.rules.clauses import ClauseContext
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.mention import Mention
from lgdea.evidence.rules.organ_tables import load_organs
from lgdea.evidence.rules.study_context import StudyContext
from lgdea.vocabulary import load_vocabulary

_VAGUE = {"lung": frozenset({("lobe",)}), "costophrenic_angle": frozenset({("sulcus",)})}
"""Words that only a chest report means so: the liver has lobes, the brain sulci."""


def settle_organs(mentions: Iterable[Mention], clause: ClauseContext, study: StudyContext) -> list[Mention]:
    """Give general findings to the organ that they are of, and leave out those that the vocabulary has no name for."""
    organs = load_organs()
    result: list[Mention] = []
    for mention in mentions:
        if mention.finding in organs.sideless:
            mention.laterality = "unspecified"
        if mention.place == "vertebral_level" and not _sits_in_bone(mention.finding):
            mention.place, mention.place_hit = None, None  # "the tip of the tube is at T4"
        if mention.finding == "pacemaker" and study.icd_drains and _is_icd(clause.raw[mention.i]):
            mention.finding = "chest_tube"
        if _has_its_organ(mention, clause, study):
            result.extend(_settle(mention, clause, study))
    return result


def _has_its_organ(mention: Mention, clause: ClauseContext, study: StudyContext) -> bool:
    """Return whether a word that needs an organ has it: "no hemorrhage" in a report of the head."""
    organ = load_organs().heads_only_in.get(mention.head or "")
    return organ is None or mention.place_hit is not None or organ in clause.lexicon.whole(study.structure or "")


def _settle(mention: Mention, clause: ClauseContext, study: StudyContext) -> list[Mention]:
    organs, lexicon = load_organs(), clause.lexicon
    if mention.finding == "nipple_shadow":
        return [] if _is_breast_study(clause, study) else [mention]
    if mention.normal:
        bare = mention.place == "lung" and _is_vague(mention.place_hit, clause)
        return [] if bare else [mention]  # "the left lobe is normal"
    if mention.finding not in organs.general and mention.finding not in organs.nowhere:
        return [mention]
    finding = _finding_there(mention, clause, study.structure)
    if finding == mention.finding:
        return [mention]
    here = [spot for spot in mention.more if spot[0] is not None and not lexicon.is_elsewhere(spot[0])]
    rest = []
    if here:  # "metastases in the liver and lungs"
        place, side, _ = here[0]
        rest = [replace(mention, place=place, place_hit=None, laterality=side, more=here[1:], used=set(mention.used))]
        mention.more = [spot for spot in mention.more if spot not in here]
    if finding is None:
        return rest
    mention.finding = finding
    if mention.place is not None and not lexicon.is_elsewhere(mention.place):
        mention.place, mention.place_hit = None, None
    return [mention, *rest]


def _is_icd(word: str) -> bool:
    """Return whether a word is "ICD" whose meaning no site has told."""
    return word.lower() in {"icd", "icds"} and "icd" not in load_vocabulary().own_words


def _sits_in_bone(finding: str) -> bool:
    vocabulary = load_vocabulary()
    usual = vocabulary.findings[finding].default_anatomy
    return usual is None or "bone" in vocabulary.ancestors(usual)


def _finding_there(mention: Mention, clause: ClauseContext, structure: str | None) -> str | None:
    organs, lexicon, finding = load_organs(), clause.lexicon, mention.finding
    place = _find_organ(mention, clause, structure)
    whole = lexicon.whole(place) if place is not None else ()
    if finding in organs.only_in:
        return finding if organs.only_in[finding] in whole else None
    elsewhere = finding in organs.general and place is not None and lexicon.is_elsewhere(place)
    there = lexicon.finding_at(organs.there.get(finding, {}), whole[0]) if elsewhere else None
    if there is not None:
        return there
    if not organs.nowhere.get(finding, frozenset()).isdisjoint(whole):
        return None
    everywhere = load_vocabulary().findings[finding].default_anatomy is None  # "calcification"
    return finding if everywhere or not elsewhere else None


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
    if place in _VAGUE and _is_vague(mention.place_hit, clause):
        place = _nearest_organ(mention, clause, elsewhere=True) or structure or place
    # Scans of the abdomen show the lung bases: their "effusion" is a pleural one.
    if mention.finding == "pleural_effusion" and structure == "abdomen":
        return place
    return place or structure


def _is_breast_study(clause: ClauseContext, study: StudyContext) -> bool:
    """Return whether nipples are looked at for themselves, not as shadows on the lung."""
    return study.structure == "breast" or any("normal" in hit.tags for hit in clause.hits)


def _is_vague(hit: Hit | None, clause: ClauseContext) -> bool:
    if hit is None:
        return False
    words = tuple(token.lemma for token in clause.tokens[hit.i : hit.j])
    return words in _VAGUE.get(hit.tags["place"], ())


def _nearest_organ(mention: Mention, clause: ClauseContext, *, elsewhere: bool = False) -> str | None:
    """The structure (outside the chest) that stands nearest in the clause, however it is joined."""
    places = [
        hit
        for hit in clause.hits
        if "place" in hit.tags and (not elsewhere or clause.lexicon.is_elsewhere(hit.tags["place"]))
    ]
    if not places:
        return None
    nearest = min(places, key=lambda hit: min(abs(hit.j - mention.i), abs(hit.i - mention.j)))
    return nearest.tags["place"]
