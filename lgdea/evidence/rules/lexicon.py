"""The rules reader's lexicon: vocabulary synonyms and ``terms.yaml`` in one Aho-Corasick automaton over lemmas."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

import ahocorasick

from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.misspellings import SpellingCorrector, load_near_words
from lgdea.evidence.rules.organ_tables import load_organs
from lgdea.evidence.rules.spelling import lemma
from lgdea.evidence.rules.tokens import Token, lemmas
from lgdea.shipped import read_table
from lgdea.vocabulary import Anatomy, Vocabulary, load_vocabulary

log = logging.getLogger(__name__)

_CORRECTED = frozenset({"finding", "head", "place", "laterality", "severity", "modifier", "normal"})
_WORD = re.compile(r"[^\W\d_]{6,}")
_LINE_END = re.compile(r"-[ \t]*\n[ \t]*")
_Entries = Mapping[tuple[str, ...], dict[str, str]]


@dataclass(eq=False)
class Lexicon:
    """Matcher and tables of the rules reader.

    ``heads``, ``specialise`` and ``denies`` map a word or finding, then a structure or modifier, to a finding;
    ``explained`` maps an observation to what it may be; ``standing`` holds what is in no row of denied ones and
    ``sideless`` what takes no side from its neighbours, ``operations`` what an operation leaves for good;
    ``places`` and ``findings`` are the phrases of the automaton by their lemmas.
    """

    heads: dict[str, dict[str, str]]
    alone: dict[str, str]
    specialise: dict[str, dict[str, str]]
    denies: dict[str, str]
    denies_with: dict[str, dict[str, str]]
    structure_anatomy: dict[str, str]
    side_of: dict[str, str]
    up: dict[str, tuple[str, ...]]
    places: dict[tuple[str, ...], str]
    findings: dict[tuple[str, ...], dict[str, str]]
    pairs: frozenset[str]
    standing: frozenset[str]
    devices: frozenset[str]
    sideless: frozenset[str]
    operations: frozenset[str]
    explained: dict[str, frozenset[str]]
    spelling: SpellingCorrector
    ids: dict[str, int] = field(default_factory=dict)
    automaton: Any = None

    def correct(self, tokens: list[Token], text: str) -> list[Token]:
        """The tokens of ``text`` with misspelt words under their right lemma and words joined that a line end cuts."""
        if "-\n" in text:
            tokens = self._join_lines(tokens, text)
        spelling = self.spelling
        return [
            token if (right := spelling[token.lemma]) == token.lemma else token._replace(lemma=right)
            for token in tokens
        ]

    def _join_lines(self, tokens: list[Token], text: str) -> list[Token]:
        result: list[Token] = []
        for token in tokens:
            last = result[-1] if result else None
            if last is not None and _LINE_END.fullmatch(text, last.end, token.start):
                whole = lemma(text[last.start : last.end] + text[token.start : token.end])
                if whole in self.ids:
                    result[-1] = Token(whole, last.start, token.end)
                    continue
            result.append(token)
        return result

    def match(self, tokens: Sequence[Token]) -> list[Hit]:
        """Leftmost-longest, non-overlapping lexicon entries in order; linear in the number of tokens."""
        ids = self.ids
        keys = tuple([ids.get(token.lemma, 0) for token in tokens])
        if not keys:
            return []
        return [Hit(end + 1 - length, end + 1, tags) for end, (length, tags) in self.automaton.iter_long(keys)]

    def is_paired(self, place: str) -> bool:
        """Return whether the body has one of this structure on each side."""
        return place in self.pairs

    def whole(self, place: str) -> tuple[str, ...]:
        """A structure with all that it is a part of."""
        place = self.structure_anatomy.get(place, place)
        return (place, *self.up.get(place, ()))

    def is_elsewhere(self, place: str) -> bool:
        """Return whether a structure belongs to another organ than the chest's (``organs.yaml``)."""
        return not load_organs().elsewhere.isdisjoint(self.whole(place))

    def without_side(self, hit: Hit) -> str:
        """The structure of a hit without the side that its name says (``lower_lobe`` for ``left_lower_lobe``)."""
        place = hit.tags["place"]
        for side in ("left_", "right_"):
            if place.startswith(side):
                return place.removeprefix(side)
        return place

    def finding_at(self, table: Mapping[str, str], place: str) -> str | None:
        """The value for a structure in ``table``, or for the nearest structure that it is a part of."""
        if place in table:
            return table[place]
        for parent in self.up.get(place, ()):
            if parent in table:
                return table[parent]
        return None


