"""Mentions of findings in a clause, and what is attached to them: structure, side, severity, change."""

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
_LIST = frozenset({",", "and", "or", "/", "nor"})
_LOBES = {
    ("upper_lobe", "left"): "left_upper_lobe",
    ("upper_lobe", "right"): "right_upper_lobe",
    ("lower_lobe", "left"): "left_lower_lobe",
    ("lower_lobe", "right"): "right_lower_lobe",
}


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


class Clause:
    """One clause with its hits; finds the mentions and attaches what belongs to them."""

    def __init__(
        self, tokens: Sequence[Token], raw: Sequence[str], hits: list[Hit], bounds: tuple[int, int], lexicon: Lexicon
    ):
        self.tokens = tokens
        self.raw = raw
        self.lexicon = lexicon
        self.start, self.end = bounds
        self.hits = [hit for hit in hits if self.start <= hit.i < self.end]
        self.places = [hit for hit in self.hits if "place" in hit.tags]
        self.taken: set[int] = set()

    def mentions(self) -> list[Mention]:
        """All mentions in order, with attributes."""
        found = [
            Mention(h.tags["finding"], h.i, h.j) for h in self.hits if "finding" in h.tags and "head" not in h.tags
        ]
        walls = sorted([m.i for m in found] + [h.i for h in self.hits if "normal" in h.tags])
        for hit in self.hits:
            if "head" in hit.tags:
                mention = self._resolve_head(hit, walls)
                if mention is not None:
                    found.append(mention)
        found = self._merge_calcified(self._without_doubles(found))
        normals = self._normals(found)
        self._attach(found, [h.i for h in self.hits if "normal" in h.tags])
        return sorted(found + normals, key=lambda m: m.i)

    # -- heads: "enlarged" + heart ------------------------------------------------------------------------------

    def _resolve_head(self, hit: Hit, walls: list[int]) -> Mention | None:
        name = hit.tags["head"]
        table = self.lexicon.heads[name]
        place = self._place_after(hit, table, adjacent=True) or self._place_before(hit, table, walls)
        place = place or self._place_after(hit, table, adjacent=False)
        if place is None:
            alone = self.lexicon.alone.get(name)
            return None if alone is None else Mention(alone, hit.i, hit.j, head=name)
        finding = self.lexicon.finding_at(table, place.tags["place"])
        assert finding is not None
        mention = Mention(finding, hit.i, hit.j, place=place.tags["place"], place_hit=place, head=name)
        mention.used.update(range(place.i, place.j))
        return mention

    def _place_after(self, hit: Hit, table: dict[str, str], *, adjacent: bool) -> Hit | None:
        joiners = {"of", "the", "both", "a", "in", "thoracic", "lateral", "posterior", "to", "left", "right"}
        limit = hit.j + (4 if adjacent else 7)
        at = {h.i: h for h in self.hits}
        k = hit.j
        while k < min(self.end, limit):
            other = at.get(k)
            if other is None:
                word = self.tokens[k].lemma
                joined = word == "and" and k + 1 in at and "head" in at[k + 1].tags
                if word in VERBS or (word in _LIST and not joined) or word in {"with", "(", ":"}:
                    return None
                if adjacent and not joined and word not in joiners:
                    return None
                k += 1
                continue
            if "place" in other.tags and self.lexicon.finding_at(table, other.tags["place"]):
                return other
            if other.tags.get("finding") == "tortuous_aorta" and "aorta" in table:
                return Hit(other.i, other.j, {"place": "aorta"})
            if "finding" in other.tags or "normal" in other.tags or "negation_before" in other.tags:
                return None
            k = other.j
        return None

    def _place_before(self, hit: Hit, table: dict[str, str], walls: list[int]) -> Hit | None:
        wall = max([w for w in walls if w < hit.i], default=-1)
        for place in reversed(self.places):
            if (
                place.i < hit.i
                and place.i > wall
                and hit.i - place.j <= 9
                and self.lexicon.finding_at(table, place.tags["place"])
            ):
                return place
        return None

    def _without_doubles(self, found: list[Mention]) -> list[Mention]:
        """One mention where several words say the same ("borderline enlarged heart", "Mediport catheter")."""
        ancestors = load_vocabulary().ancestors
        result: list[Mention] = []
        for mention in sorted(found, key=lambda m: m.i):
            last = result[-1] if result else None
            if last is not None and self._adjoins(last.j, mention.i):
                if last.finding in ancestors(mention.finding) and (
                    last.place_hit == mention.place_hit or not last.head
                ):
                    result.pop()
                elif mention.finding in ancestors(last.finding) and not mention.head:
                    continue
            result.append(mention)
        return result

    def _adjoins(self, i: int, j: int) -> bool:
        between = self.tokens[i:j]
        return (
            len(between) <= 1
            and not any(t.lemma in _LIST or t.lemma in VERBS for t in between)
            and not any(i <= hit.i < j for hit in self.hits)
        )

    def _merge_calcified(self, found: list[Mention]) -> list[Mention]:
        """Join an adjective head and the finding that it makes special: "calcified left hilar granuloma"."""
        result: list[Mention] = []
        for mention in found:
            before = result[-1] if result else None
            if before is not None and before.head in {"calcified", "sclerotic"} and not before.normal:
                special = self.lexicon.specialise.get(mention.finding, {}).get(before.head)
                gap = range(before.j, mention.i)
                apart = any(
                    self.tokens[k].lemma in _LIST or self.tokens[k].lemma in VERBS or self._is_preposition(k)
                    for k in gap
                )
                if special and len(gap) <= 5 and not apart:
                    result.pop()
                    mention.finding = special
                    mention.used.update(range(before.i, before.j))
            result.append(mention)
        return result

    # -- "the heart and mediastinum are normal" -----------------------------------------------------------------

    def _normals(self, found: list[Mention]) -> list[Mention]:
        made: list[Mention] = []
        consumed: set[int] = set()
        edges = sorted(m.i for m in found)
        for hit in (h for h in self.hits if "normal" in h.tags):
            if hit.i > 0 and self.tokens[hit.i - 1].lemma in {"not", "near", "nearly"}:
                continue
            wall = max([e for e in edges if e < hit.i], default=-1)
            places = [p for p in self.places if wall < p.i < hit.i and p.i not in consumed]
            if not places:
                stop = min([e for e in edges if e >= hit.j], default=self.end)
                places = [p for p in self.places if hit.j <= p.i < stop and p.i not in consumed]
            for place in places:
                consumed.add(place.i)
                finding = self.lexicon.finding_at(self.lexicon.denies, place.tags["place"])
                if finding is not None:
                    made.append(self._denial(finding, place, hit))
        self.taken |= consumed
        return made

    def _denial(self, finding: str, place: Hit, hit: Hit) -> Mention:
        mention = Mention(finding, hit.i, hit.j, normal=True, place=place.tags["place"], place_hit=place)
        mention.used.update(range(place.i, place.j))
        self._side(mention, (self.start, self.end))
        return mention

    # -- attributes ---------------------------------------------------------------------------------------------

    def _attach(self, found: list[Mention], walls: list[int]) -> None:
        for number, mention in enumerate(found):
            left = max([self.start, *(w for w in walls if w < mention.i)])
            if number:
                left = max(left, found[number - 1].j)
            right = min([self.end, *(w for w in walls if w >= mention.j)])
            if number + 1 < len(found):
                right = min(right, found[number + 1].i)
            self._find_place(mention, left, right)
            self._side(mention, (left, right))
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
                if any(self._is_preposition(k) for k in range(mention.j, place.i)) or len(gap) <= 1 or "," in gap:
                    self._take(mention, place)
                return

    def _reaches(self, place: Hit, mention: Mention) -> bool:
        gap = [t.lemma for t in self.tokens[place.j : mention.i]]
        if not any(word in _LIST or word == "with" for word in gap):
            return True
        opens = place.i > self.start and any(
            self._is_preposition(k) for k in range(max(self.start, place.i - 4), place.i)
        )
        return opens and "and" not in gap[1:] and any(word in VERBS for word in gap)

    def _is_preposition(self, k: int) -> bool:
        return any("prepositions" in h.tags and h.i <= k < h.j for h in self.hits)

    def _take(self, mention: Mention, place: Hit) -> None:
        mention.place, mention.place_hit = place.tags["place"], place
        mention.used.update(range(place.i, place.j))

    def _side(self, mention: Mention, bounds: tuple[int, int]) -> None:
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
                if len(gap) <= 6 and not any(t.lemma in _LIST or t.lemma in VERBS for t in gap):
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
                if category == "severity" and (len(gap) > 6 or any(w in _LIST for w in gap)):
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
        joined = 0 < len(gap) <= 3 and any(word in _LIST for word in gap) and "," not in gap[1:]
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

    def anatomy(self, mention: Mention) -> str | None:
        """The anatomy id of the mention's structure, side included for lobes."""
        place = mention.place
        if place is None:
            return None
        place = self.lexicon.structure_anatomy.get(place, place)
        if place == "middle_lobe":
            mention.laterality = "right"
            return "right_middle_lobe"
        if place in {"right_lung", "left_lung"}:
            return "lung"
        return _LOBES.get((place, mention.laterality), place)


def _without_numbers(words: list[str]) -> list[str]:
    """The words without counts like "4th and 5th", which join nothing."""
    plain = [word for word in words if not word[0].isdigit() and word not in {"th", "st", "nd", "rd"}]
    return [word for word in plain if word not in {"and", ",", "through"}] if len(plain) < len(words) else plain
