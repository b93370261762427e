"""The vocabulary's finding for a column's or a cell's word, a mapping's own words first."""

from __future__ import annotations

from collections.abc import Mapping

from lgdea.errors import UsageError
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.tables import SYSTEMS


def match_finding(word: str, own: Mapping[str, str | None] | None = None, codes: str | None = None) -> str | None:
    """Return the finding's id for ``word``, None when there is none or several.

    Asked in turn: the mapping's ``own`` words, the code system ``codes``, then
    :meth:`~lgdea.vocabulary.tables.Vocabulary.find`.
    """
    if own and word in own:
        return own[word]
    if codes is not None:
        found = load_vocabulary().from_code(codes, word)
        if found is not None:
            return found
    return load_vocabulary().find(word)


def check_words(own: Mapping[str, str | None], codes: str | None, *, anatomy: bool = False) -> None:
    """Check that a mapping's own targets and its code system exist.

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
