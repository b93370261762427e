"""Sentences about findings: a text and the claims it makes, in the words of ``wording.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from lgdea.phantom.config import catalogue
from lgdea.phantom.marks import Lesion

_LEVELS = (("minimal", 0.2), ("mild", 0.5), ("moderate", 0.8), ("severe", 1.01))


@dataclass(frozen=True)
class Claim:
    """What one sentence asserts of one finding; ``words`` stands in the sentence."""

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
    """How a report names a place in the lungs, and that place's anatomy id."""
    if laterality == "bilateral" or not lobes or (laterality == "left" and zone == "middle"):
        return f"{laterality} {'mid' if zone == 'middle' else zone} lung zone", f"{zone}_zone"
    return f"{laterality} {zone} lobe", f"{laterality}_{zone}_lobe"


def describe(lesion: Lesion, rng: np.random.Generator, lobes: bool, severity: bool = True) -> Claim:
    """Put a lesion into words: a present claim whose attributes are those the words say."""
    words, entry = wording(), catalogue()[lesion.finding]
    template = _pick(words["findings"][lesion.finding], rng)
    level = "unspecified"
    if severity and lesion.finding not in words["no_severity"] and rng.random() < 0.65:
        level = severity_word(lesion.severity)
    place, anatomy = place_words(lesion.laterality, lesion.zone or "middle", lobes)
    side = "" if lesion.laterality == "midline" else lesion.laterality + " "
    text = template.format(sev="" if level == "unspecified" else level + " ", side=side, place=place)
    said = "{side}" in template or "{place}" in template
    laterality = lesion.laterality if said else "bilateral" if "bilateral" in text else "unspecified"
    if lesion.laterality == "bilateral" and text.endswith("effusion"):
        text += "s"
    return Claim(
        lesion.finding, text, "present", anatomy if "{place}" in template else entry.anatomy, laterality, level
    )


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
    phrase = claim.words
    plural = phrase.endswith(
        ("effusions", "opacities", "wires", "clips", "clips over the left chest", "clips over the right chest")
    )
    article = phrase
    if claim.finding in words["countable"] and not plural:
        article = ("an " if phrase[0] in "aeioEN" else "a ") + phrase
    capital = phrase[0].upper() + phrase[1:]
    text = _pick(words["claims"][kind], rng).format(p=phrase, P=capital, a=article)
    if plural:
        for one, many in (("There is ", "There are "), (" is ", " are "), (" has ", " have ")):
            text = text.replace(one, many)
    spelled = phrase if phrase in text else capital
    return Sentence(text, (replace(claim, words=spelled),))


def absence_sentence(findings: list[str], rng: np.random.Generator) -> Sentence:
    """One sentence that denies one to three findings."""
    table = wording()["absent"]
    chosen = [_pick(table["words"][f], rng) for f in findings]
    template = _pick(table[("one", "two", "three")[len(findings) - 1]], rng)
    text = template.format(**dict(zip("xyz", chosen, strict=False)))
    return Sentence(
        text, tuple(Claim(f, w, "absent", catalogue()[f].anatomy) for f, w in zip(findings, chosen, strict=True))
    )


def healthy_sentence(text: str) -> Sentence:
    """A statement of health of the table, with its denial."""
    entry = next(e for e in wording()["healthy"] if e["text"] == text)
    anatomy = "heart" if entry["denies"] == "cardiomegaly" else "lung"
    return Sentence(text, (Claim(entry["denies"], entry["words"], "absent", anatomy),))


def normal_sentence(rng: np.random.Generator) -> Sentence:
    """The statement that nothing is wrong."""
    text = _pick(wording()["normal"], rng)
    return Sentence(text, (Claim("no_finding", text.rstrip("."), "present"),))


def _pick(options: list[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
