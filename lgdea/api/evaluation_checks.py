"""What :func:`lgdea.evaluate` checks before it loads a model, which takes long."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgdea.comparison.questions.files import QUESTIONS
from lgdea.comparison.references.answers import is_answers
from lgdea.comparison.references.triples import TABLE as TRIPLES
from lgdea.errors import UsageError
from lgdea.evaluation.encoders.protocol import model_name
from lgdea.evaluation.results.identity import model_identity
from lgdea.evaluation.results.replace import refuse_other_result
from lgdea.evaluation.suites.prepare import TaskInput
from lgdea.evaluation.tasks.checks import check_task
from lgdea.models.folders import model_folder, require_model
from lgdea.models.hub import names_repository
from lgdea.vocabulary import Vocabulary, using_vocabulary
from lgdea.vocabulary.extension import vocabulary_of

if TYPE_CHECKING:
    import pandas as pd


def source_of(model: Any) -> str | Path:
    """Return the name or folder of a model; empty for an object. A run's folder stands for the model in it."""
    if not isinstance(model, str | Path):
        return ""
    return model_folder(model) if Path(model).is_dir() else model


def check_before_loading(
    model: Any,
    inputs: Mapping[str, TaskInput],
    units: pd.DataFrame | None,
    evidence: Any,
    out: str | Path | None,
    graded_by: Mapping[str, str],
) -> None:
    """Refuse what cannot be evaluated, or whose result cannot be written.

    Args:
        model: Name, folder or object.
        inputs: Task to archive and settings.
        units: Units of the evidence.
        evidence: The evidence as it was given.
        out: Folder in which results of something else are to stay as they are.
        graded_by: Task to the hash of the evidence that grades it.

    Raises:
        UsageError: There is no such model, labeller or class, or ``out`` holds a result of something else.
        DataError: There is nothing to score.
    """
    named = isinstance(model, str | Path)
    folder = Path(model) if named and Path(model).is_dir() else None
    made_by = None if folder is None else _asked_with(folder)
    if made_by is not None:
        raise UsageError(
            "holds what a model is asked, no answers", file=folder,
            remedy=f"let a model answer with `{made_by[0]}`, then name its --out in `{made_by[1]}`",
        )  # fmt: skip
    if named and ":" not in str(model) and not is_answers(model) and not names_repository(model):
        require_model(model, remedy="check the path, or write timm:NAME, hf:NAME, open_clip:NAME (docs/encoders.md)")
    brings_no_findings = not named or folder is not None
    with using_vocabulary(choose_vocabulary(model, evidence)):
        for name, task_input in inputs.items():
            check_task(name, task_input.archive, task_input.config, units, classes=brings_no_findings)
    if out is None:
        return
    for name, task_input in inputs.items():
        if (Path(out) / f"{name}.json").exists():
            refuse_other_result(
                out, name, config=task_input.config, archive=task_input.archive.name, suite=task_input.suite,
                model=_name_model(model), model_hash=model_identity(model) if named else "",
                evidence=graded_by[name],
            )  # fmt: skip


def _asked_with(folder: Path) -> tuple[str, str] | None:
    """The verbs that ask a model what a folder holds, and score it; None for another folder."""
    if (folder / TRIPLES).is_file():
        return "lgdea compare ask", "lgdea eval references"
    return ("lgdea compare answer", "lgdea compare score") if (folder / QUESTIONS).is_file() else None


def choose_vocabulary(model: Any, evidence: Any) -> Vocabulary | None:
    """Choose the vocabulary of the model, or of the evidence, whichever has a lexicon of its site.

    Args:
        model: Object, or name or folder of one.
        evidence: As :func:`lgdea.evaluate` takes it.
    """
    from lgdea.api.evidence import Evidence

    found = [
        vocabulary_of(model) if isinstance(model, str | Path) else getattr(model, "vocabulary", None),
        vocabulary_of(evidence) if isinstance(evidence, str | Path) else None,
        evidence.vocabulary if isinstance(evidence, Evidence) else None,
    ]
    return next((vocabulary for vocabulary in found if vocabulary is not None and vocabulary.site is not None), None)


def _name_model(model: Any) -> str:
    """The name that a result of the model has."""
    if not isinstance(model, str | Path):
        return model_name(getattr(model, "base", model))
    folder = Path(model)
    return (folder.resolve().parent if folder.name == "model" else folder).name if folder.is_dir() else str(model)
