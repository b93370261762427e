"""Rules reader: the evidence of a whole report with raw offsets, in the order of the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, TypeVar

from lgdea.evidence.layout import EVIDENCE_SECTIONS, Layout, Section, SideRow, lay_out
from lgdea.evidence.rules.clauses import read_clauses
from lgdea.evidence.rules.cues import load_cues, merge_hits
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.ignored import mask
from lgdea.evidence.rules.lexicon import load_lexicon
from lgdea.evidence.rules.mention import Mention
from lgdea.evidence.rules.mentions import Clause
from lgdea.evidence.rules.normality import says_normal
from lgdea.evidence.rules.organs import settle_organs
from lgdea.evidence.rules.scopes import AssertionDecision, decide_assertions
from lgdea.evidence.rules.shared_nouns import complete_shared_nouns
from lgdea.evidence.rules.sharing import refers_back, share_explained
from lgdea.evidence.rules.sided_values import read_sided_values
from lgdea.evidence.rules.study_context import NO_CONTEXT, SideLabel, StudyContext, find_contexts, find_side_labels
from lgdea.evidence.rules.tokens import Token, tokenise
from lgdea.evidence.rules.two_predicates import split_predicates
from lgdea.vocabulary import Vocabulary, load_vocabulary

# "This may represent ...", "The opacity is likely ...", "Probably scarring": what it explains stands before.
_BACKWARD = re.compile(
    r"(?:this|these|it|(?:the |this |these )(?:\w+ ){0,2}(?:appearance|finding|opacit|densit|nodule|lesion|infiltrate"
    r"|abnormalit|consolidation|area|change)\w*|(?:most |more )?(?:likely|probably|presumably|consistent|compatible"
    r"|suggest\w*|represent\w*|favou?r\w*|consider))\b",
    re.IGNORECASE,
)
_NAMES = frozenset({"finding", "head", "normal", "denial"})
_NO_DISEASE = frozenset({"postoperative_change", "contrast_material", "nipple_shadow"})
"""Findings that leave a report normal."""
_Spanning = TypeVar("_Spanning", SideRow, SideLabel)
_DENIED = 3  # findings that one sentence denies are as much as to say that a study is normal


class RuleMatch(NamedTuple):
    """One piece of evidence; offsets are half-open, into the raw text."""

    section: str
    start: int
    end: int
    finding: str
    finding_text: str
    assertion: str
    anatomy: str | None
    laterality: str
    severity: str
    change: str
    refers_to_prior: bool


def read_report(text: str) -> list[RuleMatch]:
    """Find all evidence of a report.

    Sections that ask, compare or plan are passed over. A report without any present or uncertain item that says that
    something is normal yields one ``no_finding`` item.
    """
    items: list[RuleMatch] = []
    normal: tuple[str, int, int] | None = None
    layout, vocabulary, lexicon = lay_out(text), load_vocabulary(), load_lexicon()
    contexts, side_labels = find_contexts(layout.plain, lexicon), find_side_labels(layout.plain, lexicon)
    for section in layout.sections:
        if section.name not in EVIDENCE_SECTIONS:
            continue
        before: list[RuleMatch] = []
        for start, end, sentence, side in _readings(layout, section):
            context = _context_at(contexts, start) if contexts else NO_CONTEXT
            label = _covering(side_labels, start) if side_labels else None
            if label is not None:
                context = context._replace(side=label.side, structure=label.structure or context.structure)
            if side is not None:
                context = context._replace(side=side)
            found = [
                RuleMatch(section.name, item.start + start, item.end + start, *item[3:])
                for item in _read_sentence(vocabulary, sentence, context)
            ]
            if found and before and _BACKWARD.match(sentence):
                found = [_placed_like(before, item) for item in found]
            items.extend(found)
            before = found or before
            if normal is None or section.name == "impression" != normal[0]:
                denied = {item.finding for item in found if item.assertion == "absent"}
                if len(denied) >= _DENIED or says_normal(sentence):
                    normal = (section.name, start, end)
    if normal is not None and not any(item.assertion != "absent" and item.finding not in _NO_DISEASE for item in items):
        section_name, start, end = normal
        items.append(
            RuleMatch(section_name, start, end, "no_finding", text[start:end], "present", None, "unspecified",
                      "unspecified", "unspecified", False)
        )  # fmt: skip
    return items


def _readings(layout: Layout, section: Section) -> Iterator[tuple[int, int, str, str | None]]:
    """Yield the sentences of a section with their texts; a row with a column for each side is read once per side."""
    row_end = -1
    for start, end in layout.sentences(section):
        row = _covering(layout.side_rows, start) if layout.side_rows else None
        if row is None:
            yield start, end, layout.plain[start:end], None
        elif start >= row_end:
            row_end = row.end
            for side, text in row.sides:
                yield row.start, row.end, text, side


def _covering(spans: Sequence[_Spanning], at: int) -> _Spanning | None:
    """The last of some spans, in order, that begins at or before a character and reaches over it."""
    number = bisect_right(spans, at, key=attrgetter("start")) - 1
    return spans[number] if number >= 0 and at < spans[number].end else None


def _context_at(contexts: list[tuple[int, StudyContext]], at: int) -> StudyContext:
    return next((context for start, context in reversed(contexts) if start <= at), NO_CONTEXT)


def _placed_like(before: list[RuleMatch], item: RuleMatch) -> RuleMatch:
    """The item with the place of the observation that its sentence speaks of; its quote then starts there.

    The observation is the last one of the sentence before that the item may explain, or that it names again.
    """
    if item.anatomy is not None or item.laterality != "unspecified":
        return item
    for giver in reversed(before):
        if giver.assertion == "absent" or giver.laterality == "unspecified":
            continue
        side, place = (True, True) if giver.finding == item.finding else refers_back(giver.finding, item.finding)
        if side:
            anatomy = giver.anatomy if place else None
            return item._replace(start=giver.start, anatomy=anatomy, laterality=giver.laterality)
    return item


@lru_cache(maxsize=16384)
def _read_sentence(vocabulary: Vocabulary, sentence: str, study: StudyContext) -> tuple[RuleMatch, ...]:
    """Evidence of one sentence, offsets into it, by the vocabulary in use.

    Cached: archives repeat their normal sentences thousands of times.
    """
    lexicon = load_lexicon()
    tokens = tokenise(sentence)
    if vocabulary.site is not None and vocabulary.site.ignore:
        tokens = mask(tokens, vocabulary.site.ignore)
    tokens = lexicon.correct(tokens, sentence)
    hits = lexicon.match(tokens)
    if all(_NAMES.isdisjoint(hit.tags) for hit in hits):
        return ()
    hits = complete_shared_nouns(tokens, hits, lexicon)
    named = {k for hit in hits if "finding" in hit.tags or "place" in hit.tags for k in range(hit.i, hit.j)}
    hits = merge_hits(hits, load_cues().find([token.lemma for token in tokens], named))
    raw = [sentence[t.start : t.end] for t in tokens]
    clauses = [Clause(context, study.structure) for context in read_clauses(tokens, raw, hits, lexicon)]
    if study.structure is None and len(clauses) > 1:
        study = study._replace(structure=_only_organ(clauses))
    read = [(clause, settle_organs(clause.mentions(), clause.context, study)) for clause in clauses]
    share_explained(tokens, hits, [mention for _, mentions in read for mention in mentions], lexicon)
    items: list[RuleMatch] = []
    names_both_sides = {"left", "right"} <= {token.lemma for token in tokens}
    for clause, mentions in read:
        for mention, decision in zip(mentions, decide_assertions(clause.context, mentions), strict=True):
            if study.side is not None and mention.laterality == "unspecified" and clause.may_have_side(mention):
                mention.laterality = study.side
            if decision.assertion is None:
                continue
            made = _make_matches(sentence, tokens, clause, mention, decision)
            if names_both_sides and not mention.normal:
                made = _answer_each_side(made, tokens, hits, mention)
            if decision.change != "unspecified":
                made = _tell_both(made, tokens, hits, mention)
            items.extend(made)
    return tuple(_without_repeats(items))


def _only_organ(clauses: Sequence[Clause]) -> str | None:
    """The structure outside the chest that a sentence speaks of, where it names none of the chest.

    Where the tip of a tube lies tells nothing of the rest of the sentence.
    """
    lexicon = load_lexicon()
    devices = lexicon.devices
    places = {
        hit.tags["place"]
        for clause in clauses
        if not any(hit.tags.get("finding") in devices for hit in clause.hits)
        for hit in clause.place_hits
    }
    elsewhere = bool(places) and all(map(lexicon.is_elsewhere, places))
    return min(places) if elsewhere else None


def _tell_both(
    made: list[RuleMatch], tokens: Sequence[Token], hits: Sequence[Hit], mention: Mention
) -> list[RuleMatch]:
    """What is said of a finding that is gone at one place and remains at another."""
    both = split_predicates(tokens, hits, mention)
    if both is None:
        return made
    result = []
    for predicate in both:
        side = predicate.place.tags.get("laterality", "unspecified")
        result.append(
            made[0]._replace(
                end=max(tokens[predicate.end - 1].end, tokens[mention.j - 1].end),
                assertion="absent" if predicate.change == "resolved" else "present",
                laterality=side,
                change=predicate.change,
                refers_to_prior=True,
            )
        )
    return result


def _answer_each_side(
    made: list[RuleMatch], tokens: Sequence[Token], hits: Sequence[Hit], mention: Mention
) -> list[RuleMatch]:
    """What is said of a finding on each side, where each has an answer of its own."""
    ahead = {tokens[k].lemma for k in mention.used if k < mention.i} & {"left", "right"}
    values = read_sided_values(tokens, hits, (mention.i, mention.j), ahead.pop() if len(ahead) == 1 else "unspecified")
    if not values:
        return made
    return [
        made[0]._replace(
            end=max(tokens[value.end - 1].end, tokens[mention.j - 1].end),
            assertion=value.assertion or made[0].assertion,
            laterality=value.side,
            severity=value.severity if value.assertion is not None else made[0].severity,
            change=value.change if value.assertion is not None else made[0].change,
            refers_to_prior=made[0].refers_to_prior or value.change not in {"unspecified", "new"},
        )
        for value in values
    ]


def _make_matches(
    sentence: str, tokens: list[Token], clause: Clause, mention: Mention, decision: AssertionDecision
) -> list[RuleMatch]:
    """One item for each structure of the mention."""
    used = [*mention.used, *decision.triggers, mention.i, mention.j - 1]
    known = load_vocabulary().anatomy
    items = []
    if mention.laterality == "unspecified" and decision.assertion != "absent" and clause.is_on_both_sides(mention):
        mention.laterality = "bilateral"
    for place, side, severity in [(mention.place, mention.laterality, None), *mention.more]:
        anatomy, laterality = clause.anatomy(place, side)
        items.append(
            RuleMatch(
                "",  # the section is its caller's to know
                tokens[min(used)].start,
                tokens[max(used)].end,
                _finding_at(mention, place),
                sentence[tokens[mention.i].start : tokens[mention.j - 1].end],
                str(decision.assertion),
                anatomy if anatomy in known else None,
                laterality,
                severity or mention.severity,
                decision.change,
                decision.refers_to_prior,
            )
        )
    return items


def _finding_at(mention: Mention, place: str | None) -> str:
    """The finding at one of the structures of a mention: "fractures of the ribs and the clavicle" are two."""
    if mention.general is None or place is None or place == mention.place:
        return mention.finding
    lexicon = load_lexicon()
    return lexicon.finding_at(lexicon.specialise[mention.general], place) or mention.finding


def _without_repeats(items: list[RuleMatch]) -> list[RuleMatch]:
    """One item for the same words said of the same place; the first stands."""
    if len(items) < 2:
        return items
    seen: set[tuple[object, ...]] = set()
    result = []
    for item in items:
        key = (item.start, item.end, item.finding, item.anatomy, item.laterality)
        if key not in seen:
            seen.add(key)
            result.append(item)
    return result
