"""Scores of generated text in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lgdea.errors import UsageError
from lgdea.outputs import OVERWRITE, require_folder
from lgdea.records.archive import Archive
from lgdea.records.schema import check_split

if TYPE_CHECKING:
    import pandas as pd

    from lgdea.evaluation.results.result import Result


def score_answers(
    references: str | Path | Archive,
    answers: str | Path | Mapping[str, str],
    *,
    archive: str | Path | Archive | None = None,
    evidence: str | Path | pd.DataFrame | None = None,
    split: str = "test",
    allow_missing: bool = False,
    bootstrap_replicates: int = 1000,
    seed: int = 0,
    model: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Result:
    """Score the text of answers: right options, agreement of what is stated, BLEU, ROUGE, METEOR and plug-ins.

    Args:
        references: Folder of a question set, a file of JSON lines with an id and a reference text, or an archive (or
            its folder), whose reports are the references by study.
        answers: JSON lines with an id and a text, or id to text.
        archive: The archive of a question set's images, with ``evidence``.
        evidence: Evidence that is taken for true, a folder or a table of units; by default what lgdea's rules read in
            the reference texts.
        split: Part of an archive that was asked for: ``train``, ``val``, ``test`` or ``all``.
        allow_missing: If true, what has no answer counts as wrong; else it is refused.
        bootstrap_replicates: Bootstrap replicates of the intervals; 0 for none.
        seed: Seed of the bootstrap.
        model: Name of what has answered; the file's name by default.
        out: Results folder to write; ``lgdea eval compare`` and ``lgdea report`` read it.
        overwrite: Whether scores of answers that are there are replaced.

    Returns:
        The result, by kind of question, state and finding too.

    Raises:
        UsageError: A file or folder is missing, evidence has no archive, or ``out`` cannot be written or holds scores
            of answers.
        DataError: A line is no answer, answers are double, missing, or to nothing that was asked.

    Example:
        >>> study = archive.reports["study_id"].iloc[0]
        >>> reports = archive.reports.groupby("study_id")["text"].agg(" ".join)
        >>> result = lgdea.score_answers(archive, reports.to_dict(), split="all", bootstrap_replicates=0)
        >>> result.metrics["evidence_f1/together"].value
        1.0
    """
    from lgdea.comparison.questions.scoring import read_answers
    from lgdea.evaluation.results.result import write_result
    from lgdea.evaluation.tasks.answers import score_answers as score
    from lgdea.evaluation.tasks.answers_references import read_references
    from lgdea.evaluation.tasks.graded import units_of

    check_split(split)
    if out is not None:
        require_folder(out)
        if (Path(out) / "answers.json").exists() and not overwrite:
            raise UsageError("holds scores of answers already", file=out, remedy=OVERWRITE)
    source: str | Path | Archive = references
    if isinstance(references, str | Path) and (Path(references) / "archive.json").is_file():
        source = Archive.open(references)
    opened = Archive.open(archive) if isinstance(archive, str | Path) else archive
    of = source if isinstance(source, Archive) else opened
    units = units_of(of, evidence) if of is not None else evidence
    asked = read_references(source, archive=opened, evidence=units, split=split)  # type: ignore[arg-type]
    if isinstance(answers, str | Path):
        model, answers = model or Path(answers).stem, read_answers(answers)
    result = score(
        asked, answers, model=model or "answers", allow_missing=allow_missing,
        bootstrap_replicates=bootstrap_replicates, seed=seed,
    )  # fmt: skip
    if out is not None:
        write_result(result, out)
    return result
