"""Benchmark suites: files that fix the settings and the items of tasks, so that two results mean the same.

A suite (``configs/suites/*.yaml``, or a file of one's own) names its dataset and, for each task, the task's settings,
the rule that selects its items and, where they may be known, the ids themselves and their hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from lgdea.config import Config, read_yaml, validate
from lgdea.config_errors import explain
from lgdea.errors import LgdeaError, UsageError
from lgdea.evaluation.config import ChangeConfig, EvaluationConfig, GroundingConfig, RetrievalConfig, ZeroShotConfig
from lgdea.evaluation.results.identity import ids_sha256
from lgdea.shipped import shipped
from lgdea.vocabulary import load_vocabulary

Task = Literal["zero-shot", "retrieval", "grounding", "change"]
CONFIGS: dict[Task, type[EvaluationConfig]] = {
    "zero-shot": ZeroShotConfig,
    "retrieval": RetrievalConfig,
    "grounding": GroundingConfig,
    "change": ChangeConfig,
}
FREE_SETTINGS = frozenset({"batch_size", "workers", "image_cache", "bootstrap_replicates"})
"""Settings that change how long a task takes and how wide its intervals scatter, not what it measures."""


class Exclusive(Config):
    """A single-label set: images with exactly one of ``findings`` present and nothing else of ``among``.

    What nobody mentioned counts as absent here, as in the published 5x200 sets; an uncertain finding rules an image
    out. Of each finding the ``per_class`` images that come first by the sha256 of their ids are taken.
    """

    findings: tuple[str, ...] = Field(min_length=2)
    """Vocabulary ids of the classes."""
    among: str
    """A class list of the vocabulary (``chexpert14``)."""
    per_class: int = Field(ge=1)
    """Images of each class."""

    @model_validator(mode="after")
    def _known(self) -> Exclusive:
        with _as_value_error():
            listed = {f for scored in load_vocabulary().classes(self.among) for f in scored.findings}
        other = [f for f in self.findings if f not in listed]
        if other:
            raise ValueError(f"{other[0]!r} is no finding of {self.among}")
        return self


class Selection(Config):
    """Conditions for an item that the task can score to belong to the suite; all must hold.

    A task can score: ``zero-shot`` the images with a known label of any class; ``retrieval`` the images and reports of
    studies that have both; ``grounding`` the images with a box of a finding; ``change`` the pairs of studies with a
    true state, named ``prior>current`` by their images.
    """

    frontal: bool = False
    """Only images whose view is AP or PA; one whose view is not known is left out."""
    findings: tuple[str, ...] | None = None
    """Grounding: only boxes of these findings, or of a kind of them."""
    exclusive: Exclusive | None = None
    """Zero-shot: a single-label set."""

    @field_validator("findings")
    @classmethod
    def _known(cls, findings: tuple[str, ...] | None) -> tuple[str, ...] | None:
        with _as_value_error():
            for finding in findings or ():
                load_vocabulary().descendants(finding)
        return findings


class Expected(Config):
    """Numbers of items in the whole benchmark; null where that is not public knowledge."""

    images: int | None = Field(None, ge=1)
    """Number of images."""
    reports: int | None = Field(None, ge=1)
    """Number of reports."""
    boxes: int | None = Field(None, ge=1)
    """Number of boxes."""
    phrases: int | None = Field(None, ge=1)
    """(image, phrase) pairs."""
    pairs: int | None = Field(None, ge=1)
    """Pairs of studies."""
    changes: int | None = Field(None, ge=1)
    """(pair, finding) items with a true state."""


class Benchmark(Config):
    """One task of a suite."""

    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the task; those not named have the task's defaults. Neither can be overridden in a run."""
    select: Selection = Selection()
    """Rule that selects the items."""
    expected: Expected = Field(default_factory=lambda: Expected.model_validate({}))
    """Size of the whole benchmark, to be compared with what the archive at hand gives."""
    ids_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """Hash of the ids (:func:`~lgdea.evaluation.results.identity.ids_sha256`); null where they are not known before."""
    ids: tuple[str, ...] | None = Field(None, min_length=1)
    """Image ids, in retrieval image and report ids; null where the rule alone selects."""

    @model_validator(mode="after")
    def _agree(self) -> Benchmark:
        if self.ids is not None:
            found = ids_sha256(self.ids)
            if self.ids_sha256 is None:
                raise ValueError(f"ids need their hash: ids_sha256: {found}")
            if found != self.ids_sha256:
                raise ValueError(f"ids_sha256 is not that of the ids, which is {found}")
        return self


