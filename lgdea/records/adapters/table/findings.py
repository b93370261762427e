"""The vocabulary's finding or structure for a stranger's word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from lgdea.errors import UsageError
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.tables import SYSTEMS, Anatomy, Finding


def match_finding(word: str, own: Mapping[str, str | None] | None = None, codes: str | None = None) -> str | None:
    """The finding's id for ``word``, None when there is none or several.

    Asked in turn: the mapping's ``own`` words, the code system ``codes``, ids, names, synonyms, the codes of all
    datasets. Case, ``_``, ``-`` and a plain plural make no difference.

    >>> match_finding("Pleural_Effusions"), match_finding("Ground Glass Opacities"), match_finding("unicorn")
    ('pleural_effusion', 'ground_glass_opacity', None)
    """
    if own and word in own:
        return own[word]
    if codes is not None:
        found = load_vocabulary().from_code(codes, word)
        if found is not None:
            return found
    return _lookup(_findings(), word)


def match_anatomy(word: str) -> str | None:
    """The structure's id for ``word``, asked as :func:`match_finding` does."""
    return _lookup(_structures(), word)


def check_words(own: Mapping[str, str | None], codes: str | None, *, anatomy: bool = False) -> None:
    """That a mapping's own targets and its code system exist.

    Raises:
        UsageError: One does not.
    """
    if codes is not None and codes not in SYSTEMS:
        raise UsageError(f"no code system {codes!r}", remedy=f"known are {', '.join(SYSTEMS)}")
    vocabulary = load_vocabulary()
    for word, finding in own.items():
        if (
            finding is not None
            and finding not in vocabulary.findings
            and not (anatomy and finding in vocabulary.anatomy)
        ):
            near = match_finding(finding)
            remedy = f"did you mean {near!r}?" if near else "write its id, see lgdea/vocabulary/findings.yaml"
            raise UsageError(f"{word!r} is mapped to {finding!r}, which is no finding of the vocabulary", remedy=remedy)


def _lookup(index: Mapping[str, str | None], word: str) -> str | None:
    key = _plain(word)
    singular = [key[:-3] + "y"] if key.endswith("ies") else []
    spellings = [key, *singular, key[:-1]] if key.endswith("s") else [key]
    return next((found for spelling in spellings if (found := index.get(spelling)) is not None), None)


@lru_cache(maxsize=1)
def _findings() -> dict[str, str | None]:
    return _index(load_vocabulary().findings)


@lru_cache(maxsize=1)
def _structures() -> dict[str, str | None]:
    return _index(load_vocabulary().anatomy)


def _index(entries: Mapping[str, Finding] | Mapping[str, Anatomy]) -> dict[str, str | None]:
    """Word to id; a word that two entries share at the same level of trust is None."""
    index: dict[str, str | None] = {}
    for level in range(4):
        here: dict[str, set[str]] = {}
        for entry in entries.values():
            for word in _spellings(entry, level):
                here.setdefault(_plain(word), set()).add(entry.id)
        for word, ids in here.items():
            index.setdefault(word, next(iter(ids)) if len(ids) == 1 else None)
    return index


def _spellings(entry: Finding | Anatomy, level: int) -> Iterator[str]:
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


def _plain(word: str) -> str:
    return re.sub(r"[\s_\-]+", " ", word).strip().lower()
