"""Code that is not run here: does the command line know the command, does lgdea know the call?"""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from typing import Any

import typer.main

import lgdea
from lgdea.api.comparison import config_class
from lgdea.cli import ANYWHERE, app
from lgdea.config import load_config
from lgdea.evaluation.config import TASK_CONFIGS
from lgdea.evidence.config import ExtractConfig
from lgdea.pretraining.config import PretrainConfig
from lgdea.shipped import config_files

_PLACEHOLDER = re.compile(r"[A-Z_.{<\[|-]")
_GLOBAL = frozenset().union(*ANYWHERE) | {"--help", "-h"}


def check_command(words: list[str]) -> None:
    """Let the command line parse what stands behind ``lgdea``, as if it were to run it.

    Raises:
        Exception: Of typer: an option that does not exist, an argument that is missing.
    """
    command: Any = typer.main.get_command(app)
    context = command.make_context("lgdea", [word for word in words if word not in _GLOBAL])
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    verb = tuple(context.command_path.split()[1:])
    check_settings(verb, list(context.params.get("config") or []), list(context.params.get("overrides") or []))


def check_settings(verb: tuple[str, ...], configs: list[str], settings: list[str]) -> None:
    """Validate ``--config NAME`` and ``--set KEY=VALUE`` with the configuration that the verb reads, if it reads one.

    Raises:
        LgdeaError: A configuration, a setting or a value that does not exist.
    """
    if not configs and not settings:
        return
    if verb == ("pretrain",):
        load_config(PretrainConfig, config_files("pretrain", configs), settings)
    elif verb == ("extract",):
        load_config(ExtractConfig, config_files("extract", configs), settings)
    elif verb[0] == "eval" and verb[-1] in TASK_CONFIGS:
        load_config(TASK_CONFIGS[verb[-1]], config_files("eval", configs), settings)
    elif verb == ("compare", "train"):
        task = (configs or ["entity"])[-1].partition("-")[0]  # entity-cpu is of entity
        given = {"model": "MODEL", "data": {"archive": "ARCHIVE", "evidence": "EVIDENCE"}}
        load_config(config_class(task), config_files("compare", configs or ["entity"]), [given, *settings])


def check_mention(code: str) -> None:
    """Check the beginning of a command that prose mentions: its verbs, and each option that it names.

    Raises:
        AssertionError: A verb or an option that does not exist.
    """
    command: Any = typer.main.get_command(app)
    words = shlex.split(code)[1:]
    if words and words[0] == "extract" and words[1:] and words[1] not in command.commands["extract"].commands:
        words.insert(1, "run")  # `lgdea extract ARCHIVE` is short for it
    while words and hasattr(command, "commands") and not _PLACEHOLDER.match(words[0]):
        assert words[0] in command.commands, f"`{code}`: no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-") and len(word) > 1 and not hasattr(command, "commands"):
            assert word.split("=")[0] in known | _GLOBAL, f"`{code}`: no option {word!r}"


def check_python(content: str, place: str) -> None:
    """Compile Python, and bind each call of a public function of lgdea to its signature.

    Raises:
        AssertionError: A name or an argument that lgdea does not have.
        SyntaxError: The code is none.
    """
    for node in ast.walk(ast.parse(content, place)):
        if isinstance(node, ast.Call):
            function = _resolve(node.func)
            if function is not None:
                _bind(function, node, place)


def _resolve(node: ast.expr) -> Any:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not (isinstance(node, ast.Name) and node.id == "lgdea" and names):
        return None
    value: Any = lgdea
    for name in reversed(names):
        assert hasattr(value, name), f"{value} has no {name!r}"
        value = getattr(value, name)
    return value


def _bind(function: Any, call: ast.Call, place: str) -> None:
    if any(isinstance(part, ast.Starred) for part in call.args) or any(part.arg is None for part in call.keywords):
        return
    try:
        inspect.signature(function).bind(*call.args, **{str(part.arg): part.value for part in call.keywords})
    except TypeError as error:
        raise AssertionError(f"{place}: {ast.unparse(call)}: {error}") from None
