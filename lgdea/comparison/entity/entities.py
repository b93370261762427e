"""Entities: what a case is compared with respect to. Open vocabulary, with vocabulary ids where they are known."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lgdea.errors import UsageError
from lgdea.evidence.rules.lexicon import correct_words
from lgdea.evidence.rules.reader import read_report
from lgdea.vocabulary import Vocabulary, load_vocabulary
from lgdea.vocabulary.entailment import NORMAL, UNSPECIFIED
from lgdea.vocabulary.phrases import canonical_phrase

log = logging.getLogger(__name__)

Kind = Literal["anatomy", "finding", "condition", "device", "open"]
KINDS: dict[str, Kind] = {"finding": "finding", "disease": "condition", "device": "device", "normality": "finding"}
SIDES = ("left", "right", "bilateral")
_SIDE_WORDS = re.compile(r"\b(left|right|bilateral|both)(?:[- ]sided)?\b", re.IGNORECASE)
_EXAMPLE = "name a finding or a structure, for example 'left pleural effusion' or 'heart'"


@dataclass(frozen=True)
class Entity:
    """A finding, device or structure, on a side or on any; ``finding`` and ``anatomy`` are vocabulary ids.

    An entity without both is open: it has its words alone, and no evidence can grade it.
    """

    text: str
    finding: str | None = None
    anatomy: str | None = None
    laterality: str = UNSPECIFIED

    @property
    def kind(self) -> Kind:
        """Finding, condition (a disease), device, anatomy, or open where the vocabulary does not know it."""
        if self.finding is None:
            return "open" if self.anatomy is None else "anatomy"
        return KINDS[load_vocabulary().findings[self.finding].kind]

    @classmethod
    def of_finding(cls, finding: str, laterality: str = UNSPECIFIED) -> Entity:
        """The entity of a finding's id, with its canonical phrase."""
        return cls(canonical_phrase(finding, laterality=laterality), finding, None, laterality)

    @classmethod
    def of_anatomy(cls, anatomy: str, laterality: str = UNSPECIFIED) -> Entity:
        """The entity of a structure's id, by its name."""
        entry = load_vocabulary().anatomy[anatomy]
        if entry.laterality != UNSPECIFIED:  # which the name says itself
            return cls(entry.name, None, anatomy, entry.laterality)
        return cls(f"{laterality} {entry.name}" if laterality in SIDES else entry.name, None, anatomy, laterality)


def parse_entity(text: str, is_known: Callable[[str], bool] = lambda _: False) -> Entity:
    """Read an entity from a user's words.

    A finding is read as in a report, with its side and place, else a structure is looked up; what the vocabulary does
    not know stays open, if any of its words is known at all. Misspelt words are read as what they misspell, which is
    logged.

    Args:
        text: ``left pleural effusion``, ``heart``, ``mitral configuration`` ...
        is_known: Whether the model knows a word that the vocabulary does not have.

    Raises:
        UsageError: The text is empty, denies what it names, or has no known word.

    Example:
        >>> parse_entity("left-sided effusion")
        Entity(text='left-sided effusion', finding='pleural_effusion', anatomy=None, laterality='left')
        >>> parse_entity("left lung").kind
        'anatomy'
    """
    text = " ".join(text.split()).rstrip(".")
    if not text:
        raise UsageError("the entity is empty", remedy=_EXAMPLE)
    written, text = text, correct_words(text, is_known)
    if text != written:
        log.warning("%r is read as %r", written, text)
    found = [match for match in read_report(text) if match.finding != NORMAL]
    if found and all(match.assertion == "absent" for match in found):
        raise UsageError(f"the entity {text!r} denies a finding", remedy="name what is looked for, without the denial")
    vocabulary = load_vocabulary()
    for match in found:
        if match.finding in vocabulary.findings:
            default = vocabulary.findings[match.finding].default_anatomy
            return Entity(text, match.finding, None if match.anatomy == default else match.anatomy, match.laterality)
    side = _SIDE_WORDS.search(text)
    laterality = {"both": "bilateral"}.get(side[1].lower(), side[1].lower()) if side else UNSPECIFIED
    anatomy = vocabulary.find_anatomy(text) or vocabulary.find_anatomy(_SIDE_WORDS.sub("", text).strip())
    if anatomy is not None:
        own = vocabulary.anatomy[anatomy].laterality
        return Entity(text, None, anatomy, own if own != UNSPECIFIED else laterality)
    words = re.findall(r"[^\W\d_]{2,}", text.lower())
    if not any(word in vocabulary_words() or is_known(word) for word in words):
        raise UsageError(f"the entity {text!r} has no word that the vocabulary or the model knows", remedy=_EXAMPLE)
    return Entity(text, laterality=laterality)


def vocabulary_words() -> frozenset[str]:
    """Words of three letters or more in the names of findings and structures; no sides, which alone name nothing."""
    return _find_words(load_vocabulary())


@cache
def _find_words(vocabulary: Vocabulary) -> frozenset[str]:
    entries = [*vocabulary.findings.values(), *vocabulary.anatomy.values()]
    texts = " ".join(word for entry in entries for word in (entry.name, *entry.synonyms)).lower()
    return frozenset(re.findall(r"[a-z]{3,}", texts)) - {*SIDES, "both", "the", "and", "for", "with", "behind", "under"}


def entities_of(findings: Iterable[tuple[str, str, str | None]], *, least: int = 1) -> list[Entity]:
    """Entities that evidence speaks of: findings, with and without side, and the structures that they sit in.

    Args:
        findings: (finding, laterality, anatomy) of present units, one of each per study.
        least: An entity that fewer units speak of is left out.

    Returns:
        Most frequent first.
    """
    findings, vocabulary = list(findings), load_vocabulary()
    # Of what is always on both sides (edema), "left" would ask the same as no side at all.
    one_sided = {finding for finding, laterality, _ in findings if laterality in ("left", "right")}
    counts: Counter[Entity] = Counter()
    for finding, laterality, anatomy in findings:
        entry = vocabulary.findings.get(finding)
        if entry is None or finding == NORMAL:
            continue
        sides = {"bilateral": ("left", "right"), "left": ("left",), "right": ("right",)}.get(laterality, ())
        counts[Entity.of_finding(finding)] += 1
        counts.update(Entity.of_finding(finding, side) for side in sides if finding in one_sided)
        place = anatomy or entry.default_anatomy
        if place in vocabulary.anatomy:
            counts[Entity.of_anatomy(place)] += 1
    return [entity for entity, count in sorted(counts.items(), key=lambda x: (-x[1], x[0].text)) if count >= least]
