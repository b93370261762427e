"""Assertion of a mention: negation, uncertainty, history, hypothesis, resolution (after NegEx and ConText)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lgdea.evidence.rules.clauses import ClauseContext
from lgdea.evidence.rules.lexicon import Hit
from lgdea.evidence.rules.mention import Mention
from lgdea.evidence.rules.tokens import Token

_ALTERNATIVES = frozenset({"versus", "vs"})  # both sides are uncertain
# "Opacity compatible with pneumonia in the appropriate clinical setting": the opacity is there.
_EXPLAINS = frozenset({"represent", "representing", "reflect", "reflecting", "compatible", "consistent", "suggest",
                       "suggesting", "suggestive", "due", "secondary"})  # fmt: skip
_AFTER = frozenset({"status", "statuspost"})  # "status post CABG with sternal wires": the wires are there
_COPULAS = frozenset({"is", "are", "be", "was", "were", "not", "also"})


class AssertionDecision(NamedTuple):
    """The assertion with the tokens that decided it; ``assertion`` is None when the mention is no finding of now."""

    assertion: str | None
    change: str
    refers_to_prior: bool
    triggers: tuple[int, ...]


def decide_assertion(clause: ClauseContext, mention: Mention, others: list[Mention]) -> AssertionDecision:
    """Decide what a clause asserts of ``mention``.

    Args:
        clause: The clause.
        mention: The mention to decide on.
        others: All mentions of the clause; "X has resolved" and "X is possible" need to know what stands behind.
    """
    found: dict[str, int] = {}
    for hit in clause.hits:
        if hit.j <= mention.i or hit.i >= mention.j:
            effect = _find_effect(clause, hit, mention, others)
            if effect is not None:
                found.setdefault(effect, hit.i if hit.j <= mention.i else hit.j - 1)
    if "dropped" in found:
        return AssertionDecision(None, mention.change, "prior" in found, ())
    triggers = tuple(found[key] for key in ("resolved", "negated", "uncertain") if key in found)
    if mention.normal:
        return AssertionDecision("absent", "unspecified", False, triggers)
    if "resolved" in found:
        return AssertionDecision("absent", "resolved", True, triggers)
    change = "unspecified" if mention.change == "resolved" else mention.change
    if "negated" in found:
        return AssertionDecision(
            "absent", "unspecified" if change in {"new", "worse"} else change, "prior" in found, triggers
        )
    refers = "prior" in found or change in {"stable", "worse", "better"}
    return AssertionDecision("uncertain" if "uncertain" in found else "present", change, refers, triggers)


def _find_effect(clause: ClauseContext, hit: Hit, mention: Mention, others: list[Mention]) -> str | None:
    """Return the effect of one trigger on the mention."""
    tokens = clause.tokens
    tags = hit.tags
    if tags.get("change") == "resolved" and _is_resolved_by(tokens, hit, mention, others):
        return "resolved"
    if tokens[hit.i].lemma in _ALTERNATIVES and "uncertainty_before" in tags:
        return None if _is_beside(tokens, hit, mention, others) else "uncertain"
    if "uncertainty_after" in tags and _is_after(clause, hit, others):
        explained = any(t.lemma in _EXPLAINS for t in tokens[mention.j : hit.i])
        return "uncertain" if hit.i >= mention.j and not explained else None
    return _find_effect_ahead(tokens, hit, mention) if hit.j <= mention.i else _find_effect_behind(tokens, hit, mention)


def _find_effect_ahead(tokens: Sequence[Token], hit: Hit, mention: Mention) -> str | None:
    """The effect of a trigger on what follows it."""
    tags = hit.tags
    if "hypothetical_before" in tags:
        return "dropped"
    if "history_before" in tags:
        ends = {",", "with"} if tokens[hit.i].lemma in _AFTER else {","}
        return None if any(t.lemma in ends for t in tokens[hit.j : mention.i]) else "dropped"
    if "prior" in tags:
        return "prior"
    if "uncertainty_before" in tags:
        return None if _is_blocked(tokens, hit, mention) else "uncertain"
    return "negated" if "negation_before" in tags else None


def _find_effect_behind(tokens: Sequence[Token], hit: Hit, mention: Mention) -> str | None:
    """The effect of a trigger on what stands before it."""
    tags = hit.tags
    if tokens[hit.i].lemma == "none" and any(token.lemma == "," for token in tokens[mention.j : hit.i]):
        return None  # "effusion on the left, none on the right"
    if "hypothetical_after" in tags:
        return "dropped"
    return "negated" if "negation_after" in tags else None


def _is_beside(tokens: Sequence[Token], hit: Hit, mention: Mention, others: list[Mention]) -> bool:
    """Return whether a comma keeps the mention out of alternatives ("airspace disease, edema versus pneumonia")."""
    first, last = sorted([(mention.i, mention.j), (hit.i, hit.j)])
    if not any(first[1] <= other.i < last[0] for other in others):
        return False
    gap = {token.lemma for token in tokens[first[1] : last[0]]}
    return "," in gap and "or" not in gap


def _is_resolved_by(tokens: Sequence[Token], hit: Hit, mention: Mention, others: list[Mention]) -> bool:
    """Return whether "resolved" speaks of this mention: of those behind it when there are any, else of those before."""
    if any(token.lemma == "without" for token in tokens[hit.j : mention.i]):
        return False
    behind = [m for m in others if m.i >= hit.j]
    close = [m for m in behind if m.i - hit.j <= 8]
    if close:
        return mention is close[0] or mention in close
    return mention.j <= hit.i


def _is_after(clause: ClauseContext, hit: Hit, others: list[Mention]) -> bool:
    """Return whether a word like "possible" looks back ("pneumonia is possible"), not forward."""
    if "uncertainty_before" not in hit.tags:
        return True
    follows = any(m.i >= hit.j for m in others)
    copula = hit.i > clause.start and clause.tokens[hit.i - 1].lemma in _COPULAS
    return not follows or (copula and hit.j < clause.end and clause.tokens[hit.j].lemma == ",")


def _is_blocked(tokens: Sequence[Token], hit: Hit, mention: Mention) -> bool:
    """Return whether "possible" ends before the mention: at a comma that is not part of an either-or list."""
    gap = [t.lemma for t in tokens[hit.j : mention.i]]
    return "," in gap and "or" not in gap and "versus" not in gap and len(gap) > 6
