"""Cues of negation, doubt, resolution, change, history and advice in the tokens of a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

from lgdea.evidence.rules.cue_patterns import MASK, NUMBER, Alphabet, CuePattern, compile_once, compile_patterns
from lgdea.evidence.rules.hit import Hit
from lgdea.evidence.rules.tokens import lemmas
from lgdea.shipped import read_table
from lgdea.vocabulary import Vocabulary, load_vocabulary


@dataclass
class CueGrammar:
    """Compiled cue patterns by the lemma that they begin with, each with its tags (kind and direction, or a change)."""

    alphabet: Alphabet
    by_start: dict[str, list[tuple[CuePattern, Mapping[str, str]]]] = field(default_factory=dict)
    all_of: dict[str, str] = field(default_factory=dict)
    """All patterns of a lemma in one expression, each in a group of its own."""

    def find(self, words: Sequence[str], taken: set[int]) -> list[Hit]:
        """Find the cues, leftmost-longest and non-overlapping.

        Args:
            words: Lemmas of a sentence.
            taken: Tokens that belong to a finding or a structure; no cue reaches over them.
        """
        known, numbers = self.by_start, NUMBER in self.by_start
        starts = [k for k, word in enumerate(words) if word in known or (numbers and word[0].isdigit())]
        if not starts:
            return []
        text = self.alphabet.encode([MASK if k in taken else word for k, word in enumerate(words)])
        found: list[Hit] = []
        end = 0
        for k in starts:
            if k < end or k in taken:
                continue
            best, tags = self._longest(NUMBER if words[k][0].isdigit() else words[k], text, k)
            if best > k:
                end = best
                found.append(Hit(k, end, tags))
        return found

    def _longest(self, start: str, text: str, at: int) -> tuple[int, Mapping[str, str]]:
        tags: Mapping[str, str] = {}
        match = compile_once(self.all_of[start]).match(text, at)
        if match is None or match.lastindex is None:
            return at, tags
        ends = [end for _, end in match.regs[1:]]
        best = max(ends)
        for (_, its), end in zip(self.by_start[start], ends, strict=True):
            if end == best:
                tags = _both(tags, its) if tags else its
        return best, tags


def _both(tags: Mapping[str, str], other: Mapping[str, str]) -> Mapping[str, str]:
    """Join two readings of the same words: what is no cue is none, and a cue of two directions looks at its place.

    A change wins over a negation: "not previously seen" is new.
    """
    for its in (tags, other):
        if "pseudo" in its:
            return {"pseudo": its["pseudo"]}
    if "change" in tags or "change" in other:
        tags, other = ({kind: value for kind, value in its.items() if kind != "negated"} for its in (tags, other))
    return {**tags, **{kind: "either" if tags.get(kind, value) != value else value for kind, value in other.items()}}


def load_cues() -> CueGrammar:
    """Return the cues of ``cues.yaml`` and of the site's lexicon in use, compiled once for each."""
    return _compile_cues(load_vocabulary())


@lru_cache(maxsize=4)
def _compile_cues(vocabulary: Vocabulary) -> CueGrammar:
    table = read_table(resources.files("lgdea.evidence.rules") / "cues.yaml")
    if vocabulary.site is not None:
        for kind, own in (("negated", vocabulary.site.negation), ("uncertain", vocabulary.site.uncertainty)):
            for where, words in (("forward", own.before), ("backward", own.after)):
                table[kind][where] = [*table[kind].get(where, ()), *(" ".join(lemmas(word)) for word in words)]
    return build_cues(table)


def build_cues(table: Mapping[str, Any]) -> CueGrammar:
    """Compile a table of cues: ``classes``, then for each kind its patterns by direction (or value of the change)."""
    grammar = CueGrammar(Alphabet(table["classes"]["closed"]))
    for kind, groups in table.items():
        if kind == "classes":
            continue
        for value, patterns in groups.items():
            for pattern in compile_patterns(patterns, table["classes"], grammar.alphabet):
                for word in pattern.starts:
                    grammar.by_start.setdefault(word, []).append((pattern, {kind: value}))
    for word, rows in grammar.by_start.items():
        grammar.all_of[word] = "".join(f"(?=({pattern.source})?)" for pattern, _ in rows)
    return grammar


def merge_hits(hits: Sequence[Hit], cues: Sequence[Hit]) -> list[Hit]:
    """Put the cues among the entries of the lexicon; where two share words the longer stands, else the cue."""
    if not cues:
        return list(hits)
    kept: list[Hit] = []
    rest = list(cues)
    for hit in hits:
        for number, cue in enumerate(rest):
            if cue.i >= hit.j or hit.i >= cue.j:
                continue
            if hit.j - hit.i > cue.j - cue.i:
                del rest[number]
            else:
                rest[number] = Hit(cue.i, cue.j, {**_kept(hit, cue), **cue.tags})
                break
        else:
            kept.append(hit)
    return sorted([*kept, *rest], key=lambda hit: hit.i)


def _kept(hit: Hit, cue: Hit) -> dict[str, str]:
    """What a word still is inside a cue: "adjacent to" a preposition, "clear of" praises, "not increased" denies."""
    kept = {key: hit.tags[key] for key in ("prepositions",) if key in hit.tags}
    if hit[:2] == cue[:2]:
        kept.update({key: hit.tags[key] for key in ("normal", "denial") if key in hit.tags})
    return kept
