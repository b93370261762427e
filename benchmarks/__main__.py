"""``python -m benchmarks <verb>``, from the root of a checkout."""

from __future__ import annotations

from benchmarks.cli import app
from lgdea.cli import main


def benchmark(arguments: list[str] | None = None) -> None:
    """Run a benchmark as the ``lgdea`` command runs its verbs: errors are one line, exit codes honest."""
    main(arguments, app=app, prog_name="python -m benchmarks")


if __name__ == "__main__":
    benchmark()
