"""Markup and escapes of a report, made blank in a text of the same length, so that every offset stays the raw one.

HTML and XML tags, character entities, RTF, HL7 segments and escapes, JSON's ``\\n``: what ends a line becomes a line
end, what spells a character becomes that character, all else blanks.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import pairwise

from lgdea.evidence.layout.headings import REGION, load_headings
from lgdea.evidence.layout.key_values import flatten_key_values
from lgdea.evidence.layout.tables import join_cells, join_lists

_SUSPECT = re.compile("[%<&\\\\\r\x00-\x08\x0b\x0c\x0e-\x1f\x85\u2028\u2029~^\u00b6\t|]")
_SPELT_LINE = re.compile(r"_x000[aAdD]_|\[(?i:newline|nl|crlf|cr|lf|br|line ?break)\]")
_LINE_TAGS = frozenset({
    "p", "br", "div", "li", "ul", "ol", "dl", "dt", "dd", "tr", "table", "thead", "tbody", "caption", "hr", "pre",
    "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "html", "body", "header", "footer", "article", "section", "title",
    "text", "paragraph", "item", "list", "component", "entry",
})  # fmt: skip
_HIDDEN_TAGS = ("style", "script", "head")
_ESCAPE = re.compile(
    r"(?P<comment><!--)"
    r"|(?P<tag></?(?P<name>[A-Za-z][\w:-]{0,40})(?P<attributes>\s[^<>]{0,400})?/?>|<[!?][A-Za-z][^<>]{0,400}>)"
    r"|(?P<spelt>&lt;/?(?P<spelt_name>[A-Za-z]\w{0,12})[^&<>]{0,40}&gt;)"
    r"|(?P<entity>&(?:\#\d{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,10});)"
    r"|(?P<hl7_line>\\E\\\.(?:br|sp)\\E\\|\\\.(?:br|sp|ce|in|ti|sk)[+-]?\d{0,4}\\|\\X(?:0[AaDd])+\\)"
    r"|(?P<hl7_mark>\\[HN]\\|\\\.[a-z]{2}[+-]?\d{0,4}\\|\\[XZ][0-9A-Fa-f]{1,40}\\)"
    r"|\\(?P<hl7_sign>[FSTRE])\\"
    r"|(?P<rtf_line>\\(?:pard?|line|sect|page|row)(?![A-Za-z])\x20?)"
    r"|(?P<rtf_mark>\\(?:plain|tab|cell|ul(?:none)?|(?:b|i|f|fs|cf|li|fi|tx|q[clrj])-?\d{0,5})(?![A-Za-z\d])\x20?)"
    r"|\\'(?P<rtf_byte>[0-9a-fA-F]{2})"
    r"|(?P<literal_line>_x000[aAdD]_|%0[aAdD]|\[(?i:newline|nl|crlf|cr|lf|br|line ?break)\]"
    r"|\\{1,2}r\\{1,2}n|\\{1,2}n|\\{1,2}r(?=\s|[A-Z\\]|$))"
    r"|(?P<literal_tab>\\{1,2}t)"
    r"|\\{1,2}u(?P<code_point>[0-9a-fA-F]{4})"
    r"|\\(?P<quoted>[\"/'])"
    "|(?P<line>\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x85\u2028\u2029\u00b6])|(?P<carriage>\r)"
    r"|(?P<tilde>~(?=\s*(?:[A-Z]|\d{1,2}[.)]\s|[-*\u2022]))|(?<=[a-z.)])[~^](?=[A-Za-z]))"
)
_LINE_ENDS = frozenset({"hl7_line", "rtf_line", "literal_line", "line", "tilde"})
_HL7_SIGNS = {"F": "|", "S": "^", "T": "&", "R": "\n", "E": "\\"}
_LABEL = re.compile(r"""\s(?:[Ll]abel|LABEL)\s*=\s*["']([^"'<>]{2,60})["']""")
_VALUE_AHEAD = re.compile(
    r"\s*(?:true|false|yes|no|none|present|absent|positive|negative|normal|abnormal)\s*</", re.IGNORECASE
)
_HL7_SEGMENT = re.compile(r"(?:\A|(?<=[\r\n]))[ \t]*([A-Z][A-Z0-9]{2})\|[^\r\n]*")
_HL7_MESSAGE = re.compile(r"(?:\A|[\r\n])[ \t]*(?:OBX|OBR|MSH|NTE)\|")
_HL7_VALUE = {"OBX": 5, "NTE": 3}
"""Field that holds report text, per segment."""
_HL7_NAME = re.compile(r"[|^&]([A-Za-z][A-Za-z /]{2,40})(?=[|^&])")
_RTF = re.compile(
    r"\\'(?P<byte>[0-9a-fA-F]{2})|\\u(?P<code>-?\d{1,6})(?:\x20|\?)?"
    r"|\\(?P<word>[A-Za-z]{1,32})-?\d{0,10}\x20?|\\(?P<sign>[^A-Za-z])|(?P<brace>[{}])|(?P<line>[\r\n]+)"
)
_RTF_LINES = frozenset({"par", "pard", "line", "sect", "page", "row"})
_RTF_HIDDEN = frozenset({
    "fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "header", "footer", "headerl", "headerr", "headerf",
    "footerl", "footerr", "footerf", "listtable", "listoverridetable", "generator", "themedata", "datastore", "rsidtbl",
    "latentstyles",
})  # fmt: skip
_LINE_NUMBER = re.compile(r"(?m)^[ \t]*+[\[(]?(?P<number>\d{2,4})(?:[\])][:.]?|[:.)])?[ \t]++(?=[A-Za-z])")
_BOXES = str.maketrans("\u25a1\u25a2\u25fb\u2b1c\u25ef\u25a0\u25fc\u2b1b\u25c9\u29bf", "\u2610" * 5 + "\u2611" * 5)
_SQUARE = re.compile("[\u25a1\u25a2\u25fb\u2b1c\u25c9\u29bf]")
_CROSS = re.compile(r"\[[\u2717\u2718]\]|[\u2717\u2718]")
_TICK, _EMPTY_BOX = re.compile("[\u2611\u2713\u2714]"), re.compile(r"[\[(][ _]?[\])]|[\u2610\u25a1\u25a2]")
# A label alone on its line, its value alone on the next; and how the line of a value begins, which is found faster.
_VALUE_BEGIN = re.compile(
    r"\n(?:[ \t]{0,4}(?:A|Ans|Answer)[:.)])?"
    r"(?=[ \t]{0,20}(?:(?:none|no|nil|yes|absent|present|negative|positive|normal|clear"
    r"|abnormal|not (?:seen|identified|present|enlarged)|unremarkable|intact|enlarged|small|mild|moderate|severe|trace"
    r"|minimal|large|left|right|bilateral|true|false|n/a)\b[ ,/-]{0,3}){1,6}"
    r"(?:seen|identified|\([^()\n]{0,40}\))?\.?[ \t]{0,20}$"
    r"|(?<=\?\n)[ \t]{0,20}(?:yes|none|nil|absent|present|no(?=[ \t]*(?:[.,;:(-]|$)))\b)",
    re.IGNORECASE | re.MULTILINE,
)
_VALUE_LINE = re.compile(r"(?<=[a-z)?:])[ \t]{0,20}" + _VALUE_BEGIN.pattern, re.IGNORECASE | re.MULTILINE)
_LABEL_LINE = re.compile(
    r"(?:\A|\n)[ \t]*(?:[-*\u2022][ \t]+|\d{1,2}[.)][ \t]+)?(?!(?i:no|nil|without|there|clear|normal)\b)[A-Z][A-Za-z]*"
    r"(?:[ /](?:and |of )?[A-Za-z]+){0,3}\Z"
)


def flatten(text: str) -> str:
    """Return the text with its markup made blank and its line ends made ``\\n``, character for character.

    >>> flatten("No effusion<br>Old&nbsp;scar")
    'No effusion\\n   Old      scar'
    """
    is_suspect = ("[" in text or "_x000" in text) and _SPELT_LINE.search(text) is not None
    if not is_suspect and _SUSPECT.search(text) is None:
        return _flatten_lines(text)
    plain = text
    if _HL7_MESSAGE.search(plain):
        plain = _HL7_SEGMENT.sub(_read_segment, plain)
    plain = _flatten_rtf(plain) if "{\\rtf" in plain else "".join(_flatten_escapes(plain))
    return _flatten_lines(plain)


def _flatten_lines(plain: str) -> str:
    """Read the layout of lines and entries: their numbers, JSON, answers below their questions, columns of tables."""
    if "\n" in plain and len(numbers := list(_LINE_NUMBER.finditer(plain))) > 2 and _count_on(numbers):
        plain = _LINE_NUMBER.sub(lambda number: " " * len(number[0]), plain)
    if not plain.isascii():
        plain = _read_marks(plain)
    if '":' in plain or "':" in plain or '" :' in plain:
        plain = flatten_key_values(plain)
    return join_cells(join_lists(_VALUE_LINE.sub(_join_value, plain) if _VALUE_BEGIN.search(plain) else plain))


def _read_marks(plain: str) -> str:
    """Make the marks of forms ballot boxes: filled squares beside empty ones, and crosses.

    A cross is an empty box, unless the report has empty boxes and no ticks besides.
    """
    if _SQUARE.search(plain) is not None:
        plain = plain.translate(_BOXES)
    if "\u2717" not in plain and "\u2718" not in plain:
        return plain
    checked = _TICK.search(plain) is None and _EMPTY_BOX.search(plain) is not None
    box, alone = ("[x]", "\u2612") if checked else ("[ ]", "\u2610")
    return _CROSS.sub(lambda cross: box if len(cross[0]) > 1 else alone, plain)


def _count_on(numbers: list[re.Match[str]]) -> bool:
    """Tell whether lines are numbered one after the other, as a transcript's are."""
    values = [int(number["number"]) for number in numbers]
    steps = {after - before for before, after in pairwise(values)}
    return len(steps) == 1 and steps <= {1, 5, 10, 100}