class Suite(Config):
    """A benchmark suite."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Name by which ``--suite`` finds it."""
    version: int = Field(ge=1)
    """Raised whenever a setting, a rule or an id changes."""
    title: str = Field(min_length=1)
    """Name for people."""
    measures: str = Field(min_length=1)
    """One line."""
    source: str = Field(min_length=1)
    """Source of the data, and of the protocol if there is one."""
    citation: str = Field(min_length=1)
    """Publication to cite."""
    dataset: str = Field(min_length=1)
    """Name of the archive."""
    requires: dict[str, Any] = Field(default_factory=dict)
    """Required content of the ``info`` of ``archive.json``, nested mappings included."""
    build: str = Field(min_length=1)
    """The command that makes the archive."""
    remarks: tuple[str, ...] = ()
    """Notes for the reader of its numbers, put into every result."""
    tasks: dict[Task, Benchmark] = Field(min_length=1)
    """Tasks that the suite asks, each with its settings and items."""

    @property
    def label(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    def config(self, task: Task) -> EvaluationConfig:
        """The settings of a task.

        Raises:
            UsageError: The suite has no such task.
        """
        if task not in self.tasks:
            raise UsageError(
                f"the suite {self.label} has no {task}", remedy=f"it has {', '.join(self.tasks)}; `lgdea eval suites`"
            )
        return CONFIGS[task].model_validate(self.tasks[task].settings)

    @model_validator(mode="after")
    def _settings_fit(self) -> Suite:
        for task, benchmark in self.tasks.items():
            where = f"tasks.{task}"
            free = sorted(FREE_SETTINGS & set(benchmark.settings))
            if free:
                raise ValueError(f"{where}.settings.{free[0]} does not change what is measured; leave it out")
            try:
                config = self.config(task)
            except ValidationError as error:
                raise ValueError(f"{where}.settings: {explain(error, CONFIGS[task])}") from None
            if isinstance(config, ZeroShotConfig):
                _check_classes(config, where)
            for key, only in (("exclusive", "zero-shot"), ("findings", "grounding")):
                if getattr(benchmark.select, key) is not None and task != only:
                    raise ValueError(f"{where}.select.{key} is for {only} only")
            stray = sorted(set(benchmark.expected.model_dump(exclude_none=True)) - _COUNTED[task])
            if stray:
                raise ValueError(f"{where}.expected.{stray[0]}: {task} counts {', '.join(sorted(_COUNTED[task]))}")
        return self


_COUNTED = {
    "zero-shot": {"images"},
    "retrieval": {"images", "reports"},
    "grounding": {"images", "boxes", "phrases"},
    "change": {"pairs", "changes"},
}


def load_suite(name: str | Path) -> Suite:
    """Read a suite.

    Args:
        name: Name of a shipped suite, or a YAML file.

    Raises:
        UsageError: There is neither a file nor a shipped suite of this name.
        ConfigError: A field is wrong; the message names it.
    """
    if Path(name).is_file():
        return _read(Path(name))
    files = _shipped_files()
    if str(name) not in files:
        raise UsageError(
            f"no suite {str(name)!r}", remedy=f"give a suite file or one of {', '.join(files)}; `lgdea eval suites`"
        )
    return _read(files[str(name)])


def shipped_suites() -> list[Suite]:
    """Read the shipped suites, by name."""
    return [_read(file) for file in _shipped_files().values()]


def write_suite(suite: Suite, file: str | Path) -> None:
    """Write a suite file, only what differs from the defaults."""
    from lgdea import runs

    content = suite.model_dump(mode="json", exclude_defaults=True)
    head = "".join(
        f"# lgdea eval {task} MODEL ARCHIVE --suite {Path(file).name} --out RESULTS\n" for task in suite.tasks
    )
    runs.write_text(file, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))


def task_named(name: str) -> Task:
    """``name`` when suites know such a task.

    Raises:
        UsageError: They do not.
    """
    if name not in CONFIGS:
        raise UsageError(f"suites have no task {name!r}", remedy=f"choose one of {', '.join(CONFIGS)}")
    return cast(Task, name)


def _read(file: Path) -> Suite:
    return validate(Suite, read_yaml(file), file=file, remedy="see docs/suites.md")


def _shipped_files() -> dict[str, Path]:
    folder = Path(str(shipped("configs"))) / "suites"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def _check_classes(config: ZeroShotConfig, where: str) -> None:
    """Every class and single-label class exists."""
    if config.classes == "labels":
        return
    vocabulary = load_vocabulary()
    with _as_value_error(f"{where}.settings.classes: "):
        if isinstance(config.classes, str):
            names = [scored.name for scored in vocabulary.classes(config.classes)]
        else:
            names = [name for name in config.classes if vocabulary.descendants(name)]
    wrong = [name for name in config.single_label_classes or () if name not in names]
    if wrong:
        raise ValueError(f"{where}.settings.single_label_classes: {wrong[0]!r} is none of the classes")


@contextmanager
def _as_value_error(prefix: str = "") -> Iterator[None]:
    """Pydantic gathers ValueErrors; an error of the vocabulary becomes one."""
    try:
        yield
    except LgdeaError as error:
        raise ValueError(f"{prefix}{error.problem}") from None
