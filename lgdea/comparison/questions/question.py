"""A question about images, its wording, and the unit that it is made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from lgdea.comparison.change.states import MIRROR
from lgdea.vocabulary.phrases import canonical_phrase

Kind = Literal["change", "difference"]
Form = Literal["open", "yes-no", "choice"]
LETTERS = "ABCDE"
STATE_WORDS = {
    "new": "it is new", "worse": "it is worse", "stable": "it is stable", "better": "it is better",
    "resolved": "it has resolved",
}  # fmt: skip
WHICH = ("first", "second", "both", "neither")
"""Answers about two patients: which of the images show a finding."""
WHICH_WORDS = {
    "first": "only image 1", "second": "only image 2", "both": "both images", "neither": "neither image",
}  # fmt: skip
WHICH_MIRROR = {"first": "second", "second": "first", "both": "both", "neither": "neither"}
ASKED = {
    "new": "Is the {} new in image 2?", "worse": "Is the {} worse in image 2?",
    "stable": "Is the {} unchanged in image 2?",
    "first": "Does image 1 show {} and image 2 not?", "both": "Do both images show {}?",
}  # fmt: skip
"""Questions to be answered with yes or no, by the label that makes the answer yes."""


@dataclass(frozen=True)
class Unit:
    """A pair of images with what is true of one finding in it.

    ``label`` is a state of change (one patient) or one of :data:`WHICH` (two patients).
    """

    kind: Kind
    finding: str
    label: str
    images: tuple[str, str]
    image_ids: tuple[str, str]
    patients: tuple[str, ...]
    said: tuple[str | None, str | None]
    """What the reports of the two images say of the finding."""
    days: float | None = None

    @property
    def reason(self) -> str:
        """Both quotes, image by image."""
        parts = [f'Image {n}: "{quote.rstrip(".")}".' for n, quote in enumerate(self.said, start=1) if quote]
        return " ".join(parts) or f"The reports say nothing more of {canonical_phrase(self.finding)}."

    def exchanged(self) -> Unit:
        """The same images in the other order, and what is true of them so."""
        first, second = self.images
        label = (MIRROR if self.kind == "change" else WHICH_MIRROR)[self.label]
        ids, said = self.image_ids[::-1], self.said[::-1]
        return replace(self, label=label, images=(second, first), image_ids=ids, said=said)


@dataclass(frozen=True)
class Question:
    """One question of a set; ``twin`` is the question about the same images in the other order."""

    qid: str
    kind: str
    form: str
    finding: str
    label: str
    images: list[str]
    image_ids: list[str]
    patients: list[str]
    days: float | None
    question: str
    options: list[str]
    answer: str
    reason: str
    twin: str | None = None

    @property
    def prompt(self) -> str:
        """The text of the question, options and the wanted form of the answer included."""
        lines = [self.question]
        lines += [f"{LETTERS[i]}. {option}" for i, option in enumerate(self.options)]
        lines.append(_INSTRUCTIONS[self.form])
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain data of a line of ``questions.jsonl``."""
        return asdict(self)


_INSTRUCTIONS = {
    "open": "Answer in a few words, then give the reason.",
    "yes-no": "Answer yes or no, then give the reason.",
    "choice": "Answer with the letter of one option, then give the reason.",
}


def ask_open(unit: Unit) -> tuple[str, list[str], str]:
    """Question, options (none) and answer."""
    phrase = canonical_phrase(unit.finding)
    if unit.kind == "change":
        return f"What has become of the {phrase} from image 1 to image 2?", [], STATE_WORDS[unit.label]
    return f"Which of the images show {phrase}?", [], WHICH_WORDS[unit.label]


def ask_yes_no(unit: Unit, asked: str) -> tuple[str, list[str], str]:
    """Question whether ``asked`` is true, options (none) and answer."""
    return ASKED[asked].format(canonical_phrase(unit.finding)), [], "yes" if unit.label == asked else "no"


def ask_choice(unit: Unit, options: list[str]) -> tuple[str, list[str], str]:
    """Question with options (labels) and the letter of the right one."""
    words = STATE_WORDS if unit.kind == "change" else WHICH_WORDS
    return ask_open(unit)[0], [words[option] for option in options], LETTERS[options.index(unit.label)]
