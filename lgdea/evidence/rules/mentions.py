"""Mentions of findings in a clause, also those that stand in two words ("the heart is enlarged", "lungs are clear")."""

from __future__ import annotations

from lgdea.evidence.rules.attachment import Attachment
from lgdea.evidence.rules.clauses import VERBS, ClauseContext
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.mention import LIST, Mention
from lgdea.vocabulary import load_vocabulary

_LOBES = {
    ("upper_lobe", "left"): "left_upper_lobe",
    ("upper_lobe", "right"): "right_upper_lobe",
    ("lower_lobe", "left"): "left_lower_lobe",
    ("lower_lobe", "right"): "right_lower_lobe",
}
_TURNS = frozenset({"not", "longer", "near", "nearly", "previously", "formerly", "cannot", "never", "far", "hardly"})
_DIVIDES = LIST | VERBS | {"with"}
_REACH = 4  # tokens


class Clause:
    """One clause with its hits; finds the mentions and attaches what belongs to them."""

    def __init__(self, context: ClauseContext, around: str | None = None) -> None:
        self.context = context
        self.around = around
        """The structure that the heading or the title names."""
        self.words, self.hits, self.lexicon = context.words, context.hits, context.lexicon
        self.attachment = Attachment(context)
        self.places = [spot.hit for spot in self.attachment.sides.spots]
        self.place_hits = context.tagged.get("place", ())

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
        normals = self._find_normals(found)
        self.attachment.attach(found, [h.i for h in self.hits if "normal" in h.tags])
        return sorted(found + normals, key=lambda m: m.i)

    # -- heads: "enlarged" + heart ------------------------------------------------------------------------------

    def _resolve_head(self, hit: Hit, walls: list[int]) -> Mention | None:
        name = hit.tags["head"]
        table = self.lexicon.heads[name]
        place = self._place_after(hit, table, adjacent=True) or self._place_before(hit, table, walls)
        place = place or self._place_after(hit, table, adjacent=False)
        if place is None:
            known = self.lexicon.finding_at(table, self.around) if self.around is not None else None
            alone = known or self.lexicon.alone.get(name)
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
        while k < min(self.context.end, limit):
            other = at.get(k)
            if other is None:
                word = self.words[k]
                joined = word == "and" and k + 1 in at and "head" in at[k + 1].tags
                if word in VERBS or (word in LIST and not joined) or word in {"with", "(", ":"}:
                    return None
                if adjacent and not joined and word not in joiners:
                    return None
                k += 1
                continue
            if "place" in other.tags and self.lexicon.finding_at(table, other.tags["place"]):
                return self._last_node(other, table)
            if other.tags.get("finding") == "tortuous_aorta" and "aorta" in table:
                return Hit(other.i, other.j, {"place": "aorta"})
            if "finding" in other.tags or "normal" in other.tags or "negated" in other.tags:
                return None
            k = other.j
        return None

    def _last_node(self, place: Hit, table: dict[str, str]) -> Hit:
        """The lymph nodes at the end of "mediastinal, hilar or axillary lymph nodes", which carry the adjective."""
        spot = self.attachment.sides.spot_at.get(place.i)
        last = spot.siblings[-1].hit if spot is not None else place
        return last if last.tags["place"] == "lymph_node" and "lymph_node" in table else place

    def _place_before(self, hit: Hit, table: dict[str, str], walls: list[int]) -> Hit | None:
        wall = max([w for w in walls if w < hit.i], default=-1)
        for place in reversed(self.place_hits):
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
        between = self.words[i:j]
        return len(between) <= 1 and _DIVIDES.isdisjoint(between) and not any(i <= hit.i < j for hit in self.hits)

    def _merge_calcified(self, found: list[Mention]) -> list[Mention]:
        """Join an adjective head and the finding that it makes special: "calcified left hilar granuloma"."""
        result: list[Mention] = []
        for mention in found:
            before = result[-1] if result else None
            if before is not None and before.head in {"calcified", "sclerotic"} and not before.normal:
                special = self.lexicon.specialise.get(mention.finding, {}).get(before.head)
                gap = range(before.j, mention.i)
                apart = any(
                    self.words[k] in LIST or self.words[k] in VERBS or self.attachment.is_preposition(k) for k in gap
                )
                if special and len(gap) <= 5 and not apart:
                    result.pop()
                    mention.finding = special
                    mention.used.update(range(before.i, before.j))
            result.append(mention)
        return result

    # -- "the heart and mediastinum are normal" -----------------------------------------------------------------

    def _find_normals(self, found: list[Mention]) -> list[Mention]:
        made: list[Mention] = []
        consumed: set[int] = set()
        edges = sorted([m.i for m in found])
        for hit in [h for h in self.hits if "normal" in h.tags or "denial" in h.tags]:
            if self._is_turned(hit):
                continue
            wall = max([e for e in edges if e < hit.i], default=-1)
            wall = max(wall, self._subject_start(hit.i) - 1)
            places = [p for p in self.places if wall < p.i < hit.i and p.i not in consumed]
            table = self._denied_by(hit)
            if "normal" not in hit.tags:  # "the trachea is central"
                places = [p for p in places if self.lexicon.finding_at(table, p.tags["place"])]
            elif not places and (side := self._side_before(hit)) is not None:
                made.extend(self._deny_side(hit, side, table))
            elif not places:
                stop = min([e for e in edges if e >= hit.j], default=self.context.end)
                places = [p for p in self.places if hit.j <= p.i < stop and p.i not in consumed]
            for place in places:
                consumed.add(place.i)
                finding = self.lexicon.finding_at(table, place.tags["place"])
                if finding is not None:
                    made.append(self._make_denial(finding, place, hit))
        self.attachment.sides.taken |= consumed
        return made

    def _denied_by(self, hit: Hit) -> dict[str, str]:
        """What a word that says "normal" denies, by structure."""
        denial = hit.tags.get("denial")
        if denial is None:
            return self.lexicon.denies
        own = self.lexicon.denies_with[denial]
        return {**self.lexicon.denies, **own} if "normal" in hit.tags else own

    def _subject_start(self, end: int) -> int:
        """Where the subject of "the chest is normal" begins behind what else the clause names.

        "Apart from a nodule in the lingula | the chest is normal."
        """
        for k in range(end - 1, self.context.start, -1):
            if self.words[k] == "the" and any(p.j == k for p in self.place_hits):
                return k
        return self.context.start

    def _side_before(self, hit: Hit) -> str | None:
        """The side of "left clear" in "CP angles: right blunted, left clear"."""
        at = hit.i - 1 if self.words[hit.i - 1 : hit.i] == [":"] else hit.i
        before = next((other.tags for other in self.hits if other.j == at), {})
        return None if "place" in before else before.get("laterality")

    def _deny_side(self, hit: Hit, side: str, table: dict[str, str]) -> list[Mention]:
        """The denial at one side of the structure that was named before, in the clause or by the heading."""
        place = next((place for place in reversed(self.place_hits) if place.j < hit.i), None)
        if place is None and self.around is not None:
            place = Hit(hit.i, hit.j, {"place": self.around})
        finding = None if place is None else self.lexicon.finding_at(table, place.tags["place"])
        if place is None or finding is None:
            return []
        mention = self._make_denial(finding, place, hit)
        mention.laterality = side
        return [mention]

    def _is_turned(self, normal: Hit) -> bool:
        """Return whether the words before say the contrary: "not entirely clear", "the previously clear base"."""
        k = normal.i - 1
        if "change" in normal.tags and self.words[k] in {"has", "have"}:
            return True  # "the heart has not increased in size"
        while k >= max(self.context.start, normal.i - _REACH):
            if self.words[k] in _TURNS:
                return True
            if self.words[k] in LIST or any(h.i <= k < h.j and "place" in h.tags for h in self.hits):
                return False
            k -= 1
        return False

    def _make_denial(self, finding: str, place: Hit, hit: Hit) -> Mention:
        mention = Mention(finding, hit.i, hit.j, normal=True, place=place.tags["place"], place_hit=place)
        mention.used.update(range(place.i, place.j))
        self.attachment.sides.find(mention, (self.context.start, self.context.end))
        return mention

    def may_have_side(self, mention: Mention) -> bool:
        """Return whether a finding can be on one side of the body."""
        return self.attachment.sides.may_have_side(mention)

    def is_on_both_sides(self, mention: Mention) -> bool:
        """Return whether the plural of a finding says both sides ("small pleural effusions")."""
        return mention.finding == "pleural_effusion" and self.context.raw[mention.j - 1].lower() == "effusions"

    def anatomy(self, place: str | None, side: str) -> tuple[str | None, str]:
        """The anatomy id of a structure and its side, both as the names of lobes tell them."""
        if place is None:
            return None, side
        place = self.lexicon.structure_anatomy.get(place, place)
        if place == "middle_lobe":
            return "right_middle_lobe", "right"
        if place in {"right_lung", "left_lung"}:
            return "lung", side
        return _LOBES.get((place, side), place), side
