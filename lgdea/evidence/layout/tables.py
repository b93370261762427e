"""Tables in plain text: columns that bars, tabs, dots or runs of blanks part.

A row says what a labelled line does: ``Pneumothorax | No`` is ``Pneumothorax: No``. The functions here put the colon
where the gap stands, so that the text keeps its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lgdea.evidence.layout.headings import REGION, load_headings

_VALUE = (
    r"(?:no|none|nil|nad|yes|absent|present|negative|positive|normal|clear|abnormal|not (?:seen|identified|present)"
    r"|unremarkable|intact|stable|unchanged|enlarged|true|false|neg|pos|trace|minimal|small|mild"
    r"|moderate|large|severe|\(?[+-]{1,3}\)?)"
)
_QUALIFIES = (
    r"(?:[ ,-]{1,3}(?:left|right|bilateral|both|sides?|small|mild|moderate|large|severe|trace|minimal|basal|apical"
    r"|upper|lower|mid|middle|lobes?|zones?|base|apex|[lr][uml][lz])\b)*+"
)
_ROW = re.compile(
    r"^(?P<lead>[ \t|]*+(?:[-*\u2022][ \t]++)?)(?P<label>(?!(?:no|nil|without|there|clear|normal|the|is|are)\b)"
    r"[A-Za-z][\w/&()'-]*+(?:[ ][A-Za-z(&][\w/&()'-]*+){0,4}?)"
    rf"(?P<gap>(?:[ ]{{3}}|[ ]{{0,2}}(?:[\t|\u2026]|\.\.|[ ]\.[ ]))[ \t|.\u2026]*+)(?=[^\s|])"
    rf"(?P<value>{_VALUE}{_QUALIFIES}(?=[ \t.]{{0,9}}(?:\([^()\n]{{0,60}}\)[ .]{{0,9}})?(?:[\t|,;\n]|[ ]{{3}}|\Z))"
    r"(?P<more>[ ]{3,}|[ ]{0,2}[\t|][ \t|]*+)?(?(more)(?=[^\s|][^:\n]*+(?:\n|\Z))|))?",
    re.IGNORECASE | re.MULTILINE,
)
_INNER_CELL = re.compile(rf"(?<=[A-Za-z)])[ ]*+[\t|](?=[ \t|]*+{_VALUE}[ \t.]*+(?:[\t|\n]|\Z))", re.IGNORECASE)
_LABELLED_CELL = re.compile(r"\|(?=[ \t]{0,9}[A-Z][A-Za-z]+(?: [A-Za-z]+){0,2}:)")
"""A bar before a label of its own: "LUNGS: clear|PLEURA: no effusion" is two lines."""

_ASSERTED_LIST = re.compile(
    r"^[ \t]*+(?:present|absent|positives?|negatives?|uncertain|equivocal|possible|not (?:seen|present))"
    r"[ \t]{0,9}:[^\n]++",
    re.IGNORECASE | re.MULTILINE,
)
"""A list of findings behind what is said of all of them: "ABSENT: nodule; effusion"."""
_HEADER_CELL = (
    r"(?:finding|part|structure|region|organ|item|site|area|system|parameter|feature|device|line|tube|result|status|state"
    r"|side|laterality|left|right|lt|rt|l|r|change|interval change|position|tip|location|comment|remark|note|detail"
    r"|description|impression|presence|present|grade|severity|size|value|assessment|observation|abnormality|pathology)s?"
    r"(?: (?:side|kidney|lung|breast|lobe|position|tip))?"
)
_HEADER = re.compile(
    rf"^[ \t|]*+{_HEADER_CELL}(?:(?:[ ]{{0,2}}[\t|]++|[ ]{{3}})[ \t|]*+{_HEADER_CELL}){{1,12}}[ \t|]*+$",
    re.IGNORECASE | re.MULTILINE,
)
_TIGHT_COMMA = re.compile(r",(?<=\w,)(?=\w)")
_SPREADSHEET = re.compile(
    rf"^{_HEADER_CELL}(?P<sign>[;,])[ ]?{_HEADER_CELL}(?:(?P=sign)[ ]?{_HEADER_CELL}){{0,9}}"
    r"(?:\n[^\n]*(?P=sign)[^\n]*)++",
    re.IGNORECASE | re.MULTILINE,
)
"""A header and rows whose cells a semicolon or a comma parts."""
_CELL_TEXT = re.compile(r"[^\s|]++(?:[ ]{1,2}[^\s|]++)*+")
_RULE = re.compile(r"[ \t|:+=-]*+\Z")
_SIDES = {"left": "left", "lt": "left", "l": "left", "right": "right", "rt": "right", "r": "right"}
_NOTHING = frozenset({"none", "-", "--", "no", "nil", "n/a", "na", "no change", "\u2013", "\u2014"})
_GRADE = frozenset({"normal", "abnormal"})


class SideRow(NamedTuple):
    """A row of a table with a column for each side, half-open."""

    start: int
    end: int
    sides: tuple[tuple[str, str], ...]
    """Sides, each with a text as long as the row that holds its label and the side's cell."""


def join_lists(plain: str) -> str:
    """Return the text with commas in lists behind what is said of all of them: "ABSENT: nodule; effusion"."""
    return _ASSERTED_LIST.sub(lambda match: match[0].replace(";", ","), plain) if ";" in plain else plain