def load_lexicon() -> Lexicon:
    """Return the lexicon of the vocabulary in use, built once for each (about 20 ms)."""
    return _build_lexicon(load_vocabulary())


@lru_cache(maxsize=4)
def _build_lexicon(vocabulary: Vocabulary) -> Lexicon:
    terms = read_table(resources.files("lgdea.evidence.rules") / "terms.yaml")
    entries = _entries(terms, vocabulary)
    devices = {f.id for f in vocabulary.findings.values() if f.kind == "device"}
    _mark_inner_places({key: tags for key, tags in entries.items() if tags.get("finding") not in devices}, entries)
    ids: dict[str, int] = {}
    automaton = ahocorasick.Automaton(ahocorasick.STORE_ANY, ahocorasick.KEY_SEQUENCE)
    for key, tags in entries.items():
        automaton.add_word(tuple(ids.setdefault(word, len(ids) + 1) for word in key), (len(key), tags))
    automaton.make_automaton()
    return Lexicon(
        heads={name: head["with"] for name, head in terms["heads"].items()},
        alone={name: head["alone"] for name, head in terms["heads"].items() if "alone" in head},
        specialise=terms["specialise"],
        denies=terms["normal"]["denies"],
        denies_with=terms["normal"]["denies_with"],
        structure_anatomy=terms["structure_anatomy"],
        side_of={a.id: a.laterality for a in vocabulary.anatomy.values() if a.laterality != "unspecified"},
        places={key: tags["place"] for key, tags in entries.items() if "place" in tags},
        findings={key: tags for key, tags in entries.items() if "finding" in tags},
        pairs=frozenset(a.id for a in vocabulary.anatomy.values() if a.paired),
        standing=frozenset(terms["standing"]) | devices,
        devices=frozenset(devices),
        sideless=frozenset(terms["sideless"]),
        operations=frozenset(terms["operations"]),
        explained={name: frozenset(found) for name, found in terms["explained"].items()},
        up={a: _holders(a, vocabulary.anatomy) for a in vocabulary.anatomy},
        spelling=SpellingCorrector(
            {word for key, tags in entries.items() if not _CORRECTED.isdisjoint(tags) for word in key},
            {*ids, *load_near_words(), *_own_cues(vocabulary)},
        ),
        ids=ids,
        automaton=automaton,
    )


def _own_cues(vocabulary: Vocabulary) -> set[str]:
    """The words of a site's cues: none of them is a misspelt finding."""
    site = vocabulary.site
    cues = () if site is None else (site.negation.before, site.negation.after, site.uncertainty.before,
                                    site.uncertainty.after, site.ignore)  # fmt: skip
    return {word for phrases in cues for phrase in phrases for word in lemmas(phrase)}


def find_misspelt(finding_texts: Iterable[str]) -> list[str]:
    """List the words of findings, as reports spell them, that the lexicon knows only as misspelt."""
    lexicon = load_lexicon()
    return [word for text in finding_texts for word in _misspelt_words(text, lexicon)]


def correct_words(text: str, is_known: Callable[[str], bool] = lambda _: False) -> str:
    """Write misspelt words of findings and structures as the lexicon has them.

    Args:
        text: A phrase; all other words stay as they are.
        is_known: Whether a word is somebody else's, and right as it is.

    Example:
        >>> correct_words("Left pleural efusion"), correct_words("fissured lips")
        ('Left pleural effusion', 'fissured lips')
    """
    spelling = load_lexicon().spelling

    def correct(match: re.Match[str]) -> str:
        word = match[0].lower()
        return spelling[lemma(word)] if spelling.misspelt(word) and not is_known(word) else match[0]

    return _WORD.sub(correct, text)


