"""Clauses of a sentence: the stretches over which a negation or a structure can reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.lexicon import Lexicon
from lgdea.evidence.rules.tokens import Token

VERBS = frozenset({
    "is", "are", "was", "were", "be", "been", "appear", "remain", "show", "demonstrate", "has", "have", "there",
    "contain", "measure", "reveal", "represent", "seem",
})  # fmt: skip
_SEEN = frozenset({
    "seen", "identified", "noted", "present", "visualized", "visualised", "evident", "demonstrated", "appreciated",
    "detected", "observed",
})  # fmt: skip
_THERE = VERBS | {"may", "might", "could"}
_DOUBTED = frozenset({
    "possible", "likely", "probable", "suspected", "questionable", "not", "doubtful", "considered", "suggested",
    "unlikely", "also", "seen", "difficult", "hard",
})  # fmt: skip
_LUNG_PARTS = frozenset({
    "lung_base", "lung_apex", "upper_lobe", "lower_lobe", "middle_lobe", "upper_zone", "middle_zone", "lower_zone",
    "lingula", "retrocardiac",
})  # fmt: skip
_CAUSES = frozenset({"due", "secondary", "because", "related"})
_JOINTS = frozenset({",", "and", "with"})
_NAMES = frozenset({"finding", "head"})
_STATES = frozenset({"finding", "head", "normal"})
_GRADES = frozenset({"severity", "change", "laterality"})
_EXPLAINS = frozenset({"consistent", "compatible", "suggesting", "suggestive", "representing", "reflecting"})
_SUPPOSES = frozenset({
    "likely", "probably", "probable", "possible", "possibly", "presumably", "presumed", "suspected", "favored",
    "perhaps", "suspicious", "suggestive", "compatible", "consistent", "concerning", "questionable", "representing",
})  # fmt: skip
"""Words with which an explanation of what was seen begins."""
_LEADS = frozenset({"most", "more", "very", "instead", "but", "rather", "in", "finding", "appearance", "the", "a"})
_KEEPING = ["in", "keeping"]
_DEFINITE = frozenset({"definite", "definitely", "known", "old", "obvious", "apparent", "healed", "status"})


@dataclass(slots=True)
class ClauseContext:
    """One clause, tokens ``start`` to ``end`` of its sentence, with what all its readers need.

    ``tokens``, their lemmas ``words`` and their spellings ``raw`` are the sentence's, ``hits`` the clause's alone;
    ``tagged`` lists the hits of each category that there is.
    """

    tokens: Sequence[Token]
    words: list[str]
    raw: Sequence[str]
    hits: list[Hit]
    tagged: Mapping[str, list[Hit]]
    start: int
    end: int
    lexicon: Lexicon


def read_clauses(
    tokens: Sequence[Token], raw: Sequence[str], hits: Sequence[Hit], lexicon: Lexicon
) -> list[ClauseContext]:
    """Split a sentence into its clauses, each with its own hits."""
    words = [token.lemma for token in tokens]
    result = []
    for start, end in split_clauses(tokens, words, hits, lexicon):
        own = [hit for hit in hits if start <= hit.i < end]
        result.append(ClauseContext(tokens, words, raw, own, _by_tag(own), start, end, lexicon))
    return result


def _by_tag(hits: Sequence[Hit]) -> Mapping[str, list[Hit]]:
    tagged: dict[str, list[Hit]] = {}
    for hit in hits:
        for tag in hit.tags:
            tagged.setdefault(tag, []).append(hit)
    return tagged


def split_clauses(
    tokens: Sequence[Token], words: Sequence[str], hits: Sequence[Hit], lexicon: Lexicon
) -> list[tuple[int, int]]:
    """Find the token ranges of the clauses.

    A semicolon, "there is" or a word like "but" always starts a clause. A comma, "and" or "with" does when what
    follows stands on its own: it has a verb or a predicate, or after a negation praises, grades or places a new finding
    or names one that nobody lists among the denied ("no effusion, stable cardiomegaly", "no effusion, COPD").
    "No effusion and pneumothorax is seen" stays whole. Where each has its own "no", what has none is there ("no
    effusion / no mass / cardiomegaly").
    """
    starts = {hit.i for hit in hits}
    ends = [0]
    joints = [k for k, word in enumerate(words) if word in _JOINTS and k not in starts]
    if "/" in words:
        slashes = [k for k, word in enumerate(words) if word == "/" and _stands_apart(tokens, k)]
        joints = sorted([*joints, *slashes])
    hard = {hit.i for hit in hits if "breaks" in hit.tags and not _is_hedged_cause(tokens, hits, hit)}
    if ";" in words or "there" in words:
        hard |= {k for k, word in enumerate(words) if word == ";" or (word == "there" and _says_that(words, hits, k))}
    hard |= {hit.i for hit in hits if "terminate" in hit.tags and _is_denied_before(hits, hit)}
    if not joints and not hard:
        return [(0, len(tokens))]
    stops = sorted(set(joints) | hard | {len(tokens)})
    for number, k in enumerate(stops[:-1]):
        if k in hard:
            ends.append(k)
            continue
        start = ends[-1]
        if not any(start <= hit.i < k and _is_statement(hit) for hit in hits):
            continue
        rest = next((stop for stop in stops[number + 1 :] if stop in hard), len(tokens))
        if _Joint(tokens, words, hits, lexicon, (start, k, stops[number + 1], rest)).separates():
            ends.append(k)
    ends.append(len(tokens))
    return [(a, b) for a, b in pairwise(ends) if b > a]


def _stands_apart(tokens: Sequence[Token], k: int) -> bool:
    """Return whether blanks stand on both sides of a token: "no effusion / no mass"."""
    return 0 < k < len(tokens) - 1 and tokens[k - 1].end < tokens[k].start and tokens[k].end < tokens[k + 1].start


def _says_that(words: Sequence[str], hits: Sequence[Hit], k: int) -> bool:
    """Return whether a new statement begins with "there is" behind one that is complete."""
    if k == 0 or words[k - 1] == "previously" or _THERE.isdisjoint(words[k + 1 : k + 2]):
        return False
    named = [hit.i for hit in hits if _NAMES & hit.tags.keys()]
    doubted = not _DOUBTED.isdisjoint(words[k + 2 : k + 3])  # "a small effusion there is possible"
    return any(i < k for i in named) and (not doubted or any(i > k for i in named))


def _is_denied_before(hits: Sequence[Hit], end: Hit) -> bool:
    """Return whether a terminator divides a denied finding from another: "no effusion after removal of the drain"."""
    denied = next((hit.i for hit in hits if negates_ahead(hit)), end.i)
    named = [hit.i for hit in hits if not _NAMES.isdisjoint(hit.tags)]
    return any(denied < i < end.i for i in named) and any(i > end.i for i in named)


class _Joint:
    """A comma, "and" or "with" between what was said since the last clause and the words up to the next joint."""

    def __init__(
        self,
        tokens: Sequence[Token],
        words: Sequence[str],
        hits: Sequence[Hit],
        lexicon: Lexicon,
        span: tuple[int, int, int, int],
    ) -> None:
        start, self.at, self.end, rest = span
        self.tokens, self.lexicon = tokens, lexicon
        self.before = [hit for hit in hits if start <= hit.i < self.at]
        self.after = [hit for hit in hits if self.at < hit.i < self.end]
        self.words = words[self.at + 1 : self.end]
        self.comma_before = "," in words[start : self.at]
        self.said = words[start : self.at]
        self.mark = words[self.at]
        self.comma = self.mark == "," and self.end == len(words)
        self.goes_on = not {"or", "nor", "/"}.isdisjoint(words[self.at + 1 : rest])

    def separates(self) -> bool:
        """Return whether a new clause begins here; what stands before is a statement."""
        if self.mark == "/" or self._is_exception():
            return self._is_exception() or self._praises() or self._is_apart()
        verb = next((n for n, word in enumerate(self.words) if word in VERBS), None)
        if verb is not None:
            return self._has_own_verb(verb)
        if self.words[:2] == _KEEPING:
            return any(map(negates_ahead, self.before))
        return self._praises() or (any(map(_is_named, self.after)) and self._is_outside())

    def _praises(self) -> bool:
        """Return whether a structure that follows is normal."""
        return any("normal" in hit.tags for hit in self.after) and any("place" in hit.tags for hit in self.after)

    def _is_apart(self) -> bool:
        """Return whether what follows a denial is no part of a list of denied ones."""
        is_old = any(hit.tags.get("change") == "stable" for hit in self.after)
        return any(map(negates_ahead, self.before)) and (is_old or self._stands_by_itself())

    def _is_exception(self) -> bool:
        """Return whether all that was named before has a "no" of its own, and what follows has none."""
        if self.mark not in {",", "/"} or not any(map(_is_named, self.after)) or any(map(negates_ahead, self.after)):
            return False
        denials = sum(map(negates_ahead, self.before))
        return denials > 1 and denials >= sum(map(_is_named, self.before)) and {"or", "nor"}.isdisjoint(self.words)

    def _has_own_verb(self, verb: int) -> bool:
        if verb == 0 and self.comma_before and self.mark == ",":
            return False  # "the effusion, seen in March, has cleared"
        if _joins_subjects(self.tokens, self.before, self.after, self.at, self.at + 1 + verb):
            return False
        seen = not _SEEN.isdisjoint(self.words[verb : verb + 4]) and "there" not in self.words[: verb + 1]
        return not (seen and any(map(negates_ahead, self.before))) or self._is_graded()

    def _is_outside(self) -> bool:
        """Return whether the finding that follows is outside the scopes that were opened before."""
        word = self.mark
        resolved = {hit.tags.get("resolved") for hit in self.before}
        if word != "and" and "backward" in resolved:
            return True
        uncertain = [hit for hit in self.before if "uncertain" in hit.tags]
        if uncertain and word == "with" and self.tokens[self.at - 1].lemma == ",":
            return True
        if not self.goes_on and any(hit.tags["uncertain"] == "either" for hit in uncertain):
            first = self.after[0].tags
            return self._is_definite() or "change" in first or (word != "," and "severity" in first)
        if not self.goes_on and any(map(negates_ahead, self.before)):
            return self._is_new(word)
        return not self.goes_on and self._is_graded() and not resolved.isdisjoint({"forward", "either"})

    def _is_new(self, word: str) -> bool:
        """Return whether what follows in the scope of a cue is a statement of its own."""
        if word == "," and (self._supposes() or self.words[:1] == ["the"]):
            return True
        closed = word == "," and not {"or", "nor"}.isdisjoint(self.said)
        with_article = word == "with" and self.words[:1] in (["the"], ["a"], ["an"], ["this"])
        says = closed or with_article or not _EXPLAINS.isdisjoint(self.words) or self._has_predicate()
        return says or self._is_graded() or self._is_placed() or self._stands_by_itself()

    def _supposes(self) -> bool:
        """Return whether what follows explains what was not there: "no consolidation, most likely bronchitis"."""
        first = next((word for word in self.words if word not in _LEADS), "")
        return first in _SUPPOSES or self.words[:2] == _KEEPING

    def _is_definite(self) -> bool:
        return not _DEFINITE.isdisjoint(self.words[:2])

    def _is_graded(self) -> bool:
        first = self.after[0].tags if self.after else {}
        return self._is_definite() or ("negated" not in first and not _GRADES.isdisjoint(first))

    def _has_predicate(self) -> bool:
        """Return whether a structure is followed by its participle ("heart mildly enlarged")."""
        heads = [hit for hit in self.after if "head" in hit.tags]
        return bool(heads) and "place" in self.after[0].tags and self.tokens[heads[0].j - 1].lemma.endswith("ed")

    def _is_placed(self) -> bool:
        """Return whether the finding has a side ("linear scarring at the left base"), or is of a part of the lung."""
        first = self.after[0] if self.after else None
        if self.comma and first is not None and first.i == self.at + 1 and first.tags.get("place") in _LUNG_PARTS:
            return True
        return any({"laterality", "inner_laterality"} & hit.tags.keys() for hit in self.after)

    def _stands_by_itself(self) -> bool:
        return any(
            hit.tags.get("finding") in self.lexicon.standing or hit.tags.get("head") in self.lexicon.standing
            for hit in self.after
        )


def _is_hedged_cause(tokens: Sequence[Token], hits: Sequence[Hit], hit: Hit) -> bool:
    """Return whether a cause is only suspected ("may be secondary to"), so that the doubt reaches over it."""
    return tokens[hit.i].lemma in _CAUSES and any(
        0 <= hit.i - other.j <= 1 and "uncertain" in other.tags for other in hits
    )


def _joins_subjects(tokens: Sequence[Token], before: list[Hit], after: list[Hit], joint: int, verb: int) -> bool:
    """Return whether "and" joins two subjects of one verb: "effusion and atelectasis have resolved"."""
    if tokens[joint].lemma != "and" or not after or tokens[verb].lemma == "there":
        return False
    if any(tokens[k].lemma in VERBS for hit in before[:1] for k in range(hit.i, joint)):
        return False
    if any("normal" in hit.tags or negates_ahead(hit) for hit in before):
        return False
    named = [hit for hit in after if hit.i < verb]
    return any("finding" in hit.tags for hit in named) and "finding" in before[-1].tags


def _is_named(hit: Hit) -> bool:
    return not _NAMES.isdisjoint(hit.tags)


def _is_statement(hit: Hit) -> bool:
    return not _STATES.isdisjoint(hit.tags) or negates_ahead(hit)


def negates_ahead(hit: Hit) -> bool:
    """Return whether a cue negates what follows it."""
    return hit.tags.get("negated") in {"forward", "either"}
