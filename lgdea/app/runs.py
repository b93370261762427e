"""Runs and results below one folder: configuration, curves, numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lgdea.app.fragments import note, table
from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.evaluation.results.result import list_results
from lgdea.reporting.curves import Curve, line_chart
from lgdea.reporting.results_view import results_html
from lgdea.reporting.run_folder import PretrainingRun, read_run

DEPTH = 4
"""Levels below the folder that are looked at."""
MOST = 500
"""Runs and results of the list."""
CURVES = 24
RUN_FILES = ("config.yaml", "run.json")


@dataclass(frozen=True)
class RunIndex:
    """What was found below a folder: the path of each by its name, which is its path below the folder."""

    folder: Path
    runs: dict[str, Path]
    results: dict[str, Path]

    @property
    def names(self) -> list[str]:
        """Names of runs, then of results that are no run."""
        return [*self.runs, *(name for name in self.results if name not in self.runs)]


def index_runs(folder: str | Path) -> RunIndex:
    """Find run folders (with ``metrics.csv``) and results folders; links are not followed.

    Args:
        folder: Where to look.

    Raises:
        UsageError: There is no such folder.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise UsageError("no such folder", file=folder, remedy="check --runs")
    runs: dict[str, Path] = {}
    results: dict[str, Path] = {}
    for path in _folders(folder):
        name = "." if path == folder else path.relative_to(folder).as_posix()
        if (path / "metrics.csv").is_file() and any((path / file).is_file() for file in RUN_FILES):
            runs[name] = path
        if _has_results(path):
            results[name] = path
        if len(runs) + len(results) >= MOST:
            break
    return RunIndex(folder, runs, results)


def _folders(folder: Path) -> Iterator[Path]:
    for path, below, _ in os.walk(folder):
        here = Path(path)
        depth = len(here.relative_to(folder).parts)
        below[:] = sorted(name for name in below if not name.startswith(".")) if depth < DEPTH else []
        yield here


def _has_results(path: Path) -> bool:
    try:
        return bool(list_results(path))
    except LgdeaError:
        return False


def run_html(index: RunIndex, name: str) -> str:
    """One run or results folder: what it was, its configuration, curves and results.

    Args:
        index: Of :func:`index_runs`.
        name: One of its names.

    Raises:
        UsageError: It has no such name.
        DataError: A file of it is damaged.
    """
    if name not in index.names:
        raise UsageError(f"no run {str(name)[:80]!r} in {index.folder.name}", remedy="choose one of the list")
    parts = []
    if name in index.runs:
        run = read_run(name, index.runs[name])
        parts += [_facts(run), _curves(run), _configuration(run)]
    if name in index.results:
        from lgdea.api.results import load_results

        parts.append(f'<div class="lg-results lg-scroll" tabindex="0" role="region" aria-label="Results">'
                     f"{results_html(load_results(index.results[name]))}</div>")  # fmt: skip
    if not parts:
        raise DataError("holds neither curves nor results", file=name)
    return "".join(parts)


def _facts(run: PretrainingRun) -> str:
    manifest = run.manifest
    rows = [
        ("state", "finished" if run.finished else "not finished: stopped, or still running"),
        ("stage", manifest.get("stage", "")),
        ("started", manifest.get("started", "")),
        ("lgdea", manifest.get("lgdea_version", "")),
        *((f"input {name}", path) for name, path in (manifest.get("inputs") or {}).items()),
    ]
    return f'<div class="lg-facts">{table(run.label, ("what", "value"), rows)}</div>'


def _curves(run: PretrainingRun) -> str:
    if not run.metrics:
        return note("no curves were logged")
    figures = Markup("").join(
        Markup('<figure class="lg-chart"><figcaption>{}</figcaption>{}</figure>').format(
            metric, line_chart(metric, [Curve(run.label, 0, steps, values)])
        )
        for metric, (steps, values) in list(run.metrics.items())[:CURVES]
    )
    more = len(run.metrics) - CURVES
    said = note("horizontal axis: training step" + (f"; {more} more curves stand in metrics.csv" if more > 0 else ""))
    return str(Markup('{}<div class="lg-charts">{}</div>').format(Markup(said), figures))


def _configuration(run: PretrainingRun) -> str:
    return str(
        Markup(
            '<details><summary>Configuration</summary><pre class="lg-config" tabindex="0">{}</pre></details>'
        ).format(run.config_text or "none was written")
    )
