"""Laying a site's ``lexicon.yaml`` over the shipped vocabulary, each word checked on the way.

The extended :class:`~lgdea.vocabulary.tables.Vocabulary` feeds everything that the shipped one feeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from lgdea.config import read_yaml, validate
from lgdea.errors import ConfigError, DataError
from lgdea.runs import write_text
from lgdea.vocabulary.site_lexicon import NewFinding, SiteLexicon
from lgdea.vocabulary.tables import Anatomy, Finding, Vocabulary, load_shipped_vocabulary, using_vocabulary

LEXICON = "lexicon.yaml"
"""Name of the copy in a folder of evidence, and in a model folder."""

_REMEDY = "see docs/lexicon.md"


def read_lexicon(file: str | Path) -> SiteLexicon:
    """Read and check a ``lexicon.yaml``.

    Args:
        file: The YAML file.

    Raises:
        ConfigError: It is no YAML, has an unknown key or a wrong value, or contradicts the vocabulary; the message
            names file, key and remedy.
    """
    lexicon = validate(SiteLexicon, read_yaml(file), file=file, remedy=_REMEDY)
    try:
        extend_vocabulary(lexicon)
    except ConfigError as error:
        raise ConfigError(error.problem, file=file, remedy=error.remedy) from None
    return lexicon


def write_lexicon(lexicon: SiteLexicon | None, folder: Path) -> None:
    """Keep a lexicon in a folder for all that is made of it; without one, none is left there."""
    if lexicon is None:
        (folder / LEXICON).unlink(missing_ok=True)
        return
    content = lexicon.model_dump(mode="json", exclude_defaults=True)
    write_text(folder / LEXICON, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def vocabulary_of(folder: str | Path | None) -> Vocabulary:
    """Return the vocabulary that evidence or a model was made with: the shipped one, and the folder's lexicon."""
    file = None if folder is None else Path(folder) / LEXICON
    return extend_vocabulary(read_lexicon(file) if file is not None and file.is_file() else None)


@contextmanager
def using_vocabulary_of(*folders: str | Path | None) -> Iterator[None]:
    """Use, inside the block, the vocabulary of the first of these folders of evidence or models that has a lexicon."""
    found = (vocabulary_of(folder) for folder in folders)
    with using_vocabulary(next((vocabulary for vocabulary in found if vocabulary.site is not None), None)):
        yield


def extend_vocabulary(lexicon: SiteLexicon | None) -> Vocabulary:
    """Lay a lexicon over the shipped vocabulary; None gives that itself, and equal lexicons the same object.

    Raises:
        ConfigError: It contradicts the vocabulary.
    """
    return load_shipped_vocabulary() if lexicon is None else _extend(lexicon.model_dump_json())


@lru_cache(maxsize=16)
def _extend(content: str) -> Vocabulary:
    lexicon = SiteLexicon.model_validate_json(content)
    return _Extension(lexicon, load_shipped_vocabulary()).vocabulary()


