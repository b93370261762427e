"""What a sentence is said of: the organ that its heading or the title of its study names."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from lgdea.evidence.rules.lexicon import Lexicon
from lgdea.evidence.rules.organ_tables import load_organs
from lgdea.evidence.rules.tokens import lemmas, tokenise

_LINE = re.compile(r"(?:\A|[.;\n])[ \t]*(?P<label>[A-Za-z][A-Za-z ,/&()-]{1,70})(?=(?P<end>[:.\n]|\Z))")
_NO_TITLE = frozenset({
    "is", "are", "was", "were", "recommend", "recommended", "suggest", "suggested", "advise", "advised", "prior",
    "previous", "compared", "comparison", "shows", "showed", "demonstrates", "seen", "no", "follow", "further",
})  # fmt: skip
_LONGEST_TITLE = 12  # words
_TITLE_AREA = 200  # characters at the start of a report in which a title may end with a full stop
_WORD = re.compile(r"[a-z]+")
_NAMES_LUNG = re.compile(r"lung|pulmon|parenchym|zone|field|upper|middle|lower", re.IGNORECASE)
# The classes of breast and thyroid examinations.
_CLASSES = (
    (re.compile(r"\bbi-?rads\b", re.IGNORECASE), "breast"),
    (re.compile(r"\bti-?rads\b", re.IGNORECASE), "thyroid"),
)
# "ICD" is a defibrillator, in India and the UK also an intercostal drain.
_ICD = re.compile(r"\bicds?\b", re.IGNORECASE)
_CARDIAC = re.compile(
    r"\b(?:leads?|generator|pac(?:er|emaker|ing)|defibrillat\w*|shock|battery|aicd"
    r"|(?:single|dual|bi-?ventricular|right ventric\w*|atri\w+) chambers?)\b",
    re.IGNORECASE,
)
_DRAINED = re.compile(
    r"intercostal|\bicd (?:tube|drain|bag|in[- ]situ|insert\w+)|post icd|\bicd\b.{0,30}\b(?:pleural|hemithorax)"
    r"|^(?!.*\b(?:no|nil|without|nor)\b).*(?:pneumothora|\bptx\b|empyema)",
    re.IGNORECASE | re.MULTILINE,
)

# An end behind a last letter of a side's label; that it begins with one of two characters makes it fast to find.
_LABEL_END = re.compile(r":(?<=[tlredgyxs \t]:)[ \t]*+\n?|\n(?<=[tlredgyxs \t]\n)", re.IGNORECASE)
_SIDE_LABEL = re.compile(
    r"(?:\A|[.;\n])[ \t]*+(?P<number>\d[\d.)]{0,4}[ \t]++)?(?P<side>left|right|lt|rt|l|r)\.?"
    r"(?:[ ](?P<part>side|sided|lung|breast|kidney|hemithorax|chest|ovary|testis|lobe|lung field))?"
    r"[ \t]{0,9}\Z",
    re.IGNORECASE,
)
_LONGEST_SIDE = 32  # characters of a label
_LONGEST_PART = 2000  # characters that a side alone on its line holds for
_NEXT_PART = re.compile(r"\n[ \t]*+\n|\n[ \t]*+[A-Z][A-Z ]{3,40}(?:\n|\Z)")


_NAME_LINE = re.compile(
    r"(?:\A|(?<=\n))[ \t]*(?:\d[\d.)]{0,4}[ \t]+)?(?P<name>[A-Za-z][A-Za-z ,/&-]{2,40}?)[ \t]*:?[ \t]*\n"
)
_FARTHEST_HEADING = 400  # characters before a side's label


class StudyContext(NamedTuple):
    """What a sentence is said in: the structure that its heading or title names, and what "ICD" means in the report."""

    structure: str | None = None
    icd_drains: bool = False
    side: str | None = None
    """The side that a heading or a column names: "Left breast", "Right | Left"."""


class SideLabel(NamedTuple):
    """Text that a label says to be of one side, half-open, and the structure that it or the heading above names."""

    start: int
    end: int
    side: str
    structure: str | None


NO_CONTEXT = StudyContext()
"""Of a chest report."""


def find_contexts(text: str, lexicon: Lexicon) -> list[tuple[int, StudyContext]]:
    """List where in a report another study or organ begins to be spoken of, in order; empty for a chest report.

    A title names a modality and a part of the body ("CT HEAD WITHOUT CONTRAST"); a heading is a structure's name before
    a colon ("Kidneys: ..."). A title holds until the next one, a heading until the next heading.
    """
    words = text.lower()
    icd = "icd" in words and bool(_ICD.search(text)) and not _CARDIAC.search(text) and bool(_DRAINED.search(text))
    study = next((organ for pattern, organ in _CLASSES if pattern.search(text)), None) if "rads" in words else None
    found = [(0, StudyContext(study, icd))] if icd or study else []
    for match in _LINE.finditer(text):
        label, end = match.group("label", "end")
        if end == "." and match.start() >= _TITLE_AREA and not label.isupper():
            continue  # a sentence
        kind, structure = _read_label(label)
        if kind == "title":
            study = structure
            found.append((match.start(), StudyContext(study, icd)))
        elif end == ":" or (end == "\n" and label.isupper()):
            place = _heading_place(label, lexicon)
            if place == "lung" and study is not None and not _NAMES_LUNG.search(label):
                place = study
            if found or (place is not None and lexicon.is_elsewhere(place)):
                found.append((match.start(), StudyContext(place or study, icd)))
    return found


def find_side_labels(text: str, lexicon: Lexicon) -> list[SideLabel]:
    """List what labels give to one side: "L: effusion, consolidation", "RIGHT BREAST" alone on its line.

    A label in a line holds to the end of it or to the next label, one alone on its line for the paragraph below.
    """
    found: list[SideLabel] = []
    for label in _LABEL_END.finditer(text):
        begin = max(0, label.start() - _LONGEST_SIDE)
        match = _SIDE_LABEL.search(text[begin : label.start()])
        if match is None or (match.start() == 0 < begin and match[0][0] not in ".;\n"):
            continue
        start, alone = begin + match.start("number" if match["number"] else "side"), label[0].endswith("\n")
        if found and found[-1].end > start:
            found[-1] = found[-1]._replace(end=start)
        stop = _NEXT_PART.search(text, label.end() - 1, start + _LONGEST_PART) if alone else None
        end = text.find("\n", label.end()) if not alone else stop.start() if stop else start + _LONGEST_PART
        side = "left" if match["side"][0] in "lL" else "right"
        structure = lexicon.places.get((match["part"].lower(),)) if match["part"] else None
        if structure is None or not lexicon.is_elsewhere(structure):
            structure = _organ_above(text, start, lexicon)
        found.append(SideLabel(start, len(text) if end < 0 else end, side, structure))
    return found


def _organ_above(text: str, at: int, lexicon: Lexicon) -> str | None:
    """The structure whose name is the last heading alone on its line before a side's label: "2. PLEURA", "Hila:"."""
    headings = [lemmas(line["name"]) for line in _NAME_LINE.finditer(text, max(0, at - _FARTHEST_HEADING), at)]
    names = [name for name in headings if name not in {("left",), ("right",)}]
    return lexicon.places.get(names[-1]) if names else None


@lru_cache(maxsize=16384)
def _read_label(label: str) -> tuple[str, str | None]:
    """Return "title" and the structure of a study's title, "heading" and None for anything else."""
    organs = load_organs()
    words = _WORD.findall(label.lower())
    if len(words) > _LONGEST_TITLE or organs.modalities.isdisjoint(words) or not _NO_TITLE.isdisjoint(words):
        return "heading", None
    named = [organs.studies[word] for word in words if word in organs.studies]
    if not named:
        return "heading", None
    return "title", None if "" in named else named[0]


@lru_cache(maxsize=16384)
def _heading_place(label: str, lexicon: Lexicon) -> str | None:
    places = [hit.tags["place"] for hit in lexicon.match(tokenise(label)) if "place" in hit.tags]
    return places[0] if len(places) == 1 else None
