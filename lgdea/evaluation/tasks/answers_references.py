"""What answers are scored against: questions and their right answers, texts in a file, or an archive's reports."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lgdea.comparison.change.states import STATES
from lgdea.comparison.questions.baselines import patient_of
from lgdea.comparison.questions.files import QUESTIONS, REPORT, completion, read_questions
from lgdea.comparison.questions.question import WHICH, Question
from lgdea.comparison.questions.scoring import IDS
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.metrics.statements import Placed
from lgdea.evaluation.tasks import common
from lgdea.reading import read_json, read_json_lines
from lgdea.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

REFERENCES = ("reference", "report", "text")


@dataclass(frozen=True)
class Reference:
    """One thing that was asked, and what is right.

    Attributes:
        qid: Its id, by which answers name it.
        patient: Whose it is; intervals are over patients.
        text: The reference text.
        question: The question, if it is one.
        finding: Vocabulary id of what was asked about; empty where that is not known.
        state: Its state, or another label; likewise.
        true: Statements that are taken for true in the place of those of the reference text.
    """

    qid: str
    patient: str
    text: str
    question: Question | None = None
    finding: str = ""
    state: str = ""
    true: tuple[Placed, ...] | None = None


@dataclass(frozen=True)
class ReferenceSet:
    """References, the archive that they are of, its split, and notes on what was left out."""

    references: list[Reference]
    archive: str
    split: str
    notes: list[str]


def read_references(
    source: str | Path | Archive,
    *,
    archive: Archive | None = None,
    evidence: pd.DataFrame | None = None,
    split: str = "test",
) -> ReferenceSet:
    """Read what answers are scored against.

    Args:
        source: Folder of a question set, JSON lines with an id and a reference text (and ``patient_id``, ``finding``,
            ``state``), or an archive, whose reports are the references.
        archive: Archive of a question set's images, with ``evidence``.
        evidence: Units that are taken for true; None takes what lgdea's rules read in the reference texts.
        split: Part of an archive that was asked for.

    Raises:
        UsageError: The source is none of these, or evidence has no archive.
        DataError: A line is no reference, an id stands twice, or the split has no reports.
    """
    if not isinstance(source, str | Path):
        return _of_archive(source, split, evidence)
    path = Path(source)
    if (path / QUESTIONS).is_file():
        return _of_questions(path, archive, evidence)
    if evidence is not None:
        raise UsageError("evidence is of an archive's reports", file=path, remedy="score against the archive, or a set")
    if not path.is_file():
        remedy = "give the folder of a question set, JSON lines of references, or an archive"
        raise UsageError("holds no references", file=path, remedy=remedy)
    return ReferenceSet(_of_file(path), path.stem, "all", [])


def _of_questions(folder: Path, archive: Archive | None, evidence: pd.DataFrame | None) -> ReferenceSet:
    if (archive is None) != (evidence is None):
        raise UsageError("evidence needs the archive of its reports", file=folder, remedy="give both, or neither")
    facts = read_json(folder / REPORT)
    true = None if archive is None or evidence is None else _ImageUnits(archive, evidence)
    references = [
        Reference(
            q.qid, patient_of(q), completion(q), q, q.finding, q.label, None if true is None else true.about(q)
        )
        for q in read_questions(folder)
    ]  # fmt: skip
    return ReferenceSet(references, str(facts.get("archive", folder.name)), str(facts.get("split", "test")), [])


def _of_archive(archive: Archive, split: str, evidence: pd.DataFrame | None) -> ReferenceSet:
    studies = common.studies_of(archive, split)[["study_id", "patient_id"]]
    reports = archive.reports.merge(studies, on="study_id")
    if reports.empty:
        raise DataError(f"the {split} split has no reports", file=archive.folder, remedy="choose another split")
    by_report = None if evidence is None else dict(tuple(evidence.groupby("report_id")))
    references = []
    for (study, patient), rows in reports.groupby(["study_id", "patient_id"], sort=False):
        true = None
        if by_report is not None:
            true = tuple((0, u) for r in rows["report_id"] if r in by_report for u in _rows(by_report[r]))
        text = "\n".join(rows["text"].fillna("").astype(str))
        references.append(Reference(str(study), str(patient), text, true=true))
    return ReferenceSet(references, archive.name, split, [])


def _of_file(file: Path) -> list[Reference]:
    found: dict[str, Reference] = {}
    remedy = f"write an id ({', '.join(IDS)}) and a text ({', '.join(REFERENCES)})"
    for row, content in read_json_lines(file, what="file of references", remedy=remedy):
        try:
            name = str(next(content[key] for key in IDS if key in content))
            text = next(content[key] for key in REFERENCES if key in content)
        except StopIteration:
            raise DataError("is no reference", file=file, row=row, remedy=remedy) from None
        if not isinstance(text, str):
            raise DataError("the reference is no text", file=file, row=row, remedy="write it as a string")
        if name in found:
            raise DataError(f"the id {name} stands twice", file=file, row=row, remedy="keep one reference of each")
        finding, state = (str(content.get(key) or "") for key in ("finding", "state"))
        _check_known(finding, state, file, row)
        found[name] = Reference(name, str(content.get("patient_id", name)), text, finding=finding, state=state)
    if not found:
        raise DataError("holds no references", file=file, remedy="write a JSON object a line")
    return list(found.values())


def _check_known(finding: str, state: str, file: Path, row: int) -> None:
    """Refuse a finding or state of a reference that there is not; neither has to be said."""
    if finding:
        try:
            load_vocabulary().descendants(finding)
        except UsageError as error:
            raise DataError(error.problem, file=file, row=row, remedy=error.remedy) from None
    known = (*STATES, *WHICH)
    if state and state not in known:
        raise DataError(f"no state {state!r}", file=file, row=row, remedy=f"choose one of {', '.join(known)}")


class _ImageUnits:
    """Units of the reports of an image's study."""

    def __init__(self, archive: Archive, evidence: pd.DataFrame) -> None:
        units = evidence.merge(archive.reports[["report_id", "study_id"]], on="report_id")
        self._study = dict(zip(archive.images["image_id"], archive.images["study_id"], strict=True))
        self._units: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for unit in _rows(units):
            self._units[unit.study_id, unit.finding].append(unit)

    def about(self, question: Question) -> tuple[Placed, ...]:
        """What is stated of the question's finding in each of its images."""
        return tuple(
            (number, unit)
            for number, image in enumerate(question.image_ids, start=1)
            for unit in self._units[self._study.get(image, ""), question.finding]
        )


def _rows(table: pd.DataFrame) -> Any:
    return table.itertuples(index=False)
