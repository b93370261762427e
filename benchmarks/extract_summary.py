"""``python -m benchmarks extract`` writes ``extract.json`` with every measurement, ``extract.md``, ``extract.png``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgdea import runs
from lgdea.reporting.palette import SERIES
from lgdea.version import __version__

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS = "extract.json"
COLUMNS = ("measurement", "lgdea", "other", "comparison")


def merge_results(out: Path, new: Mapping[str, Any]) -> dict[str, Any]:
    """``new`` measurements beside those that ``out`` holds already; a measurement made again replaces the old one.

    Keys: ``compare``, ``stream-<reports>``, ``overhead-<backend>``; each measurement says when and where it was made.
    """
    file = out / RESULTS
    old = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    where = {"lgdea": __version__, "measured": runs.now(), "machine": runs.environment()}
    return {**old, **{key: {**value, **where} for key, value in new.items()}}


def write_results(out: Path, results: Mapping[str, Any]) -> None:
    """Write the three files; the picture only when there is something to draw."""
    runs.write_json(out / RESULTS, results)
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows(results)]
    runs.write_text(out / "extract.md", "".join(f"| {' | '.join(line)} |\n" for line in lines))
    if any(key == "compare" or key.startswith("stream-") for key in results):
        _plot(results, out / "extract.png")


def rows(results: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The table's rows of :data:`COLUMNS`."""
    made: list[tuple[str, str, str, str]] = []
    if "compare" in results:
        made += _compare_rows(results["compare"])
    for key, value in results.items():
        if key.startswith("overhead-"):
            speed = {name: f"{reports:,.1f}" for name, reports in value["reports_per_second"].items()}
            overhead = value["overhead"]
            share = overhead["median"] if isinstance(overhead, Mapping) else overhead
            name = key.removeprefix("overhead-")
            made.append((f"reports/s with {name}, other: bare", speed["ours"], speed["bare"], f"{share:+.1%} time"))
    for value in _streams(results):
        peak = f"{value['peak_bytes'] / 1e9:.2f} GB" if value["peak_bytes"] else "not measured"
        speed_text = f"{value['reports_per_second']:,.0f} reports/s"
        made.append((f"peak memory, {value['reports']:,} generated reports", peak, "", speed_text))
    return made


def _compare_rows(compare: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    ours, *others = compare["systems"]
    peer = others[0] if others else None
    title = f"{compare['reports']:,} reports of {compare['archive']}"
    speeds = [f"{s['reports_per_second']:,.1f}" for s in compare["systems"]]
    ratio = ""
    if peer:
        ratio = f"{compare['speed_ratio']:,.1f} times {peer['name']}, {compare['cpu_ratio']:,.1f} in CPU time"
    made = [(f"reports/s, {title}", speeds[0], speeds[1] if peer else "", ratio)]
    reading = compare["in_memory"]
    ratio = f"{reading['cpu_ratio']:,.1f} times {peer['name']} in CPU time" if peer else ""
    made.append(
        ("reports/s, texts in memory", f"{reading['reports_per_second']:,.1f}", speeds[1] if peer else "", ratio)
    )
    for key, name in (("micro_f1", "micro-F1"), ("macro_f1", "macro-F1")):
        difference = f"{ours[key] - peer[key]:+.3f}" if peer else ""
        made.append((f"{name}, {compare['gold']}", f"{ours[key]:.3f}", f"{peer[key]:.3f}" if peer else "", difference))
    return made


def _streams(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [value for key, value in results.items() if key.startswith("stream-")]
    return sorted(found, key=lambda value: int(value["reports"]))


def _plot(results: Mapping[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    streams = [s for s in _streams(results) if s["peak_bytes"]]
    compare = results.get("compare")
    count = 2 * (compare is not None) + bool(streams)
    if not count:
        return
    figure = Figure(figsize=(4 * count, 3.2), layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False).flat)
    if compare is not None:
        _plot_compare(compare, axes[0], axes[1])
    if streams:
        axes[-1].plot([s["reports"] for s in streams], [s["peak_bytes"] / 1e9 for s in streams], "o-", color=SERIES[0])
        axes[-1].set(title="peak memory, GB", xlabel="generated reports", xscale="log")
        axes[-1].set_ylim(bottom=0)
        axes[-1].grid(alpha=0.3)
    with runs.atomic(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _plot_compare(compare: Mapping[str, Any], speed: Axes, scores: Axes) -> None:
    systems = compare["systems"]
    names = [s["name"] for s in systems]
    bars = speed.bar(names, [s["reports_per_second"] for s in systems], color=SERIES[: len(systems)], width=0.6)
    speed.bar_label(bars, fmt="{:,.0f}")
    speed.set(title="reports/s on one core", yscale="log")
    speed.margins(y=0.15)
    width = 0.8 / len(systems)
    for number, system in enumerate(systems):
        for place, key in enumerate(("micro_f1", "macro_f1")):
            low, high = system[f"{key}_interval"]
            value = system[key]
            error = [[max(0.0, value - low)], [max(0.0, high - value)]]
            at = place + (number - (len(systems) - 1) / 2) * width
            label = system["name"] if place == 0 else None
            scores.bar(at, value, width * 0.9, yerr=error, color=SERIES[number], label=label, ecolor="#444444")
    scores.set(title=f"F1 on {compare['gold']} [95%]", ylim=(0, 1), xticks=[0, 1], xticklabels=["micro", "macro"])
    scores.legend(frameon=False, loc="lower right")
