"""``lgdea config``: what can be set, what it means, and what a command would run with."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from lgdea.cli.console import ConfigOption, SetOption, echo, show_json
from lgdea.errors import UsageError
from lgdea.shipped import config_files

if TYPE_CHECKING:
    from lgdea.config import Config

app = typer.Typer(help="Look at configurations.", no_args_is_help=True)


class Stage(StrEnum):
    """Command that reads the configuration."""

    extract = "extract"
    pretrain = "pretrain"
    eval = "eval"
    compare = "compare"


StageArgument = Annotated[Stage, typer.Argument(help="Whose settings.")]
TaskArgument = Annotated[
    str | None,
    typer.Argument(help="Task of `eval` (zero-shot, retrieval ...) or `compare` (entity, change, finetune)."),
]


@app.command()
def schema(stage: StageArgument = Stage.pretrain, task: TaskArgument = None) -> None:
    """Print the JSON Schema of a stage's settings: keys, types, limits, defaults and descriptions.

    Example: `lgdea config schema pretrain`

    Example: `lgdea config schema eval grounding`
    """
    from lgdea.config import json_schema

    show_json(json_schema(_config_class(stage, task)))


@app.command()
def show(
    stage: StageArgument = Stage.pretrain,
    task: TaskArgument = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Print the settings that a stage would run with, every default and a description of each, as YAML.

    The output is a configuration file: `--config FILE` takes it.

    Example: `lgdea config show pretrain --config demo-lgdea`

    Example: `lgdea config show eval probe --set split=val`
    """
    from lgdea.config import dump_commented_yaml, load_config

    resolved = load_config(_config_class(stage, task), config_files(stage.value, config), overrides or [])
    echo(dump_commented_yaml(resolved), nl=False)


def _config_class(stage: Stage, task: str | None) -> type[Config]:
    if stage is Stage.compare:
        from lgdea.api.comparison import config_class

        return config_class(task or "entity")
    if task is not None and stage is not Stage.eval:
        raise UsageError(f"{stage.value} has no task {task!r}", remedy="leave it out")
    if stage is Stage.extract:
        from lgdea.evidence.config import ExtractConfig

        return ExtractConfig
    if stage is Stage.pretrain:
        from lgdea.pretraining.config import PretrainConfig

        return PretrainConfig
    from lgdea.evaluation.config import TASK_CONFIGS

    if task not in TASK_CONFIGS:
        problem = "eval has a configuration per task" if task is None else f"no evaluation task {task!r}"
        raise UsageError(problem, remedy=f"choose one of {', '.join(TASK_CONFIGS)}")
    return TASK_CONFIGS[task]
