"""Words of a text with their raw offsets, on the form under which the lexicon knows them."""

from __future__ import annotations

import re
from typing import NamedTuple

from lgdea.evidence.rules.spelling import lemma, read_word
from lgdea.vocabulary import load_vocabulary

# One pass: numbers with a decimal point stay whole, XXXX is the de-identification token of public reports. "isn't" is
# two words, "non-specific" is one; marks of a template, (+) and check boxes, are words as well. A letter and a number
# name a vertebra ("T12", "L1-L2"), unless they are an MR sequence or a stage. The first line is the way of most words.
_TOKEN = re.compile(
    r"(?!\s)(?:[A-Za-z]{4,}(?![\w'’/])(?<!nt)|(?<=\s)(?:of|in|the|and|is|or|at|to)(?=\s)"
    r"|(?P<vertebra>\b[CDLSTcdlst](?=\d)(?:(?<![Tt])\d{1,2}|(?<=[Tt])(?:[3-9]|1\d|[12](?![\s/-]*(?i:t[12]|w\b|flair|weight"
    r"|signal|hyper|hypo|bright|dark|shin|prolong|image|sequence|[nm]\d))))(?:\s*[-–/]\s*[CTDLSctdls]?\d{1,2})?\b)"
    r"|[CcNnLlRr]\.(?<![A-Za-z]{2}\.)\s?[PpAa]\.(?:\s?[Dd]\.)?(?=[\s,;]|$)"
    r"|[SsHhRrWwBbCcDdEe]/[OoPpLlWwTtCc]\b|[Ww]/"
    r"|(?i:is|are|was|were|does|do|did|has|have|had|could|would|should|ca|wo)(?=n['’]?t\b)|(?<=[A-Za-z])(?i:n['’]?t)\b"
    r"|[Nn][Oo][Nn](?:[-‐‑–]|\s)[A-Za-z]+"
    r"|[^\W\d_]+|\d+(?:\.\d+)?|#(?!\s*\d+(?!\d|st|nd|rd|th))"
    r"|\([+✓✔]\)|\([-−–]\)|\[[ _]?\]|\[[xX✓✔+]\]|\[(?i:y|n|yes|no|neg|pos)\]|\([ _]\)|\([xX]\)|[☐□▢☒☑✓✔]"
    r"|\([LlRr]\)|[-−–+]ve\b|±|\+\s?/\s?[-−–]|\+{1,3}(?=$|[\s,;.)])|(?<=\s)[-−–](?=[,;.)]|\s*$)|(?<=[A-Za-z])[-−–](?=[,;.)]|$|\s[LR]\s?[-+])"
    r"|\.{3,}|…|[,;:/()<>?=|]|(?<=\s)[-−–](?=\s)|[-−–]{2,}|—)"
)
# Words that are one token each, whatever stands around them.
_PLAIN_WORDS = re.compile(r"(?:(?!non)[a-z]{4,}(?<!nt)(?: |\Z))+")
_NUMBER = r"(?:\d{1,2}(?:st|nd|rd|th)?|first|second|third|(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf)th)"
_NUMBERS = rf"{_NUMBER}(?:(?:\s*(?:,|&|-|–|/|\band\b|\bor\b|\bto\b|\bthrough\b|\bthru\b)\s*)+{_NUMBER})*"
# Which ribs is left out: "the right fourth to sixth ribs" reads like "the right ribs".
_RIB_NUMBERS = re.compile(
    rf"\b{_NUMBERS},?(?=\s+(?:(?:left|right|lt|rt|lateral|(?:antero|postero)lateral|anterior|posterior|l|r)\s+){{0,3}}"
    rf"ribs?\b|\s*(?:,|\band\b|&)\s*(?:left|right|lt|rt|l|r)\s+{_NUMBERS}\s+ribs?\b)|(?:(?<=\bribs)|(?<=\brib))\s+(?:nos?\.?\s*)?{_NUMBERS}\b",
    re.IGNORECASE,
)
_SIDE_LETTER = re.compile(
    r"[LR]\s?(?:[<>+:=]|[-−–](?=\s*(?:[,;.)]|$|[LR]\s?[-+])))|[LR]\s(?!spine|SPINE|Spine)(?:[A-Za-z]{3}|(?:IJ|SC|CP|[UML]Z)\b|\d{1,2}(?i:st|nd|rd|th)\b)"
)  # "L base", not "L spine"
_SIDE_BESIDE = re.compile(r"(?:[<>]\s?|\bon\s|\bon the\s)$")  # "R > L", "on L"
# "#" is a fracture where a bone is near or one is denied, not before the title of a section.
_BONE = re.compile(
    r"rib|clavic|femor|femur|\bn(?:of|oh)\b|humer|radi(?:us|al)|ulna|tibi|fibul|vertebr|spine|\b[ctl]\d|pelvi|pubi|ram(?:us|i)\b"
    r"|skull|orbit|zygoma|mandib|maxill|sacr|acetab|meta(?:carp|tars)|phalan|scaph|calcan|malleol|ankle|wrist|\bhip"
    r"|shoulder|elbow|knee|scapul|sternum|sternal|nasal|facial|calvari|\bno(?:\s+\w+){0,2}\s*#",
    re.IGNORECASE,
)
# "CM" is cardiomegaly, but not where something is measured: "3 CM", "XX CM ABOVE THE CARINA".
_UNIT = re.compile(r"[\dX_\]]\s*$|\b(?:FEW|SEVERAL|ONE|TWO|THREE|FOUR|FIVE|SIX|PER|IN)\s*$")
_MEASURED = re.compile(
    r"\s*(?:x\b|above|below|from|in\b|by\b|proximal|distal|beyond|nodule|mass|lesion)", re.IGNORECASE
)
_LETTERS = {"L": "left", "R": "right"}
_SHORT = frozenset({*_LETTERS, "#", "CM"})


