"""Reports: what a hurried reader writes about a picture, with the exact evidence of every sentence.

The evidence states what the REPORT says; an error drawn on purpose makes it differ from the picture and is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lgdea.evidence.schema import Unit, unit_id
from lgdea.phantom.config import PhantomConfig, catalogue
from lgdea.phantom.marks import Lesion
from lgdea.phantom.patients import Appointment
from lgdea.phantom.wording import (
    Claim,
    Sentence,
    absence_sentence,
    claim_sentence,
    compound_sentence,
    describe,
    healthy_sentence,
    misspell,
    normal_sentence,
    wording,
)

RUN_ID = "phantom-truth"


@dataclass(frozen=True)
class ReportError:
    """One drawn error: what the picture has and what the report says."""

    kind: str
    finding: str
    image_laterality: str | None
    report_laterality: str | None


@dataclass(frozen=True)
class WrittenReport:
    """A report, its units and its drawn error."""

    text: str
    units: list[Unit]
    error: ReportError | None


def write_report(report_id: str, appointment: Appointment, config: PhantomConfig) -> WrittenReport:
    """Write the report of one study."""
    rng = np.random.default_rng([appointment.visit.seed, 7])
    lesions, error = _misread(list(appointment.visit.lesions), appointment, config, rng)
    lobes = appointment.visit.site == "harbour"
    if lesions or appointment.resolved:
        findings, impression = _abnormal(lesions, appointment, config, rng, lobes)
    else:
        findings, impression = _normal(rng)
    draft = _Draft(report_id, compact=lobes)
    routine = impression == [_first_normal()] and rng.random() < 0.7
    draft.section("INDICATION", [Sentence(_indication(appointment, rng, routine))])
    draft.section("COMPARISON", [Sentence(_comparison(appointment, rng, routine))])
    draft.section("FINDINGS", findings)
    draft.section("IMPRESSION", impression)
    return WrittenReport(draft.text, draft.units, error)


def _misread(
    lesions: list[Lesion], appointment: Appointment, config: PhantomConfig, rng: np.random.Generator
) -> tuple[list[Lesion], ReportError | None]:
    """Draw at most one error into what the reader saw."""
    if rng.random() >= config.report_errors:
        return lesions, None
    sided = [
        i
        for i, x in enumerate(lesions)
        if x.laterality in ("left", "right") and (catalogue()[x.finding].sides or (1, 0))[1]
    ]
    kinds = ["invented"] + ["missed"] * bool(lesions) + ["wrong_side"] * bool(sided)
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "missed":
        lost = lesions.pop(int(rng.integers(len(lesions))))
        return lesions, ReportError(kind, lost.finding, lost.laterality, None)
    if kind == "wrong_side":
        index = sided[int(rng.integers(len(sided)))]
        lesion = lesions[index]
        other = "left" if lesion.laterality == "right" else "right"
        lesions[index] = replace(lesion, laterality=other)
        return lesions, ReportError(kind, lesion.finding, lesion.laterality, other)
    taken = {x.finding for x in (*lesions, *appointment.resolved)}
    free = [f for f in ("consolidation", "atelectasis", "pleural_effusion", "nodule") if f not in taken]
    if not free:
        return lesions, None
    finding, side = free[int(rng.integers(len(free)))], ("right", "left")[int(rng.integers(2))]
    zone = "lower" if catalogue()[finding].zones else None
    lesions.append(Lesion(finding, side, zone, 0.3, 0))
    return lesions, ReportError("invented", finding, None, side)


def _normal(rng: np.random.Generator) -> tuple[list[Sentence], list[Sentence]]:
    """A normal report; half of them repeat a template word for word."""
    if rng.random() < 0.5:
        section = wording()["normal_sections"][int(rng.integers(len(wording()["normal_sections"])))]
        return [_fill_template(text) for text in section], [_first_normal()]
    sentences = [
        healthy_sentence("Heart size is normal."),
        healthy_sentence("The lungs are clear."),
        *_denials(set(), rng),
    ]
    rng.shuffle(sentences)
    if rng.random() < 0.4:
        sentences.insert(0, _distractor(rng))
    return sentences, [normal_sentence(rng)]


def _abnormal(
    lesions: list[Lesion], appointment: Appointment, config: PhantomConfig, rng: np.random.Generator, lobes: bool
) -> tuple[list[Sentence], list[Sentence]]:
    claims = [describe(x, rng, lobes) for x in lesions]
    doubtful = [rng.random() < config.uncertain and x.finding not in wording()["devices"] for x in lesions]
    doubtful = [d and x.change not in ("new", "worse", "better") for d, x in zip(doubtful, lesions, strict=True)]
    claims = [
        replace(c, assertion="uncertain") if d else replace(c, change=x.change)
        for c, x, d in zip(claims, lesions, doubtful, strict=True)
    ]
    for gone in appointment.resolved:
        if gone.finding not in {x.finding for x in lesions}:
            claims.append(replace(describe(gone, rng, lobes, severity=False), assertion="absent", change="resolved"))
    seen = {x.finding for x in (*appointment.visit.lesions, *lesions, *appointment.resolved)}
    findings = [_statement(c, seen, rng) for c in claims]
    findings += _denials(seen | {c.finding for s in findings for c in s.claims}, rng)
    for entry in wording()["healthy"]:
        forbidden = set(wording()["lung_findings"]) if "LUNG" in entry["unless"] else set(entry["unless"])
        if (
            not seen & forbidden
            and rng.random() < 0.35
            and not any(s.claims and s.claims[0].finding == entry["denies"] for s in findings)
        ):
            findings.append(healthy_sentence(entry["text"]))
    rng.shuffle(findings)
    if rng.random() < 0.4:
        findings.insert(int(rng.integers(len(findings) + 1)), _distractor(rng))
    findings = [misspell(s, rng) if s.claims and rng.random() < config.typos else s for s in findings]
    return findings, _impression(lesions, claims, rng, lobes)


def _statement(claim: Claim, seen: set[str], rng: np.random.Generator) -> Sentence:
    """A claim's sentence; now and then it denies a finding in the same breath."""
    free = [f for f in ("pneumothorax", "pleural_effusion", "edema") if f not in seen]
    if claim.assertion == "present" and claim.change == "unspecified" and free and rng.random() < 0.15:
        return compound_sentence(claim, free[int(rng.integers(len(free)))], rng)
    return claim_sentence(claim, rng)


