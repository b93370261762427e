"""``lgdea config``: what can be set, what it means, and what a command would run with."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from lgdea.cli.console import ConfigOption, JsonFlag, SetOption, echo, show_json
from lgdea.errors import UsageError
from lgdea.shipped import config_files

if TYPE_CHECKING:
    from lgdea.config import Config
    from lgdea.evaluation.config import EvaluationConfig

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

    Without a task, `eval` gives a mapping of all tasks to theirs.

    Example: `lgdea config schema pretrain`

    Example: `lgdea config schema eval grounding`
    """
    from lgdea.config import json_schema

    if stage is Stage.eval and task is None:
        from lgdea.evaluation.config import TASK_CONFIGS

        content = {name: json_schema(config) for name, config in TASK_CONFIGS.items()}
    else:
        content = json_schema(_config_class(stage, task))
    echo(json.dumps(content, indent=2, ensure_ascii=False))


@app.command()
def show(
    stage: StageArgument = Stage.pretrain,
    task: TaskArgument = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the settings that a stage would run with, every default and a description of each, as YAML.

    The output is a configuration file: `--config FILE` takes it. Without a task, `eval` lists the settings of all.

    Example: `lgdea config show pretrain --config demo-lgdea`

    Example: `lgdea config show eval probe --set split=val`
    """
    from lgdea.config import dump_commented_yaml, load_config

    if stage is Stage.eval and task is None:
        if config or overrides or as_json:
            raise UsageError("eval has a configuration per task", remedy=f"name one: {', '.join(_tasks())}")
        echo(
            "\n".join(f"# {name}\n{dump_commented_yaml(_tasks()[name].model_validate({}))}" for name in _tasks()),
            nl=False,
        )
        return
    resolved = load_config(_config_class(stage, task), config_files(stage.value, config), overrides or [])
    if as_json:
        show_json(resolved.model_dump(mode="json"))
        return
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
    if task not in _tasks():
        raise UsageError(f"no evaluation task {task!r}", remedy=f"choose one of {', '.join(_tasks())}")
    return _tasks()[task]


def _tasks() -> dict[str, type[EvaluationConfig]]:
    from lgdea.evaluation.config import TASK_CONFIGS

    return TASK_CONFIGS
