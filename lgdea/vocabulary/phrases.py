"""Sentences made from vocabulary ids: canonical phrases of evidence units, class texts of zero-shot classes."""

from __future__ import annotations

from functools import cache, lru_cache

from lgdea.vocabulary.tables import Vocabulary, load_vocabulary

_SIDES = ("left", "right", "bilateral")


@cache
def _split_words(text: str) -> frozenset[str]:
    return frozenset(text.lower().split())


def canonical_phrase(
    finding: str, anatomy: str | None = None, laterality: str = "unspecified", severity: str = "unspecified"
) -> str:
    """One phrase for one combination of ids, the same in every run.

    >>> canonical_phrase("pleural_effusion", "pleura", "left", "moderate")
    'moderate left pleural effusion'
    >>> canonical_phrase("opacity", "lung_base", "right")
    'right lung opacity in the lung base'

    Args:
        finding: Vocabulary id; an id that the vocabulary lacks is read as words.
        anatomy: Structure id; left out when it is the finding's default or says nothing new.
        laterality: The patient's side; midline and unspecified add no word.
        severity: ``unspecified`` adds no word.
    """
    return _make_phrase(load_vocabulary(), finding, anatomy, laterality, severity)


@lru_cache(maxsize=65536)
def _make_phrase(vocabulary: Vocabulary, finding: str, anatomy: str | None, laterality: str, severity: str) -> str:
    entry = vocabulary.findings.get(finding)
    name = entry.name if entry else finding.replace("_", " ")
    if entry and entry.kind == "normality":
        return name
    words = [severity] if severity != "unspecified" else []
    place = vocabulary.anatomy.get(anatomy) if anatomy else None
    default = entry.default_anatomy if entry else None
    tail = ""
    if place is not None and place.id != default and not _split_words(place.name) <= _split_words(name):
        tail = f" in the {place.name}"
    if laterality in _SIDES and laterality not in _split_words(tail):
        words.append(laterality)
    return " ".join([*words, name]) + tail


def class_texts(finding: str) -> tuple[list[str], list[str]]:
    """Positive and negative texts of a zero-shot class, to be averaged as an ensemble.

    Args:
        finding: Vocabulary id.

    Returns:
        Two lists of equal length; text ``i`` of the second denies text ``i`` of the first.
    """
    entry = load_vocabulary().findings.get(finding)
    if entry is not None and entry.texts is not None:
        return list(entry.texts[0]), list(entry.texts[1])
    name = canonical_phrase(finding)
    if finding == "no_finding":
        positive = ["no finding", "normal chest", "no acute cardiopulmonary abnormality", "the lungs are clear"]
        return positive, [
            "abnormal finding",
            "abnormal chest",
            "acute cardiopulmonary abnormality",
            "the lungs are not clear",
        ]
    forms = ["{}", "there is {}", "findings consistent with {}", "{} is seen"]
    denials = ["no {}", "there is no {}", "no evidence of {}", "no {} is seen"]
    return [form.format(name) for form in forms], [form.format(name) for form in denials]
