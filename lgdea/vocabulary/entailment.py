"""Entailment between units of evidence and phrases: which phrases a unit makes present or absent.

A unit is known by its key (finding, anatomy, laterality, severity) and its assertion. "Moderate left pleural effusion
is present" also makes "left pleural effusion" and "pleural effusion" present; "no pleural effusion" makes all three
absent; "no left pleural effusion" says nothing about "pleural effusion". Findings inherit: consolidation is an opacity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lgdea.vocabulary import Vocabulary, load_vocabulary
from lgdea.vocabulary.phrases import canonical_phrase

NOT_MENTIONED, ABSENT, UNCERTAIN, PRESENT = 0, 1, 2, 3
"""Status of a phrase in a report."""
ASSERTIONS = {"absent": ABSENT, "uncertain": UNCERTAIN, "present": PRESENT}
UNSPECIFIED = "unspecified"
NORMAL = "no_finding"
TEMPLATES = ("{}", "{}", "there is {}", "{} is seen", "findings consistent with {}")
"""Ways of saying a phrase; the plain one counts twice."""

Key = tuple[str, str | None, str, str]
"""Finding id, anatomy id or None, laterality, severity."""


def _lineage(finding: str) -> tuple[frozenset[str], frozenset[str], str]:
    """Return ancestors and descendants (both with the finding itself) and kind; an unknown finding stands alone."""
    return _find_lineage(load_vocabulary(), finding)


@lru_cache(maxsize=4096)
def _find_lineage(vocabulary: Vocabulary, finding: str) -> tuple[frozenset[str], frozenset[str], str]:
    entry = vocabulary.findings.get(finding)
    if entry is None:
        return frozenset([finding]), frozenset([finding]), "finding"
    return vocabulary.ancestors(finding), vocabulary.descendants(finding), entry.kind


def is_abnormal(finding: str) -> bool:
    """Return True for what a normal report denies: findings and diseases, not devices."""
    return _lineage(finding)[2] in ("finding", "disease")


def generalisations(key: Key) -> list[Key]:
    """List ``key`` and what it implies when present, most special first: without severity, place, side; ancestors."""
    finding, anatomy, side, _ = key
    keys = [key, (finding, anatomy, side, UNSPECIFIED), (finding, None, side, UNSPECIFIED)]
    keys += [(f, None, UNSPECIFIED, UNSPECIFIED) for f in (finding, *sorted(_lineage(finding)[0] - {finding}))]
    return list(dict.fromkeys(keys))


def implies_presence(unit: Key, phrase: Key) -> bool:
    """Check that a present ``unit`` makes ``phrase`` present."""
    return (
        phrase[0] in _lineage(unit[0])[0]
        and phrase[1] in (None, unit[1])
        and (phrase[2] in (UNSPECIFIED, unit[2]) or (unit[2] == "bilateral" and phrase[2] in ("left", "right")))
        and phrase[3] in (UNSPECIFIED, unit[3])
    )


def implies_absence(unit: Key, phrase: Key) -> bool:
    """Check that an absent ``unit`` makes ``phrase`` absent: the phrase must be at least as special."""
    return (
        unit[0] in _lineage(phrase[0])[0]
        and unit[1] in (None, phrase[1])
        and (unit[2] in (UNSPECIFIED, phrase[2]) or (phrase[2] == "bilateral" and unit[2] in ("left", "right")))
        and unit[3] in (UNSPECIFIED, phrase[3])
    )


class PhraseTable:
    """Unique phrases of a corpus and, for every unique unit, the status it gives to each.

    Attributes:
        texts: ``T`` unique canonical phrases.
        keys: The first key of each text.
        unit_phrase: ``(V,)`` the phrase of each unique unit.
        unit_status: ``(V,)`` its assertion as a status.
    """

    def __init__(self, units: Iterable[tuple[Key, int]]) -> None:
        """Build the table from the unique (key, status) of a corpus, in the order of their ids."""
        units = list(units)
        self._findings = load_vocabulary().findings
        self._of_text: dict[str, int] = {}
        self.keys: list[Key] = []
        self._by_finding: dict[str, list[int]] = defaultdict(list)
        for key, _ in units:
            for general in generalisations(key):
                self._add(general)
        self.texts = list(self._of_text)
        self.unit_phrase = np.array([self._of_text[canonical_phrase(*key)] for key, _ in units], dtype=np.int64)
        self.unit_status = np.array([status for _, status in units], dtype=np.int8)
        self._entailed = [self._entail(key, status) for key, status in units]

    def __len__(self) -> int:
        return len(self.texts)

    def _add(self, key: Key) -> None:
        text = canonical_phrase(*key)
        if text not in self._of_text:
            self._of_text[text] = len(self.keys)
            self._by_finding[key[0]].append(len(self.keys))
            self.keys.append(key)

    def _entail(self, unit: Key, status: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Find the phrases that ``unit`` gives a status, and the status."""
        found: dict[int, int] = {}
        if status == ABSENT:
            for finding in _lineage(unit[0])[1]:
                for phrase in self._by_finding.get(finding, ()):
                    if implies_absence(unit, self.keys[phrase]):
                        found[phrase] = ABSENT
        else:
            for finding in _lineage(unit[0])[0]:
                for phrase in self._by_finding.get(finding, ()):
                    if implies_presence(unit, self.keys[phrase]):
                        found[phrase] = status
        if status == PRESENT and unit[0] == NORMAL:
            denied = (p for p, key in enumerate(self.keys) if is_abnormal(key[0]))
            found.update(dict.fromkeys(denied, ABSENT))
        elif status == PRESENT and is_abnormal(unit[0]):
            found.update(dict.fromkeys(self._by_finding.get(NORMAL, ()), ABSENT))
        return np.fromiter(found.keys(), np.int64, len(found)), np.fromiter(found.values(), np.int8, len(found))

    def status(self, reports: Iterable[NDArray[np.int64]]) -> NDArray[np.int8]:
        """Status of every phrase in each report: ``(B, T)``; present wins over uncertain, that over absent.

        Args:
            reports: The unique-unit ids of each report.
        """
        reports = list(reports)
        matrix = np.zeros((len(reports), len(self)), dtype=np.int8)
        for row, units in zip(matrix, reports, strict=True):
            for unit in units:
                phrases, status = self._entailed[unit]
                row[phrases] = np.maximum(row[phrases], status)
        return matrix

    def wordings(self, phrase: int) -> list[str]:
        """List ways of saying a phrase: templates around it, and synonyms where only the finding is named."""
        text, key = self.texts[phrase], self.keys[phrase]
        texts = [template.format(text) for template in TEMPLATES]
        entry = self._findings.get(key[0])
        if entry is not None and key[1:] == (None, UNSPECIFIED, UNSPECIFIED):
            texts += [s for s in entry.synonyms if s.lower() != text]
        return texts
