"""On which side a mention is: from its structure, from the words around it, or from a plural."""

from __future__ import annotations

from lgdea.evidence.rules.clauses import VERBS, ClauseContext
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.mention import LIST, Mention
from lgdea.evidence.rules.places import PLURALS, Spot, find_spots
from lgdea.vocabulary import load_vocabulary

_OPPOSITE = {"left": "right", "right": "left"}
_THEMES = frozenset({"on", "in", "at", "within"})
_PARTS = frozenset({
    "with", "reflect", "reflecting", "represent", "representing", "suggest", "suggesting", "indicate", "indicating",
    "due", "consistent", "compatible", ";", "=", "(", ")",
})  # fmt: skip
"""Words between what was seen and another finding."""
_DIVIDES = LIST | VERBS
_ENDS_SIDE = _DIVIDES | _PARTS
_SHOWS = frozenset({"show", "demonstrate", "reveal", "contain", "have", "has", "with"})


class Sides:
    """Structures and sides of one clause.

    ``spots`` are its structures, ``spot_at`` finds them by token; ``taken`` holds the first tokens of structures that a
    "normal" has used up already.
    """

    def __init__(self, clause: ClauseContext) -> None:
        self.clause = clause
        self.words, self.hits, self.lexicon = clause.words, clause.hits, clause.lexicon
        self.lateral = clause.tagged.get("laterality", ())
        self.spots = find_spots(clause)
        self.spot_at = {k: spot for spot in self.spots for k in range(spot.i, spot.j)}
        self.taken: set[int] = set()

    def take(self, mention: Mention, spot: Spot) -> None:
        """Attach a structure."""
        mention.place, mention.place_hit = spot.place, spot.hit
        mention.used.update(range(spot.i, spot.j))

    def find(self, mention: Mention, bounds: tuple[int, int]) -> None:
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
        for hit in self.lateral:
            if not bounds[0] <= hit.i < bounds[1]:
                continue
            other = self.spot_at.get(hit.i, spot)
            if other is not spot and other is not None and other.j != mention.i:
                continue  # the side of another structure
            if hit.j <= mention.i and self._is_parted(hit.j, mention.i) and not self.may_have_side(mention):
                continue  # "whiteout of the left hemithorax with shift of the trachea"
            distance = self._side_distance(hit, mention)
            if distance is not None and (best is None or distance < best[0]):
                best = (distance, hit)
        return best[1] if best is not None else None

    def _is_parted(self, i: int, j: int) -> bool:
        return "with" in self.words[i:j]

    def _add_other_side(self, mention: Mention, side: Hit) -> None:
        """Note the first side of "a small left and a moderate right effusion"."""
        if side.i >= mention.i or mention.normal:
            return
        k = side.i - 1
        while k > self.clause.start and self.words[k] not in {"and", "or", ","} and side.i - k <= 3:
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
        """Return whether "bilateral" stands before the finding, so that the structure is only where it is most seen."""
        before = next((h for h in reversed(self.lateral) if h.j <= mention.i), None)
        if before is None or spot.i < mention.i or before.i in self.spot_at:
            return False
        gap = self.words[before.j : mention.i]
        return before.tags["laterality"] == "bilateral" and len(gap) <= 4 and _DIVIDES.isdisjoint(gap)

    def _speaks_of_both(self, mention: Mention, place: Hit) -> bool:
        """Return whether a plural means both sides: "in the lung bases", but not "the lungs show a nodule"."""
        shown = not _SHOWS.isdisjoint(self.words[place.j : mention.i])
        return self.clause.raw[place.j - 1].lower() in PLURALS and not shown

    def _add_siblings(self, mention: Mention, spot: Spot) -> None:
        """Note the other structures of the place phrase."""
        table = self.lexicon.heads.get(mention.head or "")
        for other in spot.siblings:
            if other is spot or other.hit.i in self.taken or other.place == "chest":
                continue
            if table and self.lexicon.finding_at(table, other.place) != mention.finding:
                continue
            plural = self.clause.raw[other.hit.j - 1].lower() in PLURALS
            rest = mention.laterality if spot.side is None else "unspecified"
            mention.more.append((other.place, other.side or ("bilateral" if plural else rest), None))
            mention.used.update(range(other.i, other.j))

    def _side_distance(self, hit: Hit, mention: Mention) -> int | None:
        """Return how many tokens a side is from the mention or its structure; None when it belongs elsewhere."""
        distances = []
        anchors = [(mention.i, mention.j)]
        if mention.place_hit is not None:
            anchors.insert(0, (mention.place_hit.i, mention.place_hit.j))
            if mention.normal:
                anchors = anchors[:1]
        for i, j in anchors:
            if hit.j <= i:
                gap = self.words[hit.j : i]
                if len(gap) <= 6 and _DIVIDES.isdisjoint(gap):
                    distances.append(len(gap))
            elif hit.i >= j:
                gap = self.words[j : hit.i]
                apart = not {"and", "or", "with"}.isdisjoint(gap) or self.leads_on(hit)
                if len(gap) <= 5 and not apart and not mention.normal:
                    distances.append(len(gap) + 2)
        return min(distances, default=None)

    def leads_on(self, side: Hit) -> bool:
        """Return whether a side belongs to a finding that follows it ("cardiomegaly, small left effusion")."""
        for hit in self.hits:
            is_size = hit.i == side.j and "severity" in hit.tags  # "effusion: left small"
            if hit.i >= side.j and not is_size and ("finding" in hit.tags or "head" in hit.tags):
                gap = self.words[side.j : hit.i]
                return len(gap) <= 2 and _ENDS_SIDE.isdisjoint(gap)
        return False

    def attach_leftover_sides(self, found: list[Mention]) -> None:
        """Give a side that no finding has taken to the last finding before it that may have one and has none.

        "Surgical clips, perhaps from an operation, in the right upper quadrant."
        """
        if not self.spots and not self.lateral:
            return
        bare = [mention for mention in found if mention.laterality == "unspecified" and self.may_have_side(mention)]
        if not bare:
            return
        used = {k for m in found for k in (*m.used, *range(m.i, m.j))}
        for hit in self.hits:
            spot = self.spot_at.get(hit.i)
            side = spot.side if spot is not None else hit.tags.get("laterality")
            i, j = (spot.i, spot.j) if spot is not None else (hit.i, hit.j)
            if side is None or i in used or (spot is not None and spot.hit.i in self.taken):
                continue
            if self._opens_clause(i, j):
                for mention in bare:
                    if mention.i >= j and mention.laterality == "unspecified":
                        mention.laterality = side
                        mention.used.update(range(i, j))
                continue
            last = next((m for m in reversed(bare) if m.j <= i and m.laterality == "unspecified"), None)
            if last is None or (i > 0 and self.words[i - 1] in {"than", "to"}) or self.leads_on(hit):
                continue
            last.laterality = side
            last.used.update(range(i, j))
            if spot is not None and last.place_hit is None:
                self.take(last, spot)
            if spot is not None:
                self._add_siblings(last, spot)

    def _opens_clause(self, i: int, j: int) -> bool:
        """Return whether a side is the theme of its clause: "on the left, there is ...", "the left lung shows ..."."""
        start = self.clause.start
        while start < i and self.words[start] in _THEMES | {"the", ",", ";", "and"}:
            start += 1
        if start < i or j >= self.clause.end:
            return False
        if self.words[j] == "," and not _THEMES.isdisjoint(self.words[self.clause.start : i]):
            return True
        ahead = [word for word in self.words[j : j + 3] if word not in {",", "now", "also", "side"}]
        return bool(ahead) and ahead[0] in VERBS | _SHOWS | {":"}

    def may_have_side(self, mention: Mention) -> bool:
        """Return whether the finding's usual structure is one of a pair."""
        usual = load_vocabulary().findings[mention.finding].default_anatomy
        paired = usual is None or self.lexicon.is_paired(usual)
        return paired and mention.finding not in self.lexicon.sideless
