"""Place phrases: "the right upper and left lower lobes" names two structures, each with its own side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lgdea.evidence.rules.clauses import ClauseContext
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.lexicon import Lexicon

PLURALS = frozenset({
    "lungs", "bases", "apices", "hila", "hemidiaphragms", "diaphragms", "angles", "sulci", "lobes", "fields", "zones",
    "clavicles", "shoulders", "recesses",
})  # fmt: skip
_NAMES = frozenset({"finding", "head"})
_JOINERS = frozenset({"and", "or", ",", "/"})
_FILLERS = frozenset({
    "the", "of", "medial", "lateral", "posterior", "anterior", "inferior", "superior", "peripheral", "central",
    "proximal", "distal", "dependent", "entire", "whole", "aspect", "portion", "region", "area", "part", "extreme",
    "far", "most", "side", "segment", "segmental",
})  # fmt: skip
_VAGUE = frozenset({"pulmonary_vasculature", "chest", "chest_wall"})  # "aortic | vascular" is the aorta
_PARTS = frozenset({"upper", "lower", "middle", "mid"})  # "right [middle] and lower lobes"


@dataclass(slots=True)
class Spot:
    """One structure with its side; ``hit`` holds its name, tokens ``i`` to ``j`` also the words around it."""

    i: int
    j: int
    hit: Hit
    side: str | None
    siblings: list[Spot] = field(default_factory=list, repr=False)
    """All spots of the phrase, this one included."""

    @property
    def place(self) -> str:
        """The structure's id."""
        return self.hit.tags["place"]


@dataclass(slots=True)
class _Segment:
    """Words between two joiners: side, names of structures, and a part of a name ("upper" of "upper lobe")."""

    i: int
    j: int = 0
    side: str | None = None
    side_i: int | None = None
    places: list[Hit] = field(default_factory=list)
    part: tuple[int, str] | None = None


def find_spots(clause: ClauseContext) -> list[Spot]:
    """Find all structures of a clause in order, each with the side that its phrase gives it.

    A side reaches over joined structures that have none of their own ("right apex and base"), a structure back over
    joined sides that have none ("right and left lower lobe").
    """
    spots: list[Spot] = []
    for run in _find_phrases(clause):
        spots.extend(_distribute(run, clause))
    return spots


def _find_phrases(clause: ClauseContext) -> list[list[_Segment]]:
    """Find the phrases as lists of segments; only those that name a structure."""
    words, hits = clause.words, clause.hits
    if "place" not in clause.tagged:
        return []
    at = {hit.i: hit for hit in hits if "prepositions" not in hit.tags or "pseudo" in hit.tags}
    spatial = [hit for hit in hits if _is_spatial(hit)]
    runs: list[list[_Segment]] = []
    run: list[_Segment] = []
    k = max(clause.start, spatial[0].i - 1)  # one for "upper" in "upper and lower lobes"
    while k < spatial[-1].j:
        hit = at.get(k)
        word = words[k]
        if hit is not None:
            if _is_spatial(hit):
                if not run:
                    run.append(_Segment(k))
                _add(run[-1], hit)
            elif run and "pseudo" not in hit.tags:  # "the left and, to a lesser extent, the right base"
                runs, run = _end_phrase(runs, run)
            k = hit.j
            continue
        if word in _PARTS:
            if not run:
                run.append(_Segment(k))
            run[-1].part, run[-1].j = (k, word), k + 1
        elif word in _JOINERS and run:
            run.append(_Segment(k + 1))
        elif run and word not in _FILLERS:
            runs, run = _end_phrase(runs, run)
        k += 1
    return _end_phrase(runs, run)[0]


def _is_spatial(hit: Hit) -> bool:
    return "place" in hit.tags or ("laterality" in hit.tags and _NAMES.isdisjoint(hit.tags))


def _add(segment: _Segment, hit: Hit) -> None:
    segment.j = hit.j
    if "place" in hit.tags:
        segment.places.append(hit)
    side = hit.tags.get("laterality")
    if side is not None and segment.side is None:
        segment.side, segment.side_i = side, hit.i


def _end_phrase(runs: list[list[_Segment]], run: list[_Segment]) -> tuple[list[list[_Segment]], list[_Segment]]:
    if any(segment.places for segment in run):
        runs.append(run)
    return runs, []


def _distribute(run: list[_Segment], clause: ClauseContext) -> list[Spot]:
    lexicon = clause.lexicon
    spots: list[Spot] = []
    ahead: Hit | None = None  # the structure that a segment without one borrows
    for segment in reversed(run):
        hit = _most_specific(segment.places, lexicon) or _borrow(segment, ahead, clause.words, lexicon)
        if hit is None:
            continue
        ahead = hit
        side = segment.side or next((s for p in (hit, *segment.places) if (s := _own_side(p, lexicon))), None)
        spots.append(Spot(min(segment.i, hit.i), max(segment.j, hit.j), hit, side, spots))
    spots.reverse()
    for before, spot in pairwise(spots):
        if spot.side is None and lexicon.is_paired(spot.place):
            plural = clause.raw[spot.hit.j - 1].lower() in PLURALS and before.side != "bilateral"
            spot.side = None if plural and not _shares_head(before, spot) else before.side
    return spots


def _shares_head(before: Spot, spot: Spot) -> bool:
    """Return whether a plural comes from the joined names ("right upper and lower lobes"), not from both sides."""
    return before.hit.j - before.hit.i == 1 and before.hit.tags.get("part") == "part" and spot.hit.i > before.hit.i


def _own_side(hit: Hit, lexicon: Lexicon) -> str | None:
    return hit.tags.get("laterality") or lexicon.side_of.get(hit.tags["place"])


def _most_specific(places: list[Hit], lexicon: Lexicon) -> Hit | None:
    """The structure that is a part of the others ("left lung | base", "base of the left lung"), else the last."""
    if not places:
        return None
    named = [hit for hit in places if hit.tags["place"] not in _VAGUE] or places
    best = named[-1]
    for hit in named:
        held = lexicon.structure_anatomy.get(best.tags["place"], lexicon.without_side(best))
        if held in lexicon.up.get(hit.tags["place"], ()):
            best = hit
    return best


def _borrow(segment: _Segment, ahead: Hit | None, lemmas: Sequence[str], lexicon: Lexicon) -> Hit | None:
    """The structure of a segment that names none or a part of one, from the next segment."""
    if ahead is None:
        return None
    if segment.part is None and ahead.tags.get("laterality") == "bilateral":
        return None  # "convex to the left, biapical scarring"
    if segment.part is None:
        return None if segment.side is None else Hit(ahead.i, ahead.j, {"place": lexicon.without_side(ahead)})
    k, word = segment.part
    words = lemmas[ahead.i : ahead.j]
    for n in range(len(words)):
        place = lexicon.places.get((word, *words[n:]))
        if place is not None:
            return Hit(k, k + 1, {"place": place, "part": "part"})
    return None
