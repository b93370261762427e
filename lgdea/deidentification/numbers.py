"""Identifiers with a form: dates, ages over 89, telephone numbers, record numbers, addresses of mail and web."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from lgdea.deidentification.spans import Identifier, IdentifierType
from lgdea.deidentification.words import load_words

_FLAGS = re.IGNORECASE
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1[89]\d\d|20\d\d)"
_UNIT = r"(?!\s*(?:mm|cm|ml|mg|kg|mmhg|%|x\s*\d))"  # what is measured is no date and no telephone number
_TLD = r"(?:com|org|net|edu|gov|mil|int|info|io|health|hospital|de|at|ch|fr|be|es|eu|uk|ca|au|us|mx)"
_RECORD = (
    r"(?:mrn?|medical record|record|chart|acc(?:ession)?|acct|account|patient|pat|case|encounter|visit|order|exam|study|request|"
    r"requisition|csn|fin|npi|dea|license|licence|policy|member|medicaid|medicare|insurance|certificate|serial|device|unit|lot|"
    r"social security|ssn|ss|health card|nhs|hospital|fall|aufnahme|auftrag|versicherten|versicherung|dossier|ipp|nip|nss|nir|nhc|"
    r"sip|cip|dni|nie|expediente|historia cl[ií]nica|historia|episodio|paciente|tarjeta)"
)
_NUMBER_WORD = r"(?:[\s.:_-]*(?:numbers?|num|no|nos|nr|n°|nº|n\.º|núm|id|ids|identifier|nummer|#|numéro|número))"
_PHONE_WORD = (
    r"(?:tel(?:ephone|efon|éfono|efono)?|téléphone|tél|phone|fax|telefax|cell|mobile|mobil|móvil|handy|pager|beeper|voalte|call(?:ed)? (?:back )?at|"
    r"reached at|page(?:d)? at|contact at|durchwahl|rufnummer|poste)"
)
_DATE_WORD = (
    r"(?:dated?|datum|fecha|on|since|from|until|till|through|vom|am|seit|bis|du|le|del|el|desde|comparison|compared (?:to|with)|vergleich|"
    r"comparaison|comparación|dob|d|t|dos|exam|examination|study|film|films|radiographs?|x-?rays?|cxr|ct|mri|scan|chest|prior|performed)"
)
_STUDY_WORD = r"(?:exam(?:ination)?s?|stud(?:y|ies)|films?|radiographs?|x-?rays?|cxr|ct|mri|mr|scans?|imaging|images?|visit|admission|surgery|procedure)"


@lru_cache(maxsize=1)
def _rules() -> list[tuple[IdentifierType, re.Pattern[str], int]]:
    """Type, pattern and the group that is the identifier, the surest first."""
    tables = load_words().tables
    long = sorted(
        {m for key, months in tables["months"].items() for m in months if key != "en_short"}, key=len, reverse=True
    )
    short = "|".join(tables["months"]["en_short"])
    month = rf"(?:{'|'.join(long)}|(?:{short})\b\.?)"
    ordinal = r"(?:st|nd|rd|th|er|º|°|\.)?"
    texts: list[tuple[IdentifierType, str, int]] = [
        ("EMAIL", r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}", 0),
        ("URL", rf"\b(?:https?://|ftp://|www\.)[^\s<>\"'()]*[\w/]|(?<![\w.-])[a-z][\w-]{{0,62}}(?:\.[\w-]{{1,63}}){{0,5}}\.{_TLD}(?:/[\w./?=&%-]*)?(?![\w.@-])", 0),
        ("ID", r"(?<![\d.])\d+(?:\.\d+){4,}(?![\d])", 0),
        ("ID", r"\b(?:\d{1,3}\.){3}\d{1,3}\b(?!\s*(?:mm|cm))", 0),
        # Dates.
        ("DATE", rf"\b{_YEAR}([-/.]){_MONTH}\1{_DAY}(?:T[\d:.]+Z?)?\b", 0),
        ("DATE", rf"(?<![\d./-])(?:{_DAY}|{_MONTH})([-/.])(?:{_MONTH}|{_DAY})\1{_YEAR}\b", 0),
        ("DATE", rf"(?<![\d./-])(?:{_MONTH}/{_DAY}|{_DAY}/{_MONTH})/\d\d\b(?![/\d])", 0),
        ("DATE", r"(?<![\d./-])(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])|(?:0[1-9]|[12]\d|3[01])-(?:0[1-9]|1[0-2]))-\d\d\b(?![-\d])" + _UNIT, 0),
        ("DATE", rf"(?<![\d./-]){_DAY}\.{_MONTH}\.\d\d\b(?!\.?\d){_UNIT}", 0),
        ("DATE", rf"(?<![\d.,/-])(?:\b(?:vom|am|seit|bis|und)\s+{_DAY}\.\s?{_MONTH}|(?:0[1-9]|[12]\d|3[01])\.(?:0[1-9]|1[0-2]))\.(?=\s+[a-zäöü]|\s*\n|$|[.,;)])", 0),
        ("DATE", r"\b(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{4}|\d{6})?\b", 0),
        ("DATE", rf"(?<![\d/]){_MONTH}/{_YEAR}\b", 0),
        ("DATE", rf"(?<![\w/]){_DATE_WORD}[\s:,(]+(?:the |el |le |den )?((?:{_MONTH}/{_DAY}|{_DAY}/{_MONTH}))(?![\d/-])(?!\s+of\b){_UNIT}", 1),
        ("DATE", rf"\b{_STUDY_WORD}\s+(?:of|from|on|dated)\s+((?:{_MONTH}/{_DAY}|{_DAY}/{_MONTH}))(?![\d/-]){_UNIT}", 1),
        ("DATE", rf"(?<![\w/.])(?:{_MONTH}/{_DAY}|{_DAY}/{_MONTH})(?=,?\s+(?:at |@ ?)?(?:[01]?\d|2[0-3]):?[0-5]\d\b)", 0),
        ("DATE", rf"\b{_DAY}{ordinal}[\s-]*(?:of |de |del )?{month}(?:[\s,.-]*(?:de |del )?(?:{_YEAR}|'?\d\d\b(?!\s*(?:year|yo|mm|cm))))?", 0),
        ("DATE", rf"\b{month}\s*{_DAY}(?:st|nd|rd|th)?\b(?![.:]\d)(?:[\s,]+{_YEAR}\b|,?\s?'\d\d\b)?{_UNIT}", 0),
        ("DATE", rf"\b{month}[\s,.-]*(?:of |de |del )?(?:{_YEAR}|'\d\d)\b", 0),
        # Identifying numbers that say what they are.
        ("ID", rf"\b{_RECORD}\b{_NUMBER_WORD}*[\s.:#=-]*((?=[\w./-]{{0,40}}\d{{3}})[A-Z0-9][A-Z0-9./-]{{0,60}}[A-Z0-9])(?![\w%]){_UNIT}", 1),
        ("ID", r"\b(?:ssn|social security(?: number)?|ss#)[\s.:#-]*(\d{3}[ -]?\d\d[ -]?\d{4})\b", 1),
        ("ID", rf"\b{_RECORD}\b{_NUMBER_WORD}*[\s.:#=-]*(\d{{2,4}}(?:[ -]\d{{2,4}}){{1,4}})\b{_UNIT}", 1),
        ("ID", r"(?<![\d-])\d{3}-\d\d-\d{4}(?![\d-])", 0),
        # Telephone and fax numbers.
        ("PHONE", rf"\b{_PHONE_WORD}\b[\s.:#)-]*(?:number|nummer|is)?[\s.:]*(\+?\(?\d[\d\s()./-]{{2,20}}\d(?:\s*(?:x|ext\.?|extension)\s*\d{{1,6}})?)", 1),
        ("PHONE", r"(?<![\d.])(?:\+?1[\s.-]?)?(?:\(\d{3}\)\s?|\b\d{3}[\s.-])\d{3}[\s.-]\d{4}\b(?:\s*(?:x|ext\.?|extension)\s*\d{1,6})?", 0),
        ("PHONE", rf"(?<![\d.-])\d{{3}}[-.]\d{{4}}\b(?![-.]?\d)(?:\s*(?:x|ext\.?|extension)\s*\d{{1,6}})?{_UNIT}", 0),
        ("PHONE", r"\b(?:ext|extn|extension|beeper|pager|durchwahl|dw|poste)\b[\s.:#]*(\d{3,6})\b", 1),
        ("PHONE", r"(?<![\w.])(?:\+|00)\d{1,3}[\s./-]*(?:\(0\))?(?:[\s./-]{0,3}\(?\d{1,8}\)?){2,6}", 0),
        ("PHONE", r"(?<![\d.,])0\d(?:[\s.-]\d\d){4}\b|(?<![\d.,])\(?0\d{2,4}\)?\s?[/-]?\s?\d{3,}(?:[\s-]\d{2,})?\b|(?<![\d.,])[6-9]\d\d(?:[\s.-]\d{3}){2}\b|(?<![\d.,-])[6-9]\d\d(?:[\s.-]\d\d){3}\b", 0),
        # Numbers so long, or so mixed with letters, that nothing in a report is measured by them.
        ("ID", rf"(?<![\w.,/-])(?=[\w-]{{0,40}}\d{{4}})(?=(?:[\w-]{{0,20}}?\d){{6}})(?:[A-Z]{{1,5}}-?)?\d[\dA-Z]*(?:-[\dA-Z]+)*(?![\w/]|[.,]\d){_UNIT}", 0),
        ("ID", r"(?<![\w-])[A-Z]{2,4}-\d{3,}-\d{2,}\b|(?<![\w.-])\d{2,4}-\d{2,4}-\d{2,4}(?![\w-])|(?<![\w-])[A-Z]{1,3}\d{5,}\b", 0),
        # Ages over 89.
        ("AGE", r"\b(9\d|1[0-2]\d)(?=\s*-?\s*(?:y/?o?\b|y\.\s?o\.|years?\b(?!\s+(?:ago|earlier|prior))|yrs?\b|jährig|-jährig|jahre\b|ans\b|años\b|a\.\s|[MF]\b|y\s?[MF]\b))", 1),
        ("AGE", r"\b(?:aged?|alter|âgée?(?: de)?|edad)\b[\s:]*(?:de |von )?(9\d|1[0-2]\d)(?!\d|[.,/]\d|\s*(?:mm|cm|days|months|%))", 1),
        ("AGE", r"\b((?:ninety|one hundred)(?:[\s-](?:and[\s-])?(?:one|two|three|four|five|six|seven|eight|nine|ten))?)(?=[\s-]years?[\s-]old)", 1),
    ]  # fmt: skip
    return [(kind, re.compile(text, _FLAGS), group) for kind, text, group in texts]


_IN_MONTH = r"(?:in|since|last|until|early|late|mid|during|im|seit|en|depuis)\s+"
_SECOND = re.compile(
    rf"(?:,|\s+and|\s+und|\s+et|\s+y|\s*&)\s+({_MONTH}/{_DAY}|{_DAY}/{_MONTH})(?![\d/-])(?!\s*(?:mm|cm))", _FLAGS
)


@lru_cache(maxsize=1)
def _lone_month() -> re.Pattern[str]:
    """A month without day or year; May and March only as capitalised words behind a preposition."""
    months = sorted(
        (m.capitalize() for m in load_words().months if len(m) > 4 or m in ("juin", "mai")), key=len, reverse=True
    )
    return re.compile(
        rf"\b(?i:{_IN_MONTH})((?:{'|'.join([*months, 'May', 'June', 'July', 'Juni', 'Juli'])}))\b(?!\s+fracture)"
    )


def find_numbers(text: str) -> Iterator[Identifier]:
    """Yield likely identifiers that have a form, the surest first; spans may overlap.

    Args:
        text: A report.
    """
    for kind, pattern, group in _rules():
        for match in pattern.finditer(text):
            yield Identifier(*match.span(group), kind)
            if kind == "DATE":  # "3/4 and 5/6": the second is told by the first
                yield from (Identifier(*more.span(1), kind) for more in _following(text, match.end()))
    for match in _lone_month().finditer(text):
        yield Identifier(*match.span(1), "DATE")


def _following(text: str, at: int) -> Iterator[re.Match[str]]:
    while (match := _SECOND.match(text, at)) is not None:
        yield match
        at = match.end()
