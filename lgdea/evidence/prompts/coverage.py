"""Coverage of a prompt's examples, and the length of the part that all questions share."""

from __future__ import annotations

import json
import math
import re
from collections import Counter

from lgdea.evidence.layout import EVIDENCE_SECTIONS, split_sections
from lgdea.evidence.prompts.prompt import Prompt
from lgdea.evidence.response import UNSPECIFIED
from lgdea.vocabulary import load_vocabulary

KINDS = (
    "negation", "uncertainty", "laterality", "severity", "comparison", "resolved", "normal", "device", "list",
    "repeated", "history", "removed_words", "nothing",
)  # fmt: skip
"""Cases that examples should show; ``repeated`` only where a whole report is read."""

_REMOVED = re.compile(r"\bX{3,}\b|_{2,}")
_HISTORY = re.compile(
    r"\b(?:history|status post|rule out|evaluate for|prior|recommend|ausschluss|antecedente|descartar|antécédent)",
    re.IGNORECASE,
)
# How byte-pair tokenisers of language models cut text before they merge: a word with the character before it, three
# digits, a run of signs, a run of blanks.
_PIECE = re.compile(r"[^\r\n\w]?[^\W\d_]+|_[^\W\d_]+|\d{1,3}|[^\s\w]+|_+|\s+")
_LETTERS_PER_TOKEN = 5


def shown_kinds(prompt: Prompt) -> dict[str, int]:
    """Count how many of the examples show each of :data:`KINDS`."""
    counts: Counter[str] = Counter()
    for text, answer in prompt.examples:
        counts.update(_kinds(text, json.loads(answer)["units"]))
    return {kind: counts[kind] for kind in KINDS if kind != "repeated" or prompt.reads == "report"}


def count_tokens(messages: tuple[dict[str, str], ...]) -> int:
    """About how many tokens the messages are; no tokeniser is asked, so that it works without any model."""
    return sum(4 + sum(_tokens(piece) for piece in _PIECE.findall(message["content"])) for message in messages)


def _tokens(piece: str) -> int:
    letters = sum(map(str.isalpha, piece))
    return 1 if letters <= _LETTERS_PER_TOKEN + 1 else math.ceil(letters / _LETTERS_PER_TOKEN)


def _kinds(text: str, units: list[dict[str, str]]) -> set[str]:
    findings = load_vocabulary().findings
    assertions = [unit["assertion"] for unit in units]
    quotes = Counter((unit.get("quote"), unit["assertion"]) for unit in units)
    twice = Counter((unit["finding"], unit["assertion"]) for unit in units)
    has_other_sections = any(span.name not in EVIDENCE_SECTIONS for span in split_sections(text))
    shows = {
        "negation": "absent" in assertions,
        "uncertainty": "uncertain" in assertions,
        "laterality": any(unit["laterality"] in ("left", "right") for unit in units),
        "severity": any(unit["severity"] != UNSPECIFIED for unit in units),
        "comparison": any(unit["change"] not in (UNSPECIFIED, "resolved") for unit in units),
        "resolved": any(unit["change"] == "resolved" for unit in units),
        "normal": any(findings[unit["finding"]].kind == "normality" for unit in units),
        "device": any(findings[unit["finding"]].kind == "device" for unit in units),
        "list": any(assertion == "absent" and n > 1 for (_, assertion), n in quotes.items()),
        "repeated": any(n > 1 for n in twice.values()),
        "history": has_other_sections or _HISTORY.search(text) is not None,
        "removed_words": _REMOVED.search(text) is not None,
        "nothing": not units,
    }
    return {kind for kind, shown in shows.items() if shown}
