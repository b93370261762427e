"""What the command line tells on stderr, and how much of it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer

import lgdea
from lgdea.cli import main

LOG = logging.getLogger("lgdea.somewhere")
app = typer.Typer()


@app.command()
def work(name: str = "x") -> None:
    """Log at every level."""
    LOG.debug("detail of %s", name)
    LOG.info("stage [1/2] of %s", name)
    LOG.warning("odd: %s", name)
    LOG.error("bad")
    typer.echo("result")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    log = logging.getLogger("lgdea")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers, log.level = handlers, level
    logging.getLogger("lgdea").setLevel(level)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--name", "a"], ["stage [1/2] of a", "warning: odd: a", "error: bad"]),
        (["-v", "--name", "a"], ["detail of a", "stage [1/2] of a", "warning: odd: a", "error: bad"]),
        (["--name", "a", "--verbose"], ["detail of a", "stage [1/2] of a", "warning: odd: a", "error: bad"]),
        (["--name", "a", "-q"], ["error: bad"]),
        (["--quiet"], ["error: bad"]),
    ],
)
def test_the_log_goes_to_stderr_and_results_to_stdout(
    arguments: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments, app=app)
    shown = capsys.readouterr()
    assert left.value.code == 0
    assert shown.err.splitlines() == lines
    assert shown.out == "result\n"


def test_a_long_record_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--name", "word " * 60], app=app)
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_as_a_library_lgdea_is_silent() -> None:
    code = "import lgdea, logging; logging.getLogger('lgdea.x').error('said'); print(lgdea.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (lgdea.__version__, "")
