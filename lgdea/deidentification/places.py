"""Addresses, towns that are said to be somebody's, and names of hospitals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from lgdea.deidentification.spans import Identifier, IdentifierType
from lgdea.deidentification.words import load_words

_CAP = r"(?:[A-ZÀ-ÞŁŠŽ][\w'’-]{0,2}\.|[A-ZÀ-ÞŁŠŽ][\w'’-]{0,30}+)"
_TOWN = rf"{_CAP}(?:[ -](?:am|an der|upon|sur|de|la|del|las|los) {_CAP}|[ -]{_CAP}){{0,2}}"
_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Boulevard|Blvd|Court|Ct|Place|Pl|Way|Terrace|Ter|Parkway|Pkwy|Highway|Hwy|"
    r"Circle|Cir|Square|Sq|Trail|Crescent|Close|Row|Plaza|Turnpike|STREET|AVENUE|ROAD|DRIVE|LANE|BOULEVARD)"
)
_HOUSE = (
    r"(?:Hospital|Hospitals|Medical Cent(?:er|re)|Health Cent(?:er|re)|Health System|Healthcare|Clinic|Infirmary|Nursing Home|Hospice|"
    r"Medical Group|Imaging Cent(?:er|re)|Rehabilitation Cent(?:er|re)|Surgery Cent(?:er|re)|Cancer Cent(?:er|re)|Radiology Associates|"
    r"Care Cent(?:er|re)|Sanatorium|Assisted Living|Manor|HOSPITAL|MEDICAL CENTER|CLINIC|HEALTH CENTER|NURSING HOME)"
)
_LINK = r"(?:(?:de la|de l['’]|de los|de las|des|de|du|del|d['’]|la|La|las|los|el|San|Santa|Saint|Sainte|St|Ste)[ -]?)"


@lru_cache(maxsize=1)
def _rules() -> list[tuple[IdentifierType, re.Pattern[str], int]]:
    states = "|".join(load_words().tables["states"])
    zipped = rf"(?:,?\s+{_TOWN},?\s+(?:{states})\.?(?:\s+\d{{5}}(?:-\d{{4}})?)?)"
    post = rf"(?:,?\s*(?:[DF]-)?\d{{5}} {_TOWN})"
    texts: list[tuple[IdentifierType, str, int]] = [
        ("ADDRESS", rf"\b\d{{1,6}} +(?:[NSEW]{{1,2}}\.? +)?(?:(?:{_CAP}|\d+(?:st|nd|rd|th)) +){{1,4}}{_STREET}\b(?!\.?\s[A-Z][a-z]+ (?:was|is|by))\.?"
         rf"(?:,?\s*(?:Apt|Suite|Ste|Unit|Floor|Room|#)\.?\s*[\w-]+)?{zipped}?", 0),
        ("ADDRESS", rf"\b{_TOWN},\s+(?:{states})\s+\d{{5}}(?:-\d{{4}})?\b", 0),
        ("ADDRESS", r"\bP\.?\s?O\.?\s+Box\s+\d+", 0),
        ("ADDRESS", rf"\b(?:[A-ZÄÖÜ][\w-]{{0,40}}(?:straße|strasse|str\.|weg|platz|allee|gasse|ufer|damm|markt)|[A-ZÄÖÜ][\w-]{{1,40}}er (?:Straße|Str\.|Weg|Platz|Allee)"
         rf"|(?:Am|An der|An den|Auf der|Auf dem|Im|In der|Zum|Zur|Unter den) [A-ZÄÖÜ]\w+) \d{{1,4}}\s?[a-z]?\b{post}?", 0),
        ("ADDRESS", rf"\b\d{{1,4}}(?:,| bis| ter)? (?i:rue|avenue|av\.|boulevard|bd|place|chemin|allée|impasse|quai|route|cours) [^,;:\n\d]{{2,40}}{post}?", 0),
        ("ADDRESS", rf"\b(?:Calle|C/|Avenida|Avda\.?|Av\.|Paseo|Plaza|Camino|Carretera|Ronda|Travesía) ?[^,;:\n\d]{{2,40}},? (?:n\.?º ?)?\d{{1,4}}\b{post}?", 0),
        ("ADDRESS", rf"(?<![\w,.])(?:[DF]-)?\d{{5}} {_TOWN}", -1),
        ("ADDRESS", rf"\b(?:lives?|living|resid(?:es|ing|ent)|works?|working|born|home|house|travel(?:s|ed|led|ing|ling)?|trip|moved|vacation|flown|wohnhaft|"
         rf"vecin[oa]|domicili[oé]e?|habite|natural)\s+(?:in|at|from|to|near|of|de|à|en|de la)\s+({_TOWN})", 1),
        ("HOSPITAL", rf"\b(?:(?:St|Mt|Ste)\.? )?(?:{_CAP}(?: of| and| &)?[ ]){{1,5}}{_HOUSE}\b(?: (?:System|of {_CAP}))?", 0),
        ("HOSPITAL", r"\b(?:VA|V\.A\.) (?:Hospital|Medical Center|Clinic)", 0),
        ("HOSPITAL", r"\b[A-ZÄÖÜ][\w.-]{0,40}(?:[Kk]rankenhaus|[Hh]ospital|[Kk]linikum|[Ss]pital|[Ss]tift)\b(?: (?:der|des|in|am|an der) [A-ZÄÖÜ]\w+| [A-ZÄÖÜ][\w-]+){0,2}", 0),
        ("HOSPITAL", r"\b(?:(?:Städtisches|Evangelisches|Katholisches) )?(?:Klinikum|Universitätsklinik|Uniklinik|Klinik|Krankenhaus|Hospital)"
         r"(?: (?:der|des|in|am|an der|St\.))?(?: [A-ZÄÖÜ][\w-]+){1,2}", 0),
        ("HOSPITAL", rf"\b(?:[Hh]ôpital|[Hh]opital|HÔPITAL|CHU|CHR|CHRU|CHI|[Cc]linique|[Pp]olyclinique|Centre [Hh]ospitalier(?: [Uu]niversitaire| [Rr]égional)?)[ -]{_LINK}{{0,3}}{_CAP}(?:[ -]{_CAP})*", 0),
        ("HOSPITAL", rf"\b(?:[Hh]ospital|HOSPITAL|[Cc]línica|Centro Médico|Centro de Salud|Sanatorio|Policlínica|Complejo Hospitalario)"
         rf"(?: (?:Universitario|General|Regional|Clínico|Provincial|Infantil|Comarcal))* {_LINK}{{0,3}}{_CAP}(?: {_LINK}{{0,2}}{_CAP}){{0,3}}", 0),
    ]  # fmt: skip
    return [(kind, re.compile(text), group) for kind, text, group in texts]


def find_places(text: str, language: str = "en") -> Iterator[Identifier]:
    """Yield likely addresses, towns and hospitals; spans may overlap.

    Args:
        text: A report.
        language: ISO 639-1 code; five digits and a word are a town where that is how towns are written.
    """
    tables = load_words().tables
    stops, generic = frozenset(tables["not_in_hospitals"]), frozenset(tables["no_hospital"])
    for kind, pattern, group in _rules():
        if group < 0 and language == "en":
            continue
        for match in pattern.finditer(text):
            start, end = match.span(max(group, 0))
            if kind == "HOSPITAL":
                own = _without_generic(text, start, end, stops, generic)
                if own is None:
                    continue
                start = own
            yield Identifier(start, end, kind)


def _without_generic(text: str, start: int, end: int, stops: frozenset[str], generic: frozenset[str]) -> int | None:
    """Where a hospital's own name begins; None when nothing but words such as "outside" stands before its kind."""
    words = list(re.finditer(r"[^\W_]+(?:['’.-][^\W_]+)*", text[start:end]))
    last_stop = max((place for place, word in enumerate(words) if word[0].lower() in stops), default=-1)
    own = words[last_stop + 1 :]
    while own and own[0][0].lower() in generic:
        own = own[1:]
    if not own or re.fullmatch(_HOUSE, " ".join(word[0] for word in own)) or _is_kind_alone(own):
        return None
    return start + own[0].start()


def _is_kind_alone(words: list[re.Match[str]]) -> bool:
    return (
        len(words) == 1
        and re.fullmatch(r"(?i)hospitals?|clini[cq]u?e?|klinik(um)?|krankenhaus|spital", words[0][0]) is not None
    )
