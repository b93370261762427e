"""Normality: whether a report as a whole says that nothing is wrong."""

from __future__ import annotations

import re
from functools import lru_cache

_NORMAL = re.compile(
    r"(?=[ncuw])(?:"  # soon tells that nothing begins here
    r"\bno (?:radiographic |definite |significant |convincing |x-?ray )?(?:evidence (?:of|for) |sign of |findings of )?"
    r"(?:an |any )?"
    r"(?:acute|active|significant|focal|new)?[ ,/a-z-]{0,50}?"
    r"(?:disease|process|abnormalit|finding|pathology|change|injury)"
    r"|\bno (?:acute |active |significant |focal |new )[ ,/a-z-]{0,50}?(?:infiltrate|consolidation|pneumonia|airspace)"
    r"|\b(?:normal|clear|unremarkable|negative)\b|within normal limits"
    r"|\bnothing (?:acute|focal|abnormal)|\bnil (?:acute|of note|significant|else|focal)\b|\bn\.?a\.?d\b)",
    re.IGNORECASE,
)
# "Lungs are not clear", "far from a normal chest": what stands before the word in its clause turns it round.
_TURNED = re.compile(
    r"(?:\bnot|n['’]t|\bcannot|\bnever|\bno longer|\bfar from|\bhardly|\bpreviously|\bformerly|\bnear(?:ly)?|\balmost)"
    r"(?:\s+\w+){0,4}\s*$",
    re.IGNORECASE,
)
# What a normal chest study speaks of: another organ's "normal" says nothing about it.
_STUDY = re.compile(
    r"chest|thora|lung|pulmon|heart|cardi|mediastin|hil[aui]|pleura|stud(?:y|ies)|exam|radiograph|film|x-?ray|\bcxr\b"
    r"|\bct\b|scan|view|bon[ey]|osse|skelet|silhouette|costophrenic|diaphragm|trachea|vascula|aort|spine|ribs?\b|contour|apices"
    r"|airspace|parenchym|vessel|abdom|brain|head|finding|impression|report|acute|disease|process|abnorm|patholog|\bcp\b|angle|sinus",
    re.IGNORECASE,
)
_ALONE = re.compile(
    r"(?:normal|clear|unremarkable|negative|n\.?a\.?d|nil|acute|of note|otherwise|essentially|all|is"
    r"|within|limits|[\s.,!])+",
    re.IGNORECASE,
)


@lru_cache(maxsize=16384)
def says_normal(sentence: str) -> bool:
    """Return whether a sentence says that something is as it should be.

    >>> says_normal("The chest is normal."), says_normal("Not a normal chest."), says_normal("No effusion.")
    (True, False, False)
    """
    for match in _NORMAL.finditer(sentence):
        start = max(sentence.rfind(mark, 0, match.start()) for mark in ".,;:") + 1
        if _TURNED.search(sentence[start : match.start()]) is None:
            return _STUDY.search(sentence) is not None or _ALONE.fullmatch(sentence) is not None
    return False