class Token(NamedTuple):
    """A word: its lemma and its half-open raw offsets."""

    lemma: str
    start: int
    end: int


def tokenise(text: str, start: int = 0, end: int | None = None) -> list[Token]:
    """The tokens of ``text[start:end]`` with offsets into ``text``.

    De-identification tokens and the numbers of ribs are left out; an abbreviation gives a token for each of the words
    that it stands for, all with its offsets.

    >>> [token.lemma for token in tokenise("No RLL consol.; # of the left 4th-6th ribs")]
    ['no', 'rll', 'consolidation', ';', 'fracture', 'of', 'the', 'left', 'rib']
    """
    end = len(text) if end is None else end
    skipped = [match.span() for match in _RIB_NUMBERS.finditer(text, start, end)] if _has_rib(text) else []
    own = load_vocabulary().own_words
    found: list[Token] = []
    for match in _TOKEN.finditer(text, start, end):
        word = match[0]
        i, j = match.span()
        if skipped and any(a <= i < b for a, b in skipped):
            continue
        if own and word.lower() in own:  # a site's own abbreviation stands for no other words
            found.append(Token(lemma(word), i, j))
            continue
        if match.lastgroup:
            word = "vertebralevel"
        elif word in _SHORT or word[0] == "X":
            word = _read_short(word, text, i, j) or ""
            if not word:
                continue
        words = read_word(word)
        if len(words) == 1:
            found.append(Token(words[0], i, j))
        else:
            found.extend([Token(name, i, j) for name in words])
    return found


def _read_short(word: str, text: str, i: int, j: int) -> str | None:
    """What a letter, a mark or a de-identification token at ``text[i:j]`` stands for; None when for nothing."""
    if word[0] == "X" and not word.strip("X"):
        return None
    if word in _LETTERS and (_SIDE_LETTER.match(text, i) or _SIDE_BESIDE.search(text, max(0, i - 7), i)):
        return _LETTERS[word]
    if word == "#" and _BONE.search(text, max(0, i - 40), i + 60) is None:
        return None
    if word == "CM" and _UNIT.search(text, max(0, i - 12), i) is None and not _MEASURED.match(text, j):
        return "cardiomegaly"
    return word


def _has_rib(text: str) -> bool:
    return "rib" in text or "RIB" in text or "Rib" in text


def lemmas(phrase: str) -> tuple[str, ...]:
    """The lemmas of a lexicon phrase, punctuation left out."""
    if _PLAIN_WORDS.fullmatch(phrase) and not load_vocabulary().own_words:
        return tuple([name for word in phrase.split() for name in read_word(word)])
    return tuple(token.lemma for token in tokenise(phrase) if phrase[token.start].isalnum())
