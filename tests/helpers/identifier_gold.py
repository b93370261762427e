"""Invented radiology reports in which it is known where each identifier stands, and how a detector does on them."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[1] / "unit" / "records" / "identifiers"
COUNTS = {"en": 80, "de": 20, "fr": 20, "es": 20}
"""Reports of each language in each half."""
_SLOT = re.compile(r"<(\w+)>")
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
}
TYPE = {
    **dict.fromkeys(("full", "last", "first", "lastfirst", "initials", "upper", "middle"), "NAME"),
    **dict.fromkeys(("date", "longdate"), "DATE"),
    **dict.fromkeys(("mrn", "accession", "ssn", "uid", "npi"), "ID"),
    **dict.fromkeys(("phone", "extension"), "PHONE"),
    **dict.fromkeys(("address", "city"), "ADDRESS"),
    "email": "EMAIL",
    "url": "URL",
    "old": "AGE",
    "hospital": "HOSPITAL",
}


@dataclass(frozen=True)
class Gold:
    """A report and its identifiers: (start, end, type), in order."""

    text: str
    language: str
    identifiers: tuple[tuple[int, int, str], ...]


def make_reports(half: str, seed: int = 7) -> list[Gold]:
    """The reports of a half, ``seen`` or ``unseen``."""
    parts = yaml.safe_load((FOLDER / "parts.yaml").read_text(encoding="utf-8"))
    words = yaml.safe_load((FOLDER / "words.yaml").read_text(encoding="utf-8"))[half]
    rng = random.Random(f"{half}{seed}")
    reports = []
    for language, count in COUNTS.items():
        fill = _Filler(rng, language, words[language])
        for _ in range(count):
            template = "".join(rng.choice(choices) for choices in parts[language][half].values())
            reports.append(fill.report(template))
    return reports


class _Filler:
    def __init__(self, rng: random.Random, language: str, words: dict[str, list[str]]) -> None:
        self.rng, self.language, self.words = rng, language, words

    def report(self, template: str) -> Gold:
        text, found, at = "", [], 0
        for slot in _SLOT.finditer(template):
            text += template[at : slot.start()]
            value = self.value(slot[1])
            found.append((len(text), len(text) + len(value), TYPE[slot[1]]))
            text, at = text + value, slot.end()
        return Gold(text + template[at:], self.language, tuple(found))

    def value(self, slot: str) -> str:
        made: Callable[[], str] | None = getattr(self, f"_{slot}", None)
        return made() if made is not None else self.pick(slot)

    def pick(self, *kinds: str) -> str:
        return " ".join(self.rng.choice(self.words[kind]) for kind in kinds)

    def digits(self, pattern: str) -> str:
        return "".join(str(self.rng.randint(0, 9)) if c == "#" else c for c in pattern)

    def _full(self) -> str:
        return self.pick("first", "last")

    def _upper(self) -> str:
        return self._full().upper()

    def _middle(self) -> str:
        return f"{self.pick('first')} {self.rng.choice('ABCDEGHJKLMRST')}. {self.pick('last')}"

    def _initials(self) -> str:
        first = self.rng.choice("ABCDEGHJKLMRST")
        return self.rng.choice(
            [f"{first}. {self.pick('last')}", f"{first}. {self.pick('first')[0]}. {self.pick('last')}"]
        )

    def _lastfirst(self) -> str:
        name = f"{self.pick('last')}, {self.pick('first')}" + self.rng.choice(["", " J", " A."])
        return self.rng.choice([name, name.upper(), name.replace(", ", "^").upper().rstrip(".")])

    def _date(self) -> str:
        day, month, year = self.rng.randint(1, 28), self.rng.randint(1, 12), self.rng.randint(1931, 2025)
        forms = {
            "en": [f"{month}/{day}/{year}", f"{month:02}/{day:02}/{year % 100:02}", f"{year}-{month:02}-{day:02}",
                   f"{month:02}-{day:02}-{year}", f"{day:02}-{self._month(month)[:3]}-{year}", f"{month}/{day}",
                   f"{self._month(month)[:3]} {day}, {year}", f"{year}{month:02}{day:02}"],
            "de": [f"{day:02}.{month:02}.{year}", f"{day}.{month}.{year % 100:02}", f"{day:02}.{month:02}.",
                   f"{year}-{month:02}-{day:02}"],
        }.get(self.language, [f"{day:02}/{month:02}/{year}", f"{day}-{month}-{year}", f"{day:02}.{month:02}.{year}",
                              f"{day}/{month}/{year % 100:02}"])  # fmt: skip
        return self.rng.choice(forms)

    def _month(self, number: int) -> str:
        return _MONTHS[self.language].split()[number - 1]

    def _longdate(self) -> str:
        day, month, year = self.rng.randint(1, 28), self._month(self.rng.randint(1, 12)), self.rng.randint(1931, 2025)
        forms = {
            "en": [f"{month} {day}, {year}", f"{day} {month} {year}", f"{month} {day}th, {year}", f"{month} {day}",
                   f"{month} {year}"],
            "de": [f"{day}. {month} {year}", f"{day}. {month}"],
            "fr": [f"{day} {month} {year}", f"1er {month} {year}"],
            "es": [f"{day} de {month} de {year}", f"{day} de {month}"],
        }[self.language]  # fmt: skip
        return self.rng.choice(forms)

    def _phone(self) -> str:
        forms = {
            "en": ["(555) 01#-####", "555-01#-####", "+1 555 01# ####", "555.01#.####", "555-01## x###"],
            "de": ["0555 / 01####", "+49 555 01####", "(0555) 01##-##", "0555-01####"],
            "fr": ["01 99 00 ## ##", "+33 1 99 00 ## ##", "01.99.00.##.##"],
            "es": ["955 01# ###", "+34 955 01 ## ##", "955-01-##-##"],
        }[self.language]
        return self.digits(self.rng.choice(forms))

    def _extension(self) -> str:
        return self.digits("####")

    def _mrn(self) -> str:
        return self.digits(self.rng.choice(["#######", "########", "00######", "E######", "##-##-##", "###-###-###"]))

    def _accession(self) -> str:
        return self.digits(self.rng.choice(["XR-####-####", "########", "A##########", "##CR######"]))

    def _ssn(self) -> str:
        return self.digits(self.rng.choice(["9##-##-####", "9## ## ####"]))

    def _npi(self) -> str:
        return self.digits("1#########")

    def _uid(self) -> str:
        return self.digits("1.2.840.99999.1.#.########.####")

    def _old(self) -> str:
        return str(self.rng.randint(90, 104))

    def _email(self) -> str:
        return f"{self.pick('first').lower()}.{self.rng.choice(['office', 'radiology', 'x'])}@example.org"

    def _url(self) -> str:
        return self.rng.choice(
            ["https://pacs.example.org/v?s=", "www.example.com/study/", "http://portal.example.net/"]
        ) + (self.digits("######"))

    def _address(self) -> str:
        number, street, city = self.rng.randint(2, 1900), self.pick("street"), self.pick("city")
        return {
            "en": f"{number} {street}, {city}, {self.rng.choice(['OH', 'TX', 'VT'])} {self.digits('#####')}",
            "de": f"{street} {number % 90 + 1}, {self.digits('9####')} {city}",
            "fr": f"{number % 90 + 1} {street}, {self.digits('9####')} {city}",
            "es": f"{street} {number % 90 + 1}, {self.digits('4####')} {city}",
        }[self.language]


@dataclass
class Scores:
    """Counts by type: identifiers, those wholly masked, masks, and masks that touch no identifier."""

    identifiers: Counter[str]
    found: Counter[str]
    masks: Counter[str]
    false: Counter[str]
    missed: list[str]
    wrong: list[str]

    def recall(self, kind: str | None = None) -> float:
        kinds = [kind] if kind else list(self.identifiers)
        return sum(self.found[k] for k in kinds) / max(1, sum(self.identifiers[k] for k in kinds))

    def precision(self, kind: str | None = None) -> float:
        kinds = [kind] if kind else list(self.masks)
        return 1 - sum(self.false[k] for k in kinds) / max(1, sum(self.masks[k] for k in kinds))


def score(reports: Iterable[Gold], detect: Callable[[Gold], Iterable[tuple[int, int, str]]]) -> Scores:
    """An identifier counts as found when none of its letters and digits is left, whatever the mask is called."""
    result = Scores(Counter(), Counter(), Counter(), Counter(), [], [])
    for report in reports:
        masks = list(detect(report))
        hidden = {place for start, end, _ in masks for place in range(start, end)}
        for start, end, kind in report.identifiers:
            result.identifiers[kind] += 1
            whole = all(place in hidden for place in range(start, end) if report.text[place].isalnum())
            result.found[kind] += whole
            if not whole:
                result.missed.append(
                    f"{kind} {report.text[max(0, start - 25) : end + 15]!r} lacks {report.text[start:end]!r}"
                )
        for start, end, kind in masks:
            result.masks[kind] += 1
            if not any(start < e and s < end for s, e, _ in report.identifiers):
                result.false[kind] += 1
                result.wrong.append(
                    f"{kind} {report.text[max(0, start - 25) : end + 15]!r} hides {report.text[start:end]!r}"
                )
    return result
