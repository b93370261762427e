"""Sentences about findings: a text and the claims it makes, in the words of ``wording.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from lgdea.phantom.marks import Lesion

_LEVELS = (("minimal", 0.2), ("mild", 0.5), ("moderate", 0.8), ("severe", 1.01))


@dataclass(frozen=True)
class Claim:
    """Assertion of one sentence about one finding; ``words`` stands in the sentence."""

    finding: str
    words: str
    assertion: str
    anatomy: str | None = None
    laterality: str = "unspecified"
    severity: str = "unspecified"
    change: str = "unspecified"


@dataclass(frozen=True)
class Sentence:
    """A text and its claims; none for a distractor."""

    text: str
    claims: tuple[Claim, ...] = ()


@cache
def wording() -> dict[str, Any]:
    """The table of words."""
    return dict(yaml.safe_load((resources.files("lgdea.phantom") / "wording.yaml").read_text(encoding="utf-8")))


def severity_word(severity: float) -> str:
    """The vocabulary's word for a severity in 0..1."""
    return next(word for word, limit in _LEVELS if severity < limit)


def place_words(laterality: str, zone: str, lobes: bool) -> tuple[str, str]:
    """Words by which a report names a place in the lungs, and that place's anatomy id."""
    if laterality == "bilateral" or not lobes or (laterality == "left" and zone == "middle"):
        return f"{laterality} {'mid' if zone == 'middle' else zone} lung zone", f"{zone}_zone"
    return f"{laterality} {zone} lobe", f"{laterality}_{zone}_lobe"


def describe(lesion: Lesion, rng: np.random.Generator, lobes: bool, severity: bool = True) -> Claim:
    """Put a lesion into words: a present claim whose attributes are those the words say."""
    words = wording()
    template = _pick(words["findings"][lesion.finding], rng)
    level = "unspecified"
    graded = severity and lesion.finding not in words["no_severity"] and rng.random() < 0.65
    if graded and "{sev}" in template:
        level = severity_word(lesion.severity)
    place, anatomy = place_words(lesion.laterality, lesion.zone or "middle", lobes)
    side = "" if lesion.laterality == "midline" else lesion.laterality + " "
    text = template.format(sev="" if level == "unspecified" else level + " ", side=side, place=place)
    if lesion.laterality == "bilateral" and text.endswith("effusion"):
        text += "s"
    said, implied = _structure(text)
    if "{place}" in template:
        said = anatomy
    if "{side}" in template or "{place}" in template:
        implied = "unspecified" if lesion.laterality == "midline" else lesion.laterality
    elif "bilateral" in text:
        implied = "bilateral"
    return Claim(lesion.finding, text, "present", said, implied, level)


def _structure(text: str) -> tuple[str | None, str]:
    """Anatomy and side that ``text`` says besides the finding's own name."""
    for entry in wording()["structures"]:
        if entry["words"] in text:
            return entry["anatomy"], entry.get("laterality", "unspecified")
    return None, "unspecified"


def claim_sentence(claim: Claim, rng: np.random.Generator) -> Sentence:
    """A sentence that makes ``claim`` with its assertion and change."""
    words = wording()
    device = claim.finding in words["devices"]
    if claim.assertion == "uncertain":
        kind = "uncertain"
    elif claim.change == "unspecified" or (device and claim.change in ("new", "worse", "better")):
        kind, claim = ("device" if device else "present"), replace(claim, change="unspecified")
    else:
        kind = f"device_{claim.change}" if device else claim.change
    return _fill(claim, _pick(words["claims"][kind], rng))


def compound_sentence(claim: Claim, denied: str, rng: np.random.Generator) -> Sentence:
    """One sentence that states ``claim`` and denies the finding ``denied``."""
    word = _pick(wording()["absent"]["words"][denied], rng)
    stated = _fill(claim, _pick(wording()["claims"]["compound"], rng).replace("{x}", word))
    return Sentence(stated.text, (*stated.claims, Claim(denied, word, "absent")))


def misspell(sentence: Sentence, rng: np.random.Generator) -> Sentence:
    """Swap two inner letters of one word of a claim, as fast typists do."""
    claim = sentence.claims[int(rng.integers(len(sentence.claims)))]
    long = [word for word in claim.words.split() if len(word) > 6 and word.isalpha()]
    if not long or sentence.text.count(claim.words) != 1 or sum(claim.words in c.words for c in sentence.claims) > 1:
        return sentence
    word = _pick(long, rng)
    at = int(rng.integers(2, len(word) - 3))
    wrong = claim.words.replace(word, word[:at] + word[at + 1] + word[at] + word[at + 2 :], 1)
    claims = tuple(replace(c, words=wrong) if c is claim else c for c in sentence.claims)
    return Sentence(sentence.text.replace(claim.words, wrong), claims)


def _fill(claim: Claim, template: str) -> Sentence:
    """Put the claim's phrase into a template, with its article and number."""
    phrase = claim.words
    plural = phrase.endswith(
        ("effusions", "opacities", "wires", "clips", "clips over the left chest", "clips over the right chest")
    )
    article = phrase
    if claim.finding in wording()["countable"] and not plural:
        article = ("an " if phrase[0] in "aeioEN" else "a ") + phrase
    capital = phrase[0].upper() + phrase[1:]
    text = template.format(p=phrase, P=capital, a=article)
    if plural:
        for one, many in (
            ("There is ", "There are "),
            ("there is ", "there are "),
            (" is ", " are "),
            (" has ", " have "),
        ):
            text = text.replace(one, many)
    spelled = phrase if phrase in text else capital
    return Sentence(text, (replace(claim, words=spelled),))


def absence_sentence(findings: list[str], rng: np.random.Generator) -> Sentence:
    """One sentence that denies one to three findings."""
    table = wording()["absent"]
    chosen = [_pick(table["words"][f], rng) for f in findings]
    template = _pick(table[("one", "two", "three")[len(findings) - 1]], rng)
    text = template.format(**dict(zip("xyz", chosen, strict=False)))
    return Sentence(text, tuple(Claim(f, w, "absent") for f, w in zip(findings, chosen, strict=True)))


def healthy_sentence(text: str) -> Sentence:
    """A statement of health of the table, with its denial."""
    entry = next(e for e in wording()["healthy"] if e["text"] == text)
    anatomy, laterality = _structure(text)
    return Sentence(text, (Claim(entry["denies"], entry["words"], "absent", anatomy, laterality),))


def normal_sentence(rng: np.random.Generator) -> Sentence:
    """The statement that nothing is wrong."""
    text = _pick(wording()["normal"], rng)
    return Sentence(text, (Claim("no_finding", text.rstrip("."), "present"),))


def _pick(options: list[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