def has_columns(text: str) -> bool:
    """Return whether a text has a gap that can part columns."""
    return "   " in text or ".." in text or " . " in text or "|" in text or "\t" in text or "\u2026" in text


def join_cells(plain: str) -> str:
    """Return the text with a colon between the label and the value of a table's rows, character for character.

    >>> join_cells("Pneumothorax | No\\nHeart ..... enlarged")
    'Pneumothorax:  No\\nHeart:      enlarged'
    """
    if "\n" in plain and (";" in plain or _TIGHT_COMMA.search(plain)):
        plain = _SPREADSHEET.sub(lambda table: table[0].replace(table["sign"], "|"), plain)
    if not has_columns(plain):
        return plain
    plain = _LABELLED_CELL.sub("\n", plain)
    headers = list(_HEADER.finditer(plain))
    if any(_sides_of(plain, header) for header in headers):
        return plain  # its rows are read cell by cell
    if headers:
        shown = list(plain)
        for header in headers:
            _read_table(plain, header, shown)
        plain = "".join(shown)
    plain = _ROW.sub(_join_row, plain)
    return _INNER_CELL.sub(lambda cell: ":".rjust(len(cell[0])), plain) if "\t" in plain or "|" in plain else plain


def _join_row(row: re.Match[str]) -> str:
    if row["value"] is None and load_headings().kind(row["label"]) != REGION:
        return row[0]
    value = row["value"] or ""
    if row["more"]:  # a third column tells more of the same
        value = value[: -len(row["more"])] + ",".ljust(len(row["more"]))
    return row["lead"] + row["label"] + ":".ljust(len(row["gap"])) + value


def _cells(plain: str, start: int, end: int) -> list[tuple[int, int]]:
    """The cells of a line, as offsets; an empty cell between two bars counts."""
    if "|" in plain[start:end]:
        cells, at = [], start
        for piece in plain[start:end].split("|"):
            blank = len(piece) - len(piece.lstrip())
            cells.append((at + min(blank, len(piece)), at + max(len(piece.rstrip()), min(blank, len(piece)))))
            at += len(piece) + 1
        return cells[1:] if not plain[start:end].partition("|")[0].strip() else cells
    return [match.span() for match in _CELL_TEXT.finditer(plain, start, end)]


def _rows(plain: str, after: int) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """The rows below a header, up to the first line that is none, or a header again."""
    at = after + 1
    while at < len(plain) and _HEADER.match(plain, at) is None:
        end = plain.find("\n", at)
        end = len(plain) if end < 0 else end
        cells = _cells(plain, at, end)
        if len(cells) < 2:
            return
        if _RULE.match(plain, at, end) is None:
            yield at, end, cells
        at = end + 1


def _sides_of(plain: str, header: re.Match[str]) -> dict[int, str]:
    """The columns of a table that are one side's."""
    cells = _cells(plain, header.start(), header.end())
    names = {number: plain[start:end].lower().split(" ")[0] for number, (start, end) in enumerate(cells)}
    return {number: _SIDES[name] for number, name in names.items() if number and name in _SIDES}


def _read_table(plain: str, header: re.Match[str], shown: list[str]) -> None:
    """Blank the header out of ``shown`` and turn the gaps of the rows into signs, as the header says."""
    columns = _cells(plain, header.start(), header.end())
    names = [plain[start:end].lower() for start, end in columns]
    for start, end, cells in _rows(plain, header.end()):
        values = [plain[a:b].strip().lower() for a, b in cells]
        shown[start:end] = plain[start:end].replace("|", " ").replace("\t", " ")
        for number, ((a, b), value) in enumerate(zip(cells, values, strict=True)):
            name = names[number] if number < len(names) else ""
            says_more = value in _GRADE and any(v not in _NOTHING | {""} for v in values[number + 1 :])
            if (number and "change" in name and value in _NOTHING) or says_more or value == "-":
                shown[a:b] = " " * (b - a)
            elif number and b > a:
                first = all(not "".join(shown[x:y]).strip() for x, y in cells[1:number])
                sign = ":" if first else ";" if "comment" in name or "remark" in name else ","
                shown[cells[0][1] if first else a - 1] = sign
    shown[header.start() : header.end()] = " " * (header.end() - header.start())


def find_side_rows(plain: str) -> list[SideRow]:
    """List the rows of tables that have a column for each side, in order.

    >>> find_side_rows("Finding | Right | Left\\nEffusion | none | small")[0].sides
    (('right', 'Effusion:  none        '), ('left', 'Effusion:         small'))
    """
    found = []
    for header in _HEADER.finditer(plain) if has_columns(plain) else ():
        sides = _sides_of(plain, header)
        for start, end, cells in _rows(plain, header.end()) if sides else ():
            label = " " * (cells[0][0] - start) + plain[cells[0][0] : cells[0][1]] + ":"
            said = ((side, cells[number]) for number, side in sides.items() if number < len(cells))
            texts = tuple((side, label.ljust(a - start) + plain[a:b].ljust(end - a)) for side, (a, b) in said if a < b)
            if texts:
                found.append(SideRow(start, end, texts))
    return found
