"""Attachment of structure, side, severity and change to a mention, and how they specialise its finding."""

from __future__ import annotations

from itertools import pairwise

from lgdea.evidence.rules.clauses import VERBS, ClauseContext
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.mention import LIST, Mention
from lgdea.evidence.rules.places import PLURALS, Spot
from lgdea.evidence.rules.sides import Sides
from lgdea.vocabulary import load_vocabulary

_JOINS = LIST | {"versus", "vs"}
_MOSTLY = frozenset({
    "most", "mostly", "more", "greatest", "greater", "predominantly", "predominant", "mainly", "especially", "worse",
    "particularly", "primarily", "worst", "notably", "prominent", "largely",
})  # fmt: skip
_EXPLAINS = frozenset({"represent", "reflect", "suggest", "suggesting", "suggestive", "compatible", "consistent",
                       "representing", "reflecting", "likely"})  # fmt: skip
_NAMES = frozenset({"finding", "head"})
_GIVES = _NAMES | {"prepositions"}
_STOPS = VERBS | {"no", "with", "without", "not", "new"}


class Attachment:
    """Attaches the words of one clause to its mentions."""

    def __init__(self, clause: ClauseContext) -> None:
        self.clause = clause
        self.words, self.hits, self.lexicon = clause.words, clause.hits, clause.lexicon
        self.sides = Sides(clause)
        self._at_span = {hit[:2]: hit for hit in reversed(self.hits)}
        self._prepositions = {k for hit in clause.tagged.get("prepositions", ()) for k in range(hit.i, hit.j)}

    def attach(self, found: list[Mention], walls: list[int]) -> None:
        """Attach to each mention what belongs to it; nothing reaches over a token in ``walls``."""
        for number, mention in enumerate(found):
            left = found[number - 1].j if number else self.clause.start
            right = found[number + 1].i if number + 1 < len(found) else self.clause.end
            for wall in walls:
                if wall < mention.i:
                    left = max(left, wall)
                elif wall >= mention.j:
                    right = min(right, wall)
            if self.sides.spots:
                self._find_place(mention, left, right, found[:number])
            self.sides.find(mention, (left, right))
            mention.severity = self._find_nearest(mention, "severity", left, right) or "unspecified"
            mention.change = self._find_nearest(mention, "change", left, right) or "unspecified"
            self._specialise(mention, left)
            self._forget_chest(mention)
        # On to the next mention and the next ("left basilar effusion and atelectasis"), then back the same way, since a
        # place may also come last ("effusion and atelectasis at the left base").
        for first, second in pairwise(found):
            self._share(first, second)
        for first, second in reversed(list(pairwise(found))):
            self._share(second, first)
        self._share_stability(found)
        for mention in found:
            self._apply_own_words(mention)
        self.sides.attach_leftover_sides(found)

    def _share_stability(self, found: list[Mention]) -> None:
        """Let a whole list be unchanged: "no change in A, B or C", "A, B and C are stable", "unchanged A and B"."""
        for hit in self.clause.tagged.get("change", ()) if len(found) > 1 else ():
            if hit.tags["change"] not in {"stable", "worse", "better"}:
                continue
            words = self.words[hit.i : hit.j + 1]
            listed = [m for m in found if m.i >= hit.j] if hit.i < found[0].i else []
            if {"in", "of"}.isdisjoint(words[-2:]) and hit.tags["change"] != "stable":
                listed = []
            if hit.i >= found[-1].j and self._is_predicate_of_all(hit, found):
                listed = found
            for first, second in pairwise(listed):
                gap = self.words[first.j : second.i]
                if _JOINS.isdisjoint(gap) or not _STOPS.isdisjoint(gap):
                    break
                if second.change == "unspecified" or listed is found:
                    first.change = second.change = hit.tags["change"]

    def _is_predicate_of_all(self, change: Hit, found: list[Mention]) -> bool:
        """Return whether a plural verb makes a change the predicate of the list before it."""
        verbs = set(self.words[found[-1].j : change.j])
        return not verbs.isdisjoint({"are", "were", "have", "remain", "all"}) and all(
            m.change in {"unspecified", change.tags["change"]} for m in found
        )

    def _apply_own_words(self, mention: Mention) -> None:
        """Fill in the structure and side that stand in the finding's own words."""
        hit = self._at_span.get((mention.i, mention.j))
        if hit is None:
            return
        inner = hit.tags.get("inner_place")
        if inner is not None and (mention.place is None or mention.place in self.lexicon.up.get(inner, ())):
            mention.place = inner
        if mention.laterality == "unspecified":
            side = hit.tags.get("laterality") or hit.tags.get("inner_laterality")
            plural = any(word.lower() in PLURALS for word in self.clause.raw[mention.i : mention.j])
            mention.laterality = side or ("bilateral" if plural else "unspecified")
            mention.plural = side is None and plural
        if inner is not None and mention.place == inner and not mention.more:
            self._add_joined_before(mention)

    def _take_inner_side(self, mention: Mention) -> None:
        """Fill in the side that stands in the finding's own words ("bibasilar atelectasis")."""
        hit = self._at_span.get((mention.i, mention.j))
        if mention.laterality == "unspecified" and hit is not None and "inner_laterality" in hit.tags:
            mention.laterality = hit.tags["inner_laterality"]

    def _add_joined_before(self, mention: Mention) -> None:
        """Note the first structure of "right hilar and mediastinal lymphadenopathy"."""
        spot = self.sides.spot_at.get(mention.i - 2)
        if spot is None or spot.j != mention.i - 1 or self.words[spot.j] not in {"and", "or", "/"}:
            return
        if spot.place not in {mention.place, "chest"} and len(spot.siblings) == 1 and not self._is_taken(spot):
            mention.more.append((spot.place, spot.side or "unspecified", None))
            mention.used.update(range(spot.i, spot.j))

    def _is_taken(self, spot: Spot) -> bool:
        """Return whether the words before a structure give it to another finding ("mass in the hilum and ...")."""
        ahead = [h for h in self.hits if h.j <= spot.i and spot.i - h.j <= 3]
        return spot.hit.i in self.sides.taken or any(
            not _NAMES.isdisjoint(h.tags) or "prepositions" in h.tags for h in ahead
        )

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
            (
                s
                for s in reversed(self.sides.spots)
                if left <= s.hit.i and s.hit.j <= mention.i and self._reaches(s, mention)
            ),
            None,
        )
        if before is not None and any(m.place_hit is before.hit for m in earlier):
            gap = set(self.words[before.j : mention.i])
            before = None if gap & _EXPLAINS else before  # left to share_explained
        if after is not None and before is not None and before.side is None and self.words[before.j] == ":":
            before = None  # the label of a row: "airways: opacity in the right base"
        whole = self.lexicon.without_side(before.hit) if before is not None else None
        if after is not None and (before is None or whole in self.lexicon.up.get(after.place, ())):
            self.sides.take(mention, after)
            if before is not None and after.side is None and before.side is not None:
                mention.laterality = before.side
                mention.used.update(range(before.i, before.j))
        elif before is not None:
            self.sides.take(mention, before)

    def _refine(self, mention: Mention, after: Spot | None) -> None:
        """Take the structure that follows a vague head ("increased markings in the left base")."""
        named = self.lexicon.structure_anatomy.get(str(mention.place), mention.place)
        own = self.sides.spot_at.get(mention.place_hit.i) if mention.place_hit is not None else None
        if own is not None and named in self.lexicon.up.get(own.place, ()):
            self.sides.take(mention, own)
        elif after is None or after.hit == mention.place_hit:
            return
        elif named == "lymph_node" and after.side is not None and mention.laterality == "unspecified":
            mention.laterality = after.side
            mention.used.update(range(after.i, after.j))
        elif named in self.lexicon.up.get(after.place, ()):
            self.sides.take(mention, after)

    def _spot_after(self, mention: Mention, right: int) -> Spot | None:
        """The structure that follows, joined by a preposition ("opacity in the left base") or nothing."""
        spot = next((s for s in self.sides.spots if mention.j <= s.i < right and s.hit.i not in self.sides.taken), None)
        if spot is None:
            return None
        gap = _without_numbers(self.words[mention.j : spot.i])
        if "and" in gap or "or" in gap or ("," in gap and len(gap) > 3 and not _MOSTLY & set(gap)):
            return None
        leads_on = any(h.i in {spot.j, spot.j + 1} and not _NAMES.isdisjoint(h.tags) for h in self.hits)
        if leads_on and gap in ([","], ["with"]):
            return None  # "left hilar mass, right paratracheal adenopathy"
        if gap == ["with"] and mention.finding in self.lexicon.sideless:
            return None  # "cardiomegaly with bilateral perihilar haze"
        prepositional = any(self.is_preposition(k) for k in range(mention.j, spot.i))
        return spot if prepositional or len(gap) <= 1 else None

    def _reaches(self, spot: Spot, mention: Mention) -> bool:
        place = spot.hit
        if place.i in self.sides.taken:
            return False
        gap = self.words[place.j : mention.i]
        if not any(word in LIST or word == "with" for word in gap):
            return not {"the", "a", "an"} & set(gap) or any(word in VERBS or word == ":" for word in gap)
        if any(spot.siblings[-1] is s for s in (self.sides.spot_at.get(mention.i - 1),)):
            return True
        opens = place.i > self.clause.start and any(
            self.is_preposition(k) for k in range(max(self.clause.start, place.i - 4), place.i)
        )
        return opens and "and" not in gap[1:] and any(word in VERBS for word in gap)

    def is_preposition(self, k: int) -> bool:
        """Return whether token ``k`` belongs to a preposition."""
        return k in self._prepositions

    def _find_nearest(self, mention: Mention, category: str, left: int, right: int) -> str | None:
        best: tuple[int, Hit] | None = None
        for hit in self.clause.tagged.get(category, ()):
            if hit.i in mention.used or not left <= hit.i < right:
                continue
            if hit.i < mention.i:
                gap = self.words[hit.j : mention.i]
                if category == "severity" and (len(gap) > 6 or any(w in LIST for w in gap)):
                    continue
                if category == "change" and (_EXPLAINS & set(gap) or self._is_said_of_before(hit, left, gap)):
                    continue
                distance = len(gap)
            elif hit.i >= mention.j:
                gap = self.words[mention.j : hit.i]
                if category == "severity" and (len(gap) > 4 or any(w in {"and", "or"} for w in gap)):
                    continue
                if self.sides.leads_on(hit) and hit.i > mention.j:
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

    def _is_said_of_before(self, change: Hit, left: int, gap: list[str]) -> bool:
        """Return whether a change is the predicate of the mention before: "effusion worse, atelectasis better"."""
        return change.i == left > self.clause.start and not {",", "and", "with"}.isdisjoint(gap)

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
            mention.general = mention.finding
            mention.finding = self.lexicon.finding_at(table, mention.place) or mention.finding

    def _share(self, giver: Mention, taker: Mention) -> None:
        """Let joined mentions share what one of them was given: "scarring or atelectasis in the left base"."""
        first, second = (giver, taker) if giver.i < taker.i else (taker, giver)
        gap = self.words[first.j : second.i]
        joined = not gap or (len(gap) <= 3 and not _JOINS.isdisjoint(gap) and "," not in gap[1:])
        if giver is second and not giver.used.isdisjoint(range(first.j, second.i)):
            return  # "edema and small bilateral effusions"
        if not joined or any(h.i >= first.j and h.j <= second.i for h in self.clause.tagged.get("negated", ())):
            return
        self._take_inner_side(taker)
        if (giver.finding in self.lexicon.sideless) != (taker.finding in self.lexicon.sideless):
            return
        if taker.laterality == "unspecified" and taker.place is None:
            self._apply_own_words(giver)
            together = sit_together(giver.finding, taker.finding)
            taker.laterality = giver.laterality if together or not giver.plural else "unspecified"
            in_lung = "lung" in self.lexicon.up.get(str(giver.place), ())
            if together and (in_lung or giver.place_hit is not None):
                taker.place, taker.place_hit, taker.more = giver.place, giver.place_hit, list(giver.more)
            taker.used.update(giver.used | {giver.i, giver.j - 1})


def sit_together(giver: str, taker: str) -> bool:
    """Return whether one structure can hold both findings."""
    findings = load_vocabulary().findings
    usual = {findings[finding].default_anatomy for finding in (giver, taker)} - {None}
    return len(usual) < 2 or usual <= {"lung", "bronchus"}


def _without_numbers(words: list[str]) -> list[str]:
    """The words without counts like "4th and 5th", which join nothing."""
    plain = [word for word in words if not word[0].isdigit() and word not in {"th", "st", "nd", "rd"}]
    return [word for word in plain if word not in {"and", ",", "through"}] if len(plain) < len(words) else plain
