"""Lookup of vocabulary entries by the words that people and datasets use for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Protocol


class _NamedEntry(Protocol):
    """A row of a vocabulary table: its id and the words for it, most trusted first."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def synonyms(self) -> tuple[str, ...]: ...
    @property
    def codes(self) -> Mapping[str, tuple[str, ...]]: ...


class WordIndex:
    """Index from words to the ids of one table.

    A word means the entries that have it at the most trusted level: as id, as name, as synonym, or as another dataset's
    code. Case, ``_``, ``-`` and a plain plural make no difference.

    Args:
        entries: The rows of the table.
    """

    def __init__(self, entries: Iterable[_NamedEntry]) -> None:
        self._ids: dict[str, frozenset[str]] = {}
        rows = list(entries)
        for level in range(4):
            here: dict[str, set[str]] = {}
            for entry in rows:
                for word in _words_of(entry, level):
                    here.setdefault(_normalize(word), set()).add(entry.id)
            for word, ids in here.items():
                self._ids.setdefault(word, frozenset(ids))

    def find(self, word: str) -> str | None:
        """Return the id for ``word``, None when there is none or several."""
        return next((next(iter(ids)) for ids in self._candidates(word) if len(ids) == 1), None)

    def suggest(self, word: str, count: int = 3) -> list[str]:
        """Return the ids that ``word`` may mean: all of an ambiguous word, else those of the most similar words."""
        for ids in self._candidates(word):
            return sorted(ids)
        near = get_close_matches(_normalize(word), self._ids, n=count, cutoff=0.6)
        return list(dict.fromkeys(key for known in near for key in sorted(self._ids[known])))[:count]

    def _candidates(self, word: str) -> Iterator[frozenset[str]]:
        key = _normalize(word)
        spellings = [key]
        if key.endswith("s"):
            spellings += [key[:-3] + "y"] if key.endswith("ies") else []
            spellings.append(key[:-1])
        yield from (self._ids[spelling] for spelling in spellings if spelling in self._ids)


def _words_of(entry: _NamedEntry, level: int) -> Iterator[str]:
    if level == 0:
        yield entry.id
    elif level == 1:
        yield entry.name
    elif level == 2:
        yield from entry.synonyms
    else:
        for system, codes in entry.codes.items():
            # A MeSH heading means something with its qualifiers only.
            yield from (code for code in codes if system != "openi_mesh" or "/" not in code)


def _normalize(word: str) -> str:
    return re.sub(r"[\s_\-]+", " ", word).strip().lower()
