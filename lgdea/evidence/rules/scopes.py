"""Assertion of the mentions of a clause: which of them each cue reaches (after NegEx and ConText).

A forward cue reaches what follows until its scope is terminated; a backward cue reaches the subject of the predicate
that it belongs to. The subject is the coordinated row of noun phrases before the predicate, without what hangs on them
by a preposition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lgdea.evidence.rules.clauses import VERBS, ClauseContext
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.mention import LIST, Mention

KINDS = frozenset({"hypothetical", "advice", "history", "resolved", "negated", "uncertain", "hedged", "prior"})
_NOT_NOW = frozenset({"hypothetical", "advice", "history"})
_ALTERNATIVES = frozenset({"versus", "vs"})  # both sides are uncertain
# "Opacity compatible with pneumonia in the appropriate clinical setting": the opacity is there.
_EXPLAINS = frozenset({"represent", "representing", "reflect", "reflecting", "compatible", "consistent", "suggest",
                       "suggesting", "suggestive", "due", "secondary"})  # fmt: skip
_COPULAS = frozenset({"is", "are", "be", "been", "was", "were", "not", "also", "remain", "appear"})
_ADVERBS = frozenset({"now", "completely", "nearly", "since", "interval", "essentially", "fully", "also", "apparently",
                      "subsequently", "all", "both", "then", "largely"})  # fmt: skip
_ARTICLES = frozenset({"the", "this", "these", "known", "that"})
_PLACED = frozenset({"placement", "insertion"})
_BOXES = frozenset({"checked", "unchecked"})
_PARTS = frozenset({"tip", "end", "course", "position", "margin", "border", "extent", "cause", "source", "size"})
_SIZES = frozenset({"mm", "cm"})
_EVIDENCE = frozenset({
    "evidence", "sign", "finding", "indication", "suggestion", "feature", "appearance", "trace", "recurrence", "part",
    "absence", "lack", "free", "clear", "devoid", "residual", "remnant", "reaccumulation", "visualization", "negative",
})  # fmt: skip
_LINKS = frozenset({"of", "for", "to"})  # prepositions that a scope passes


class AssertionDecision(NamedTuple):
    """The assertion with the tokens that decided it; ``assertion`` is None when the mention is no finding of now."""

    assertion: str | None
    change: str
    refers_to_prior: bool
    triggers: tuple[int, ...]


def decide_assertions(clause: ClauseContext, mentions: Sequence[Mention]) -> list[AssertionDecision]:
    """Decide what a clause asserts of each of its mentions, which are in order."""
    scopes = Scopes(clause, mentions)
    decided = [_decide(mention, scopes.effects[number]) for number, mention in enumerate(mentions)]
    for number in scopes.labels():
        decided[number] = decided[number]._replace(assertion=None)
    return decided


def _decide(mention: Mention, found: Mapping[str, int]) -> AssertionDecision:
    if not _NOT_NOW.isdisjoint(found) or (mention.normal and "prior" in found):
        return AssertionDecision(None, mention.change, "prior" in found, ())
    triggers = tuple([found[key] for key in ("resolved", "negated", "uncertain", "hedged") if key in found])
    if mention.normal:
        return AssertionDecision("absent", "unspecified", False, triggers)
    if "resolved" in found:
        return AssertionDecision("absent", "resolved", True, triggers)
    if "negated" in found and "hedged" not in found:
        change = "unspecified" if mention.change in {"new", "worse", "better"} else mention.change
        return AssertionDecision("absent", change, "prior" in found, triggers)
    refers = "prior" in found or mention.change in {"stable", "worse", "better"}
    return AssertionDecision(
        "uncertain" if found.keys() & {"uncertain", "hedged"} else "present", mention.change, refers, triggers
    )


class Scopes:
    """What the cues of one clause reach.

    ``effects`` holds for each mention the kinds of the cues that reach it, each with the cue's token nearest to it.
    """

    def __init__(self, clause: ClauseContext, mentions: Sequence[Mention]) -> None:
        self.clause = clause
        self.words = clause.words
        self.at = {hit.i: hit for hit in clause.hits}
        self.mentions = mentions
        self.number_at = {k: n for n, m in enumerate(mentions) for k in range(m.i, m.j)}
        self.effects: list[dict[str, int]] = [{} for _ in mentions]
        for hit in clause.hits:
            for kind in hit.tags:
                if kind in KINDS:
                    for number in self._reached(hit, kind):
                        nearest = hit.i if hit.j <= mentions[number].i else hit.j - 1
                        # Of "[ ] Heart normal" nobody says what the heart is.
                        is_open = hit.tags[kind] == "box" and mentions[number].normal
                        self.effects[number].setdefault("hypothetical" if is_open else kind, nearest)

    def labels(self) -> list[int]:
        """Return the mentions that only say what their row is about: "Fracture: no acute fracture"."""
        named = [mention.finding for mention in self.mentions]
        return [
            n for n, m in enumerate(self.mentions) if self.words[m.j : m.j + 1] == [":"] and m.finding in named[n + 1 :]
        ]

    def _reached(self, cue: Hit, kind: str) -> list[int]:
        """Return the numbers of the mentions that a cue reaches."""
        direction = cue.tags[kind]
        if self.words[cue.i] in _ALTERNATIVES:
            return [n for n, m in enumerate(self.mentions) if not self._is_beside(cue, m)]
        if direction == "box":
            return self._entry(cue.i)
        if direction == "adjacent":
            return [n for n, m in enumerate(self.mentions) if m.j == cue.i]
        if direction == "backward" or (direction == "either" and self._is_predicate(cue, kind)):
            return self._subject(cue, kind)
        if kind == "resolved":
            return self._row(cue.j)
        end = self._end(cue, kind)
        ahead = [(n, m.i) for n, m in enumerate(self.mentions) if cue.j <= m.i < end]
        return [n for n, i in ahead if not self._is_past(cue, kind, i)]

    def _is_past(self, cue: Hit, kind: str, i: int) -> bool:
        """Return whether a forward cue of a kind says nothing of the mention at token ``i`` inside its scope."""
        gap = self.words[cue.j : i]
        if kind == "history" and not _PLACED.isdisjoint(self.words[self._end_of(i) : self._end_of(i) + 1]):
            return True  # "status post chest tube placement": the tube is there
        if kind == "history" and self.mentions[self.number_at[i]].finding in self.clause.lexicon.operations:
            return True
        if kind == "history":
            return "," in gap or ("with" in gap and self.words[cue.i] in {"status", "statuspost"})
        if kind == "advice":  # of what has an article or a size, "follow-up of the 8 mm nodule"
            return not (_ARTICLES | _SIZES).isdisjoint(gap)
        if kind == "uncertain":  # a comma that is not part of an either-or list
            return "," in gap and "or" not in gap and _ALTERNATIVES.isdisjoint(gap) and len(gap) > 6
        return False

    def _end_of(self, i: int) -> int:
        return self.mentions[self.number_at[i]].j

    def _entry(self, box: int) -> list[int]:
        """Return the mentions that a check box belongs to: those up to the next box, or from the one before."""
        boxes = [k for k in range(self.clause.start, self.clause.end) if self.words[k] in _BOXES]
        leading = not self.mentions or boxes[0] < self.mentions[0].i
        if leading:
            start, end = box, min((k for k in boxes if k > box), default=self.clause.end)
        else:
            start, end = max((k for k in boxes if k < box), default=self.clause.start), box
        return [n for n, m in enumerate(self.mentions) if start <= m.i < end]

    # -- forward ------------------------------------------------------------------------------------------------

    def _end(self, cue: Hit, kind: str) -> int:
        """Return the token before which the scope of a forward cue ends.

        Terminators end it, and a preposition that leads to another finding ("no pneumothorax adjacent to the rib
        fractures"); one that leads to a place does not ("no effusion in the right chest or pneumothorax").
        """
        if kind in {"hypothetical", "advice", "history", "prior"}:
            return self.clause.end
        reached = False
        k = cue.j
        while k < self.clause.end:
            hit = self.at.get(k)
            if hit is not None and (
                hit.tags.get("terminate") in {"any", kind} or hit.tags.get("resolved") == "forward"
            ):
                return k
            if hit is not None and hit.tags.get("change") == "new" and reached and self.words[k] != "new":
                return k
            number = self.number_at.get(k)
            if number is not None:
                reached = True
                k = self.mentions[number].j
                continue
            if hit is not None and "terminate" in hit.tags:
                k = hit.j
                continue
            if self._leads_away(cue, k, reached):
                return k
            if self.words[k] == "with" and k > cue.j and self.words[k - 1] in {"and", "but"}:
                return k
            k += 1
        return k

    def _leads_away(self, cue: Hit, k: int, reached: bool) -> bool:
        """Return whether a preposition leads from what the cue speaks of to a finding that it does not reach.

        "No pneumothorax adjacent to the rib fractures", "no cavitation of the mass" (but "no evidence of the mass").
        """
        word = self.words[k]
        if word == "with":
            opens = reached or ("negated" in cue.tags and k > cue.j + 1 and self.words[k - 1] not in _EXPLAINS)
            return opens and self._leads_to_finding(k + 1) and self._is_own(k + 1)
        if not self._is_preposition(k) or k == cue.j or (word == "from" and "uncertain" in cue.tags):
            return False
        definite = k + 1 < self.clause.end and self.words[k + 1] in _ARTICLES
        of_property = definite and "negated" in cue.tags and _EVIDENCE.isdisjoint(self.words[cue.i : k])
        opens = of_property or (reached and word not in _LINKS)
        return opens and self._leads_to_finding(k + 1)

    def _is_own(self, k: int) -> bool:
        """Return whether the noun phrase at token ``k`` is a statement: it has an article, or is a device."""
        if self.words[k] in _ARTICLES | {"a", "an"}:
            return True
        number = next((self.number_at[n] for n in range(k, self.clause.end) if n in self.number_at), None)
        return number is not None and self.mentions[number].finding in self.clause.lexicon.standing

    def _is_preposition(self, k: int) -> bool:
        hit = self.at.get(k)
        return hit is not None and "prepositions" in hit.tags

    def _leads_to_finding(self, k: int) -> bool:
        """Return whether the noun phrase at token ``k`` names a finding; its adjectives and places may be joined."""
        if k < self.clause.end and self.words[k] in LIST:
            return False
        while k < self.clause.end:
            if k in self.number_at:
                return True
            word = self.words[k]
            if word in VERBS or word in {"with", "(", ":", "seen", ","} or (self._is_preposition(k) and word != "of"):
                return False
            k += 1
        return False

    def _row(self, k: int) -> list[int]:
        """Return the coordinated mentions directly behind token ``k``: "removal of the NG and ET tubes"."""
        row: list[int] = []
        joined = True
        while k < self.clause.end:
            number = self.number_at.get(k)
            word = self.words[k]
            hit = self.at.get(k)
            if number is not None:
                if not joined:
                    break
                row.append(number)
                joined = False
                k = self.mentions[number].j
                continue
            if word in {"and", "or", "/", ","}:
                joined = True
            elif (
                (word in VERBS and row)
                or word in {"with", "("}
                or (hit is not None and _opens_scope(hit))
                or (row and not joined and word in {"the", "a", "an"} and not self._is_preposition(k - 1))
                or (self._is_preposition(k) and word != "of" and self._leads_to_finding(k + 1))
            ):
                break
            k += 1
        return row

    def _is_beside(self, cue: Hit, mention: Mention) -> bool:
        """Return whether a comma keeps a mention out of alternatives ("airspace disease, edema versus pneumonia")."""
        first, last = sorted([(mention.i, mention.j), (cue.i, cue.j)])
        if not any(first[1] <= other.i < last[0] for other in self.mentions):
            return False
        gap = set(self.words[first[1] : last[0]])
        return ":" in gap or ("," in gap and "or" not in gap)

    # -- backward -----------------------------------------------------------------------------------------------

    def _is_predicate(self, cue: Hit, kind: str) -> bool:
        """Return whether a cue like "possible" or "resolved" speaks of its subject, not of the noun behind it."""
        if not self._has_mention_before(cue.i):
            return False
        if not self._leads_to_finding(cue.j):
            return True
        k = cue.i - 1
        while k >= self.clause.start and self.words[k] in _ADVERBS:
            k -= 1
        if k < self.clause.start:
            return False
        return kind == "resolved" and (k in self.number_at or self.words[k] in _COPULAS | {"has", "have", "had"})

    def _subject(self, cue: Hit, kind: str) -> list[int]:
        """Return the mentions in the row of noun phrases that is the subject of a backward cue."""
        is_value = self.words[cue.i] in {":", "=", "|", "-", "...", "?"}
        found: list[int] = []
        row_goes_on = True
        k = cue.i - 1
        while k >= self.clause.start:
            number = self.number_at.get(k)
            word = self.words[k]
            hit = self.at.get(k)
            if number is not None:
                if not row_goes_on:
                    break
                if not self._is_part(self.mentions[number]):
                    found.append(number)
                row_goes_on = is_value
                k = self.mentions[number].i - 1
                continue
            if word in {"and", "or", "/", "nor"}:
                row_goes_on = True
            elif word == "," and found:
                row_goes_on = row_goes_on or self._is_list(k, cue.i)
                if not row_goes_on:
                    break
            elif word == "," and cue.tags.get(kind) == "backward" and self.words[cue.i] == "none":
                return []  # "effusion on the left, none on the right"
            elif kind == "uncertain" and word in _EXPLAINS | {"with"} and self.words[k - 1] in _EXPLAINS:
                break
            elif found and not is_value and self._hangs_on(k):
                found, row_goes_on = [], True
            elif (kind == "uncertain" and word in _EXPLAINS) or (
                found and (word in VERBS or (hit is not None and _closes(hit)))
            ):
                break
            k -= 1
        return found

    def _hangs_on(self, k: int) -> bool:
        """Return whether a preposition hangs what follows on a mention before it."""
        word = self.words[k]
        return word != "of" and (self._is_preposition(k) or word == "with") and self._has_mention_before(k)

    def _is_part(self, mention: Mention) -> bool:
        """Return whether only a part of the mention is spoken of: "the tip of the feeding tube is not seen"."""
        before = self.words[max(self.clause.start, mention.i - 4) : mention.i]
        named = "of" in before and not _PARTS.isdisjoint(before[: before.index("of")])
        return named or not _PARTS.isdisjoint(self.words[mention.j : mention.j + 1])

    def _is_list(self, comma: int, end: int) -> bool:
        return any(word in {"and", "or", "nor"} for word in self.words[comma + 1 : end])

    def _has_mention_before(self, k: int) -> bool:
        return bool(self.mentions) and self.mentions[0].j <= k


def _opens_scope(hit: Hit) -> bool:
    return any(kind in hit.tags for kind in ("negated", "uncertain", "resolved")) or hit.tags.get("change") == "new"


def _closes(hit: Hit) -> bool:
    """Return whether a cue is the end of a statement before."""
    cue = any(hit.tags.get(kind) in {"backward", "either"} for kind in ("negated", "uncertain", "resolved"))
    return cue or hit.tags.get("pseudo") == "value"
