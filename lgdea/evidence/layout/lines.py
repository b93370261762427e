"""Line ends of a flattened report: which of them end a sentence, and which only wrap it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BULLETS = (
    "\u2022\u2023\u2043\u25a0-\u25ab\u25b6\u25ba\u25c6\u25cb\u25cf\u25d8\u25e6\u2219\uf0a7\uf0b7\u27a2\u2460-\u2473"
)
"""Characters that begin the items of a list, for a character class."""

_NARROWEST = 40
"""Columns; no text is wrapped at less, so that shorter lines were ended on purpose."""
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_LINE_END = re.compile(r"\n\s*")
_MARKED = re.compile(
    rf"(?:[-*\u2013\u2014+{BULLETS}\u00b7](?=\s?[\w(\[?])|\(?\d{{1,2}}[.)](?:\s|[A-Za-z(])|\d{{1,2}}\s?[-:]\s"
    r"|\(?(?:[a-h]|i{1,3}|iv|v)\)\s|[a-hA-H]\.\s+[A-Z]|o\s+[A-Z]|>\s"
    r"|\[[ _xX\u2713\u2714+]?\]|\([ _xX]\)|[\u2610-\u2612\u2713-\u2718]"
    r"|[-=_*~#]{3,})"
)
_LABELLED = re.compile(r"(?:[A-Z][\w ,/&()'-]{1,50}|[a-z][a-z]+(?:[ _][a-z]+)?)(?<!\d):(?!\d)")
_OPEN = re.compile(
    r"(?:[,/(&+=-]|\b(?:a|an|the|and|or|nor|but|of|in|on|at|to|for|from|by|with|without|within|into|than|that|which|this"
    r"|these|its|their|is|are|was|were|be|been|being|has|have|had|may|might|can|could|cannot|as|if|between|near|over"
    r"|under|above|below|through|along|about|around|versus|vs|per|via|due|measuring|measures|showing|shows|suggesting"
    r"|suggests|representing|represents?|including|demonstrates?|either|neither|suspicious|concerning|consistent"
    r"|compatible|compared|secondary|adjacent|since|after|before|until|during|overlying|underlying|any|other|both"
    r"|dr|mr|mrs|ms)\.?)\Z",
    re.IGNORECASE,
)
"""Ends of lines after which the sentence must go on."""
_ANSWER = re.compile(r"[?:=]\s*(?:no|yes|none|nil|absent|present|negative|positive|true|false)\Z", re.IGNORECASE)
"""Ends of lines that answer a question or fill in a form."""
_GRADE = re.compile(r"[a-z)]\s?(?:\+{1,3}|\(?[+-]\)|\+\s?/\s?-|\s-)\Z", re.IGNORECASE)
"""Ends of lines that say whether a finding is there: "effusion ++", "pneumothorax -"."""
_GRADED_LINE = re.compile(r"[^\n]*[a-z)]\s?(?:\+{1,3}|\(?[+-]\)|\+\s?/\s?-|\s-)[ \t]*(?:\n|\Z)", re.IGNORECASE)
_HALF_OPEN = re.compile(
    r"\b(?:no|not|pleural|focal|acute|pulmonary|pericardial|mediastinal|hilar|small|large|mild|moderate|severe|minimal|tiny"
    r"|left|right|bilateral|upper|lower|mid|middle|lobar|airspace|interstitial|basilar|similar|likely|possible|probable"
    r"|possibly|probably|costophrenic|cardiac|vascular|chronic|rib|air|lung|chest|central|venous|jugular|internal)\Z",
    re.IGNORECASE,
)
"""Ends of lines after which it goes on unless a new statement plainly begins."""
_GOES_ON = re.compile(
    r"(?:and|or|nor|but|with|without|of|in|on|at|to|for|from|by|as|than|that|which|who|is|are|was|were|be|been|has|have"
    r"|had|may|might|can|could|seen|noted|identified|measuring|measures?|along|within|into|over|under|above|below"
    r"|through|versus|vs|due|secondary|compatible|consistent|suggest\w*|represent\w*|since|after|compared|again|also|then"
    r"|where|while|although|however|because|if|not|appears?|remains?|demonstrat\w+|shows?|lobes?|zones?|fields?|apex"
    r"|apices|process|disease|silhouette|contours?|angles?|tip|cm|mm)\b",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"(?:no|nil|small|large|mild|mildly|moderate|severe|minimal|tiny|trace|new|old|stable|unchanged|left|right|bilateral"
    r"|normal|clear|heart|lungs|cardiac|mediastinum|there|ett?|ngt?|picc|increased|decreased|interval|focal|patchy|multiple"
    r"|degenerative|status|the|cardiomegaly|lines|bones|pleura)\b",
    re.IGNORECASE,
)
_ACRONYM = re.compile(r"[A-Z]{2,}|[A-Z]\d|_{2,}|\[\*\*")
_STOPPED = re.compile(r"[a-z]{2}[.!](?:\s|\Z)", re.IGNORECASE)
_CAPITALISED = re.compile(r"(?:\A|[.!:]\s+|\n\s*)[A-Z][a-z]*\b[^.\n]{0,40}[a-z]{2}")


class _Paragraph(NamedTuple):
    """What the lines of a paragraph have in common."""

    width: int
    cased: bool
    """Its statements begin with a capital, and not all is capitals: the case of a letter tells something."""
    stopped: bool
    """Its sentences end with full stops."""


def joined_lines(plain: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut ``plain[start:end]`` at the line ends that end a sentence; wrapped lines stay joined.

    Each paragraph is looked at by itself, so that nothing behind a blank line changes what stands before it.
    """
    at = start
    for blank in _BLANK_LINE.finditer(plain, start, end):
        yield from _join(plain, at, blank.start())
        at = blank.end()
    yield from _join(plain, at, end)


