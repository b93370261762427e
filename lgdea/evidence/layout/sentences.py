"""Sentences of a flattened report: full stops, line ends that are not wrapped, list marks, dashes between statements.

All functions take the text of :func:`~lgdea.evidence.layout.markup.flatten`, whose offsets are the raw ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter

from lgdea.evidence.layout.lines import BULLETS, joined_lines

_LONGEST_SENTENCE = 2000  # characters

_STOP = re.compile(
    r"""[.!?](?:(?<!\?)[.!]*["')\]}*>]*(?=\s|$)|(?<=[^\W\d_].)(?<!\?)[.!]*(?=[A-Z])|(?<=[\d)\]%]\.)(?=[A-Z][a-z])"""
    r"""|(?<=\s\.)(?=[A-Za-z]{2})|(?<=[a-z]{3}\.)(?=[a-z]{2}|\d[\s.)])|(?<=\w\?)\?*["')\]*]*(?=\s|$))"""
)
_ABBREVIATION = re.compile(r"\b(?:drs?|mr|mrs|ms|prof|vs|approx|ca|e\.g|i\.e|eg|figs?|resp|cf|incl)\Z", re.IGNORECASE)
_LONGEST_ABBREVIATION = 8  # characters, with the one before it
_BEFORE_LOWER_CASE = re.compile(
    r"\b(?:rt|lt|bilat|post|ant|lat|med|sup|inf|mod|min|max|sm|a\.m|p\.m|am|pm|hrs?|yrs?|ser|im|img|esp|prob|poss|pt"
    r"|diff|resid|consol|eff|pulm|perf|neg|pos|occ|prev|assoc|hx|dx|fx|st|ext|int|op|subseg|lg|w|[a-z]\.\s?[a-z])\Z",
    re.IGNORECASE,
)
"""Abbreviations that can end a sentence too: they don't where a small letter or a number follows."""
_VALUE = re.compile(
    r"\s*(?:(?:no|none|nil|negative)\b[ \t]*(?:[.,;(]|$)"
    r"|(?:yes|absent|present|positive|possibl[ey]|unlikely|not (?:seen|identified|present|evident))\b)",
    re.IGNORECASE | re.MULTILINE,
)
"""The value of an entry: "pneumothorax? no", "edema ... none"."""
_LETTER, _DOTTED = re.compile(r"(?<![A-Za-z])[A-Za-z]\Z"), re.compile(r"[A-Za-z]\.")
"""Letters of a dotted abbreviation: "C.P. angle"."""
_SIDE_ALONE = re.compile(r"\W*(?:rt|lt|bilat)", re.IGNORECASE)
"""A side that opens its sentence: "Lt. CP angle is clear"."""
_INITIAL = re.compile(r"(?:\b(?:by|with|to|and|Drs?\.?|Prof\.?)|[A-Z]\.) ?[A-Z]\Z")
_ADDRESS = re.compile(r"(?:https?:|www\.)\S*\Z")
_ENDING = re.compile(r"\.(?:com|org|net|edu|gov|pdf|html?|jpe?g|png|dcm|docx?|txt|co)\b")
# Dashes and gaps that may stand between two statements.
_GAP = re.compile(
    r"(?<=\S)(?:(?P<hard>(?:[ \t]*+(?<![:/|>])(?://|\|\||>>)|[ ]\*[ ]|(?<=[A-Za-z)])[ ]\.{3}[ ])[ \t/|>]*+"
    r"(?=[A-Za-z(\[]))"
    r"|[ \t]+(?:--?|[-=]+>|[\u2013\u2014\u2015\u2212])(?:[ \t]+|(?=[A-Z]))"
    r"|(?<=[a-z)])(?:-[ \t]+(?=[A-Z])|(?:--|[\u2014\u2015])[ \t]?(?=[A-Za-z])|\u2013(?=[A-Z]))"
    r"|(?P<column>[ ]{2,}(?=[A-Z])|[ ]*\t[ \t]*(?=[A-Za-z])|(?<!\|)[ \t]*\|[ \t|]*(?=[A-Za-z])))"
)
_NEGATED = re.compile(r"(?:there (?:is|are) )?(?:no|nil|without|neither|absence|negative)\b", re.IGNORECASE)
_PLACE = r"[rl][ulm][lz]|(?:upper|lower|mid|middle)(?: (?:lobes?|zones?))?|bas(?:e|es|al|ilar)|ap(?:ex|ical)|lingula"
_ATTRIBUTE = re.compile(
    r"(?:(?:and|or|is|are|now|slightly|mildly|moderately|markedly|new|old|stable|unchanged|small|large|mild|moderate|severe"
    r"|minimal|tiny|none|no|nil|yes|clear|normal|improved|improving|worse|worsened|worsening|increased|decreased"
    r"|resolved|chronic|acute|left|right|bilateral|present|absent|negative|positive|seen|noted|likely|possible|probable|above"
    r"|below|see|as|before|described|evidence|signs?|change|longer|today|previously|unlikely|not|intact"
    rf"|unremarkable|{_PLACE})\b[ ,]*)+"
    r"[.!]?\s*\Z",
    re.IGNORECASE,
)
"""What only qualifies the statement before it: "effusion - new"."""
_OPENS = re.compile(
    r"(?:no|small|large|mild|moderate|severe|minimal|tiny|trace|new|stable|unchanged|left|right|bilateral|normal|clear"
    r"|heart|lungs?|cardiac|mediastin\w+|there|increased|decreased|interval|focal|patchy|multiple|degenerative|the"
    r"|cardiomegaly)\b",
    re.IGNORECASE,
)
_PART = re.compile(r"(?:heart|lungs|cardiac|cardiomegaly|mediastin\w+|pleura|bones)\b")
"""Parts of the body that a piece in lower case begins with: "heart enlarged - lungs clear"."""
_GAP_HINT = re.compile(r"[\t|\u2013-\u2015\u2212]|//|>>|[ ]\*[ ]|[ ]\.\.\.[ ]")
_ITEM_HINT = re.compile(rf"[)\]#*\u00b7{BULLETS}\[\u2610-\u2612\u2713-\u2718\d](?:(?<!\d)|\.[ \tA-Z])")
_PIECE_END = re.compile(r"[.;\n]|\s[-\u2013\u2014]\s")
_ITEM = re.compile(
    r"(?<=\s)(?:[(\[]?(?P<number>\d{1,2})(?P<sign>[.)\]])(?=\s*[A-Za-z(])(?!\s*(?:mm|cm|ml)\b)|\#(?P<hash>\d{1,2})(?=\s+[A-Za-z])"
    r"|\(?(?P<roman>[ivx]{1,4})\)(?=\s*[A-Za-z])|\(?(?P<letter>[a-h])\)(?=\s*[A-Za-z]))"
    rf"|(?P<bullet>[{BULLETS}])|(?<=\s)[*\u00b7](?=\s+[A-Za-z])|(?<=\s)\[\d{{1,2}}:\d\d(?::\d\d)?\](?=\s)"
)
_FIRST_ITEM = re.compile(
    r"\s*(?:[(\[]?(?P<number>\d{1,2})[.)\]]|\#(?P<hash>\d{1,2})\b|\(?(?P<roman>i)\)|\(?(?P<letter>[a-h])\))"
)
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_LETTERS = "abcdefgh"
_BOX = re.compile(r"\[[ _xX\u2713\u2714+]?\]|[\u2610-\u2612\u2713-\u2718]")
_LEADING_BOX = re.compile(r"\([ _xX]\)")
_QUALIFIES = re.compile(
    rf"(?:[ \t,:(-]*\b(?:left|right|lt|rt|l|r|bilateral|both|{_PLACE}|small|mild|moderate|large|new|old|sides?)\b\)?)+",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]")
_LIST_MARK = re.compile(
    rf"[\s|]*(?:[-=_~#*]{{3,}}\s*)?(?:[-*\u2013\u2014]+(?![)\]]|ve\b)|[{BULLETS}\u00b7]+|[+>](?=\s)"
    r"|\(?\d{1,2}(?:[.)\u00ba](?=\s|[A-Za-z(])|\s?[-\u2013:](?=\s))(?!\s?\d)"
    r"|\(?(?:[a-h]|i{1,3}|iv|v)\)(?=\s|[A-Z])|[a-hA-H]\.(?=\s+[A-Z])|o(?=\s+[A-Z]))?\s*"
)


def split_flat(plain: str, start: int, end: int) -> list[tuple[int, int]]:
    """Split ``plain[start:end]`` into sentences, as offsets, without list marks and outer blanks."""
    sentences: list[tuple[int, int]] = []
    for begin, stop in joined_lines(plain, start, end):
        at = begin
        for cut in _cuts(plain, begin, stop):
            _append(plain, at, cut, sentences)
            at = cut
        _append(plain, at, stop, sentences)
    return sentences


def cut_long(sentences: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Cut what has no end within 2,000 characters: it is not prose."""
    return [
        (at, min(at + _LONGEST_SENTENCE, end))
        for start, end in sentences
        for at in range(start, end, _LONGEST_SENTENCE)
    ]


def _append(plain: str, start: int, end: int, sentences: list[tuple[int, int]]) -> None:
    mark = _LIST_MARK.match(plain, start, end)
    if mark:
        start = mark.end()
    while end > start and plain[end - 1].isspace():
        end -= 1
    if _WORD.search(plain, start, end):
        sentences.append((start, end))


def _cuts(plain: str, begin: int, stop: int) -> Iterator[int]:
    """Where the sentences of some joined lines end, in order."""
    found: list[tuple[int, int, re.Match[str] | None]] = [
        (match.end(), match.start(), match) for match in _STOP.finditer(plain, begin, stop)
    ]
    text = plain[begin:stop]
    if " -" in text or "- " in text or "--" in text or "  " in text or "=>" in text or _GAP_HINT.search(text):
        found += [(match.end(), match.start(), match) for match in _GAP.finditer(plain, begin, stop)]
    if _ITEM_HINT.search(text):
        found += [(at, at, None) for at in _item_cuts(plain, begin, stop)]
    found.sort(key=itemgetter(0))
    at = begin
    for end, start, match in found:
        if end <= at or start < at:
            continue
        if match is None:
            is_cut = True
        elif match.re is _STOP:
            is_value = match[0].endswith(("?", "...")) and _VALUE.match(plain, end) is not None
            is_cut = end < stop and not is_value and _is_stop(plain, at, match)
        else:
            is_cut = _parts_statements(plain, at, match, stop)
        if is_cut:
            at = start if match is not None and match.re is _GAP else end
            yield at


def _is_stop(plain: str, at: int, match: re.Match[str]) -> bool:
    """Tell whether a full stop ends the sentence that begins at ``at``."""
    start, end = match.span()
    word = plain[max(at, start - 5) : start]
    if plain[start] != "." or (
        len(word) == 5 and word.isalpha() and word != "pprox" and plain[end : end + 1].isspace()
    ):
        return True  # no abbreviation, by far the most
    is_leader = end - start > 2 and (plain[start - 1].isspace() or plain[end : end + 2].strip()[:1].islower())
    is_list_mark = start - at <= 8 and plain[at:start].strip(" \t\n(").isdigit()
    if is_leader or is_list_mark:  # "Emphysema ..... no", "1. No emphysema"
        return False
    before = plain[max(at, start - 40) : start]
    in_address = ("http" in before or "www." in before) and _ADDRESS.search(before)
    if in_address or _ABBREVIATION.search(before[-_LONGEST_ABBREVIATION:]) or _ENDING.match(plain, start):
        return False
    after = plain[end : end + 24].lstrip()
    side_alone = after[:1].isupper() and _SIDE_ALONE.fullmatch(plain, at, start) is not None
    is_initial = after[:1].isupper() and _INITIAL.search(before) is not None and not _OPENS.match(after)
    is_number = before[-2:].lower() == "no" and after[:1].isdigit() and not before[-3:-2].isalnum()
    is_dotted = _LETTER.search(before) is not None and _DOTTED.match(after) is not None
    if side_alone or is_initial or is_number or is_dotted:
        return False
    goes_on = after[:1].islower() or after[:1].isdigit()
    return not (goes_on and _BEFORE_LOWER_CASE.search(before))


def _parts_statements(plain: str, at: int, gap: re.Match[str], stop: int) -> bool:
    """Tell whether a dash or a gap stands between two statements: "No pneumothorax - Left effusion"."""
    before = plain[max(at, gap.start() - 200) : gap.start()].strip()
    rest = plain[gap.end() : min(stop, gap.end() + 120)]
    end = _PIECE_END.search(rest)
    after = rest[: end.start()].strip() if end else rest.strip()
    if not after or not any(map(str.isalpha, before)) or _ATTRIBUTE.match(after):
        return False
    if gap["hard"]:
        return "." not in gap["hard"] or _NEGATED.match(before) is not None
    if gap["column"]:
        return not before.endswith((":", ",")) and _begins_column(gap["column"], after)
    begins = _LIST_MARK.match(before)
    if _NEGATED.match(before, begins.end() if begins else 0) or _NEGATED.match(after):
        return True
    says_more = not after.isupper() or " " not in after or _OPENS.match(after) is not None
    begins_anew = after[0].isupper() or _PART.match(after) is not None
    return begins_anew and len(before.split()) > 1 and says_more


def _begins_column(gap: str, after: str) -> bool:
    """Tell whether a statement begins behind blanks, a tab or a bar."""
    if len(gap) < 4 and gap.isspace() and "\t" not in gap:
        return _OPENS.match(after) is not None and not after.isupper()
    return after[0].isupper() or _NEGATED.match(after) is not None


def _item_cuts(plain: str, begin: int, stop: int) -> list[int]:
    """Where the items of a list that stands in one line begin."""
    cuts = []
    first = _FIRST_ITEM.match(plain, begin, stop)
    counted = _count_item(first) if first else None
    kind, expected = (counted[0], counted[1] + 1) if counted else ("", 1)
    for match in _ITEM.finditer(plain, begin, stop):
        item = _count_item(match)
        if item is not None:
            inside = match["sign"] == ")" and plain[match.start()] != "(" and _is_open(plain, begin, match.start())
            if item[1] != expected or (kind and item[0] != kind) or inside:
                continue
            kind, expected = item[0], expected + 1
        cuts.append(match.start())
    boxes = list((_LEADING_BOX if _LEADING_BOX.match(plain, begin) else _BOX).finditer(plain, begin, stop))
    if len(boxes) > 1:
        leading = not plain[begin : boxes[0].start()].strip(" \t-*")
        cuts += [box.start() if leading else _after_box(plain, box.end(), stop) for box in boxes]
    return cuts


def _count_item(match: re.Match[str]) -> tuple[str, int] | None:
    """The style of an item's mark and its number, from 1; None for a bullet."""
    if match["number"] or match["hash"]:
        return "number", int(match["number"] or match["hash"])
    if match["roman"] in _ROMAN:
        return "roman", _ROMAN.index(match["roman"]) + 1
    return ("letter", _LETTERS.index(match["letter"]) + 1) if match["letter"] else None


def _after_box(plain: str, at: int, stop: int) -> int:
    """Where the item ends whose box ends at ``at``: "Effusion [x] left"."""
    more = _QUALIFIES.match(plain, at, stop)
    return more.end() if more else at


def _is_open(plain: str, begin: int, at: int) -> bool:
    """Tell whether a bracket is open at ``at``."""
    begin = max(begin, at - 200)
    return plain.rfind("(", begin, at) > plain.rfind(")", begin, at)
