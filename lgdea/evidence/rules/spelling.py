"""Words under the one form that the lexicon knows: abbreviations in full, British as American, plurals as singulars."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from lgdea.shipped import read_table

_ACCENTS = str.maketrans("áàâäãéèêëíìîïóòôöõúùûüñç", "aaaaaeeeeiiiiooooouuuunc")
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "æ": "ae", "œ": "oe"}
_LIGATURE = re.compile("[" + "".join(_LIGATURES) + "]")
# British stems as Americans write them; both forms of a word only have to come out the same.
_BRITISH = re.compile(
    r"ae(?:(?<=[cfhknp]ae)(?=[cdlmnt])|(?<=gynae))|oe(?:(?=dem|soph)|(?<=foe)(?=t)|(?<=rrhoe))|ou(?<=tumou|colou)(?=r)"
    r"|is(?<=[aeilnrt]is)(?=(?:ed?|es|ing|ations?)$)|re(?<=fibre|entre|libre|metre)(?=s?$)|l(?:(?<=tunnell)|(?<=modell))"
)
_AMERICAN = {"ae": "e", "oe": "e", "ou": "o", "is": "iz", "re": "er", "l": ""}
_MARKS = (
    (re.compile(r"\(l\)"), "left"),
    (re.compile(r"\(r\)"), "right"),
    (re.compile(r"±|\+\s?/\s?[-−–]"), "plusminus"),
    (re.compile(r"\([+✓✔]\)|\+ve|\++|\[(?:y|yes|pos)\]"), "plus"),
    (re.compile(r"\([-−–]\)|[-−–]ve|\[(?:n|no|neg)\]"), "minus"),
    (re.compile(r"\[[ _]?\]|\([ _]\)|[☐□▢]"), "unchecked"),
    (re.compile(r"\[[xX✓✔+]\]|\([xX]\)|[☒☑✓✔]"), "checked"),
    (re.compile(r"\.{3,}|…"), "..."),
    (re.compile(r"[-−–—]+"), "-"),
)
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
    "hematomata": "hematoma",
    "sulci": "sulcus",
    "bronchi": "bronchus",
    "atelectases": "atelectasis",
    "prostheses": "prosthesis",
    "diverticula": "diverticulum",
    "calculi": "calculus",
    "thrombi": "thrombus",
    "foci": "focus",
    "masses": "mass",
    "silhouettes": "silhouette",
    "processes": "process",
    "lenses": "lens",
    "axes": "axis",
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
    "vs": "vs",
    "has": "has",
    "was": "was",
    "does": "does",
    "this": "this",
    "is": "is",
}


@lru_cache(maxsize=1)
def load_abbreviations() -> dict[str, str]:
    """Return what each abbreviation, in lower case, stands for."""
    table: dict[str, str] = read_table(resources.files("lgdea.evidence.rules") / "abbreviations.yaml")
    return table


@lru_cache(maxsize=65536)
def read_word(word: str) -> tuple[str, ...]:
    """The lemmas that a word of a text stands for: one, or those of what it abbreviates.

    >>> read_word("Oedema"), read_word("NGT"), read_word("effusions")
    (('edema',), ('nasogastric', 'tube'), ('effusion',))
    """
    plain = word.lower()
    if plain.endswith(".") and plain[0].isalpha():
        plain = plain.replace(".", "").replace(" ", "")  # "C.P."
        word = plain
    if not plain.isalpha() and plain.startswith("non"):
        plain = "non" + plain[4:]  # "non-enlarged"
    meaning = load_abbreviations().get(plain)
    return (lemma(word),) if meaning is None else tuple(lemma(part) for part in meaning.split())


@lru_cache(maxsize=65536)
def lemma(word: str) -> str:
    """The lower-case singular in American spelling; good enough for radiology, and the same for lexicon and text.

    >>> lemma("Opacities"), lemma("thorax"), lemma("Haemothoraces"), lemma("visualised")
    ('opacity', 'thorax', 'hemothorax', 'visualized')
    """
    word = word.lower().translate(_ACCENTS)
    if not word.isascii():
        word = _LIGATURE.sub(lambda match: _LIGATURES[match[0]], word)
    known = _IRREGULAR.get(word)
    if known is not None:
        return known
    if not word[0].isalnum():
        return next((name for pattern, name in _MARKS if pattern.fullmatch(word)), word)
    if word.startswith("non") and not word.isalpha():
        word = "non" + word[4:]
    if len(word) > 4:
        word = _BRITISH.sub(lambda match: _AMERICAN[match[0]], word)
    return _IRREGULAR.get(word) or _singular(word)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("thoraces"):
        return word[:-3] + "x"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "as")):
        if word.endswith(("xes", "ches", "shes", "sses")):
            return word[:-2]
        return word[:-1]
    return word
