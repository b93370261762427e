"""Words by which names are told from other words: lists of the package philter-lite, and our own of radiology."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources, util
from pathlib import Path
from typing import Any

from lgdea.errors import UsageError
from lgdea.shipped import read_table


@dataclass(frozen=True)
class WordLists:
    """Lower-case words: names of people, words that are none, and the tables of ``words.yaml``."""

    first_names: frozenset[str]
    last_names: frozenset[str]
    other_words: frozenset[str]
    tables: dict[str, Any]

    @cached_property
    def kept(self) -> frozenset[str]:
        """Capitalised words of radiology that are never a name by themselves."""
        return frozenset(self.tables["kept"]) | self.months

    @cached_property
    def months(self) -> frozenset[str]:
        """Names of months."""
        return frozenset(month for months in self.tables["months"].values() for month in months)

    @cached_property
    def named_things(self) -> frozenset[str]:
        """What stands behind an eponym."""
        return frozenset(self.tables["named_things"])

    def is_name(self, word: str) -> bool:
        """Whether it, or a part of it, is known as a name of people."""
        return any(part in self.first_names or part in self.last_names for part in parts(word))

    def is_only_name(self, word: str) -> bool:
        """Whether it is known as a name and nothing else."""
        return self.is_name(word) and not any(part in self.other_words or part in self.kept for part in parts(word))

    def is_first_name(self, word: str) -> bool:
        """Whether it is known as a given name and nothing else."""
        return self.is_only_name(word) and parts(word)[0] in self.first_names

    def is_other(self, word: str) -> bool:
        """Whether it is known as a word that is no name."""
        return word in self.kept or all(part in self.other_words or part in self.kept for part in parts(word))


def parts(word: str) -> list[str]:
    """The words of a hyphenated one, lower-case and without a possessive.

    >>> parts("Greenfield-Osei's")
    ['greenfield', 'osei']
    """
    plain = re.sub(r"['’]s?$", "", word.lower()).replace("’", "'")
    return [part for whole in plain.split("-") for part in {whole, whole.replace("'", "")} if len(part) > 1] or [plain]


@lru_cache(maxsize=1)
def load_words() -> WordLists:
    """Load the lists, which takes some seconds.

    Raises:
        UsageError: philter-lite is not installed.
    """
    found = util.find_spec("philter_lite")
    if found is None or not found.submodule_search_locations:
        raise UsageError("finding names needs philter-lite", remedy="pip install 'lgdea[scrub]'")
    file = Path(found.submodule_search_locations[0]) / "filters" / "set.toml"
    try:
        lists = tomllib.loads(file.read_text(encoding="utf-8"))
        first, last, other = (frozenset(map(str.lower, lists[key])) for key in ("firstnames", "lastnames", "nonames"))
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            "the installed philter-lite has no lists of names", file=file, remedy="pip install 'lgdea[scrub]'"
        ) from None
    tables = read_table(resources.files("lgdea.deidentification") / "words.yaml")
    return WordLists(first, last, other, tables)