def markup_spans(text: str, plain: str) -> list[tuple[int, int]]:
    """List the stretches of the raw text that :func:`flatten` has made something else, blanks apart."""
    if text is plain or text == plain:
        return []
    spans: list[tuple[int, int]] = []
    for at, (raw, shown) in enumerate(zip(text, plain, strict=True)):
        if raw == shown or raw.isspace():
            continue
        if spans and spans[-1][1] == at:
            spans[-1] = (spans[-1][0], at + 1)
        else:
            spans.append((at, at + 1))
    return spans


def _join_value(match: re.Match[str]) -> str:
    """A colon for the line end between a label and its value, the line end itself where the line before is no label.

    After a question or a colon it is a blank, also together with what announces the answer ("A:").
    """
    before = match.string[max(0, match.start() - 60) : match.start()]
    if before[-1:] in "?:":
        return " " * len(match[0])
    name = before.rpartition("\n")[2].strip(" \t-*\u2022.)0123456789")
    is_label = _LABEL_LINE.search(before) and load_headings().kind(name) in (None, REGION)
    return ":".rjust(len(match[0])) if is_label else match[0]


def _flatten_escapes(text: str) -> Iterator[str]:
    at = 0
    for match in _ESCAPE.finditer(text):
        start, end = match.span()
        if start < at:
            continue
        shown = _show(match)
        closing = _closing(text, match)
        if closing is not None:
            end, shown = closing, ""
        yield text[at:start]
        yield shown.ljust(end - start)
        at = end
    yield text[at:]


