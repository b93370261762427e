"""Names of headings: which kind of section a name announces, known, misspelt, or one of a family.

The names are data, ``headings.yaml``; a site adds its own in its lexicon
(:class:`~lgdea.vocabulary.site_lexicon.SiteLexicon`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from lgdea.shipped import read_table
from lgdea.vocabulary import Vocabulary, load_vocabulary

EVIDENCE_SECTIONS = frozenset({"findings", "impression", "addendum", "body"})
"""Sections that describe this study; the others ask, compare, plan, or name things."""
PASSED_SECTIONS = (
    "indication", "comparison", "technique", "examination", "recommendation", "notification", "signature",
    "administrative", "wet_read", "title",
)  # fmt: skip
REGION, STUDY, DIFFERENTIAL = "region", "study", "differential"
"""Kinds of labels that are no section: a part of the body, the name of a study or its views, "DDx"."""
LONGEST_NAME = 80  # characters

_WORD = re.compile(r"[^\W_]+(?:/[^\W_]\b)?")
_LONG_WORD = 6  # letters from which on one slip of the pen is forgiven
_MOST_WORDS = 9
_EVIDENCE_FAMILIES = ("findings", "impression", "addendum")


class Headings:
    """The kinds of headings, by their names.

    Args:
        names: Whole names of each kind.
        families: Words of each kind, see ``headings.yaml``.
        filler: Words that any family's names may have beside its own.
        regions: Words of labels that name a part of the body.
        studies: ``words`` and ``filler`` of the names of studies and views.
        own: Kinds of a site's own names; they win.
    """

    def __init__(
        self,
        names: Mapping[str, Iterable[str]],
        families: Mapping[str, Iterable[str]],
        filler: Iterable[str],
        regions: Iterable[str],
        studies: Mapping[str, Iterable[str]],
        own: Mapping[str, str],
    ) -> None:
        self._names = {" ".join(_words(name)): kind for kind, group in names.items() for name in group}
        self._names |= {" ".join(_words(name)): kind for name, kind in own.items()}
        self._families = {kind: frozenset(words) for kind, words in families.items()}
        self._filler = frozenset(filler).union(*self._families.values())
        self._regions = frozenset(regions)
        self.study_words = frozenset(studies["words"])
        self.study_filler = frozenset(studies["filler"]) | self.study_words
        long = {word for name in self._names for word in name.split()} | self._filler
        self._known_words = frozenset(long) | self._regions | self.study_filler
        self._near: dict[str, str] = {}
        for word in sorted(w for w in long if len(w) >= _LONG_WORD):
            for form in (word, *_deletions(word)):
                self._near.setdefault(form, word)
        self.kind = lru_cache(maxsize=4096)(self._find_kind)
        """Return the kind that a name announces, None for an unknown one."""

    def is_exact(self, name: str) -> bool:
        """Return whether a name is listed as it is."""
        return " ".join(_words(name)) in self._names

    def is_whole(self, name: str) -> bool:
        """Return whether all words of a name are those of headings, with no slip of the pen but in the long ones."""
        words = _words(name)
        joined = "".join(words)
        return (
            " ".join(words) in self._names
            or all(self._mend(word) in self._filler or self._mend(word) in self._names for word in words)
            or self._mend(joined) in self._names
        )

    def _find_kind(self, name: str) -> str | None:
        words = _words(name)
        if len(words) > 4 and all(len(word) == 1 for word in words):  # "F I N D I N G S"
            words = ["".join(words)]
        if not words or len(words) > _MOST_WORDS or len(name) > LONGEST_NAME:
            return None
        kind = self._look_up(words)
        if kind is None and not all(word in self._known_words for word in words):
            kind = self._look_up([self._mend(word) for word in words])
        if kind is None and "/" in name:  # "RENSEIGNEMENTS CLINIQUES / CLINICAL INFORMATION"
            kind = next(filter(None, (self._look_up(_words(part)) for part in name.split("/"))), None)
        if kind is None and len(words) > 1 and len(joined := "".join(words)) >= _LONG_WORD:  # "FIN DINGS"
            kind = self._names.get(joined) or self._names.get(self._mend(joined))
        return kind

    def _look_up(self, words: list[str]) -> str | None:
        known = self._names.get(" ".join(words))
        if known is not None:
            return known
        held = set(words)
        if held & self.study_words and all(w in self.study_filler or w.isdigit() for w in held):
            return STUDY
        if all(word in self._filler for word in held):
            found = [kind for kind, family in self._families.items() if held & family]
            evidence = next((kind for kind in found if kind in _EVIDENCE_FAMILIES), None)
            if found and found[0] == "indication" and evidence is not None:
                return "indication" if held & {"clinical", "reason", "medical"} else evidence
            if found:
                return found[0]
        if held <= self._regions:
            return REGION
        # "Symptoms on arrival": a word of the history opens the name, whatever follows.
        return "indication" if words[0] in self._families["indication"] and len(words) <= 6 else None

    def _mend(self, word: str) -> str:
        """The heading word that a long word is one slip away from: a letter missing, added, changed, or two swapped."""
        if len(word) < _LONG_WORD - 1 or word in self._known_words:
            return word
        for form in (word, *_deletions(word)):
            near = self._near.get(form)
            if near is not None and _is_one_slip(word, near):
                return near
        return word


def _words(name: str) -> list[str]:
    return _WORD.findall(name.lower().replace("(s)", "s").replace("x-ray", "xray").replace("x ray", "xray"))


def _deletions(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at in range(len(word))]


def _is_one_slip(a: str, b: str) -> bool:
    """Return whether one insertion, deletion, substitution or swap of neighbours makes ``a`` of ``b``."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if len(a) > len(b):
        return a[start + 1 :] == b[start:]
    if len(a) < len(b):
        return a[start:] == b[start + 1 :]
    if a[start + 1 :] == b[start + 1 :]:
        return True
    return a[start + 2 :] == b[start + 2 :] and a[start : start + 2] == b[start : start + 2][::-1]


def load_headings() -> Headings:
    """Return the shipped headings, and over them those of the site's lexicon in use."""
    return _build_headings(load_vocabulary())


@lru_cache(maxsize=4)
def _build_headings(vocabulary: Vocabulary) -> Headings:
    data: dict[str, Any] = read_table(resources.files(__package__) / "headings.yaml")
    own = {} if vocabulary.site is None else vocabulary.site.headings
    return Headings(data["names"], data["families"], data["filler"], data["regions"], data["studies"], own)
