"""PadChest's 193 label words: which finding each is, and what a study's list of them says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from functools import lru_cache
from pathlib import Path

import pandas as pd

from lgdea.errors import DataError
from lgdea.vocabulary import load_vocabulary

CODES = "padchest"
# Words that say nothing of the image, so that a list with one of them is no full account of it.
NO_ACCOUNT = frozenset({"exclude", "suboptimal study", "unchanged"})
# Words for which the vocabulary has no finding of the same meaning.
WITHOUT_FINDING = NO_ACCOUNT | {
    "air bronchogram", "azygoesophageal recess shift", "azygos lobe", "bone cement", "bone metastasis",
    "calcified fibroadenoma", "cervical rib", "chronic changes", "costochondral junction hypertrophy", "end on vessel",
    "esophagic dilatation", "gynecomastia", "lipomatosis", "lung vascular paucity", "lymphangitis carcinomatosa",
    "mediastinic lipomatosis", "obesity", "pleural mass", "post radiotherapy changes", "pseudonodule",
    "respiratory distress", "right sided aortic arch", "soft tissue mass", "sternoclavicular junction hypertrophy",
    "subacromial space narrowing", "supra aortic elongation", "thoracic cage deformation",
}  # fmt: skip


@lru_cache(maxsize=1)
def _words() -> dict[str, str]:
    """The known words by their lower-case form; the releases differ in case (``NSG tube``, ``nsg tube``)."""
    coded = (code for finding in load_vocabulary().findings.values() for code in finding.codes.get("padchest", ()))
    return {word.lower(): word for word in (*coded, *WITHOUT_FINDING)}


def known_word(word: str, *, file: Path, row: int | str) -> str:
    """``word`` as the vocabulary spells it.

    Raises:
        DataError: It is none of PadChest's.
    """
    try:
        return _words()[word.strip().lower()]
    except KeyError:
        raise DataError(
            f"the label {word!r} is none of PadChest's", file=file, row=row, remedy="correct the cell"
        ) from None


def finding_of(word: str) -> str | None:
    """The finding that a known word names, None when the vocabulary has none."""
    return load_vocabulary().from_code(CODES, word)


class StudyLabels:
    """Collects the words of studies and turns them into rows of ``labels``.

    A listed word is 1. With a complete list, a finding that is not listed is 0, unless a listed one is a kind of it: a
    list with ``consolidation`` says nothing of ``alveolar pattern``, which it implies. A list with a word that refuses
    an account (``unchanged``) has no 0.

    Attributes:
        unmapped: Words without a finding, each with the number of its studies.
    """

    def __init__(self) -> None:
        self.unmapped: Counter[str] = Counter()
        vocabulary = load_vocabulary()
        self._scored = sorted(key for key, entry in vocabulary.findings.items() if entry.codes.get("padchest"))
        self._words: dict[str, set[str]] = {}
        self._labellers: dict[str, tuple[str, bool]] = {}

    def add(self, study: str, words: Set[str], labeller: str, *, complete: bool) -> None:
        """Add words to a study; the first labeller of a study is named for all of them."""
        self._words.setdefault(study, set()).update(words)
        self._labellers.setdefault(study, (labeller, complete))

    def rows(self) -> pd.DataFrame:
        """The rows: study_id, finding, value, labeller."""
        vocabulary = load_vocabulary()
        columns: dict[str, list[object]] = {"study_id": [], "finding": [], "value": [], "labeller": []}
        for study, words in self._words.items():
            found = {word: finding_of(word) for word in words}
            self.unmapped.update(word for word, finding in found.items() if finding is None)
            listed = {finding for finding in found.values() if finding is not None}
            implied = {up for finding in listed for up in vocabulary.ancestors(finding)}
            labeller, complete = self._labellers[study]
            absent = complete and bool(words) and not words & NO_ACCOUNT
            values = [
                (f, 1.0 if f in listed else 0.0) for f in self._scored if f in listed or (absent and f not in implied)
            ]
            columns["study_id"] += [study] * len(values)
            columns["finding"] += [finding for finding, _ in values]
            columns["value"] += [value for _, value in values]
            columns["labeller"] += [labeller] * len(values)
        return pd.DataFrame(columns)
