"""Headings and titles of a flattened report: one walk over its lines, which marks where sections begin."""

from __future__ import annotations

import re
from typing import NamedTuple

from lgdea.evidence.layout.headings import DIFFERENTIAL, EVIDENCE_SECTIONS, LONGEST_NAME, REGION, STUDY, Headings
from lgdea.evidence.layout.resuming import is_history
from lgdea.evidence.layout.titles import is_title

_DECORATION = " \t\u00a0#*_=<>[](){}\"'\u2022\u25cf\u25a0|-\u2013\u2014~\\`"
_SIGN = re.compile(r":(?:(?<!\d:)(?!//)|(?<=\d:)(?!\d\d))")
_NUMBER = re.compile(r"(?:\(?\d{1,2}[.)]|[IVX]{1,4}\.|[A-H]\.|\d{1,2}(?:\.\d{1,2})*(?=\s+[A-Z]))\s+")
_UNSIGNED = re.compile(
    r"[#*_ \t\[]{0,8}(?P<name>[A-Za-z]+(?:(?: |/| / | & )[A-Za-z]+){0,5}?)[\])*_]{0,3}"
    r"(?:[ \t]{0,2}(?P<sign>[-\u2013\u2014]{1,2}|[=;.>])|(?<=[*_])(?P<bold>[ \t])|(?P<column>\t|[ ]{3,}))[ \t>]*(?=\S)"
)
"""A name and another sign than a colon: "FINDINGS - Small effusion", "IMPRESSION. Normal", "**Findings** Clear"."""
_CAPITALS = re.compile(r"[ \t]*(?P<name>[A-Z]{6,})[ \t]+(?=[A-Z0-9]?[a-z\d])")
"""A name in capitals before other text: "IMPRESSION No acute disease"."""
_INNER_UNSIGNED = re.compile(
    r"(?<=[a-z.,;\d] )[A-Z]{6,}(?=[ \t]+[A-Z0-9]?[a-z\d])|(?<=[.;] )[A-Z][A-Za-z]{5,}(?=[ \t]+[-\u2013\u2014][ \t])"
)
_CLAUSE_END = re.compile(r"[.;!?)\]\"\u2022|,][ \t]*|[ \t]{2,}|\s[-\u2013\u2014]\s")
_CAPITAL_WORDS = re.compile(r"[A-Z][A-Z/&,()' -]*\Z")
_LINE = re.compile(r"[^\n]+")
_UNDERLINE = re.compile(r"\n[ \t]*[-=~]{3,}[ \t]*(?:\n|\Z)")
_MARKED_AS_HEADING = re.compile(
    r"[ \t]*(?:\#{1,6}\s|\*\*[^*]+\*\*\W*\Z|__[^_]+__\W*\Z|\[[^\[\]*]{3,}\]\W*\Z|={2,}[^=]+={2,}\s*\Z)"
)
_SENTENCE_END = re.compile(r"[.!?]\s")
_NO_NAME = re.compile(r"[.!?;][\s\"')\]]|\",")
"""What stands in no name of a heading."""
_SIGNED = re.compile(
    r"\W*(?:(?:this (?:report|study) (?:was|has been) )?(?:electronically|digitally) |final(?:ly)? )?"
    r"(?:signed|dictated|reported|transcribed|approved|verified|authenticated|interpreted|read|finali[sz]ed|typed|reviewed)"
    r"(?: and (?:signed|approved|verified|reviewed|finali[sz]ed))?(?: electronically)? (?:by|on)\b",
    re.IGNORECASE,
)
"""Begins of lines that name who signed the report, or when."""
_DEVICES = re.compile(
    r"(?:support |monitoring |life )?(?:lines?|tubes?|devices|apparatus|hardware)"
    r"(?:(?: and | & |/|, )(?:lines?|tubes|devices))*",
    re.IGNORECASE,
)
"""Names of parts of a report that list devices; alone on a line they name none."""
_DEMOGRAPHIC = re.compile(
    r"\s*\d{1,3}[ -]?(?:y/?o|yrs?|years?(?:[ -]old)?)?[ ,/-]{0,2}"
    r"(?:[MF]|male|female|man|woman|gentleman|lady)\b[ ,:;.-]*",
    re.IGNORECASE,
)
"""The begin of a request: "72F SOB"."""
_SHOWN = re.compile(r"\b(?:shows?|demonstrat\w+|reveal\w*|seen|noted|there (?:is|are))\b", re.IGNORECASE)
_PART_OF_TITLE = re.compile(r"(?:\b(?:for|of|with|and|or|without|the|to)|[-\u2013,/&(])\s*\Z", re.IGNORECASE)
_STAY_INSIDE = frozenset({"examination", "technique", "comparison"})
"""Sections that hold names of studies."""
_MAIN = frozenset({"findings", "impression", "indication", "comparison", "technique", "recommendation"})
_LABEL_WORDS = 6