class _Extension:
    """Lays a lexicon over the shipped tables, each word checked on the way."""

    def __init__(self, lexicon: SiteLexicon, shipped: Vocabulary) -> None:
        self._lexicon = lexicon
        self._shipped = shipped
        self._findings = dict(shipped.findings)
        self._anatomy = dict(shipped.anatomy)
        self._own: dict[str, str] = {}
        """Words of the lexicon so far, and the ids that they mean."""

    def vocabulary(self) -> Vocabulary:
        for number, new in enumerate(self._lexicon.findings):
            self._add_finding(new, f"findings.{number} ({new.id})")
        for key, words in self._lexicon.synonyms.items():
            entry = self._resolve(key, f"synonyms.{key}")
            for word in words:
                self._require_free(word, entry.id, f"synonyms.{key}")
            self._add_words(entry, words)
        for word, meaning in self._lexicon.abbreviations.items():
            entry = self._resolve(meaning, f"abbreviations.{word}")
            self._claim(word, entry.id, f"abbreviations.{word}")
            self._take_from_others(word, entry.id)
            self._add_words(self._find(entry.id), [word])
        self._check_parents()
        try:
            return Vocabulary(self._findings, self._anatomy, site=self._lexicon, own_words=self._own)
        except DataError as error:
            raise _error(f"findings ({error.row}): {error.problem}", "let parents be more general findings") from None

    def _add_finding(self, new: NewFinding, where: str) -> None:
        if new.id in self._findings or new.id in self._anatomy:
            raise _error(f"{where}: the id is taken", "choose another id, or write the words under synonyms")
        if len(new.present) != len(new.absent):
            raise _error(
                f"{where}: {len(new.present)} texts are present, {len(new.absent)} absent", "write as many of both"
            )
        if new.anatomy is not None and new.anatomy not in self._anatomy:
            raise _error(f"{where}.anatomy: no structure {new.anatomy!r}", _near(new.anatomy, self._anatomy))
        for word in (new.name, *new.synonyms):
            self._require_free(word, new.id, where)
        fields = new.model_dump(exclude={"present", "absent"}) | {
            "texts": (new.present, new.absent) if new.present else None
        }
        self._findings[new.id] = Finding.model_validate(fields)

    def _check_parents(self) -> None:
        for number, new in enumerate(self._lexicon.findings):
            for parent in new.parents:
                if parent not in self._findings:
                    where = f"findings.{number} ({new.id}).parents"
                    raise _error(f"{where}: no finding {parent!r}", _near(parent, self._findings))

    def _resolve(self, word: str, where: str) -> Finding | Anatomy:
        """The entry that an id, a name or a synonym means."""
        if word in self._findings or word in self._anatomy:
            return self._find(word)
        key = self._own.get(word.lower()) or self._shipped.find(word) or self._shipped.find_anatomy(word)
        if key is None:
            words = [*self._findings, *self._anatomy]
            raise _error(f"{where}: {word!r} is no finding or structure", _near(word, words))
        return self._find(key)

    def _find(self, key: str) -> Finding | Anatomy:
        return self._findings.get(key) or self._anatomy[key]

    def _require_free(self, word: str, key: str, where: str) -> None:
        known = self._shipped.find(word) or self._shipped.find_anatomy(word)
        if known is not None and known != key:
            remedy = f"leave it out, or write it under abbreviations, which win: {word}: {key}"
            raise _error(f"{where}: {word!r} already means {known}", remedy)
        self._claim(word, key, where)

    def _claim(self, word: str, key: str, where: str) -> None:
        other = self._own.setdefault(word.lower(), key)
        if other != key:
            raise _error(f"{where}: {word!r} means {other} elsewhere in the file", "let each word mean one thing")

    def _add_words(self, entry: Finding | Anatomy, words: Iterable[str]) -> None:
        more = [word for word in words if word not in entry.synonyms]
        self._put(entry.model_copy(update={"synonyms": (*entry.synonyms, *more)}))

    def _take_from_others(self, word: str, key: str) -> None:
        entries: list[Finding | Anatomy] = [*self._findings.values(), *self._anatomy.values()]
        for entry in entries:
            kept = tuple(known for known in entry.synonyms if known.lower() != word.lower())
            if entry.id != key and len(kept) < len(entry.synonyms):
                self._put(entry.model_copy(update={"synonyms": kept}))

    def _put(self, entry: Finding | Anatomy) -> None:
        if isinstance(entry, Finding):
            self._findings[entry.id] = entry
        else:
            self._anatomy[entry.id] = entry


def _near(word: str, known: Iterable[str] | Mapping[str, Any]) -> str:
    near = get_close_matches(word.lower().replace(" ", "_"), list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else "write an id of `lgdea/vocabulary`, or add it under findings"


def _error(problem: str, remedy: str) -> ConfigError:
    return ConfigError(problem, remedy=remedy)
