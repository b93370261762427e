"""Answers to a question set: their file, what is answered, and what an answer states, for its evidence."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgdea.comparison.change.sentences import change_sentence
from lgdea.comparison.change.states import STATES
from lgdea.comparison.questions.question import ASKED, STATE_WORDS, WHICH_WORDS, Question
from lgdea.errors import DataError, UsageError
from lgdea.evidence.rules.reader import RuleMatch, read_report
from lgdea.reading import read_json_lines
from lgdea.vocabulary.phrases import canonical_phrase

IDS = ("qid", "id", "study_id", "report_id")
TEXTS = ("answer", "text", "generated")
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(r"[*_`#>]+|^\s*[-•]\s+", re.MULTILINE)
_LEAD = re.compile(r"\s*(?:(?:final |the |my |correct )*(?:answer|option|choice)(?: is)?\s*[:=-]?\s*)+", re.IGNORECASE)
_LETTER = re.compile(r"(?<![\w'])\(?([A-E])\)?(?=[\s).:,;!?/]|$)")
_FIRST = re.compile(r"\(?([A-E])\)?\s*(?:[.:;)]|$)")
_ARTICLE = re.compile(r"A\s+(?!or\b|and\b)[a-z]")
_IMAGE = re.compile(r"\bimage\s+([12])\b(?:\s*\([^)]*\))?\s*:", re.IGNORECASE)


def read_answers(file: str | Path) -> dict[str, str]:
    """Read a file of answers: JSON lines with an id (:data:`IDS`) and a text (:data:`TEXTS`).

    Args:
        file: What a model wrote, an answer a line; or a folder of ``lgdea compare answer``.

    Raises:
        UsageError: There is no such file.
        DataError: A line is no answer, or ids are answered twice; the message counts them.
    """
    file = Path(file)
    if file.is_dir():
        file /= "answers.jsonl"
    if not file.is_file():
        raise UsageError("no such file of answers", file=file, remedy="check the path")
    found: dict[str, str] = {}
    rows: dict[str, list[int]] = defaultdict(list)
    remedy = f"write an id ({', '.join(IDS)}) and a text ({', '.join(TEXTS)})"
    for row, content in read_json_lines(file, what="file of answers", remedy=remedy):
        name, text = _parse(content, file, row)
        rows[name].append(row)
        found[name] = text
    doubled = {name: places for name, places in rows.items() if len(places) > 1}
    if doubled:
        name, places = next(iter(doubled.items()))
        where = " and ".join(map(str, places[:3]))
        raise DataError(
            f"{len(doubled)} ids are answered more than once, first {name} (rows {where})", file=file,
            remedy="keep one answer of each",
        )  # fmt: skip
    return found


def _parse(content: Mapping[str, Any], file: Path, row: int) -> tuple[str, str]:
    name = next((content[key] for key in IDS if key in content), None)
    text = next((content[key] for key in TEXTS if key in content), None)
    if not isinstance(name, str | int) or not isinstance(text, str):
        remedy = f"write an id ({', '.join(IDS)}) and a text ({', '.join(TEXTS)})"
        raise DataError("is no answer", file=file, row=row, remedy=remedy)
    return str(name), text


def complete(ids: Iterable[str], answers: dict[str, str], *, allow_missing: bool) -> list[str]:
    """Check that answers are those of a set.

    Args:
        ids: Of all that was asked.
        answers: Id to text.
        allow_missing: If true, what has no answer is returned, not refused.

    Returns:
        Ids without an answer.

    Raises:
        DataError: Answers are to something else, or some are missing; the message counts them.
    """
    asked = list(ids)
    unknown = sorted(answers.keys() - set(asked))
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(answers)} answers are to nothing that was asked, first {unknown[0]}",
            remedy="score them with the set that they are answers to",
        )
    missing = [name for name in asked if name not in answers]
    if missing and not allow_missing:
        raise DataError(
            f"{len(missing)} of {len(asked)} have no answer, first {missing[0]}",
            remedy="answer all of them, or count them as wrong with --allow-missing",
        )
    return missing


def is_right(question: Question, answer: str) -> bool:
    """Whether an answer's text is right.

    Of a 4-option question the one letter that stands in the first line counts, of a yes/no question the first word; of
    an open one the label that :func:`read_label` finds. What a model thought aloud (``<think>``) and markup do not.

    Args:
        question: The question.
        answer: What was answered, perhaps with a reason behind it.
    """
    if question.form == "yes-no":
        return _yes_or_no(answer) == question.answer
    return read_label(question, answer) == question.label


def stated_label(question: Question, answer: str) -> str | None:
    """The label that an answer states: of a yes/no question the one that was asked about, if it is yes.

    A no states none: what is not worse may be stable, better, new or gone.

    Args:
        question: The question.
        answer: What was answered.
    """
    if question.form != "yes-no":
        return read_label(question, answer)
    if _yes_or_no(answer) != "yes":
        return None
    phrase = canonical_phrase(question.finding)
    return next((label for label, text in ASKED.items() if text.format(phrase) == question.question), None)


def _yes_or_no(answer: str) -> str | None:
    word = re.match(r"(yes|no)\b(?!\s*(?:or|and|/)\b)", _LEAD.sub("", _head(answer), count=1), re.IGNORECASE)
    return None if word is None else word[1].lower()


def read_label(question: Question, answer: str) -> str | None:
    """The label that an answer decides for: a state, or which of two patients; None where it says none or several.

    In a 4-option question a letter decides, whatever words stand behind it.

    Args:
        question: A 4-option or open question.
        answer: What was answered.
    """
    words = STATE_WORDS if question.kind == "change" else WHICH_WORDS
    head = _head(answer)
    said = [label for label, text in words.items() if re.search(rf"\b{text}\b", head, re.IGNORECASE)]
    if question.form == "choice":
        letters = _letters(_LEAD.sub("", head, count=1) if _LEAD.match(head) else head)
        if len(letters) == 1:
            place = ord(letters.pop()) - ord("A")
            chosen = question.options[place] if place < len(question.options) else None
            return next((label for label, text in words.items() if text == chosen), None)
        said = [label for label in said if words[label] in question.options] if not letters else []
    if len(said) == 1:
        return said[0]
    if said or question.form == "choice":
        return None
    return _stated_change(question, head) if question.kind == "change" else _which(head)


def _letters(head: str) -> set[str]:
    """The letters of options in a line: the one at its beginning, unless options are listed; else all."""
    first = _FIRST.match(head)
    if first is not None and not re.search(r"\b[A-E][.)]\s", head[first.end() :]):
        return {first[1]}
    return {m[1] for m in _LETTER.finditer(head) if not _ARTICLE.match(head, m.start(1))}


def _stated_change(question: Question, head: str) -> str | None:
    states = {m.change for m in read_report(head) if m.finding == question.finding} & set(STATES)
    return states.pop() if len(states) == 1 else None


def _which(head: str) -> str | None:
    lowered = head.lower()
    named = {n for n in ("1", "2") if re.search(rf"\bimages? {n}\b", lowered)}
    found = {"both"} if re.search(r"\bboth\b", lowered) or len(named) == 2 else set()
    found |= {"neither"} if re.search(r"\b(?:neither|none|no image)\b", lowered) else set()
    found |= {"first" if named == {"1"} else "second"} if len(named) == 1 else set()
    return found.pop() if len(found) == 1 else None


def _head(answer: str) -> str:
    """The first line of what was answered, without thinking aloud and markup."""
    text = _MARKUP.sub("", _THINKING.sub("", answer)).strip()
    return text.partition("\n")[0].strip(" \"'")


@dataclass(frozen=True)
class Statements:
    """What a text states, by the image that it says it of; 0 where it names none."""

    parts: dict[int, list[RuleMatch]]
    captioned: bool
    """Whether it says of each statement which image it is about (``Image 1: ...``)."""

    def pooled(self) -> list[tuple[int, RuleMatch]]:
        """The statements without their images."""
        return [(0, match) for matches in self.parts.values() for match in matches]

    def apart(self) -> list[tuple[int, RuleMatch]]:
        """The statements with their images."""
        return [(image, match) for image, matches in self.parts.items() for match in matches]


def statements_of(text: str, question: Question | None = None, label: str | None = None) -> Statements:
    """Read what a text states by lgdea's own rules.

    An option or a short answer names no finding, so it is read as the sentence that it stands for: ``B`` as the
    option's state of the question's finding, ``yes`` as the state that was asked about.

    Args:
        text: An answer, a reference or a report.
        question: What it answers, if it is an answer.
        label: The label that it states, as of :func:`stated_label`.
    """
    pieces = _IMAGE.split(_THINKING.sub("", text))
    parts: dict[int, list[RuleMatch]] = defaultdict(list)
    parts[0] = read_report(pieces[0]) if pieces[0].strip() else []
    for number, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        parts[int(number)] += read_report(piece)
    captioned = not parts[0]
    if question is not None and label is not None:
        for image, sentence in _sentences(question, label):
            parts[image] += read_report(sentence)
    return Statements(dict(parts), captioned)


def _sentences(question: Question, label: str) -> list[tuple[int, str]]:
    """The sentences that a label stands for, each with its image."""
    phrase = canonical_phrase(question.finding)
    if question.kind == "change":
        return [(2, change_sentence(label, phrase))]
    shown = {"first": (True, False), "second": (False, True), "both": (True, True), "neither": (False, False)}[label]
    return [(n, f"There is {'' if here else 'no '}{phrase}.") for n, here in enumerate(shown, start=1)]
