"""What belongs to a mention: structure, side, severity, change, and what these make of the finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lgdea.evidence.rules.clauses import VERBS
from lgdea.evidence.rules.lexicon import Hit, Lexicon
from lgdea.evidence.rules.tokens import Token
from lgdea.vocabulary import load_vocabulary

_PLURALS = frozenset({
    "lungs", "bases", "apices", "hila", "hemidiaphragms", "diaphragms", "angles", "sulci", "lobes", "fields", "zones",
    "clavicles",
})  # fmt: skip
# "Left basilar opacity may represent atelectasis": the explanation sits where the opacity does.
_EXPLAINS = frozenset({"represent", "representing", "compatible", "consistent", "suggest", "suggestive", "suggesting",
                       "reflect", "reflecting", "likely", "versus", "vs", "worrisome", "concerning"})  # fmt: skip
LIST = frozenset({",", "and", "or", "/", "nor"})


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
        self.places = [hit for hit in hits if "place" in hit.tags]
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
            self._find_place(mention, left, right)
            self.find_side(mention, (left, right))
            mention.severity = self._nearest(mention, "severity", left, right) or "unspecified"
            mention.change = self._nearest(mention, "change", left, right) or "unspecified"
            self._specialise(mention, left)
            if number:
                self._share(found[number - 1], mention)
        for number in range(len(found) - 2, -1, -1):
            self._share(found[number + 1], found[number])
        for mention in found:
            self._own_words(mention)

    def _own_words(self, mention: Mention) -> None:
        """Fill in the structure and side that stand in the finding's own words."""
        hit = next((h for h in self.hits if (h.i, h.j) == (mention.i, mention.j)), None)
        if hit is None:
            return
        if mention.place is None:
            mention.place = hit.tags.get("inner_place")
        if mention.laterality == "unspecified":
            side = hit.tags.get("laterality") or hit.tags.get("inner_laterality")
            plural = any(word.lower() in _PLURALS for word in self.raw[mention.i : mention.j])
            mention.laterality = side or ("bilateral" if plural else "unspecified")

    def _find_place(self, mention: Mention, left: int, right: int) -> None:
        if mention.place is not None:
            return
        for place in reversed(self.places):
            if left <= place.i and place.j <= mention.i and place.i not in self.taken and self._reaches(place, mention):
                self._take(mention, place)
                return
        for place in self.places:
            if mention.j <= place.i < right and place.i not in self.taken:
                gap = _without_numbers([t.lemma for t in self.tokens[mention.j : place.i]])
                if "and" in gap or "or" in gap or ("," in gap and len(gap) > 3):
                    return
                if any(self.is_preposition(k) for k in range(mention.j, place.i)) or len(gap) <= 1 or "," in gap:
                    self._take(mention, place)
                return

    def _reaches(self, place: Hit, mention: Mention) -> bool:
        gap = [t.lemma for t in self.tokens[place.j : mention.i]]
        if not any(word in LIST or word == "with" for word in gap):
            return True
        opens = place.i > self.start and any(
            self.is_preposition(k) for k in range(max(self.start, place.i - 4), place.i)
        )
        return opens and "and" not in gap[1:] and any(word in VERBS for word in gap)

    def is_preposition(self, k: int) -> bool:
        """Whether token ``k`` belongs to a preposition."""
        return any("prepositions" in h.tags and h.i <= k < h.j for h in self.hits)

    def _take(self, mention: Mention, place: Hit) -> None:
        mention.place, mention.place_hit = place.tags["place"], place
        mention.used.update(range(place.i, place.j))

    def find_side(self, mention: Mention, bounds: tuple[int, int]) -> None:
        """Give the mention its side, from its structure or from the words around it inside ``bounds``."""
        place = mention.place_hit
        if place is not None:
            known = self.lexicon.side_of.get(place.tags["place"]) or place.tags.get("laterality")
            ahead = next((h for h in self.places if h.j == place.i), None)  # "left lung | base"
            if ahead is not None and not known:
                known = self.lexicon.side_of.get(ahead.tags["place"])
            if known:
                mention.laterality = known
                return
        best: tuple[int, Hit] | None = None
        for hit in self.hits:
            value = hit.tags.get("laterality")
            if value is None or not (bounds[0] <= hit.i < bounds[1]):
                continue
            distance = self._side_distance(hit, mention)
            if distance is not None and (best is None or distance < best[0]):
                best = (distance, hit)
        if best is not None:
            mention.laterality = best[1].tags["laterality"]
            mention.used.update(range(best[1].i, best[1].j))
        elif place is not None and self.raw[place.j - 1].lower() in _PLURALS:
            mention.laterality = "bilateral"

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
                if len(gap) <= 5 and not any(t.lemma in {"and", "or"} for t in gap) and not mention.normal:
                    distances.append(len(gap) + 2)
        return min(distances, default=None)

    def _nearest(self, mention: Mention, category: str, left: int, right: int) -> str | None:
        best: tuple[int, Hit] | None = None
        for hit in self.hits:
            if category not in hit.tags or hit.i in mention.used or not left <= hit.i < right:
                continue
            if hit.i < mention.i:
                gap = [t.lemma for t in self.tokens[hit.j : mention.i]]
                if category == "severity" and (len(gap) > 6 or any(w in LIST for w in gap)):
                    continue
                distance = len(gap)
            elif hit.i >= mention.j:
                gap = [t.lemma for t in self.tokens[mention.j : hit.i]]
                if category == "severity" and (len(gap) > 4 or any(w in {"and", "or"} for w in gap)):
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
        joined = 0 < len(gap) <= 3 and any(word in LIST for word in gap) and "," not in gap[1:]
        explained = len(gap) <= 8 and bool(_EXPLAINS & set(gap)) and self._in_lung(first) and self._in_lung(second)
        if not joined and not explained:
            return
        if any(h.i >= first.j and h.j <= second.i and "negation_before" in h.tags for h in self.hits):
            return
        if taker.laterality == "unspecified" and taker.place is None:
            taker.laterality = giver.laterality
            taker.place, taker.place_hit = giver.place, giver.place_hit

    def _in_lung(self, mention: Mention) -> bool:
        return load_vocabulary().findings[mention.finding].default_anatomy == "lung"


def _without_numbers(words: list[str]) -> list[str]:
    """The words without counts like "4th and 5th", which join nothing."""
    plain = [word for word in words if not word[0].isdigit() and word not in {"th", "st", "nd", "rd"}]
    return [word for word in plain if word not in {"and", ",", "through"}] if len(plain) < len(words) else plain
