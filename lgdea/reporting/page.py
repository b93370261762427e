"""One self-contained HTML page about runs and results: no request leaves it, no script in it is anyone else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from markupsafe import Markup

from lgdea.errors import UsageError
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.reporting import counts, examples, measures
from lgdea.reporting.curves import Curve, line_chart
from lgdea.reporting.page_file import claim_page
from lgdea.reporting.palette import series_index
from lgdea.reporting.run_folder import PretrainingRun, read_run
from lgdea.reporting.sheet_examples import SheetMaker, beside_sheets, retrieved_sheets
from lgdea.reporting.template import fill, grouped
from lgdea.reporting.views import gather_media, task_view
from lgdea.runs import now, require_finished, write_text

if TYPE_CHECKING:
    from lgdea.comparison.change.model import ChangeModel
    from lgdea.records.archive import Archive

CURVES_SHOWN = 6


@dataclass(frozen=True)
class Panel:
    """One chart of the training curves; ``labels`` are the runs in it."""

    title: str
    svg: Markup
    labels: tuple[str, ...]


def build_report(
    *,
    out: Path,
    title: str,
    note: str = "",
    runs: Mapping[str, Path],
    results: Mapping[str, Path],
    archive: Path | None = None,
    evidence: Path | None = None,
    examples: int = 6,
    replicates: int = 1000,
    seed: int = 0,
    overwrite: bool = True,
) -> Path:
    """Write one HTML file about ``runs`` and ``results``; a part that is not given is left out of the page.

    Args:
        out: The HTML file to write.
        title: Its heading.
        note: A sentence below it.
        runs: Label -> run folder.
        results: Label -> results folder; a label that is also in ``runs`` is the same model. The first one is the
            baseline with which the others are compared; the page shows it last.
        archive: Archive folder, for counts, reports and images.
        evidence: Evidence of all reports of ``archive``, for the highlights.
        examples: How many reports and how many images to show.
        replicates: Of the intervals and tests of differences; 0 for neither.
        seed: Seed of their random choice.
        overwrite: Whether a file that is no page of the same folders is replaced.

    Returns:
        ``out``.

    Raises:
        UsageError: Nothing to report on, ``out`` is something else that is not to be replaced, a folder is missing or
            holds something else, or the evidence is not of all the archive's reports.
        DataError: A file is broken.
    """
    if not runs and not results and archive is None:
        raise UsageError("nothing to report on", remedy="give a run folder, a results folder or an archive")
    if evidence is not None and archive is None:
        raise UsageError("evidence needs its archive", file=evidence, remedy="give the archive that was extracted")
    out = Path(out)
    places = [part for label, folder in (*runs.items(), *results.items()) for part in (label, Path(folder))]
    end = claim_page(out, [*places, archive, evidence], overwrite)
    read = [read_run(label, Path(folder)) for label, folder in _baseline_last(runs).items()]
    baseline = next(iter(results), None)
    tables = measures.task_tables(_baseline_last(results), baseline=baseline, replicates=replicates)
    opened = None
    if archive is not None:
        from lgdea.records.archive import Archive

        opened = Archive.open(require_finished(archive, what="archive", made_by="lgdea data build"))
    units = None
    if evidence is not None and opened is not None:
        from lgdea.evidence.coverage import require_all_reports
        from lgdea.evidence.io import read_evidence

        require_all_reports(evidence, opened)
        units = read_evidence(evidence)
    context = _context(read, tables, opened, units, baseline=baseline, count=examples, seed=seed)
    write_text(out, render(title=title, note=note, generated=now(), **context) + end)
    return out


def render(**context: Any) -> str:
    """Fill the page template (see :func:`lgdea.reporting.template.fill`)."""
    return fill("page.html.j2", styles=["style.css", "sheet.css"], scripts=["tip.js", "page.js"], **context)


def _context(
    runs: Sequence[PretrainingRun],
    tables: Sequence[measures.TaskTables],
    archive: Archive | None,
    units: pd.DataFrame | None,
    *,
    baseline: str | None,
    count: int,
    seed: int,
) -> dict[str, Any]:
    scored = list(dict.fromkeys(label for table in tables for label in table.labels))
    colours = {label: series_index(i) for i, label in enumerate(dict.fromkeys([*scored, *(r.label for r in runs)]))}
    headline = measures.headline_rows(tables)
    views = [task_view(table, colours, baseline) for table in tables]
    models = {} if archive is None else _models(runs)
    return {
        "colours": colours,
        "runs": runs,
        "facts": shared_facts(runs),
        "config_differences": config_differences(runs),
        "tables": views,
        "media": gather_media(
            views,
            archive,
            models,
            {} if archive is None else _readers(runs),
            {} if archive is None else _sheet_makers(runs, models, archive, units),
        ),
        "scored": scored,
        "tiles": measures.first_per_task(headline),
        "headline": headline,
        "panels": curve_panels(runs, colours),
        "curves_shown": CURVES_SHOWN,
        "archive": None if archive is None else counts.count_archive(archive),
        "pairings": counts.count_pairings(runs),
        "evidence": None if units is None else counts.count_evidence(units),
        "assertions": counts.ASSERTIONS,
        "reports": []
        if archive is None or units is None
        else examples.choose_reports(archive, units, count=count, seed=seed),
        "images": [] if archive is None else examples.choose_images(archive, models, count=count, seed=seed),
        "seed": seed,
        "definitions": [(d, DEFINITIONS.get(d, "")) for d in dict.fromkeys(d for t in tables for d in t.definitions)],
        "packages": package_versions(runs),
        "hashes": [(r.label, name, value) for r in runs for name, value in _hashes(r).items()],
    }


def shared_facts(runs: Sequence[PretrainingRun]) -> list[tuple[str, str]]:
    """Facts of training that all runs share, of :data:`FACTS`."""
    flats = [flatten(run.config) for run in runs]
    facts = []
    for name, key in FACTS:
        values = [flat.get(key) for flat in flats]
        if values and values[0] is not None and all(v == values[0] for v in values):
            facts.append((name, grouped(values[0]) if isinstance(values[0], int) else str(values[0])))
    return facts


FACTS = (
    ("steps", "trainer.max_steps"),
    ("batch size per device", "data.batch_size_per_device"),
    ("learning rate", "optimizer.lr"),
    ("image tower", "image.tower"),
    ("frozen of the image tower", "image.freeze"),
    ("image size", "image.size"),
    ("text tower", "text.tower"),
    ("seed", "seed"),
)
"""Shown name and configuration key."""


def config_differences(runs: Sequence[PretrainingRun]) -> list[tuple[str, list[str]]]:
    """Configuration keys whose values differ between the runs, with one value per run."""
    flats = [flatten(run.config) for run in runs]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    rows = [(key, ["—" if flat.get(key) is None else str(flat[key]) for flat in flats]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys: ``{"a": {"b": 1}}`` -> ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def curve_panels(runs: Sequence[PretrainingRun], colours: Mapping[str, int]) -> list[Panel]:
    """One chart per metric, all runs that log it in one chart; losses and validation first."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    panels = []
    for name in sorted(names, key=_curve_rank):
        curves = [Curve(r.label, colours[r.label], *r.metrics[name]) for r in runs if name in r.metrics]
        panels.append(Panel(name, line_chart(name, curves), tuple(c.label for c in curves)))
    return panels