def _join(plain: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    first = plain.find("\n", start, end)
    if first < 0:
        if end > start:
            yield start, end
        return
    paragraph = _measure(plain, start, end)
    begin, line = start, plain.rfind("\n", 0, start) + 1
    for match in _LINE_END.finditer(plain, start, end):
        if match.end() < end and _ends(plain, line, match.start(), match.end(), paragraph):
            yield begin, match.start()
            begin = match.end()
        line = match.end()
    yield begin, end


def _measure(plain: str, start: int, end: int) -> _Paragraph:
    text = plain[start:end]
    width = max(len(line.rstrip()) for line in plain[plain.rfind("\n", 0, start) + 1 : end].split("\n"))
    return _Paragraph(width, _CAPITALISED.search(text) is not None, _STOPPED.search(text) is not None)


def _ends(plain: str, line: int, stop: int, begin: int, paragraph: _Paragraph) -> bool:
    """Tell whether the sentence ends between the line ``line:stop`` and the one that begins at ``begin``."""
    tail = plain[max(line, stop - 30) : stop].rstrip()
    if _MARKED.match(plain, begin) or _ANSWER.search(tail):
        return True
    if tail[-1:] in "+-)" and _GRADE.search(tail) and (plain[begin].isupper() or _GRADED_LINE.match(plain, begin)):
        return True
    if _OPEN.search(tail):
        return False
    if tail.endswith((".", "!", "?", ";")) or _LABELLED.match(plain, begin):
        return True
    if tail.endswith(":") or plain[begin] in "(),;/":
        return False
    last = min(len(plain), begin + 40)
    word_end = next((k for k in range(begin, last) if plain[k].isspace()), last)
    fits = len(plain[line:stop].rstrip()) + 1 + word_end - begin <= max(paragraph.width, _NARROWEST)
    return _begins_anew(plain, begin, paragraph, fits=fits, half_open=_HALF_OPEN.search(tail) is not None)


def _begins_anew(plain: str, begin: int, paragraph: _Paragraph, *, fits: bool, half_open: bool) -> bool:
    """Tell whether a line without any mark begins a sentence.

    Args:
        plain: The flattened report.
        begin: Where the line begins.
        paragraph: What its paragraph's lines have in common.
        fits: Its first word had room in the line before, so that nothing forced the line end.
        half_open: The line before ends with a word after which a sentence mostly goes on.
    """
    if not paragraph.cased:
        goes_on = half_open or _GOES_ON.match(plain, begin) is not None
        return not goes_on and (fits or not paragraph.stopped)
    if plain[begin].islower():
        return fits and not half_open and _STATES.match(plain, begin) is not None
    is_caseless = _ACRONYM.match(plain, begin) is not None or plain[begin].isdigit()
    if fits:
        return not (half_open and paragraph.stopped and is_caseless)
    return not (half_open or (paragraph.stopped and is_caseless))
