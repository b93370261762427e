"""The grid of :mod:`benchmarks.pairing` as a table and as the plot "metric against share of linked pairs"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from scipy import stats

from benchmarks.pairing import METRICS
from lgdea import runs

NAMES: Mapping[str, str] = {name: title for metrics in METRICS.values() for name, title in metrics.items()}


def summarise(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per metric, variant and fraction.

    Returns:
        Columns ``metric variant fraction linked n mean sd low high``: ``n`` seeds, their mean and standard
        deviation, and the 95% t-interval of the mean; NaN where one seed tells no spread.
    """
    rows = [
        {"metric": metric, "value": value, **{key: run[key] for key in ("variant", "fraction", "linked")}}
        for run in results
        for metric, value in run["metrics"].items()
    ]
    groups = pd.DataFrame(rows).groupby(["metric", "variant", "fraction"], sort=False)
    table = groups.agg(linked=("linked", "mean"), n=("value", "size"), mean=("value", "mean"), sd=("value", "std"))
    half = stats.t.ppf(0.975, (table["n"] - 1).clip(lower=1)) * table["sd"] / np.sqrt(table["n"])
    table["low"], table["high"] = table["mean"] - half, table["mean"] + half
    return table.reset_index()


def to_markdown(table: pd.DataFrame) -> str:
    """A table per metric: variants down, shares of linked pairs across, mean and standard deviation over seeds."""
    parts = []
    for metric, title in NAMES.items():
        rows = table[table["metric"] == metric]
        if rows.empty:
            continue
        fractions = sorted(rows["fraction"].unique())
        cells = {(r.variant, r.fraction): r for r in rows.itertuples()}
        lines = [
            f"**{title}** (mean over seeds, standard deviation)\n",
            "| variant | " + " | ".join(f"{f:.1%}" for f in fractions) + " |",
            "| :--- |" + " ---: |" * len(fractions),
        ]
        for variant in rows["variant"].unique():
            lines.append(f"| {variant} | " + " | ".join(_cell(cells.get((variant, f))) for f in fractions) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def plot(table: pd.DataFrame, file: Path) -> None:
    """A panel per metric; lines are means over seeds, bands their 95% t-intervals."""
    metrics = [m for m in NAMES if (table["metric"] == m).any()]
    columns = min(3, len(metrics))
    height = -(-len(metrics) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.4 * height), layout="constrained")
    axes = figure.subplots(height, columns, squeeze=False).flat
    variants = list(table["variant"].unique())
    colours = dict(zip(variants, mpl.colormaps["tab10"](range(10)), strict=False))
    for axis, metric in zip(axes, metrics, strict=False):
        for variant in variants:
            rows = table[(table["metric"] == metric) & (table["variant"] == variant)].sort_values("fraction")
            axis.plot(rows["fraction"], rows["mean"], marker="o", ms=4, color=colours[variant], label=variant)
            axis.fill_between(rows["fraction"], rows["low"], rows["high"], color=colours[variant], alpha=0.15, lw=0)
        axis.set(title=NAMES[metric], xscale="log", xlabel="share of linked patients")
        axis.set_xticks(sorted(table["fraction"].unique()))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}%"))
        axis.grid(alpha=0.3)
    for axis in list(axes)[len(metrics) :]:
        axis.remove()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False)
    with runs.atomic(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def plot_curves(results: Sequence[Mapping[str, Any]], file: Path) -> None:
    """A panel per share of linked pairs: AUROC on the validation part while training, a line per run."""
    runs_with = [run for run in results if run.get("validation")]
    fractions = sorted({run["fraction"] for run in runs_with})
    variants = list(dict.fromkeys(run["variant"] for run in runs_with))
    figure = Figure(figsize=(5.2 * len(fractions), 3.8), layout="constrained")
    axes = figure.subplots(1, len(fractions), squeeze=False, sharey=True).flat
    colours = dict(zip(variants, mpl.colormaps["tab20"](range(20)), strict=False))
    for axis, fraction in zip(axes, fractions, strict=True):
        for run in runs_with:
            if run["fraction"] == fraction:
                steps, values = zip(*run["validation"], strict=True)
                axis.plot(steps, values, lw=1.2, color=colours.get(run["variant"]), label=run["variant"])
        axis.set(title=f"{100 * fraction:g}% linked", xlabel="step")
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("validation AUROC")
    lines = {label: line for a in figure.axes for line, label in zip(*a.get_legend_handles_labels(), strict=True)}
    columns = min(5, len(lines))
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    with runs.atomic(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def write_summary(results: Sequence[Mapping[str, Any]], out: Path, name: str) -> pd.DataFrame:
    """Write the table of all runs, and what can be drawn of them.

    ``<name>.json`` and ``<name>.md``; ``<name>.png`` where there are several fractions, ``<name>-validation.png`` where
    runs were validated while training.
    """
    table = summarise(results)
    runs.write_json(out / f"{name}.json", table.astype(object).where(table.notna(), None).to_dict("records"))
    runs.write_text(out / f"{name}.md", to_markdown(table))
    if table["fraction"].nunique() > 1:
        plot(table, out / f"{name}.png")
    if any(run.get("validation") for run in results):
        plot_curves(results, out / f"{name}-validation.png")
    return table


def _cell(row: Any) -> str:
    if row is None:
        return "-"
    return f"{row.mean:.3f}" if np.isnan(row.sd) else f"{row.mean:.3f} ± {row.sd:.3f}"
