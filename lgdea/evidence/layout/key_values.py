"""JSON-like text: ``{"pneumothorax": false, "effusion": {"present": true, "side": "left"}}`` as lines of a template.

Entries become labelled lines, attributes of a finding follow it in its line, and what was not assessed (``null``) is
made blank. The text keeps its length.
"""

from __future__ import annotations

import re

_ENTRY = re.compile(
    r"""(?P<open>[\[{,][\s\[{]*+)(?P<quote>["'])(?P<key>[A-Za-z][^"'\n]{0,60}?)(?P=quote)(?P<colon>\s*+[:=]\s*+)"""
    r"""(?P<value>"[^"]*"|'[^']*'|[A-Za-z]+|-?\d+(?:\.\d+)?)?"""
)
_NEXT_STRING = re.compile(r"""(?<=\S)["']\s{0,9},\s{0,9}["']""")
_HINT = re.compile(r"""(?:\A|[{,\s])["'][A-Za-z][^"'\n]{0,60}["']\s{0,9}[:=]""")
_NAMES = frozenset({"finding", "label", "name", "abnormality", "pathology", "observation", "condition", "disease"})
_ASSERTS = frozenset({
    "present", "status", "value", "result", "exists", "presence", "assertion", "detected", "answer", "state",
    "prediction",
})  # fmt: skip
_ATTRIBUTES = re.compile(
    r"(?:\A|.*[ _-])(?:side|sides|laterality|location|site|lobe|zone|position|place|severity|size|grade|extent|change"
    r"|descriptor|comment|note|details?|type)\Z",
    re.IGNORECASE,
)
_EMPTY = frozenset({"null", "none", "na", "nan", "unknown", "unspecified", "not", ""})
_YES_NO = {"1": "y", "0": "n", "1.0": "y", "0.0": "n", "-1": "?", "-1.0": "?"}
"""Numbers of labels, in the way of CheXpert's: -1 is uncertain."""


def flatten_key_values(text: str) -> str:
    """Return JSON-like text as labelled lines, character for character.

    >>> flatten_key_values('{"edema": true, "effusion": false}')
    '\\n edema:  true\\n  effusion:  false '
    """
    if _HINT.search(text) is None:
        return text
    shown: list[str] = []
    at = 0
    for entry in _ENTRY.finditer(text):
        shown.append(_blank_signs(text[at : entry.start()]))
        shown.append(_show(entry))
        at = entry.end()
    shown.append(_blank_signs(text[at:]))
    return "".join(shown)


def _blank_signs(text: str) -> str:
    text = _NEXT_STRING.sub(lambda match: "\n".ljust(len(match[0])), text)
    return text.replace("{", " ").replace("}", " ").replace('"', " ")


def _show(entry: re.Match[str]) -> str:
    """One entry: a line of its own, or what is said of the finding before."""
    key, value = entry["key"], entry["value"] or ""
    said = value.strip("\"'")
    name = key.strip().lower().replace("_", " ")
    is_number = said == value and said in _YES_NO
    room = len(entry[0]) - len(value)
    if said == value and said.lower() in {"null", "nan"}:
        return "\n".ljust(len(entry[0]))
    shown = _YES_NO[said].ljust(len(said)) if is_number else value.replace('"', " ").replace("'", " ")
    if name in _NAMES and value:
        return "\n".ljust(room) + shown
    if name in _ASSERTS and value:
        return ":".ljust(room) + shown
    if _ATTRIBUTES.match(name):
        return (",".ljust(room) + shown) if said.lower() not in _EMPTY else " " * len(entry[0])
    lead = "\n".ljust(len(entry["open"]) + 1)
    return (lead + key + ":").ljust(room) + shown
