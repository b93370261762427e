"""Language of a report, told by its script and its words; no model, no dependency."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

from lgdea.shipped import read_table

ENGLISH = "en"
UNKNOWN = "und"
"""ISO 639-3 of a language that could not be told."""

_READ = 4000  # characters that are looked at
_WORD = re.compile(r"[^\W\d_]+")
_NO_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha()}
_LONGEST_ABBREVIATION = 3  # capitals; ET, LA, ICH and ALS are words elsewhere, abbreviations in an English report
_SHORT = 2  # letters of a word that alone tells nothing; "de", "la" and "op" come up in English
_STATES_NOTHING = frozenset({"", "und", "unknown", "none", "nan", "null", "n/a", "na", "mul", "mis", "zxx", "other"})
_TOLD_BY_DEFAULT = frozenset({"en"})  # an archive whose builder was told nothing says this too
_ENGLISH_TAGS = frozenset({"en", "eng", "english"})
_SCRIPTS = {
    "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "zh", "CYRILLIC": "ru", "ARABIC": "ar", "HEBREW": "he",
    "GREEK": "el", "THAI": "th", "DEVANAGARI": "hi", "BENGALI": "bn", "TAMIL": "ta", "TELUGU": "te", "GUJARATI": "gu",
    "KANNADA": "kn", "MALAYALAM": "ml", "GURMUKHI": "pa", "SINHALA": "si", "GEORGIAN": "ka", "ARMENIAN": "hy",
    "KHMER": "km", "LAO": "lo", "MYANMAR": "my", "ETHIOPIC": "am",
}  # fmt: skip
_LATIN_NAMES = frozenset({
    "", "LATIN", "FULLWIDTH", "MATHEMATICAL", "MODIFIER", "MICRO", "FEMININE", "MASCULINE", "SCRIPT", "DOUBLE-STRUCK",
    "BLACK-LETTER", "KELVIN", "ANGSTROM", "OHM", "TURNED", "ROMAN",
})  # fmt: skip
_SCRIPT_NAMES = {
    "ja": "Japanese", "ko": "Korean", "zh": "Chinese", "ru": "Russian", "uk": "Ukrainian", "ar": "Arabic",
    "fa": "Persian", "he": "Hebrew", "el": "Greek", "th": "Thai", "hi": "Hindi", "bn": "Bengali", "ta": "Tamil",
    "te": "Telugu", "gu": "Gujarati", "kn": "Kannada", "ml": "Malayalam", "pa": "Punjabi", "si": "Sinhala",
    "ka": "Georgian", "hy": "Armenian", "km": "Khmer", "lo": "Lao", "my": "Burmese", "am": "Amharic",
}  # fmt: skip
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "æ": "ae", "å": "aa"})
_THREE_LETTERS = {
    "deu": "de", "ger": "de", "fra": "fr", "fre": "fr", "spa": "es", "por": "pt", "ita": "it", "nld": "nl", "dut": "nl",
    "swe": "sv", "dan": "da", "nor": "nb", "nob": "nb", "no": "nb", "pol": "pl", "ces": "cs", "cze": "cs", "slk": "sk",
    "tur": "tr", "ron": "ro", "rum": "ro", "hun": "hu", "fin": "fi", "hrv": "hr", "srp": "hr", "sr": "hr", "ind": "id",
    "ms": "id", "msa": "id", "vie": "vi", "cat": "ca", "zho": "zh", "chi": "zh", "jpn": "ja", "kor": "ko", "rus": "ru",
    "ukr": "uk", "ara": "ar", "fas": "fa", "heb": "he", "ell": "el", "tha": "th", "hin": "hi",
}  # fmt: skip
_MANY = 3  # words of another language, English ones among them, to which any word may be added
_LEAST_PLAIN = 5  # letters of a word that is also known without its accents
_LONG = 12  # different words of three letters or more, one of which should be known
_MOST, _SOME = 0.5, 0.25  # shares of letters in another script, in a text with and without English words
_DENSE = frozenset({"zh", "ja", "ko"})  # one character of these says as much as three letters


class _Words(NamedTuple):
    english: frozenset[str]
    foreign: dict[str, tuple[str, ...]]
    """From a word to the codes of the languages that have it."""
    telling: frozenset[str]
    """Those of ``foreign`` that are not English too."""
    names: dict[str, str]
    """By code, the languages with most speakers first."""


def detect_language(text: str) -> str:
    """Tell the language of a report by its script, then by which function words and words of radiology it has.

    A report that no word of another language gives away is English: "Cardiomegaly.", "PTX RUL" and "NAD" say nothing.
    A long one without any known word is of an unknown language. Short capitals are abbreviations, and a single short
    word decides nothing.

    Args:
        text: The report; its first 4,000 characters are looked at.

    Returns:
        ISO 639-1 code, or ``und``.

    Example:
        >>> [detect_language(text) for text in ("No pneumothorax.", "Kein Pneumothorax.", "COVID-19 阴性", "NAD")]
        ['en', 'de', 'zh', 'en']
    """
    text = text[:_READ]
    known = _load_words()
    # The letters of an ASCII text are split off faster without an expression.
    words = set(text.lower().translate(_NO_LETTERS).split() if text.isascii() else _WORD.findall(text.lower()))
    is_english = not known.english.isdisjoint(words)
    script = None if text.isascii() else _language_of_script(text, is_english=is_english)
    if script is not None:
        return script
    if not known.telling.isdisjoint(words):
        code, count, telling = _find_foreign(set(_WORD.findall(text)), known)
        if count > len(known.english & words) and (count >= _MANY or _tell(telling)):
            return code
    elif not is_english and sum(len(word) > _SHORT for word in words) >= _LONG:
        return UNKNOWN
    return ENGLISH


def _find_foreign(words: set[str], known: _Words) -> tuple[str, int, set[str]]:
    """The language that most words belong to, their number, and those that are not English too."""
    found: dict[str, set[str]] = {}
    for word in words:
        if len(word) > _LONGEST_ABBREVIATION or not word.isascii() or not word.isupper():
            for code in known.foreign.get(word.lower(), ()):
                found.setdefault(code, set()).add(word.lower())
    most = max(map(len, found.values()), default=0)
    code = next((code for code in known.names if len(found.get(code, ())) == most), ENGLISH)
    return code, most, found.get(code, set()) & known.telling


def foreign_language(text: str, stated: str = "") -> str | None:
    """Return the language of a report that is not English, None for English.

    Args:
        text: The report.
        stated: What its archive says. Other languages than English are believed, and so are ``en-US``, ``eng`` and
            ``English``. ``en`` alone stands also in archives whose builder was not told the language, so that the words
            decide, as where nothing is stated.

    Returns:
        Its name in English where known, else the code as stated.

    Example:
        >>> foreign_language("Pas de pneumothorax."), foreign_language("No effusion.", "de-AT")
        ('French', 'German')
    """
    tag = stated.strip().lower().replace("_", "-")
    if tag not in _STATES_NOTHING and tag not in _TOLD_BY_DEFAULT:
        code = tag.partition("-")[0]
        return None if code in _ENGLISH_TAGS else _name(code, stated.strip())
    code = detect_language(text)
    return None if code == ENGLISH else _name(code, code)


def _name(code: str, otherwise: str) -> str:
    if code == UNKNOWN:
        return "an unknown language"
    names = _load_words().names
    code = _THREE_LETTERS.get(code, code)
    return names.get(code) or (code.capitalize() if code.capitalize() in names.values() else otherwise)


def _tell(words: set[str]) -> bool:
    """Return whether words of one language, none of them English, are more than one short word."""
    return len(words) > 1 or any(len(word) > _SHORT or not word.isascii() for word in words)


def _language_of_script(text: str, *, is_english: bool) -> str | None:
    """The language of a text that is mostly in another script, None for one in Latin letters."""
    scripts = Counter(_script_of(character) for character in text if character.isalpha())
    latin = scripts.pop("", 0)
    if not scripts:
        return None
    weight = sum(count * (3 if code in _DENSE else 1) for code, count in scripts.items())
    share = weight / (weight + latin)
    if share < (_MOST if is_english else _SOME):
        return None
    code = scripts.most_common(1)[0][0]
    if code in _DENSE and scripts["ja"]:
        return "ja"  # Chinese has no kana
    if code == "ar" and set(text) & set("پچژگ"):
        return "fa"
    return "uk" if code == "ru" and set(text.lower()) & set("іїєґ") else code


@lru_cache(maxsize=4096)
def _script_of(character: str) -> str:
    name = unicodedata.name(character, "").split(" ", 1)[0]
    return _SCRIPTS.get(name, "" if name in _LATIN_NAMES else UNKNOWN)


@lru_cache(maxsize=1)
def _load_words() -> _Words:
    table: dict[str, dict[str, str]] = read_table(resources.files("lgdea.evidence") / "languages.yaml")
    english = frozenset(table.pop(ENGLISH)["words"].split())
    foreign: dict[str, dict[str, None]] = {}
    for code, entry in table.items():
        for word in entry["words"].split():
            for spelling in (word, *_plain_spellings(word)):
                foreign.setdefault(spelling, {})[code] = None
    names = {code: entry["name"] for code, entry in table.items()}
    codes = {word: tuple(codes) for word, codes in foreign.items()}
    return _Words(english, codes, frozenset(codes) - english, {**names, **_SCRIPT_NAMES})


def _plain_spellings(word: str) -> list[str]:
    """How a long word is written without its accents: ``grosse`` and ``groesse``."""
    if word.isascii() or len(word) < _LEAST_PLAIN:
        return []
    german = word.translate(_TWO_LETTERS)
    plain = word.translate(str.maketrans("łøđı", "lodi")).replace("ß", "ss").replace("æ", "ae")
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return [spelling for spelling in (german, plain) if spelling.isascii()]