def warn_of_misspelt(phrases: Iterable[str]) -> None:
    """Say which phrases have misspelt words, where they are used as they are written."""
    for phrase in phrases:
        right = correct_words(phrase)
        if right != phrase:
            log.warning("the phrase %r is used as it is written; did you mean %r?", phrase, right)


@lru_cache(maxsize=16384)
def _misspelt_words(finding_text: str, lexicon: Lexicon) -> tuple[str, ...]:
    words = (word.lower() for word in _WORD.findall(finding_text))
    return tuple(word for word in words if lexicon.spelling.misspelt(word))


def _entries(terms: Mapping[str, Any], vocabulary: Vocabulary) -> dict[tuple[str, ...], dict[str, str]]:
    """All phrases on their lemmas, each with its categories and their values."""
    entries: dict[tuple[str, ...], dict[str, str]] = {lemmas(phrase): {} for phrase in load_organs().not_findings}
    ignored = frozenset(entries)

    def add(phrases: Iterable[str], category: str, value: str) -> None:
        add_keys(map(lemmas, phrases), category, value)

    def add_keys(keys: Iterable[tuple[str, ...]], category: str, value: str) -> None:
        for key in keys:
            if key and key not in ignored:
                entries.setdefault(key, {}).setdefault(category, value)

    for name, head in terms["heads"].items():
        add(head["words"], "head", name)
    for finding in vocabulary.findings.values():
        if finding.kind != "normality":
            keys = {lemmas(s) for s in (finding.name, *finding.synonyms)}
            add_keys((key for key in keys if "head" not in entries.get(key, {})), "finding", finding.id)
    for name, words in {**terms["structures"], **terms["more_anatomy"]}.items():
        add(words, "place", name)
    for anatomy in vocabulary.anatomy.values():
        add((anatomy.name, *anatomy.synonyms), "place", anatomy.id)
        for side in ("left", "right"):
            add((s for s in anatomy.synonyms if s.startswith(f"{side} ")), "laterality", side)
    for category in ("laterality", "severity", "change"):
        for value, words in terms[category].items():
            add(words, category, value)
    add(terms["normal"]["words"], "normal", "normal")
    add(terms["normal"]["not"], "not_normal", "not_normal")
    for word in (*terms["modifiers"], *terms["normal"]["denies_with"]):
        denies = word in terms["normal"]["denies_with"]
        add([word], "denial" if denies else "modifier", word if denies else terms["modifier_alias"].get(word, word))
    for category in ("breaks", "prepositions"):
        add(terms[category], category, category)
    for word, meaning in vocabulary.own_words.items():  # what a site says of a word is all that it means there
        own = {"finding" if meaning in vocabulary.findings else "place": meaning}
        known_side = entries.get(lemmas(word), {}).get("laterality")
        if known_side is not None and meaning in vocabulary.anatomy:
            own["laterality"] = known_side
        entries[lemmas(word)] = own
    return entries


def _mark_inner_places(marked: _Entries, entries: _Entries) -> None:
    """Note the structure and the side that a finding's own words name ("bibasilar atelectasis", "enlarged heart")."""
    for key, tags in marked.items():
        if "finding" not in tags or len(key) < 2:
            continue
        parts = [key[a:b] for a in range(len(key)) for b in range(a + 1, len(key) + 1) if b - a < len(key)]
        for part in sorted(parts, key=len):
            inner = entries.get(part, {})
            if "place" in inner and (tags.get("inner_place") is None or inner["place"] != "pulmonary_vasculature"):
                tags["inner_place"] = inner["place"]
            if "laterality" in inner:
                tags["inner_laterality"] = inner["laterality"]


def _holders(key: str, anatomy: Mapping[str, Anatomy]) -> tuple[str, ...]:
    """List the structures that one is a part of, nearest first."""
    result: list[str] = []
    queue = list(anatomy[key].parents)
    while queue:
        parent = queue.pop(0)
        if parent not in result:
            result.append(parent)
            queue.extend(anatomy[parent].parents)
    return tuple(result)
