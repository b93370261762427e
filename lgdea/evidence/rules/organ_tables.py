"""The tables of ``organs.yaml``: which findings every organ may have, and what they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from lgdea.shipped import read_table


@dataclass(frozen=True)
class Organs:
    """The tables of ``organs.yaml``; attributes have the names of its keys."""

    general: frozenset[str]
    elsewhere: frozenset[str]
    there: Mapping[str, Mapping[str, str]]
    only_in: Mapping[str, str]
    heads_only_in: Mapping[str, str]
    sideless: frozenset[str]
    nowhere: Mapping[str, frozenset[str]]
    studies: Mapping[str, str]
    """Word of a title to the structure, "" for the chest."""
    modalities: frozenset[str]
    not_findings: tuple[str, ...]


@lru_cache(maxsize=1)
def load_organs() -> Organs:
    """Return the tables, read once."""
    tables: dict[str, Any] = read_table(resources.files("lgdea.evidence.rules") / "organs.yaml")
    words = {word: structure for structure, names in tables["studies"].items() for word in names}
    return Organs(
        general=frozenset(tables["general"]),
        elsewhere=frozenset(tables["elsewhere"]),
        there=tables["there"],
        only_in=tables["only_in"],
        heads_only_in=tables["heads_only_in"],
        sideless=frozenset(tables["sideless"]),
        nowhere={finding: frozenset(places) for finding, places in tables["nowhere"].items()},
        studies={**words, **dict.fromkeys(tables["chest_studies"], "")},
        modalities=frozenset(tables["modalities"]),
        not_findings=tuple(tables["not_findings"]),
    )
