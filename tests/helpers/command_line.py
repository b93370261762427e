"""The command line, run in the test's own process, and the environment of others."""

from __future__ import annotations

import os

import pytest

from lgdea.cli import main


def run_lgdea(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run ``lgdea ARGUMENTS`` and return its exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


def uncounted_environment() -> dict[str, str]:
    """Return the environment without the order to count lines: a process that may not write could not write these."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