def _closing(text: str, match: re.Match[str]) -> int | None:
    """The end of a comment, or of an element whose content is not shown; None where nothing is hidden."""
    if match["comment"]:
        end = text.find("-->", match.end())
        return None if end < 0 else end + 3
    name = (match["name"] or "").lower()
    if name in _HIDDEN_TAGS and not match[0].startswith("</"):
        end = text.find(f"</{match['name']}", match.end())
        return None if end < 0 else end
    return None


def _show(match: re.Match[str]) -> str:
    """What a piece of markup stands for, at most as long as it is."""
    kind = match.lastgroup or ""
    found = match[kind]
    if kind == "tag":
        return _show_tag(match)
    if kind == "spelt":
        return "\n" if match["spelt_name"].lower() in _LINE_TAGS else ""
    if kind == "rtf_mark":
        return "\t" if found.startswith(("\\tab", "\\cell")) else ""
    spelt = {
        "entity": lambda: _only(html.unescape(found)),
        "hl7_sign": lambda: _HL7_SIGNS[found],
        "rtf_byte": lambda: _decode(found),
        "code_point": lambda: _only(chr(int(found, 16))),
        "literal_tab": lambda: "\t",
        "quoted": lambda: found,
    }.get(kind)
    return spelt() if spelt else "\n" if kind in _LINE_ENDS else ""


