"""``lgdea <verb>``: thin. Every verb imports its work inside the function, so that ``--help`` costs no torch."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from typing import Annotated

import typer

from lgdea.cli import (
    answers,
    change,
    compare,
    comparison,
    config,
    data,
    demo,
    doctor,
    evaluate,
    extract,
    finetune,
    heatmap,
    links,
    model,
    pretrain,
    prompts,
    references,
    report,
    review,
    suites,
    verify,
    web,
)
from lgdea.cli.console import Invocation, echo, printable, start_logging
from lgdea.cli.signals import Stopping
from lgdea.errors import LgdeaError
from lgdea.foreign_code import FLAG, trusting
from lgdea.progress import is_terminal
from lgdea.version import __version__

VERBOSE, QUIET, DEBUG = frozenset({"-v", "--verbose"}), frozenset({"-q", "--quiet"}), frozenset({"--debug"})
TRUST = frozenset({FLAG})
ANYWHERE = (VERBOSE, QUIET, DEBUG, TRUST)
INTERRUPTED = 130
USAGE = 2
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="lgdea",
    help="Diagnostic evidence from radiology reports, image-text pretraining on it, and its evaluation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what is done.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            FLAG, help="Let a model of the Hugging Face Hub run its own Python files, of a folder or NAME@COMMIT."
        ),
    ] = False,
) -> None:
    """Diagnostic evidence from radiology reports, image-text pretraining on it, and its evaluation."""


app.command("demo")(demo.demo)
links.register(data.app)
app.add_typer(data.app, name="data")
review.register(extract.app)
app.add_typer(extract.app, name="extract")
app.add_typer(prompts.app, name="prompts")
app.command("pretrain")(pretrain.pretrain)
change.register(comparison.app)
answers.register(comparison.app)
finetune.register(comparison.app)
references.register(comparison.app)
app.add_typer(comparison.app, name="compare")
app.command("find")(comparison.find)
app.add_typer(config.app, name="config")
app.command("embed")(evaluate.embed)
compare.register(evaluate.app)
suites.register(evaluate.app)
app.add_typer(evaluate.app, name="eval")
app.command("heatmap")(heatmap.heatmap)
app.command("report")(report.report)
app.command("app")(web.app)
app.add_typer(model.app, name="model")
app.command("verify")(verify.verify)
app.command("doctor")(doctor.doctor)


def main(arguments: list[str] | None = None, *, app: typer.Typer = app, prog_name: str = "lgdea") -> None:
    """Run the command line; errors become one line on stderr and an honest exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # These options are accepted anywhere, because people add them to the end of the command that failed.
    given = {flag for flag in ANYWHERE if flag & set(arguments)}
    arguments = [a for a in arguments if a not in frozenset().union(*ANYWHERE)]
    debug = DEBUG in given
    start_logging(logging.DEBUG if VERBOSE in given else logging.ERROR if QUIET in given else logging.INFO)
    Invocation.command = " ".join(_name_command(app, arguments))
    if not is_terminal():  # bars of libraries would fill a log
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    code: object
    stopping = Stopping()
    try:
        with stopping, trusting(TRUST in given):
            code = app(args=arguments, prog_name=prog_name, standalone_mode=False)
        if code == INTERRUPTED:  # typer turns Ctrl-C into this code without a word
            code = _say(stopping.message, 128 + stopping.received)
    except (typer.Abort, KeyboardInterrupt):
        code = _say(stopping.message, 128 + stopping.received)
    except typer.TyperException as error:
        help_of = " ".join([prog_name, Invocation.command, "--help"]) if Invocation.command else f"{prog_name} --help"
        # Empty where the help has just been printed; typer's validator names itself.
        problem = _one_line(error.format_message()).replace(": Value error, ", ": ")
        code = _say(f"{problem}; see `{help_of}`", USAGE) if problem else USAGE
    except LgdeaError as error:
        if debug:
            echo(traceback.format_exc(), err=True)
        code = _say(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader (`| head`) has gone; nothing is left to say, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if debug:
            echo(traceback.format_exc(), err=True)
        code = _say(_explain(error), 1)
    sys.exit(code if isinstance(code, int) else 0)


def _name_command(app: typer.Typer, arguments: list[str]) -> list[str]:
    """The words of ``arguments`` that name a verb: ``["eval", "probe"]``."""
    words: list[str] = []
    for word in (argument for argument in arguments if not argument.startswith("-")):
        group = next((group.typer_instance for group in app.registered_groups if group.name == word), None)
        if group is not None:
            words, app = [*words, word], group
            continue
        names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
        if word.replace("-", "_") in {name.replace("-", "_") for name in names}:
            return [*words, word]
        return [*words, "run"] if words == ["extract"] else words
    return words


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in FULL:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}the disk or its allowed share is full; free some space and repeat the command to resume"
    if isinstance(error, MemoryError):
        return "there is not enough memory; ask for less at a time, or take a machine with more"
    if isinstance(error, RecursionError):
        return "an input is nested too deeply to be read; repeat with --debug to see where"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or error}"
    what = _one_line(str(error)) or "no message"
    return f"unexpected {type(error).__name__}: {what}; repeat with --debug to see where"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500].rstrip(". ")


def _say(message: str, code: int) -> int:
    typer.echo(f"lgdea: {printable(message)}", err=True)
    return code