def _impression(lesions: list[Lesion], claims: list[Claim], rng: np.random.Generator, lobes: bool) -> list[Sentence]:
    """The most severe findings again in other words, sometimes with what they may mean."""
    result = []
    order = sorted(range(len(lesions)), key=lambda i: -lesions[i].severity)[: 1 + int(rng.integers(2))]
    for i in order:
        again = describe(lesions[i], rng, lobes, severity=False)
        result.append(claim_sentence(replace(again, assertion=claims[i].assertion), rng))
        if lesions[i].finding == "consolidation" and rng.random() < 0.4:
            result.append(Sentence("This may represent pneumonia.", (Claim("pneumonia", "pneumonia", "uncertain"),)))
    if not result:
        result = [claim_sentence(claims[0], rng), normal_sentence(rng)]
    return result


def _denials(seen: set[str], rng: np.random.Generator) -> list[Sentence]:
    """One or two sentences that deny common findings which are not there."""
    pool = [f for f in wording()["absent"]["words"] if f not in seen]
    usual = [f for f in ("consolidation", "pleural_effusion", "pneumothorax", "edema") if f in pool]
    count = min(len(usual), int(rng.integers(1, 4)))
    first = [str(f) for f in rng.permutation(usual)[:count]]
    rest = [f for f in pool if f not in first and f not in usual]
    sentences = [absence_sentence(first, rng)] if first else []
    if rest and rng.random() < 0.25:
        sentences.append(absence_sentence([rest[int(rng.integers(len(rest)))]], rng))
    return sentences


def _fill_template(text: str) -> Sentence:
    """A sentence of a fixed template with its claims."""
    if any(text == e["text"] for e in wording()["healthy"]):
        return healthy_sentence(text)
    table = wording()["absent"]["words"]
    claims = []
    for finding in ("consolidation", "pleural_effusion", "pneumothorax"):
        word = max((w for w in table[finding] if w in text), key=len, default=None)
        if word:
            claims.append(Claim(finding, word, "absent"))
    return Sentence(text, tuple(claims))


def _first_normal() -> Sentence:
    text = wording()["normal"][0]
    return Sentence(text, (Claim("no_finding", text.rstrip("."), "present"),))


def _distractor(rng: np.random.Generator) -> Sentence:
    options = wording()["distractors"]
    return Sentence(options[int(rng.integers(len(options)))])


def _indication(appointment: Appointment, rng: np.random.Generator, routine: bool) -> str:
    """Reason for the picture; routine reports share one, so that they repeat word for word."""
    options = wording()["indications"]
    text = options[0 if routine or rng.random() < 0.2 else int(rng.integers(len(options)))]
    anatomy = appointment.visit.anatomy
    return str(text.format(age=int(anatomy.age), person="woman" if anatomy.sex == "F" else "man"))


def _comparison(appointment: Appointment, rng: np.random.Generator, routine: bool) -> str:
    options = wording()["comparison_prior" if appointment.number else "comparison_none"]
    return str(options[int(routine or rng.random() < 0.3)].format(days=appointment.days_since_last))


class _Draft:
    """A report being written; it knows where every sentence stands."""

    def __init__(self, report_id: str, compact: bool) -> None:
        self.report_id, self.compact = report_id, compact
        self.text = ""
        self.units: list[Unit] = []

    def section(self, title: str, sentences: list[Sentence]) -> None:
        """Append a section in the site's style."""
        if self.text:
            self.text += "\n" if self.compact else "\n\n"
        self.text += f"{title}: " if self.compact else f"{title.capitalize()}:\n"
        numbered = title == "IMPRESSION" and not self.compact and len(sentences) > 1
        for k, sentence in enumerate(sentences):
            if k:
                self.text += "\n" if numbered else " "
            if numbered:
                self.text += f"{k + 1}. "
            self._append(title.lower(), sentence)

    def _append(self, section: str, sentence: Sentence) -> None:
        start = len(self.text)
        quote = sentence.text.rstrip(".")
        self.text += sentence.text
        end = start + len(quote)
        for claim in sentence.claims:
            unit = {
                "unit_id": unit_id(self.report_id, start, end, claim.finding, claim.anatomy, claim.laterality),
                "report_id": self.report_id,
                "section": section,
                "quote": quote,
                "start": start,
                "end": end,
                "alignment": "exact",
                "finding": claim.finding,
                "finding_text": claim.words,
                "assertion": claim.assertion,
                "anatomy": claim.anatomy,
                "laterality": claim.laterality,
                "severity": claim.severity,
                "change": claim.change,
                "refers_to_prior": claim.change not in ("unspecified", "new"),
                "run_id": RUN_ID,
            }
            self.units.append(Unit.model_validate(unit))
