"""Evaluate a model, and draw its heat maps, in one call; ``lgdea eval`` and ``lgdea heatmap`` call the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lgdea.api.evaluation_checks import check_before_loading, choose_vocabulary, source_of
from lgdea.api.results import Results
from lgdea.comparison.references.answers import is_answers, read_answers
from lgdea.config_errors import explain
from lgdea.errors import ConfigError, UsageError
from lgdea.evaluation.config import (
    ChangeConfig,
    EntityRetrievalConfig,
    EvaluationConfig,
    FeaturesConfig,
    ProbeConfig,
    ReferencesConfig,
)
from lgdea.evaluation.results.identity import evidence_sha256
from lgdea.evaluation.results.result import write_result
from lgdea.evaluation.suites.prepare import TaskInput, prepare_task
from lgdea.evaluation.suites.suite import CONFIGS, Suite, load_suite, shipped_suites, task_named
from lgdea.outputs import require_folder
from lgdea.vocabulary import using_vocabulary

if TYPE_CHECKING:
    import pandas as pd

    from lgdea.api.evidence import Evidence
    from lgdea.comparison.entity.model import EntityModel
    from lgdea.evaluation.encoders.protocol import ImageEncoder
    from lgdea.evaluation.results.result import Result
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

    Model = LgdeaModel | ImageEncoder | str | Path

ENTITY = "entity-retrieval"
REFERENCES = "references"
GRADED = {"retrieval", "change", REFERENCES, ENTITY}
"""Tasks that evidence grades."""
TASK_CONFIGS: dict[str, type[EvaluationConfig]] = {
    **{str(task): config for task, config in CONFIGS.items()},
    "probe": ProbeConfig,
    "features": FeaturesConfig,
    "change": ChangeConfig,
    ENTITY: EntityRetrievalConfig,
    REFERENCES: ReferencesConfig,
}


def evaluate(
    model: Model | EntityModel,
    archive: Archive | str | Path,
    tasks: str | Sequence[str] | None = None,
    suite: Suite | str | Path | None = None,
    *,
    settings: Mapping[str, Mapping[str, Any] | EvaluationConfig] | None = None,
    evidence: str | Path | pd.DataFrame | Evidence | None = None,
    device: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    **common: Any,
) -> Results:
    """Evaluate a model on an archive.

    Args:
        model: An :class:`~lgdea.models.lgdea_model.LgdeaModel`, a model folder, the name of another library's model
            (``timm:NAME``, ``hf:NAME``, ``open_clip:NAME/WEIGHTS``; see docs/encoders.md) or any object with the
            methods of :class:`~lgdea.evaluation.encoders.protocol.EvaluableModel`.
        archive: An archive or its folder.
        tasks: Some of ``zero-shot``, ``retrieval``, ``grounding``, ``probe``, ``features``, ``change``,
            ``references`` (its model may also be a folder of answers of ``lgdea compare ask``) and
            ``entity-retrieval`` (which needs evidence and a model with an entity head). By default those of the
            suite; without a suite those of the first three for which the archive has labels, reports or boxes.
        suite: Benchmark suite that fixes settings and items: a name of :func:`list_suites` or a suite file.
        settings: Settings of each task: ``{"zero-shot": {"classes": "nih14"}}``; see :mod:`lgdea.evaluation.config`.
        evidence: Evidence of all the archive's reports that grades what retrieval finds and says what changed: a
            folder, an :class:`~lgdea.api.evidence.Evidence`, or a frame with ``report_id``, ``finding``,
            ``assertion``, ``laterality`` and, for change, ``change``; the archive's labels by default.
        device: Where to put a model given by name; a GPU when there is one.
        out: Results folder; each task's files are written there when the task is done.
        overwrite: Whether results of another model, archive or setting that are there are replaced.
        **common: Settings of all tasks: ``split``, ``batch_size``, ``workers``, ``image_cache``,
            ``bootstrap_replicates``, ``seed``.

    Returns:
        Task to result, with intervals by patient and chance levels; shown as a table in a notebook.

    Raises:
        UsageError: There is no such task, model, suite or labeller, the suite fixes a setting otherwise, the
            evidence is of other reports, or ``out`` holds a result of something else.
        ConfigError: A setting does not exist or has a wrong value.
        DataError: The archive has nothing to score, or a model's output is not finite.

    Example:
        >>> results = lgdea.evaluate(model, archive, tasks=["zero-shot"], settings={"zero-shot": {"min_positive": 1}})
        >>> print(results)
        zero-shot: ... on phantom (test), zero-shot-v1
          metric        value [95% interval]  chance   n
          macro AUROC   0... [0..., 0...]      0.500  ...
    """
    from lgdea.records.archive import Archive

    if out is not None:
        require_folder(out)
    opened = archive if isinstance(archive, Archive) else Archive.open(archive)
    chosen = load_suite(suite) if isinstance(suite, str | Path) else suite
    names = _choose_tasks(tasks, chosen, opened)
    if chosen is not None and evidence is not None:
        raise UsageError(
            "a suite grades by the archive's labels", remedy="leave out evidence (--evidence) or suite (--suite)"
        )
    unknown = sorted(set(settings or {}) - set(names))
    if unknown:
        raise UsageError(f"settings for {unknown[0]}, which is not evaluated", remedy=f"tasks: {', '.join(names)}")
    inputs = {}  # all are checked before the first task, which may take hours, begins
    for name in names:
        config = _resolve_config(name, (settings or {}).get(name), common)
        plain = TaskInput(opened, config)
        inputs[name] = plain if chosen is None else prepare_task(chosen, task_named(name), opened, config)
    units = _read_units(evidence, opened) if GRADED & set(inputs) else None
    source = source_of(model)
    graded_by = {name: evidence_sha256(units if name in GRADED else None) for name in inputs}
    check_before_loading(
        source if str(source) else model, inputs, units, evidence, None if overwrite else out, graded_by
    )
    entity_model = _entity_model(model, device) if ENTITY in inputs else None
    if [*inputs] == [REFERENCES] and str(source) and is_answers(source):
        encoder: Any = read_answers(source)
    else:
        encoder = resolve_model(model, device) if entity_model is None else entity_model.base
    results: dict[str, Result] = {}
    vocabulary = choose_vocabulary(encoder, evidence)
    for name, task_input in inputs.items():
        reader = entity_model if name == ENTITY else _with_change_head(source, device) if name == "change" else None
        with using_vocabulary(vocabulary):
            result = _run_task(name, reader or encoder, task_input, units)
        results[name] = replace(task_input.annotate_result(result, source), evidence_sha256=graded_by[name])
        if out is not None:
            write_result(results[name], out)
    return Results(results)


def list_suites() -> list[str]:
    """List the shipped benchmark suites.

    Returns:
        Names that :func:`evaluate` and ``lgdea eval --suite`` take; docs/suites.md says what each measures.

    Example:
        >>> "nih-boxes" in lgdea.list_suites()
        True
    """
    return [suite.name for suite in shipped_suites()]


def resolve_model(model: Model | EntityModel, device: str | None = None) -> LgdeaModel | ImageEncoder:
    """Load a model given by name or folder; any other is returned as it is.

    Args:
        model: As :func:`evaluate` takes it.
        device: Where to put a model that is loaded.
    """
    if not isinstance(model, str | Path):
        return model  # type: ignore[return-value]  # an entity model is asked for its own task alone
    from lgdea.evaluation.encoders.registry import load_encoder

    return load_encoder(model, device)


def _choose_tasks(tasks: str | Sequence[str] | None, suite: Suite | None, archive: Archive) -> list[str]:
    if tasks is not None:
        names = list(dict.fromkeys([tasks] if isinstance(tasks, str) else tasks))
    elif suite is not None:
        names = list(suite.tasks)
    else:
        tables = {"zero-shot": archive.labels, "retrieval": archive.reports, "grounding": archive.boxes}
        names = [name for name, table in tables.items() if len(table)]
        if not names:
            raise UsageError(
                "has no labels, reports or boxes to score", file=archive.folder, remedy="choose another archive"
            )
    for name in names:
        if name not in TASK_CONFIGS:
            raise UsageError(f"no task {name!r}", remedy=f"choose from {', '.join(TASK_CONFIGS)}")
    if not names:
        raise UsageError("no tasks", remedy=f"choose from {', '.join(TASK_CONFIGS)}")
    return names


def _resolve_config(
    task: str, given: Mapping[str, Any] | EvaluationConfig | None, common: Mapping[str, Any]
) -> EvaluationConfig:
    own = given.model_dump(exclude_unset=True) if isinstance(given, EvaluationConfig) else dict(given or {})
    try:
        return TASK_CONFIGS[task].model_validate({**common, **own})
    except ValidationError as error:
        raise ConfigError(f"{task}: {explain(error)}", remedy="see lgdea.evaluation.config") from None


def _run_task(name: str, encoder: Any, task_input: TaskInput, units: pd.DataFrame | None) -> Result:
    from lgdea.evaluation import tasks

    run: dict[str, Callable[..., Result]] = {
        "zero-shot": tasks.zero_shot,
        "grounding": tasks.grounding,
        "probe": tasks.probe,
        "features": tasks.features,
    }
    graded: dict[str, Callable[..., Result]] = {"retrieval": tasks.retrieval, "change": tasks.change}
    graded |= {ENTITY: tasks.entity_retrieval, REFERENCES: tasks.references}
    if name in graded:
        return graded[name](encoder, task_input.archive, task_input.config, evidence=units)
    return run[name](encoder, task_input.archive, task_input.config)


def _with_change_head(source: str | Path, device: str | None) -> Any:
    """Load the model with its change head; None where the folder has none."""
    from lgdea.evaluation.encoders.registry import local_folder

    folder = local_folder(str(source)) if source else None
    if folder is None or not (folder / "change_head.json").is_file():
        return None
    import torch

    from lgdea.comparison.change.train import load_change_model

    return load_change_model(folder, device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _entity_model(model: Any, device: str | None) -> EntityModel:
    """Load the model of the one task that needs an entity head; a loaded one is returned as it is."""
    import torch

    from lgdea.comparison.entity.model import EntityModel
    from lgdea.comparison.entity.train import load_entity_model

    if isinstance(model, str | Path):
        return load_entity_model(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if not isinstance(model, EntityModel):
        raise UsageError(f"{ENTITY} needs a model with an entity head", remedy="train one: `lgdea compare train`")
    return model


def _read_units(evidence: str | Path | pd.DataFrame | Evidence | None, archive: Archive) -> pd.DataFrame | None:
    """Units of the evidence, refused unless it is of all the archive's reports; a frame is taken as it is."""
    from lgdea.api.evidence import Evidence
    from lgdea.evaluation.tasks.graded import units_of

    if not isinstance(evidence, Evidence):
        return units_of(archive, evidence)
    if evidence.folder is not None:
        return units_of(archive, evidence.folder)
    # Its record says which reports it has read, as the files of an extraction do; so it is checked as they are.
    with TemporaryDirectory() as folder:
        return units_of(archive, evidence.save(Path(folder) / "evidence"))
