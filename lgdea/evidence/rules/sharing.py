"""Structure and side that an observation hands on to its explanation: "left basilar opacity, likely atelectasis"."""

from __future__ import annotations

from collections.abc import Sequence

from lgdea.evidence.rules.attachment import sit_together
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.lexicon import Lexicon, load_lexicon
from lgdea.evidence.rules.mention import Mention
from lgdea.evidence.rules.tokens import Token

_WORDS = frozenset({
    "(", ",", "/", ";", "a", "an", "appear", "appearing", "are", "as", "be", "can", "chronic", "compatible",
    "concerning", "consistent", "correspond", "corresponding", "could", "due", "either", "favor", "favored",
    "focal", "for", "in", "is", "likely", "may", "might", "more", "most", "of", "or", "presumably", "presumed",
    "probable", "probably", "question", "reflect", "reflecting", "related", "represent", "representing", "residual",
    "secondary", "small", "some", "suggest", "suggesting", "suggestive", "that", "the", "this", "to", "underlying",
    "versus", "vs", "which", "with", "worrisome",
})  # fmt: skip
_BARE = frozenset({",", ";", "/", "(", "a", "an"})
_TAGS = frozenset({"uncertain", "severity", "change", "modifier", "laterality"})
# After a mere comma only these explain; an effusion would be a finding of its own.
_PLAIN = frozenset({
    "atelectasis", "scarring", "pneumonia", "infiltration", "granuloma", "calcified_granuloma", "airspace_disease",
    "consolidation",
})  # fmt: skip
_FARTHEST = 12  # tokens
_GOES_ON = frozenset({"may", "might", "could", "likely", "probably", "is", "are", "can", "represent", "suggest",
                      "reflect"})  # fmt: skip
_STRANGERS = 2  # words that the list above does not know ("recurrent", "amount")
_BARRIERS = frozenset({"and", "no", "not", "without", "but", "there", "nor", "also", "clear", "normal"})


def share_explained(
    tokens: Sequence[Token], hits: Sequence[Hit], mentions: Sequence[Mention], lexicon: Lexicon
) -> None:
    """Give the explanations of an observation its structure and side where they have none.

    An explanation follows within the sentence after words like "may represent", a comma, or nothing (where a
    de-identification token stood); several may be joined. What sits elsewhere than the observation by nature, like an
    effusion, takes only the side.
    """
    giver: Mention | None = None
    reached = 0
    for mention in mentions:
        own = mention.place_hit is not None or mention.laterality != "unspecified"
        if giver is not None and mention.finding in lexicon.explained[giver.finding] and not mention.normal:
            if _explains(tokens, hits, giver, mention, reached):
                reached = mention.j
                _hand_on(giver, mention)
                continue
            giver = None
        elif giver is not None and mention.i - reached > _FARTHEST:
            giver = None
        if mention.finding in lexicon.explained and own and not mention.normal:
            giver, reached = mention, mention.j


def _explains(tokens: Sequence[Token], hits: Sequence[Hit], giver: Mention, taker: Mention, reached: int) -> bool:
    if not 0 <= taker.i - reached <= _FARTHEST + len(giver.used):
        return False
    known = set(giver.used)
    for hit in hits:
        if reached <= hit.i < taker.i and (_TAGS & hit.tags.keys() or "prepositions" in hit.tags):
            known.update(range(hit.i, hit.j))
    rest = [k for k in range(reached, taker.i) if k not in giver.used]
    chained = reached > giver.j
    foreign = [tokens[k].lemma for k in rest if k not in known and not _is_neutral(tokens, k, chained)]
    if len(foreign) > _STRANGERS or _BARRIERS & set(foreign):
        return False
    words = {tokens[k].lemma for k in rest}
    return bool(words - _BARE) or chained or taker.finding in _PLAIN


def _is_neutral(tokens: Sequence[Token], k: int, chained: bool) -> bool:
    word = tokens[k].lemma
    return word in _WORDS or (word == "and" and (chained or tokens[k + 1].lemma in _GOES_ON))


def refers_back(giver: str, taker: str) -> tuple[bool, bool]:
    """Return whether "This may represent ``taker``" explains the sentence before's ``giver``, and also sits there.

    Args:
        giver: Finding id of the observation.
        taker: Finding id of the explanation.

    Returns:
        Whether the side passes on, and whether the structure does.
    """
    if taker not in load_lexicon().explained.get(giver, ()):
        return False, False
    return True, sit_together(giver, taker)


def _hand_on(giver: Mention, taker: Mention) -> None:
    if taker.laterality != "unspecified":
        return
    taker.laterality = giver.laterality
    taker.used.update(giver.used | {giver.i})
    if taker.place_hit is None and sit_together(giver.finding, taker.finding):
        taker.place, taker.place_hit, taker.more = giver.place, giver.place_hit, list(giver.more)
