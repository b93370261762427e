"""The separability of several encoders' features side by side: Markdown, CSV and one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lgdea.errors import UsageError
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.markers import Marker, burn
from lgdea.evaluation.results.compare import compare_results, to_markdown
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.evaluation.results.result import Result, read_result
from lgdea.reporting import measures
from lgdea.reporting.overlays import data_uri, photo
from lgdea.reporting.palette import series_index
from lgdea.reporting.scatter import key, scatter, shapes
from lgdea.reporting.template import fill
from lgdea.runs import atomic, now, write_text

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

TASK = "features"


def write_features(results: Mapping[str, Path], archive: Archive, out: str | Path) -> list[Path]:
    """Write ``features.md``, ``features.csv`` and ``features.html`` about results of ``lgdea eval features``.

    Args:
        results: Label of an encoder -> its results folder; the first is the baseline of the tests. All are of one
            archive and split, and of the same settings.
        archive: The archive, for the pictures with burnt-in text.
        out: Folder to write into.

    Returns:
        The three files.

    Raises:
        UsageError: A folder is missing or holds no such result, or results cannot be put side by side.
        DataError: A file is broken.
    """
    out = Path(out)
    read = {label: read_result(Path(folder), TASK) for label, folder in results.items()}
    _check_alike(read)
    files = [out / f"{TASK}.{end}" for end in ("md", "csv", "html")]
    write_text(files[0], _markdown(results, read))
    with atomic(files[1]) as temporary:
        _rows(read).to_csv(temporary, index=False)
    context = _context(results, read, archive)
    write_text(
        files[2], fill("features_page.html.j2", styles=["style.css", "features_page.css"], scripts=[], **context)
    )
    return files


def _check_alike(read: Mapping[str, Result]) -> None:
    first = next(iter(read.values()))
    same = ("definition", "archive", "split", "config")
    for label, result in read.items():
        for what in same:
            if getattr(result, what) != getattr(first, what):
                raise UsageError(
                    f"the result of {label} has another {what}", remedy="evaluate all encoders in one command"
                )


def _markdown(results: Mapping[str, Path], read: Mapping[str, Result]) -> str:
    (table,) = compare_results(results, task=TASK)
    first = next(iter(read.values()))
    lines = [f"# Features of {len(read)} encoders on {first.archive}", "", to_markdown(table)]
    lines.append(
        "Value [95% interval by patient]; p: one-sided permutation test by patient against the first encoder.\n"
    )
    images, marked = first.metrics["silhouette"].n, first.metrics.get("overlay_shift")
    lines.append(f"n = {images} images" + (f", {marked.n} of them with burnt-in text" if marked else "") + ";")
    lines += [f"seed {first.config['seed']}, {first.config['bootstrap_replicates']} bootstrap replicates.", ""]
    for label, result in read.items():
        lines += [f"**{label}**", "", *[f"- {note}" for note in result.notes], ""]
    ids = dict.fromkeys(value.definition for value in first.metrics.values())
    lines += ["## Definitions", "", *[f"- `{i}`: {DEFINITIONS[i]}" for i in ids if i in DEFINITIONS], ""]
    return "\n".join(lines)


def _rows(read: Mapping[str, Result]) -> pd.DataFrame:
    """Every value of every encoder, one per row; ``class`` is empty for the overall ones."""
    rows = []
    for label, result in read.items():
        for name, found in {"": result.metrics, **result.per_class}.items():
            for metric, v in found.items():
                rows.append((label, metric, name, v.value, v.low, v.high, v.n, v.definition))
    return pd.DataFrame(rows, columns=["encoder", "metric", "class", "value", "low", "high", "n", "definition"])


def _context(results: Mapping[str, Path], read: Mapping[str, Result], archive: Archive) -> dict[str, Any]:
    labels, first = list(read), next(iter(read.values()))
    names = sorted(first.items["class"].unique())
    counts = first.items["class"].value_counts()
    markers = [Marker.model_validate(m) for m in first.config["markers"]]
    example = _example(first)
    tables = measures.task_tables({label: Path(folder) for label, folder in results.items()}, baseline=labels[0])
    return {
        "title": f"Features of {labels[0]}" if len(labels) == 1 else f"Features of {len(labels)} encoders",
        "generated": now(),
        "archive": first.archive,
        "split": first.split,
        "labels": labels,
        "colours": {label: series_index(i) for i, label in enumerate(labels)},
        "classes": [(name, key(i), int(counts[name])) for i, name in enumerate(names)],
        "tables": [_split_rows(table) for table in tables if table.task == TASK],
        "shapes": shapes(),
        "plots": [plot for label, result in read.items() for plot in _plots(label, result, names)],
        "markers": markers if example is not None else [],
        "marked": first.metrics["overlay_shift"].n if example is not None else 0,
        "example": example,
        "pictures": [] if example is None else _marked_pictures(archive, example, markers),
        "seed": first.config["seed"],
        "notes": [(label, result.notes) for label, result in read.items()],
        "definitions": [(d, DEFINITIONS.get(d, "")) for d in dict.fromkeys(d for t in tables for d in t.definitions)],
        "settings": [(k, v) for k, v in first.config.items() if k != "markers"],
    }


def _split_rows(table: measures.TaskTables) -> dict[str, Any]:
    """Rows of the separability, and one table for each thing that the markers do, with a row per text."""
    marked = [
        (caption, [row for row in table.rows if row.metric.endswith(f"overlay_{what}")])
        for what, caption in (("shift", "shift"), ("changed", "changed, share of images"))
    ]
    return {
        "definition": table.definition,
        "labels": table.labels,
        "general": [row for row in table.rows if "overlay" not in row.metric],
        "markers": [
            (caption, rows, [row.metric.rpartition("/")[0] or "all texts" for row in rows])
            for caption, rows in marked
            if rows
        ],
        "per_class": table.per_class,
    }


def _plots(label: str, result: Result, names: list[str]) -> list[tuple[str, str, Any]]:
    plots = []
    for kind in ("pca", "umap"):
        if f"{kind}_1" in result.items:
            places = result.items[[f"{kind}_1", f"{kind}_2"]].to_numpy(float)
            shown = np.isfinite(places).all(axis=1)
            classes = result.items.loc[shown, "class"].tolist()
            title = f"{kind.upper()} of {label}: {len(classes)} images of {len(names)} classes"
            plots.append((label, kind.upper(), scatter(title, places[shown], classes, names)))
    return plots


def _example(result: Result) -> str | None:
    """The first image that got the markers."""
    columns = [c for c in result.items if str(c).endswith("/shift")]
    if not columns:
        return None
    known = result.items[columns[0]].map(lambda x: not math.isnan(x))
    return str(result.items.loc[known, "image_id"].iloc[0]) if known.any() else None


def _marked_pictures(archive: Archive, image_id: str, markers: list[Marker]) -> list[tuple[str, str, str]]:
    """Name, place and picture of one image, as it is and with every marker."""
    pixels = ImageSource(archive).read(image_id)
    pictures = [("as it is", "", data_uri(photo(pixels)))]
    for marker in markers:
        place = f"{marker.corner}, {marker.height:.1%} of the height"
        pictures.append((marker.text, place, data_uri(photo(burn(pixels, marker)))))
    return pictures
