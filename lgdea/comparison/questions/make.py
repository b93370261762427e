"""A question set from an archive and its evidence, with its baselines, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lgdea.comparison.change.pairs import choose_priors
from lgdea.comparison.change.states import Source
from lgdea.comparison.questions.baselines import Baseline, baselines
from lgdea.comparison.questions.build import build_questions
from lgdea.comparison.questions.files import FILES, write_questions
from lgdea.comparison.questions.question import Form, Question, Unit
from lgdea.comparison.questions.timeline import timeline_questions
from lgdea.comparison.questions.units import change_units, difference_units
from lgdea.errors import DataError
from lgdea.outputs import claim_folder
from lgdea.records.archive import Archive
from lgdea.records.schema import check_split
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.entailment import NORMAL


def make_question_set(
    archive: Archive,
    evidence: pd.DataFrame,
    out: str | Path,
    *,
    split: str = "test",
    forms: Sequence[Form] = ("open", "yes-no", "choice"),
    findings: Sequence[str] | None = None,
    truth: Source = "evidence",
    most: int = 12,
    timelines: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> tuple[list[Question], list[Baseline], list[str]]:
    """Make a set of questions and write it.

    Its baselines learn from a set made in the same way of the training patients; of a set that holds those itself,
    by cross-validation.

    Args:
        archive: The archive.
        evidence: Rows of :class:`~lgdea.evidence.schema.Unit`.
        out: Folder of the set.
        split: Split whose patients are asked about; ``all`` takes all.
        forms: Forms of questions.
        findings: Vocabulary ids; all of the evidence by default.
        truth: Truth of the states of change.
        most: Pairs of patients of each finding and answer.
        timelines: If true, ``micxr.jsonl`` is written too, from a phantom.
        seed: Seed of the draws.
        overwrite: Whether a set that is there is replaced.

    Returns:
        Questions, baselines, and notes on what was left out.

    Raises:
        UsageError: The vocabulary has no such finding, there is no such split, or ``out`` holds something else or an
            earlier set.
        DataError: There are no pairs, or nothing can be balanced.
    """
    claim_folder(out, FILES, what="question set", overwrite=overwrite)
    check_split(split)
    for finding in findings or ():
        load_vocabulary().descendants(finding)  # refuses an unknown id
    questions, notes = _questions(archive, evidence, split, forms, findings, truth, most, seed)
    others = None
    if split not in ("train", "all"):
        try:
            others, _ = _questions(archive, evidence, "train", forms, findings, truth, most, seed)
        except DataError:
            notes.append("the training patients give no set for the baselines, which are cross-validated instead")
    found = baselines(questions, others, seed=seed)
    notes += [f"{b.name} answers {b.questions} above chance: {b.accuracy:.3f}" for b in found if not b.at_chance]
    facts = {"split": split, "seed": seed, "truth": truth, "archive": archive.name, "notes": notes}
    rows = None
    if timelines:
        rows = timeline_questions(archive, choose_priors(archive, split, prefer="latest"), seed=seed)
        facts["timeline_questions"] = len(rows)  # type: ignore[assignment]
    write_questions(out, questions, found, image_root=archive.image_root, facts=facts, timelines=rows)
    return questions, found, notes


def _questions(
    archive: Archive,
    evidence: pd.DataFrame,
    split: str,
    forms: Sequence[Form],
    findings: Sequence[str] | None,
    truth: Source,
    most: int,
    seed: int,
) -> tuple[list[Question], list[str]]:
    pairs = choose_priors(archive, split, prefer="latest")
    units: list[Unit] = change_units(archive, pairs, evidence, truth) if len(pairs.table) else []
    if findings is not None:
        units = [unit for unit in units if unit.finding in findings]
    named = sorted(set(evidence["finding"]) - {NORMAL} if findings is None else findings)
    units += difference_units(archive, split, evidence, named, most=most, seed=seed)
    if not units:
        first = next((f", e.g. {item['id']}: {item['reason']}" for item in pairs.skipped), "")
        raise DataError(
            f"the {split} split has nothing to ask about{first}", file=archive.folder,
            remedy="take another split; a change needs two dated studies of one patient, "
            "a difference two patients whose reports speak of one finding",
        )  # fmt: skip
    return build_questions(units, forms, seed=seed)
