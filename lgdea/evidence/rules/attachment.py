"""What belongs to a mention: structure, side, severity, change, and what these make of the finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lgdea.evidence.rules.clauses import VERBS
from lgdea.evidence.rules.lexicon import Hit, Lexicon
from lgdea.evidence.rules.places import PLURALS, Spot, find_spots
from lgdea.evidence.rules.tokens import Token
from lgdea.vocabulary import load_vocabulary

LIST = frozenset({",", "and", "or", "/", "nor"})
_JOINS = LIST | {"versus", "vs"}
_MOSTLY = frozenset({
    "most", "mostly", "more", "greatest", "greater", "predominantly", "predominant", "mainly", "especially", "worse",
    "particularly", "primarily", "worst", "notably", "prominent", "largely",
})  # fmt: skip
_EXPLAINS = frozenset({"represent", "reflect", "suggest", "suggesting", "suggestive", "compatible", "consistent",
                       "representing", "reflecting", "likely"})  # fmt: skip
_NAMES = frozenset({"finding", "head"})
_OPPOSITE = {"left": "right", "right": "left"}
_SHOWS = frozenset({"show", "demonstrate", "reveal", "contain", "have", "has", "with"})


@dataclass
class Mention:
    """A finding at tokens ``i`` to ``j``; ``used`` holds the tokens of everything that was attached to it."""

    finding: str
    i: int
    j: int
    normal: bool = False
    """Made by "the heart is normal": the finding is denied."""
    place: str | None = None
    place_hit: Hit | None = None
    laterality: str = "unspecified"
    severity: str = "unspecified"
    change: str = "unspecified"
    head: str | None = None
    plural: bool = False
    """The side comes from a plural ("the diaphragms") instead of a word like "both"."""
    more: list[tuple[str | None, str, str | None]] = field(default_factory=list)
    """The same finding elsewhere: structure, side and, where it is another, severity."""
    used: set[int] = field(default_factory=set)


class Attachment:
    """Attaches the words of one clause to its mentions.

    ``taken`` holds the first tokens of structures that a "normal" has used up already.
    """

    def __init__(
        self, tokens: Sequence[Token], raw: Sequence[str], hits: list[Hit], bounds: tuple[int, int], lexicon: Lexicon
    ) -> None:
        self.tokens = tokens
        self.raw = raw
        self.lexicon = lexicon
        self.start, self.end = bounds
        self.hits = hits
        self.spots = find_spots(tokens, raw, hits, bounds, lexicon)
        self.places = [spot.hit for spot in self.spots]
        self.spot_at = {k: spot for spot in self.spots for k in range(spot.i, spot.j)}
        self.taken: set[int] = set()

    def attach(self, found: list[Mention], walls: list[int]) -> None:
        """Attach to each mention what belongs to it; nothing reaches over a token in ``walls``."""
        for number, mention in enumerate(found):
            left = max([self.start, *(w for w in walls if w < mention.i)])
            if number:
                left = max(left, found[number - 1].j)
            right = min([self.end, *(w for w in walls if w >= mention.j)])
            if number + 1 < len(found):
                right = min(right, found[number + 1].i)
            self._find_place(mention, left, right, found[:number])
            self.find_side(mention, (left, right))
            mention.severity = self._nearest(mention, "severity", left, right) or "unspecified"
            mention.change = self._nearest(mention, "change", left, right) or "unspecified"
            self._specialise(mention, left)
            self._forget_chest(mention)
        for first, second in pairwise(found):
            self._share(first, second)
        for first, second in reversed(list(pairwise(found))):
            self._share(second, first)
        for mention in found:
            self._own_words(mention)
        self._settle_orphans(found)

    def _settle_orphans(self, found: list[Mention]) -> None:
        """Give a side that no finding has taken to the last finding before it that may have one and has none.

        "Surgical clips, perhaps from an operation, in the right upper quadrant."
        """
        bare = [mention for mention in found if mention.laterality == "unspecified" and self._may_have_side(mention)]
        if not bare:
            return
        used = {k for m in found for k in (*m.used, *range(m.i, m.j))}
        for hit in self.hits:
            spot = self.spot_at.get(hit.i)
            side = spot.side if spot is not None else hit.tags.get("laterality")
            i = spot.i if spot is not None else hit.i
            if side is None or i in used or (spot is not None and spot.hit.i in self.taken):
                continue
            mention = next((m for m in reversed(bare) if m.j <= i and m.laterality == "unspecified"), None)
            if mention is None or (i > 0 and self.tokens[i - 1].lemma in {"than", "to"}) or self._leads_on(hit):
                continue
            mention.laterality = side
            mention.used.update(range(i, spot.j if spot is not None else hit.j))
            if spot is not None and mention.place_hit is None:
                self._take(mention, spot)
            if spot is not None:
                self._add_siblings(mention, spot)

    def _may_have_side(self, mention: Mention) -> bool:
        usual = load_vocabulary().findings[mention.finding].default_anatomy
        return usual is None or self.lexicon.paired(usual)

    def _own_words(self, mention: Mention) -> None:
        """Fill in the structure and side that stand in the finding's own words."""
        hit = next((h for h in self.hits if (h.i, h.j) == (mention.i, mention.j)), None)
        if hit is None:
            return
        inner = hit.tags.get("inner_place")
        if inner is not None and (mention.place is None or mention.place in self.lexicon.up.get(inner, ())):
            mention.place = inner
        if mention.laterality == "unspecified":
            side = hit.tags.get("laterality") or hit.tags.get("inner_laterality")
            plural = any(word.lower() in PLURALS for word in self.raw[mention.i : mention.j])
            mention.laterality = side or ("bilateral" if plural else "unspecified")
            mention.plural = side is None and plural
        if inner is not None and mention.place == inner and not mention.more:
            self._add_joined_before(mention)

    def _add_joined_before(self, mention: Mention) -> None:
        """Note the first structure of "right hilar and mediastinal lymphadenopathy"."""
        spot = self.spot_at.get(mention.i - 2)
        if spot is None or spot.j != mention.i - 1 or self.tokens[spot.j].lemma not in {"and", "or", "/"}:
            return
        if spot.place not in {mention.place, "chest"} and len(spot.siblings) == 1 and not self._is_taken(spot):
            mention.more.append((spot.place, spot.side or "unspecified", None))
            mention.used.update(range(spot.i, spot.j))

    def _is_taken(self, spot: Spot) -> bool:
        """Whether the words before a structure say that it belongs to another finding ("mass in the hilum and ...")."""
        ahead = [h for h in self.hits if h.j <= spot.i and spot.i - h.j <= 3]
        return spot.hit.i in self.taken or any(_NAMES & h.tags.keys() or "prepositions" in h.tags for h in ahead)

    @staticmethod
    def _forget_chest(mention: Mention) -> None:
        """Drop "thoracic" and "chest" where the finding's own structure says more ("thoracic spondylosis")."""
        if mention.place == "chest" and load_vocabulary().findings[mention.finding].default_anatomy is not None:
            mention.place = None

    def _find_place(self, mention: Mention, left: int, right: int, earlier: list[Mention]) -> None:
        after = self._spot_after(mention, right)
        if mention.place_hit is not None:
            self._refine(mention, after)
            return
        before = next(
            (s for s in reversed(self.spots) if left <= s.hit.i and s.hit.j <= mention.i and self._reaches(s, mention)),
            None,
        )
        if before is not None and any(m.place_hit is before.hit for m in earlier):
            gap = {t.lemma for t in self.tokens[before.j : mention.i]}
            before = None if gap & _EXPLAINS else before  # left to share_explained
        whole = self.lexicon.without_side(before.hit) if before is not None else None
        if after is not None and (before is None or whole in self.lexicon.up.get(after.place, ())):
            self._take(mention, after)
            if before is not None and after.side is None and before.side is not None:
                mention.laterality = before.side
                mention.used.update(range(before.i, before.j))
        elif before is not None:
            self._take(mention, before)

    def _refine(self, mention: Mention, after: Spot | None) -> None:
        """Where a head's structure says little ("increased markings in the left base"), take what follows."""
        named = self.lexicon.structure_anatomy.get(str(mention.place), mention.place)
        own = self.spot_at.get(mention.place_hit.i) if mention.place_hit is not None else None
        if own is not None and named in self.lexicon.up.get(own.place, ()):
            self._take(mention, own)
        elif after is None or after.hit == mention.place_hit:
            return
        elif named == "lymph_node" and after.side is not None and mention.laterality == "unspecified":
            mention.laterality = after.side
            mention.used.update(range(after.i, after.j))
        elif named in self.lexicon.up.get(after.place, ()):
            self._take(mention, after)

    def _spot_after(self, mention: Mention, right: int) -> Spot | None:
        """The structure that follows, joined by a preposition ("opacity in the left base") or nothing."""
        spot = next((s for s in self.spots if mention.j <= s.i < right and s.hit.i not in self.taken), None)
        if spot is None:
            return None
        gap = _without_numbers([t.lemma for t in self.tokens[mention.j : spot.i]])
        if "and" in gap or "or" in gap or ("," in gap and len(gap) > 3 and not _MOSTLY & set(gap)):
            return None
        prepositional = any(self.is_preposition(k) for k in range(mention.j, spot.i))
        return spot if prepositional or len(gap) <= 1 else None

    def _reaches(self, spot: Spot, mention: Mention) -> bool:
        place = spot.hit
        if place.i in self.taken:
            return False
        gap = [t.lemma for t in self.tokens[place.j : mention.i]]
        if not any(word in LIST or word == "with" for word in gap):
            return not {"the", "a", "an"} & set(gap) or any(word in VERBS or word == ":" for word in gap)
        if any(spot.siblings[-1] is s for s in (self.spot_at.get(mention.i - 1),)):
            return True
        opens = place.i > self.start and any(
            self.is_preposition(k) for k in range(max(self.start, place.i - 4), place.i)
        )
        return opens and "and" not in gap[1:] and any(word in VERBS for word in gap)

    def is_preposition(self, k: int) -> bool:
        """Whether token ``k`` belongs to a preposition."""
        return any("prepositions" in h.tags and h.i <= k < h.j for h in self.hits)

    def _take(self, mention: Mention, spot: Spot) -> None:
        mention.place, mention.place_hit = spot.place, spot.hit
        mention.used.update(range(spot.i, spot.j))

    def find_side(self, mention: Mention, bounds: tuple[int, int]) -> None:
        """Give the mention its side, from its structure or from the words around it inside ``bounds``."""
        place = mention.place_hit
        spot = self.spot_at.get(place.i) if place is not None else None
        if mention.laterality != "unspecified":
            pass  # known from the words that gave the structure
        elif spot is not None and spot.side is not None and not self._is_said_before(mention, spot):
            mention.laterality = spot.side
            mention.used.update(range(spot.i, spot.j))
        elif (hit := self._nearest_side(mention, spot, bounds)) is not None:
            mention.laterality = hit.tags["laterality"]
            mention.used.update(range(hit.i, hit.j))
            self._add_other_side(mention, hit)
        elif place is not None and self._speaks_of_both(mention, place):
            mention.laterality, mention.plural = "bilateral", True
        if spot is not None and not mention.normal:
            self._add_siblings(mention, spot)

    def _nearest_side(self, mention: Mention, spot: Spot | None, bounds: tuple[int, int]) -> Hit | None:
        best: tuple[int, Hit] | None = None
        for hit in self.hits:
            if "laterality" not in hit.tags or not (bounds[0] <= hit.i < bounds[1]):
                continue
            other = self.spot_at.get(hit.i, spot)
            if other is not spot and other is not None and other.j != mention.i:
                continue  # the side of another structure
            distance = self._side_distance(hit, mention)
            if distance is not None and (best is None or distance < best[0]):
                best = (distance, hit)
        return best[1] if best is not None else None

    def _add_other_side(self, mention: Mention, side: Hit) -> None:
        """Note the first side of "a small left and a moderate right effusion"."""
        if side.i >= mention.i or mention.normal:
            return
        k = side.i - 1
        while k > self.start and self.tokens[k].lemma not in {"and", "or", ","} and side.i - k <= 3:
            k -= 1
        other = next((h for h in self.hits if h.j == k and h.tags.get("laterality") in _OPPOSITE), None)
        between = [h for h in self.hits if k < h.i < side.i]
        if other is None or any("severity" not in h.tags for h in between) or other.i in self.spot_at:
            return
        if other.tags["laterality"] != _OPPOSITE.get(mention.laterality):
            return
        size = next((h for h in self.hits if h.j in {other.i, other.i - 1} and "severity" in h.tags), None)
        mention.more.append((mention.place, other.tags["laterality"], size.tags["severity"] if size else None))
        mention.used.update(range(size.i if size else other.i, other.j))

    def _is_said_before(self, mention: Mention, spot: Spot) -> bool:
        """Whether "bilateral" stands before the finding, so that the structure is only where it is most seen."""
        before = next((h for h in reversed(self.hits) if h.j <= mention.i and "laterality" in h.tags), None)
        if before is None or spot.i < mention.i or before.i in self.spot_at:
            return False
        gap = self.tokens[before.j : mention.i]
        return (
            before.tags["laterality"] == "bilateral"
            and len(gap) <= 4
            and not any(t.lemma in LIST or t.lemma in VERBS for t in gap)
        )

    def _speaks_of_both(self, mention: Mention, place: Hit) -> bool:
        """Whether a plural means both sides: "in the lung bases", but not "the lungs show a nodule"."""
        shown = any(token.lemma in _SHOWS for token in self.tokens[place.j : mention.i])
        return self.raw[place.j - 1].lower() in PLURALS and not shown

    def _add_siblings(self, mention: Mention, spot: Spot) -> None:
        """Note the other structures of the place phrase."""
        table = self.lexicon.heads.get(mention.head or "")
        for other in spot.siblings:
            if other is spot or other.hit.i in self.taken or other.place == "chest":
                continue
            if table and self.lexicon.finding_at(table, other.place) != mention.finding:
                continue
            plural = self.raw[other.hit.j - 1].lower() in PLURALS
            rest = mention.laterality if spot.side is None else "unspecified"
            mention.more.append((other.place, other.side or ("bilateral" if plural else rest), None))
            mention.used.update(range(other.i, other.j))

    def _side_distance(self, hit: Hit, mention: Mention) -> int | None:
        """How far a side is from the mention or from its structure; None when it belongs to something else."""
        distances = []
        anchors = [(mention.i, mention.j)]
        if mention.place_hit is not None:
            anchors.insert(0, (mention.place_hit.i, mention.place_hit.j))
            if mention.normal:
                anchors = anchors[:1]
        for i, j in anchors:
            if hit.j <= i:
                gap = self.tokens[hit.j : i]
                if len(gap) <= 6 and not any(t.lemma in LIST or t.lemma in VERBS for t in gap):
                    distances.append(len(gap))
            elif hit.i >= j:
                gap = self.tokens[j : hit.i]
                apart = any(t.lemma in {"and", "or", "with"} for t in gap) or self._leads_on(hit)
                if len(gap) <= 5 and not apart and not mention.normal:
                    distances.append(len(gap) + 2)
        return min(distances, default=None)

    def _leads_on(self, side: Hit) -> bool:
        """Whether a side belongs to a finding that follows it ("cardiomegaly, small left effusion")."""
        for hit in self.hits:
            if hit.i >= side.j and ("finding" in hit.tags or "head" in hit.tags):
                gap = self.tokens[side.j : hit.i]
                return len(gap) <= 2 and not any(t.lemma in LIST or t.lemma in VERBS for t in gap)
        return False

    def _nearest(self, mention: Mention, category: str, left: int, right: int) -> str | None:
        best: tuple[int, Hit] | None = None
        for hit in self.hits:
            if category not in hit.tags or hit.i in mention.used or not left <= hit.i < right:
                continue
            if hit.i < mention.i:
                gap = [t.lemma for t in self.tokens[hit.j : mention.i]]
                if category == "severity" and (len(gap) > 6 or any(w in LIST for w in gap)):
                    continue
                if category == "change" and _EXPLAINS & set(gap):
                    continue
                distance = len(gap)
            elif hit.i >= mention.j:
                gap = [t.lemma for t in self.tokens[mention.j : hit.i]]
                if category == "severity" and (len(gap) > 4 or any(w in {"and", "or"} for w in gap)):
                    continue
                if self._leads_on(hit) and hit.i > mention.j:
                    continue
                distance = len(gap) + 3
            else:
                continue
            if best is None or distance < best[0]:
                best = (distance, hit)
        if best is None:
            return None
        mention.used.update(range(best[1].i, best[1].j))
        return best[1].tags[category]

    def _specialise(self, mention: Mention, left: int) -> None:
        table = self.lexicon.specialise.get(mention.finding)
        if not table:
            return
        for hit in reversed(self.hits):
            word = hit.tags.get("modifier") or hit.tags.get("head")
            if word in table and left <= hit.i < mention.i and mention.i - hit.j <= 4:
                mention.used.update(range(hit.i, hit.j))
                mention.finding = table[word]
                return
        if mention.place is not None:
            mention.finding = self.lexicon.finding_at(table, mention.place) or mention.finding

    def _share(self, giver: Mention, taker: Mention) -> None:
        """Let joined mentions share what one of them was given: "scarring or atelectasis in the left base"."""
        first, second = (giver, taker) if giver.i < taker.i else (taker, giver)
        gap = [t.lemma for t in self.tokens[first.j : second.i]]
        joined = not gap or (len(gap) <= 3 and any(word in _JOINS for word in gap) and "," not in gap[1:])
        if giver is second and any(first.j <= k < second.i for k in giver.used):
            return  # "edema and small bilateral effusions"
        if not joined or any(h.i >= first.j and h.j <= second.i and "negation_before" in h.tags for h in self.hits):
            return
        if taker.laterality == "unspecified" and taker.place is None:
            self._own_words(giver)
            together = sit_together(giver.finding, taker.finding)
            taker.laterality = giver.laterality if together or not giver.plural else "unspecified"
            in_lung = "lung" in self.lexicon.up.get(str(giver.place), ())
            if together and (in_lung or giver.place_hit is not None):
                taker.place, taker.place_hit, taker.more = giver.place, giver.place_hit, list(giver.more)
            taker.used.update(giver.used | {giver.i, giver.j - 1})


def sit_together(giver: str, taker: str) -> bool:
    """Whether one structure can hold both findings."""
    findings = load_vocabulary().findings
    usual = {findings[finding].default_anatomy for finding in (giver, taker)} - {None}
    return len(usual) < 2 or usual <= {"lung", "bronchus"}


def _without_numbers(words: list[str]) -> list[str]:
    """The words without counts like "4th and 5th", which join nothing."""
    plain = [word for word in words if not word[0].isdigit() and word not in {"th", "st", "nd", "rd"}]
    return [word for word in plain if word not in {"and", ",", "through"}] if len(plain) < len(words) else plain
