"""Columns of report text: one of whole reports, of their files, or of sections."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from lgdea.records.adapters.table.names import (
    FINDINGS,
    IMPRESSIONS,
    NAMES,
    SECTIONS,
    find_columns,
    name_words,
    plain,
    spellings,
)
from lgdea.records.adapters.table.samples import look_like_findings, sample_cells

_REPORT_WORDS = frozenset(
    ("report", "reports", "bericht", "befundtext", "verslag", "informe", "laudo", "referto", "rapport", "narrative",
     "transcript", "dictation", "text", "texto", "texte", "testo", "tekst")
)  # fmt: skip
# With one of these a column is about the report, not the report.
_ABOUT = frozenset(
    ("id", "uid", "nr", "no", "num", "number", "nummer", "numero", "date", "datum", "fecha", "data", "time", "zeit",
     "hora", "type", "typ", "tipo", "status", "file", "path", "order", "author", "physician", "language", "lang",
     "length", "version", "count", "code", "label", "labels", "findings", "impression", "section", "title")
)  # fmt: skip
_AROUND_SECTIONS = frozenset(("text", "txt", "section", "report"))
_HEADINGS = "|".join(("impressions?", "beurteilung", "zusammenfassung", "conclusi\\w+", "impresi[oó]n", "impress[aã]o",
                      "conclus[aã]o", "synth[eè]se"))  # fmt: skip
_HEADING = re.compile(rf"(?:^|[\n.])\s*(?:{_HEADINGS})\s*:", re.IGNORECASE)
_ROWS = 300
_PROSE = 4  # words of a cell that is no name, no code and no list of findings


def find_text(frame: pd.DataFrame, taken: set[str], notes: list[str]) -> dict[str, Any]:
    """A column of texts or of their files, or the section columns."""
    files = next(iter(find_columns(frame.columns, NAMES["report_file"], taken)), None)
    files = files or next((str(c) for c in frame.columns if str(c) not in taken and _are_text_files(frame[c])), None)
    text = _whole_report(frame, taken)
    if text is not None and text == files:
        text = None
    sections = _sections(frame, taken | ({text} if text else set()))
    prose = [c for c in sections if _is_of(c, (*FINDINGS, *IMPRESSIONS)) and not look_like_findings(frame[c])]
    if text is not None:
        taken.add(text)
        lacking = [column for column in prose if not _is_in(frame[text], frame[column])]
        if lacking and not any(_is_of(column, FINDINGS) for column in prose):
            taken.update(lacking)
            return {"sections": [text, *lacking]}
        if lacking:
            notes.append(
                f"{', '.join(lacking)} hold text that {text} does not have; "
                f"--option 'sections=[{', '.join(lacking)}]' takes it in its place"
            )
        return {"report": text}
    if files is not None:
        taken.add(files)
        return {"report_file": files}
    if prose:
        taken.update(sections)
        return {"sections": sections}
    remark = next((c for c in find_columns(frame.columns, NAMES["remark"], taken) if sample_cells(frame[c])), None)
    if remark is not None:
        taken.add(remark)
    return {"report": remark} if remark else {}


def _whole_report(frame: pd.DataFrame, taken: set[str]) -> str | None:
    """The column of reports: a usual name, or one that has a word for report in it, and cells that are no ids."""
    named = find_columns(frame.columns, NAMES["report"], taken)
    alike = []
    for column in map(str, frame.columns):
        words = set(name_words(column))
        if column not in taken and column not in named and words & _REPORT_WORDS and not words & _ABOUT:
            alike.append(column)
    return next((c for c in (*named, *alike) if _is_text(sample_cells(frame[c]))), None)


def find_prose(frame: pd.DataFrame) -> list[str]:
    """Columns whose cells are mostly sentences, and hardly twice the same."""
    found = []
    for column in map(str, frame.columns):
        sample = sample_cells(frame[column])
        filled = int((frame[column].iloc[:_ROWS].str.strip() != "").sum())
        long = sum(len(cell.split()) >= _PROSE for cell in sample)
        if len(sample) > 1 and long * 2 >= len(sample) and len(sample) * 2 >= filled:
            found.append(column)
    return found


def _are_text_files(cells: pd.Series) -> bool:
    sample = sample_cells(cells)
    return bool(sample) and all(cell.lower().endswith(".txt") for cell in sample)


def _is_text(sample: list[str]) -> bool:
    ids = sum(not re.search(r"\s", cell) and any(c.isdigit() for c in cell) and not cell.lower().endswith(".txt")
              for cell in sample)  # fmt: skip
    return bool(sample) and ids < 0.9 * len(sample)


def _sections(frame: pd.DataFrame, taken: set[str]) -> list[str]:
    """Columns of sections in a report's order."""
    order = {plain(name): place for place, name in enumerate(SECTIONS)}
    found = {}
    for column in map(str, frame.columns):
        place = next((order[form] for form in (*spellings(column), _bare(column)) if form in order), None)
        if column not in taken and place is not None and sample_cells(frame[column]):
            found[column] = place
    return sorted(found, key=lambda column: found[column])


def _bare(column: str) -> str:
    return "".join(word for word in name_words(column) if word not in _AROUND_SECTIONS)


def _is_of(column: str, names: tuple[str, ...]) -> bool:
    return bool({*spellings(column), _bare(column)} & set(map(plain, names)))


def _words(text: str) -> str:
    words = " ".join(re.findall(r"[^\W_]+", text.casefold()))
    return f" {words} "


def _is_in(text: pd.Series, part: pd.Series) -> bool:
    """Check that the reports hold the sections' text, or have a heading of their own for it."""
    filled = part.str.strip() != ""
    pairs = list(zip(text[filled].iloc[:_ROWS], part[filled].iloc[:_ROWS], strict=True))
    within = sum(_words(inner) in _words(whole) or _HEADING.search(whole) is not None for whole, inner in pairs)
    return within >= len(pairs) / 2
