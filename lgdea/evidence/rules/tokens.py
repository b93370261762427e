"""Words of a text with their raw offsets, on the form under which the lexicon knows them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# One pass: numbers with a decimal point stay whole, XXXX is the de-identification token of public reports. "isn't" is
# two words, "non-specific" is one; marks of a template, (+) and check boxes, are words as well.
_TOKEN = re.compile(
    r"[SsHhRrWwBbCcDd]/[OoPpLlWwTt]\b"
    r"|(?i:is|are|was|were|does|do|did|has|have|had|could|would|should|ca|wo)(?=n['’]?t\b)|(?<=[A-Za-z])(?i:n['’]?t)\b"
    r"|[Nn][Oo][Nn](?:[-‐‑–]|\s)[A-Za-z]+"
    r"|[^\W\d_]+|\d+(?:\.\d+)?"
    r"|\([+✓✔]\)|\([-−–]\)|\[[ _]?\]|\[[xX✓✔+]\]|[☐□▢☒☑✓✔]"
    r"|[-−–+]ve\b|\+{1,3}(?=$|[\s,;.)])|(?<=\s)[-−–](?=[,;.]|$)"
    r"|\.{3,}|…|[,;:/()<>?=|]|(?<=\s)[-−–](?=\s)|[-−–]{2,}|—"
)
_MARKS = (
    (re.compile(r"\([+✓✔]\)|\+ve|\++"), "plus"),
    (re.compile(r"\([-−–]\)|[-−–]ve"), "minus"),
    (re.compile(r"\[[ _]?\]|[☐□▢]"), "unchecked"),
    (re.compile(r"\[[xX✓✔+]\]|[☒☑✓✔]"), "checked"),
    (re.compile(r"\.{3,}|…"), "..."),
    (re.compile(r"[-−–—]+"), "-"),
)
_SIDE_LETTER = re.compile(r"[LR]\s(?!spine|SPINE|Spine)[A-Za-z]{3}")  # "L base", not "L spine"
_LETTERS = {"L": "left", "R": "right"}
_ACCENTS = str.maketrans("áàâäãéèêëíìîïóòôöõúùûüñç", "aaaaaeeeeiiiiooooouuuunc")
_IRREGULAR = {
    "apices": "apex",
    "bullae": "bulla",
    "hila": "hilum",
    "hilar": "hilar",
    "bases": "base",
    "vertebrae": "vertebra",
    "diaphragms": "diaphragm",
    "emboli": "embolus",
    "metastases": "metastasis",
    "pneumothoraces": "pneumothorax",
    "opacities": "opacity",
    "granulomata": "granuloma",
    "sulci": "sulcus",
    "bronchi": "bronchus",
    "atelectases": "atelectasis",
    "foci": "focus",
    "masses": "mass",
    "silhouettes": "silhouette",
    "processes": "process",
    "lenses": "lens",
    "axes": "axis",
    "oedema": "edema",
    "oesophagus": "esophagus",
    "lobes": "lobe",
    "densities": "density",
    "calcifications": "calcification",
    "diffusely": "diffuse",
    ">": "greater",
    "<": "less",
    "ca": "can",
    "wo": "will",
    "n't": "not",
    "n’t": "not",
    "nt": "not",
    "s/p": "statuspost",
    "h/o": "historyof",
    "r/o": "ruleout",
    "w/o": "without",
    "b/l": "bilateral",
    "c/w": "consistent",
    "d/t": "due",
    "vs": "vs",
    "has": "has",
    "was": "was",
    "does": "does",
    "this": "this",
    "is": "is",
}


class Token(NamedTuple):
    """A word: its lemma and its half-open raw offsets."""

    lemma: str
    start: int
    end: int


@lru_cache(maxsize=65536)
def lemma(word: str) -> str:
    """The lower-case singular; good enough for nouns of radiology, and the same for lexicon and text.

    >>> lemma("Opacities"), lemma("thorax"), lemma("effusions")
    ('opacity', 'thorax', 'effusion')
    """
    word = word.lower().translate(_ACCENTS)
    known = _IRREGULAR.get(word)
    if known is not None:
        return known
    if not word[0].isalnum():
        return next((name for pattern, name in _MARKS if pattern.fullmatch(word)), word)
    return _singular("non" + word[4:] if word.startswith("non") and not word.isalpha() else word)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "as")):
        if word.endswith(("xes", "ches", "shes", "sses")):
            return word[:-2]
        return word[:-1]
    return word


def tokenise(text: str, start: int = 0, end: int | None = None) -> list[Token]:
    """The tokens of ``text[start:end]`` with offsets into ``text``; de-identification tokens are left out."""
    found = []
    for match in _TOKEN.finditer(text, start, len(text) if end is None else end):
        word = match[0]
        start, end = match.span()
        if word[0] == "X" and not word.strip("X"):
            continue
        if word in _LETTERS and _SIDE_LETTER.match(text, start):
            word = _LETTERS[word]
        found.append(Token(lemma(word), start, end))
    return found


def lemmas(phrase: str) -> tuple[str, ...]:
    """The lemmas of a lexicon phrase, punctuation left out."""
    return tuple(token.lemma for token in tokenise(phrase) if phrase[token.start].isalnum())
