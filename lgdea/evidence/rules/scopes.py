"""What is asserted of a mention: negation, uncertainty, history, hypothesis, resolution (after NegEx and ConText)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lgdea.evidence.rules.lexicon import Hit
from lgdea.evidence.rules.mentions import Mention
from lgdea.evidence.rules.tokens import Token

_COPULAS = frozenset({"is", "are", "be", "was", "were", "not", "also"})


class Verdict(NamedTuple):
    """The assertion with the tokens that decided it; ``assertion`` is None when the mention is no finding of now."""

    assertion: str | None
    change: str
    refers_to_prior: bool
    triggers: tuple[int, ...]


def judge(
    tokens: Sequence[Token], hits: Sequence[Hit], bounds: tuple[int, int], mention: Mention, others: list[Mention]
) -> Verdict:
    """Decide what a clause asserts of ``mention``.

    Args:
        tokens: The sentence's tokens.
        hits: The clause's hits.
        bounds: The clause's tokens, half-open.
        mention: The mention to judge.
        others: All mentions of the clause; "X has resolved" and "X is possible" need to know what stands behind.
    """
    negated = uncertain = dropped = prior = False
    resolved = False
    triggers: list[int] = []
    for hit in hits:
        before = hit.j <= mention.i
        after = hit.i >= mention.j
        if not (before or after):
            continue
        tags = hit.tags
        if before and ("history_before" in tags or "hypothetical_before" in tags):
            dropped = dropped or not _comma_between(tokens, hit.j, mention.i, "history_before" in tags)
        elif after and "hypothetical_after" in tags:
            dropped = True
        elif "prior" in tags and before:
            prior = True
        elif tags.get("change") == "resolved" and _resolves(hit, mention, others):
            resolved = True
            triggers.append(hit.i)
        elif "uncertainty_after" in tags and _is_after(tokens, hit, bounds, others):
            if after:
                uncertain = True
                triggers.append(hit.j - 1)
        elif "uncertainty_before" in tags and before and not _blocked(tokens, hit, mention):
            uncertain = True
            triggers.append(hit.i)
        elif "negation_after" in tags and after:
            negated = True
            triggers.append(hit.j - 1)
        elif "negation_before" in tags and before:
            negated = True
            triggers.append(hit.i)
    if mention.normal:
        return Verdict("absent" if not dropped else None, "unspecified", False, tuple(triggers))
    if dropped:
        return Verdict(None, mention.change, prior, ())
    if resolved:
        return Verdict("absent", "resolved", True, tuple(triggers))
    change = "unspecified" if mention.change == "resolved" else mention.change
    if negated:
        return Verdict("absent", "unspecified" if change in {"new", "worse"} else change, prior, tuple(triggers))
    refers = prior or change in {"stable", "worse", "better"}
    return Verdict("uncertain" if uncertain else "present", change, refers, tuple(triggers))


def _comma_between(tokens: Sequence[Token], start: int, end: int, counts: bool) -> bool:
    return counts and any(t.lemma == "," for t in tokens[start:end])


def _resolves(hit: Hit, mention: Mention, others: list[Mention]) -> bool:
    """Whether "resolved" speaks of this mention: of those behind it when there are any, else of those before."""
    behind = [m for m in others if m.i >= hit.j]
    close = [m for m in behind if m.i - hit.j <= 8]
    if close:
        return mention is close[0] or mention in close
    return mention.j <= hit.i


def _is_after(tokens: Sequence[Token], hit: Hit, bounds: tuple[int, int], others: list[Mention]) -> bool:
    """Whether a word like "possible" looks back ("pneumonia is possible") instead of forward ("possible pneumonia")."""
    if "uncertainty_before" not in hit.tags:
        return True
    follows = any(m.i >= hit.j for m in others)
    if tokens[hit.i].lemma in {"versus", "vs"}:
        return True
    copula = hit.i > bounds[0] and tokens[hit.i - 1].lemma in _COPULAS
    return not follows or (copula and hit.j < bounds[1] and tokens[hit.j].lemma == ",")


def _blocked(tokens: Sequence[Token], hit: Hit, mention: Mention) -> bool:
    """An adjective like "possible" reaches to the next comma that is not part of an either-or list."""
    gap = [t.lemma for t in tokens[hit.j : mention.i]]
    return "," in gap and "or" not in gap and "versus" not in gap and len(gap) > 6