def _show_tag(match: re.Match[str]) -> str:
    name = (match["name"] or "").lower()
    if name in {"td", "th"}:
        return "\t" if match[0].startswith("</") else ""
    if name in _LINE_TAGS:
        return "\n"
    label = _LABEL.search(match["attributes"] or "")
    if label and label.end(1) + len(name) < len(match[0]) - 1:  # room for the colon
        begin = label.start(1) + match.start("attributes") - match.start()
        return "\n".ljust(begin) + label[1] + ":"
    spelt = match["name"].replace("_", " ").replace("-", " ") if name else ""
    is_heading = load_headings().kind(spelt) is not None  # <findings>...</findings>
    if name and (is_heading or _VALUE_AHEAD.match(match.string, match.end())):  # <edema>false</edema>
        return "\n" if match[0].startswith("</") or match[0].endswith("/>") else f"\n{match['name']}:"
    return ""


def _read_segment(match: re.Match[str]) -> str:
    """The report text of one HL7 segment, all else blank; an identifier that names a section becomes its heading."""
    line, wanted = match[0], _HL7_VALUE.get(match[1])
    fields = line.split("|")
    if wanted is None or len(fields) <= wanted:
        return " " * len(line)
    before = sum(len(field) + 1 for field in fields[:wanted])
    shown = " " * before + fields[wanted]
    for name in _HL7_NAME.finditer(line, 0, before):
        if load_headings().kind(name[1]) is not None:
            shown = f"{' ' * name.start()}\n{name[1]}:".ljust(before) + fields[wanted]
            break
    return shown.ljust(len(line))


def _flatten_rtf(text: str) -> str:
    shown: list[str] = []
    hidden = [False]  # one entry per open group: whether its text is not the report's
    at = 0
    for match in _RTF.finditer(text):
        between = text[at : match.start()]
        shown.append(" " * len(between) if hidden[-1] else between)
        at = match.end()
        if match["brace"] == "{":
            hidden.append(hidden[-1])
        elif match["brace"] == "}" and len(hidden) > 1:
            hidden.pop()
        elif match["word"] in _RTF_HIDDEN or match["sign"] == "*":
            hidden[-1] = True
        shown.append(("" if hidden[-1] else _show_rtf(match)).ljust(len(match[0])))
    shown.append(text[at:])
    return "".join(shown)


def _show_rtf(match: re.Match[str]) -> str:
    if match["word"] in _RTF_LINES:
        return "\n"
    if match["word"] in {"tab", "cell"}:
        return "\t"
    if match["byte"]:
        return _decode(match["byte"])
    if match["code"]:
        return _only(chr(int(match["code"]) % 65536))
    return match["sign"] if match["sign"] and match["sign"] in "\\{}" else ""


def _decode(byte: str) -> str:
    return bytes.fromhex(byte).decode("cp1252", "replace")


def _only(spelt: str) -> str:
    """A single character that can be shown, else nothing."""
    return spelt if len(spelt) == 1 and spelt.isprintable() else ""
