"""Clauses of a sentence: the stretches over which a negation or a structure can reach."""

from __future__ import annotations

from collections.abc import Sequence
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
_CAUSES = frozenset({"due", "secondary", "because", "related"})
_JOINTS = frozenset({",", "and", "with"})


@dataclass(frozen=True)
class ClauseContext:
    """One clause, tokens ``start`` to ``end`` of its sentence, with what all its readers need.

    ``tokens`` and their spellings ``raw`` are the sentence's, ``hits`` the clause's alone.
    """

    tokens: Sequence[Token]
    raw: Sequence[str]
    hits: list[Hit]
    start: int
    end: int
    lexicon: Lexicon


def read_clauses(
    tokens: Sequence[Token], raw: Sequence[str], hits: Sequence[Hit], lexicon: Lexicon
) -> list[ClauseContext]:
    """Split a sentence into its clauses, each with its own hits."""
    return [
        ClauseContext(tokens, raw, [hit for hit in hits if start <= hit.i < end], start, end, lexicon)
        for start, end in split_clauses(tokens, hits)
    ]


def split_clauses(tokens: Sequence[Token], hits: Sequence[Hit]) -> list[tuple[int, int]]:
    """Find the token ranges of the clauses.

    A semicolon, a colon after a structure's name or a word like "but" always starts a clause. A comma, "and" or
    "with" does when what follows stands on its own: it has a verb or a predicate, or praises or grades a new
    finding after a negation ("no effusion, stable cardiomegaly"). "No effusion and pneumothorax is seen" stays whole.
    """
    at: dict[int, Hit] = {hit.i: hit for hit in hits}
    ends = [0]
    joints = [k for k, token in enumerate(tokens) if token.lemma in _JOINTS and k not in at]
    hard = {hit.i for hit in hits if "breaks" in hit.tags and not _is_hedged_cause(tokens, hits, hit)} | {
        k for k, t in enumerate(tokens) if t.lemma == ";"
    }
    stops = sorted(set(joints) | hard | {len(tokens)})
    for number, k in enumerate(stops[:-1]):
        if k in hard or _stands_alone(tokens, hits, ends[-1], k, stops[number + 1]):
            ends.append(k)
    ends.append(len(tokens))
    return [(a, b) for a, b in pairwise(ends) if b > a]


def _stands_alone(tokens: Sequence[Token], hits: Sequence[Hit], start: int, joint: int, end: int) -> bool:
    before = [hit for hit in hits if start <= hit.i < joint]
    complete = any(_is_statement(hit) for hit in before)
    if not complete:
        return False
    after = [hit for hit in hits if joint < hit.i < end]
    words = [token.lemma for token in tokens[joint + 1 : end]]
    negated = any(negates_ahead(hit) for hit in before)
    graded = bool(after) and any(
        key in after[0].tags for key in ("severity", "change", "laterality") if "negated" not in after[0].tags
    )
    verb = next((n for n, word in enumerate(words) if word in VERBS), None)
    if verb is not None:
        if _joins_subjects(tokens, before, after, joint, joint + 1 + verb):
            return False
        listed = negated and any(word in _SEEN for word in words[verb : verb + 4]) and "there" not in words[: verb + 1]
        return not listed or graded
    if any("normal" in hit.tags for hit in after) and any("place" in hit.tags for hit in after):
        return True
    if not negated:
        return False
    rest = {token.lemma for token in tokens[joint + 1 :]}
    return graded and not rest & {"or", "nor", "/"}  # a list that goes on


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


def _is_statement(hit: Hit) -> bool:
    return any(key in hit.tags for key in ("finding", "head", "normal")) or negates_ahead(hit)


def negates_ahead(hit: Hit) -> bool:
    """Return whether a cue negates what follows it."""
    return hit.tags.get("negated") in {"forward", "either"}
