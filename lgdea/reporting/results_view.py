"""Results of one model as text for a terminal and as an HTML fragment for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from lgdea.evaluation.results.metric_facts import chance_level, headline_metrics, is_defined, metric_name, score_names
from lgdea.evaluation.results.result import Result, Value
from lgdea.statistics.format import INTERVAL_KIND, format_interval

HEAD = ("metric", "value [95% interval]", "chance", "n")
Rows = list[tuple[str, ...]]


def results_text(results: Mapping[str, Result]) -> str:
    """The headline metrics of every task as aligned text, with what they are of and where the others are.

    Args:
        results: Task to result, of one model.
    """
    blocks = []
    for result in results.values():
        names = score_names([result.metrics])
        shown = headline_metrics(result.task, names)
        lines = [f"{_title(result)}", *_align([HEAD, *_rows(result.metrics, shown)])]
        rest = [f"{len(names) - len(shown)} more metrics", f"{len(result.per_class)} classes"]
        rest += [f"{len(result.notes)} notes"] if result.notes else []
        rest += [f"{len(result.skipped)} items skipped"] if result.skipped else []
        blocks.append("\n".join([*lines, f"  ({', '.join(rest)})"]))
    blocks.append(f"{_interval_kind(results)}; .to_frame() has all values.")
    return "\n\n".join(blocks)


def results_html(results: Mapping[str, Result]) -> Markup:
    """The headline metrics of every task as a table, all metrics, classes and notes folded below it; escaped.

    Args:
        results: Task to result, of one model.
    """
    return Markup("<div>{}<p>{}.</p></div>").format(
        Markup("").join(_task_html(result) for result in results.values()), _interval_kind(results)
    )


def _task_html(result: Result) -> Markup:
    names = score_names([result.metrics])
    parts = [
        Markup("<h4>{}</h4>").format(_title(result)),
        _table_html(HEAD, _rows(result.metrics, headline_metrics(result.task, names))),
        _folded(f"All {len(names)} metrics", _table_html(HEAD, _rows(result.metrics, names))),
    ]
    if result.per_class:
        by_class = [
            (name, *row) for name, metrics in result.per_class.items() for row in _rows(metrics, score_names([metrics]))
        ]
        parts.append(_folded(f"{len(result.per_class)} classes", _table_html(("class", *HEAD), by_class)))
    remarks = [*result.notes, *(f"skipped {item['id']}: {item['reason']}" for item in result.skipped)]
    if remarks:
        items = Markup("").join(Markup("<li>{}</li>").format(remark) for remark in remarks)
        parts.append(_folded(f"{len(remarks)} notes", Markup("<ul>{}</ul>").format(items)))
    return Markup("").join(parts)


def _title(result: Result) -> str:
    suite = f", {result.suite}" if result.suite else ""
    return f"{result.task}: {result.model} on {result.archive} ({result.split}{suite}), {result.definition}"


def _interval_kind(results: Mapping[str, Result]) -> str:
    """Kind of the intervals, and their replicates from each result's settings."""
    counts = sorted({int(r.config.get("bootstrap_replicates", 1000)) for r in results.values()})
    return f"Intervals: {INTERVAL_KIND}, {' or '.join(map(str, counts))} replicates"


def _rows(metrics: Mapping[str, Value], names: Sequence[str]) -> Rows:
    rows: Rows = []
    for name in names:
        v, chance = metrics[name], chance_level(name, [metrics])
        if is_defined(v):
            shown = "" if chance is None else f"{chance:.3f}"
            rows.append((metric_name(name), format_interval(v.value, v.low, v.high), shown, str(v.n)))
    return rows


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        numbers = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        lines.append("  " + "  ".join([first.ljust(widths[0]), *numbers]).rstrip())
    return lines


def _table_html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    titles = Markup("").join(Markup("<th>{}</th>").format(text) for text in head)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(text) for text in row))
        for row in rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(titles, body)


def _folded(summary: str, content: Markup) -> Markup:
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, content)