class Heading(NamedTuple):
    """A heading as the report spells it, and its kind (see :meth:`Headings.kind`); None for a name nobody knows."""

    name: str
    kind: str | None


class Mark(NamedTuple):
    """Where a section begins: its heading at ``start``, its text at ``body``."""

    start: int
    body: int
    kind: str
    name: str = ""


class MarkFinder:
    """Finder of the headings of one flattened report.

    Args:
        plain: The report, see :func:`~lgdea.evidence.layout.markup.flatten`.
        known: The names of headings.
    """

    def __init__(self, plain: str, known: Headings) -> None:
        self.headings: list[Heading] = []
        self.marks = [Mark(0, 0, "body")]
        self._plain, self._known = plain, known
        self._title_goes_on = False

    def find(self) -> None:
        """Fill ``marks`` and ``headings``, in order."""
        line_end, after_blank = -1, True
        for line in _LINE.finditer(self._plain):
            start, end = line.span()
            after_blank = after_blank or start > line_end + 1
            line_end = end
            if line[0].isspace():
                after_blank = True
                continue
            at = self._read_begin(start, end, after_blank)
            self._read_inner_labels(at, end)
            after_blank = False
        self._settle()

    def _kind(self, name: str) -> str | None:
        """The kind of a name here: a differential belongs to the text around it."""
        kind = self._known.kind(name)
        return kind if kind != DIFFERENTIAL else REGION if self._is_reading else "indication"

    @property
    def _is_reading(self) -> bool:
        return self.marks[-1].kind in EVIDENCE_SECTIONS

    def _add(self, start: int, body: int, kind: str, name: str = "") -> None:
        self.marks.append(Mark(start, body, kind, name))

    def _resume(self, at: int, body: int | None = None) -> None:
        """Read on, in the section that is read now, else as text without a heading of its own."""
        self._add(at, at if body is None else body, self.marks[-1].kind if self._is_reading else "body")

    def _read_begin(self, start: int, end: int, after_blank: bool) -> int:
        """Take a heading or a title off the beginning of a line; returns where its text begins."""
        plain = self._plain
        goes_on, self._title_goes_on = self._title_goes_on, False
        sign = _SIGN.search(plain, start, min(end, start + LONGEST_NAME + 16))
        name = plain[start : sign.start()] if sign else ""
        number = _NUMBER.match(name.lstrip())
        if sign and not _NO_NAME.search(name, len(name) - len(name.lstrip()) + number.end() if number else 0):
            return self._read_label(start, sign.end(), name)
        if self._read_alone(start, end, after_blank):
            return end
        for pattern in (_UNSIGNED, _CAPITALS):
            match = pattern.match(plain, start, end)
            if match and self._is_unsigned_heading(match):
                kind = self._kind(match["name"])
                assert kind is not None
                self.headings.append(Heading(match["name"].strip(), kind))
                self._add(start, match.end(), kind, match["name"])
                return self._read_unsigned(match.end(), end)
        if _SIGNED.match(plain, start, end):
            self._add(start, start, "signature")
            return end
        return self._read_title(start, end, after_blank, goes_on)

    def _read_unsigned(self, at: int, end: int) -> int:
        """Read further names without a colon in a line that one began: "HISTORY Cough IMPRESSION Small nodule"."""
        for match in _INNER_UNSIGNED.finditer(self._plain, at, end):
            kind = self._kind(match[0])
            if kind in _MAIN:
                self.headings.append(Heading(match[0], kind))
                self._add(match.start(), match.end(), kind, match[0])
                at = match.end()
        return at

    def _read_label(self, start: int, body: int, raw: str) -> int:
        """Read a name and its colon at the start of a line."""
        name = _trim(raw)
        kind = self._kind(name)
        if kind is not None and kind not in (REGION, STUDY):
            self.headings.append(Heading(name, kind))
            self._add(start, body, kind, name)
            return body
        if kind is None and not _is_label(name):
            return start
        self.headings.append(Heading(name, kind))
        if kind == STUDY or is_title(name):
            self._resume(start, body)
            return body
        if not self._is_reading:
            self._resume(start)
        return body if name.isupper() else start  # "No effusion FINDINGS: ..." has its heading further on

    def _read_alone(self, start: int, end: int, after_blank: bool) -> bool:
        """Read a line that is a heading without a colon."""
        line = self._plain[start : min(end, start + 2 * LONGEST_NAME)]
        name = _trim(line)
        if not name or len(name) > LONGEST_NAME or len(line) < end - start:
            return False
        marked = _MARKED_AS_HEADING.match(line) is not None or _UNDERLINE.match(self._plain, end) is not None
        kind = self._kind(name)
        if kind == REGION and self._is_reading and _DEVICES.fullmatch(name):
            self.headings.append(Heading(name, kind))
            self._resume(start, end)
            return True
        if kind is None or kind in (REGION, STUDY):
            is_label = (marked or (kind == REGION and after_blank)) and name[0].isupper()
            if is_label and not self._is_reading and kind != STUDY and not is_title(name):
                self.headings.append(Heading(name, kind))
                self._resume(start)
            return False
        exact = self._known.is_exact(name)
        alone = marked or name.isupper() or (name[0].isupper() and (exact or name.istitle())) or (after_blank and exact)
        names_a_study = (
            kind in _STAY_INSIDE
            and not exact
            and (is_title(name) or (self.marks[-1].kind in _STAY_INSIDE and not marked))
        )
        if not alone or names_a_study or not self._known.is_whole(name) or line.rstrip().endswith((".", ",")):
            return False
        self.headings.append(Heading(name, kind))
        self._add(start, end, kind, name)
        return True

    def _is_unsigned_heading(self, match: re.Match[str]) -> bool:
        name = match["name"].strip()
        kind = self._kind(name)
        if kind is None or kind in (REGION, STUDY, "body", "administrative"):
            return False
        if match.re is _CAPITALS:
            return self._known.is_exact(name)
        sign = match["sign"] or ""
        if not self._known.is_exact(name):
            return sign[:1] in {"-", "\u2013", "\u2014"} and name[0].isupper() and self._known.is_whole(name)
        if sign in {".", ";", ">"}:
            return name.isupper() and len(name) > 4
        return name.isupper() or (name[0].isupper() and (len(name) > 4 or kind == "indication"))

    def _read_title(self, start: int, end: int, after_blank: bool, goes_on: bool) -> int:
        """Pass over a title, or a first sentence that is one."""
        asked = _DEMOGRAPHIC.match(self._plain, start, end) if self._plain[start].isdigit() else None
        stop = _SENTENCE_END.search(self._plain, start, min(end, start + 140))
        body = stop.end() if stop else end
        line = self._plain[start : stop.start() if stop else body]
        if asked and not self._has_read(len(self.marks) - 1, start) and _is_request(line[asked.end() - start :]):
            self._add(start, start, "indication")
            return start
        continues = goes_on and line.isupper() and not stop and len(line) <= LONGEST_NAME
        if stop and " " not in line.strip():  # "Mr. Smith"
            return start
        if not continues and not (len(line) <= 2 * LONGEST_NAME and is_title(line)):
            return start
        last = self.marks[-1]
        inside = last.kind in _STAY_INSIDE and (not after_blank or not self._plain[last.body : start].strip())
        if inside or (not after_blank and line.lstrip()[:1].islower()):
            return start
        kind = last.kind if self._is_reading else "body"
        self._add(start, start, "title")
        self._add(body, body, kind)
        self._title_goes_on = stop is None and _PART_OF_TITLE.search(line) is not None
        return body

    def _read_inner_labels(self, at: int, end: int) -> None:
        """Read the headings in the middle of a line."""
        plain, first = self._plain, at
        for sign in _SIGN.finditer(plain, at, end):
            window = plain[max(first, sign.start() - LONGEST_NAME) : sign.start()]
            found = self._name_at_end(window, whole=sign.start() - LONGEST_NAME <= first)
            if found is None:
                continue
            name, kind = found
            start = sign.start() - len(window) + window.rfind(name)
            if kind in (REGION, STUDY) or kind is None:
                if self._is_reading:
                    continue
                self._resume(start, sign.end() if kind == STUDY else start)
            else:
                self._add(start, sign.end(), kind, name)
            self.headings.append(Heading(name, kind))
            first = sign.end()

    def _name_at_end(self, window: str, *, whole: bool) -> tuple[str, str | None] | None:
        """The heading that ends a window: after a full stop in any case, in capitals anywhere."""
        begins = [0] if whole else []
        begins += [match.end() for match in _CLAUSE_END.finditer(window)]
        for begin in begins:
            name = _trim(window[begin:])
            if not name:
                continue
            kind = self._kind(name)
            gap = window[max(0, begin - 2) : begin]
            after_stop = gap.isspace() or begin == 0 or window[:begin].rstrip()[-1:] in set('.;!?)]"\u2022|')
            if kind in (REGION, STUDY) and after_stop and name[0].isupper():
                return name, kind
            if kind in (REGION, STUDY, None):
                continue
            exact = self._known.is_exact(name)
            if name.isupper() or (after_stop and (exact or (name[0].isupper() and self._known.is_whole(name)))):
                return name, kind
        capitals = _CAPITAL_WORDS.search(window)
        if capitals is None:
            return self._capitalised_name(window)
        words = capitals[0].split(" ")
        for k in range(len(words)):
            name = _trim(" ".join(words[k:]))
            kind = self._kind(name)
            if kind not in (None, REGION, STUDY) and self._known.is_whole(name):
                return name, kind
        return None

    def _capitalised_name(self, window: str) -> tuple[str, str | None] | None:
        """A main heading that begins with a capital in the middle of a line: "Exam: CT Findings: Nodule"."""
        words = window.rstrip().split(" ")[-_LABEL_WORDS:]
        for k in range(1, len(words)):
            name = " ".join(words[k:])
            kind = self._kind(name) if name[:1].isupper() and len(name) > 5 else None
            if kind in _MAIN and self._known.is_exact(name):
                return name, kind
        return None

    def _settle(self) -> None:
        """Decide the kinds that depend on what comes next.

        A wet read is passed over only where the final report follows; a diagnosis right before the findings, with
        nothing read before it, is the one that was asked about.
        """
        final = max((m.start for m in self.marks if m.name.lower().startswith("final")), default=-1)
        for number, mark in enumerate(self.marks):
            if mark.kind == "wet_read" and mark.start > final:
                self.marks[number] = mark._replace(kind="findings")
            elif mark.name.lower().startswith("diagnos") and number + 1 < len(self.marks):
                after = self.marks[number + 1]
                between = self._plain[mark.start : after.start]
                if after.name and after.kind != "impression" and "\n\n" not in between and not self._has_read(number):
                    self.marks[number] = mark._replace(kind="indication")

    def _has_read(self, number: int, end: int | None = None) -> bool:
        """Return whether text of this study stands before a mark, or before ``end`` which it reaches to."""
        ends = [mark.start for mark in self.marks[1 : number + 1]] + ([] if end is None else [end])
        pairs = zip(self.marks, ends, strict=False)
        return any(a.kind in EVIDENCE_SECTIONS and self._plain[a.body : b].strip() for a, b in pairs)


def _trim(name: str) -> str:
    name = name.strip(_DECORATION)
    number = _NUMBER.match(name)
    return name[number.end() :] if number else name


def _is_request(text: str) -> bool:
    """Tell whether what follows an age and a sex is why the patient came, not what was seen."""
    return is_history(text) and _SHOWN.search(text) is None


def _is_label(name: str) -> bool:
    """Tell whether an unknown name can be a label, not the begin of a sentence with a colon in it."""
    words = name.split()
    return bool(words) and words[0][0].isupper() and len(words) <= _LABEL_WORDS and not is_history(name)
