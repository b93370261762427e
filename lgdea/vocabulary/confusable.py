"""Groups of findings that are mistaken for each other (``confusable.yaml``)."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml

from lgdea.errors import DataError
from lgdea.vocabulary.tables import Vocabulary, load_vocabulary


def confusable_groups() -> dict[str, frozenset[str]]:
    """The groups by id, each with all kinds of its findings.

    Raises:
        DataError: A group names a finding that the vocabulary lacks.
    """
    return _read_groups(load_vocabulary())


@cache
def _read_groups(vocabulary: Vocabulary) -> dict[str, frozenset[str]]:
    text = (resources.files("lgdea.vocabulary") / "confusable.yaml").read_text(encoding="utf-8")
    groups: dict[str, frozenset[str]] = {}
    for row in yaml.safe_load(text):
        unknown = [finding for finding in row["findings"] if finding not in vocabulary.findings]
        if unknown:
            raise DataError(f"unknown finding {unknown[0]!r}", file="confusable.yaml", row=row["id"])
        groups[row["id"]] = frozenset().union(*(vocabulary.descendants(finding) for finding in row["findings"]))
    return groups


def confusable_with(finding: str) -> frozenset[str]:
    """Findings that ``finding`` is mistaken for, neither kinds of it nor what it is a kind of.

    >>> "atelectasis" in confusable_with("pleural_effusion"), "nodule" in confusable_with("pleural_effusion")
    (True, False)
    """
    return _find_confusable(load_vocabulary(), finding)


@cache
def _find_confusable(vocabulary: Vocabulary, finding: str) -> frozenset[str]:
    if finding not in vocabulary.findings:
        return frozenset()
    own = vocabulary.ancestors(finding) | vocabulary.descendants(finding)
    # A member may be more general than the finding asked for: what its group is mistaken for holds for it too.
    groups = [group for group in confusable_groups().values() if finding in group]
    return frozenset().union(*groups) - own