def package_versions(runs: Sequence[PretrainingRun]) -> list[tuple[str, list[str]]]:
    """Rows of (what, one value per run): lgdea, Python, platform and packages of each run's environment."""
    flats = []
    for run in runs:
        environment = dict(run.environment)
        packages = environment.pop("packages", {})
        flats.append({**environment, **(packages if isinstance(packages, dict) else {})})
    keys = dict.fromkeys(key for flat in flats for key in flat)
    return [(key, [str(flat.get(key, "—")) for flat in flats]) for key in keys]


def _baseline_last(folders: Mapping[str, Path]) -> dict[str, Path]:
    labels = list(folders)
    return {label: Path(folders[label]) for label in labels[1:] + labels[:1]}


def _models(runs: Sequence[PretrainingRun]) -> dict[str, examples.HeatMapper]:
    with_model = {run.label: run.model for run in runs if run.model is not None}
    if not with_model:
        return {}
    from lgdea.models.serialization import load_model

    return {label: load_model(folder) for label, folder in with_model.items()}


def _readers(runs: Sequence[PretrainingRun]) -> dict[str, ChangeModel]:
    """Models of the runs that have a change head."""
    folders = {run.label: run.model for run in runs if run.model and (run.model / "change_head.json").exists()}
    if not folders:
        return {}
    from lgdea.comparison.change.train import load_change_model

    return {label: load_change_model(folder) for label, folder in folders.items()}


def _sheet_makers(
    runs: Sequence[PretrainingRun], models: Mapping[str, Any], archive: Archive, units: pd.DataFrame | None
) -> dict[str, dict[str, SheetMaker]]:
    """What draws the cases of comparison, by task and label: runs with an entity head, and all models."""
    heads = {run.label: run.model for run in runs if run.model and (run.model / "entity_head.json").exists()}
    return {
        "entity-retrieval": {label: partial(retrieved_sheets, folder, archive) for label, folder in heads.items()},
        "references": {label: partial(beside_sheets, model, archive, units) for label, model in models.items()},
    }


def _hashes(run: PretrainingRun) -> dict[str, str]:
    hashes = run.manifest.get("input_hashes")
    return {str(k): str(v) for k, v in hashes.items()} if isinstance(hashes, dict) else {}


def _curve_rank(name: str) -> tuple[int, str]:
    lowered = name.lower()
    if lowered.split("/")[-1] in ("loss", "total") and "val" not in lowered:
        return 0, name
    if "val" in lowered:
        return 1, name
    if "lr" in lowered or "time" in lowered or "grad" in lowered:
        return 3, name
    return 2, name
