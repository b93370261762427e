"""Tables for a paper: LaTeX with booktabs, what may be copied as it stands."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lgdea.evaluation.results.metric_facts import LOWER_IS_BETTER
from lgdea.evaluation.results.reading_differences import ReadingTable
from lgdea.evaluation.results.result import Value
from lgdea.reporting.measures import ClassTable, MetricRow, TaskTables
from lgdea.statistics.format import INTERVAL_KIND
from lgdea.version import __version__

LEVEL = 0.05
"""Below this p-value a difference gets its mark."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "→": r"$\rightarrow$",
    "−": "$-$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def latex_table(table: TaskTables, baseline: str | None, classes: ClassTable | None = None) -> str:
    """One table of a task: all its metrics, or one metric by class.

    The best value of a row is bold (equal printed values are equally good), an asterisk marks a model that beats the
    baseline, and the caption says what the numbers are: definition, archive, split and number of items.

    Args:
        table: The results of one task.
        baseline: The model that the tests compare with; None when there is none.
        classes: The metric to show by class; all metrics over all classes when None.

    Returns:
        Lines of a ``table`` environment that needs ``\\usepackage{booktabs}``, ending with a line break.
    """
    rows = table.rows if classes is None else classes.rows
    first = "Metric" if classes is None else "Class"
    starred = any(_beats(row, cell.label) for row in rows for cell in row.cells)
    head = " & ".join([first, "$n$", *map(escape, table.labels)])
    name = table.task if classes is None else f"{table.task}-{classes.metric}"
    caption = _caption(table, classes, baseline, starred)
    return _environment(caption, name, "lr" + "r" * len(table.labels), head, [_row(row, table.labels) for row in rows])


def reading_latex(table: ReadingTable) -> str:
    """Differences between the readings of one result as a table; an asterisk marks the first as better.

    Args:
        table: Of one result of ``lgdea eval references``.

    Returns:
        Lines as of :func:`latex_table`.
    """
    source = table.source
    ids = ", ".join(dict.fromkeys(v.definition for d in table.differences for v in d.metrics.values()))
    n = max(v.n for d in table.differences for v in d.metrics.values())
    caption = (
        f"Differences of the readings of {table.label}: archive {source.archive}, {source.split} split, definition "
        f"{source.definition} ({ids}), {n} items. Difference with its interval ({INTERVAL_KIND})."
    )
    mark = rf" $^{{*}}$ the first has the better balanced accuracy, one-sided $p < {LEVEL}$, Holm-corrected."
    rows = [
        " & ".join([
            escape(d.name) + ("$^{*}$" if d.p_holm < LEVEL else ""), *(_interval(v) for v in d.metrics.values())
        ])
        for d in table.differences
    ]  # fmt: skip
    head = " & ".join(map(escape, table.columns[:-1]))
    return _environment(
        escape(caption) + mark,
        f"{source.task}-readings-{table.label}",
        "l" + "r" * (len(table.columns) - 2),
        head,
        rows,
    )


def escape(text: str) -> str:
    """Plain text as LaTeX text; line breaks become spaces.

    >>> escape("a_b & c%")
    'a\\\\_b \\\\& c\\\\%'
    """
    escaped = "".join(_SPECIAL.get(c, c) for c in " ".join(text.split()))
    # After the \\ that ends a row, `[` and `*` would be read as its arguments.
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped


def _environment(caption: str, name: str, columns: str, head: str, rows: Sequence[str]) -> str:
    lines = [
        rf"% lgdea {__version__}; needs \usepackage{{booktabs}}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{caption}}}",
        rf"  \label{{tab:{_label(name)}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        rf"    {head} \\",
        r"    \midrule",
        *(rf"    {row} \\" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _caption(table: TaskTables, classes: ClassTable | None, baseline: str | None, starred: bool) -> str:
    what = "all metrics" if classes is None else f"{classes.name.replace('_', ' ')} by class"
    source = f"archive {table.about}, definition {table.definition}"
    if classes is not None:
        ids = dict.fromkeys(v.definition for r in classes.rows for c in r.cells if (v := c.value) and v.definition)
        source += f" ({', '.join(ids)})" if ids else ""
    n = max((row.n for row in (table.rows if classes is None else classes.rows)), default=0)
    parts = [
        escape(f"{table.title}, {what}: {source}, up to {n} items."),
        escape(f"Value with its interval ({INTERVAL_KIND})."),
    ]
    if len(table.labels) > 1:
        parts.append("The best value of a row is bold.")
    if starred:
        corrected = "" if classes is None else ", Holm-corrected over the table"
        parts.append(f"$^{{*}}$ better than {escape(str(baseline))}, one-sided $p < {LEVEL}${corrected}.")
    return " ".join(parts)


def _row(row: MetricRow, labels: Sequence[str]) -> str:
    values = {cell.label: cell.value for cell in row.cells}
    best = _best(row)
    cells = [escape(row.name.replace("_", " ")), str(row.n) if row.n else "--"]
    for label in labels:
        value = values.get(label)
        if value is None:
            cells.append("--")
            continue
        text = _number(value.value)
        if len(labels) > 1 and text == best:
            text = rf"\textbf{{{text}}}"
        cells.append(text + ("$^{*}$" if _beats(row, label) else "") + _bounds(value))
    return " & ".join(cells)


def _interval(value: Value) -> str:
    return _number(value.value) + _bounds(value)


def _bounds(value: Value) -> str:
    inside = math.isfinite(value.low) and math.isfinite(value.high)
    return f" [{_number(value.low)}, {_number(value.high)}]" if inside else ""


def _best(row: MetricRow) -> str | None:
    known = [cell.value.value for cell in row.cells if cell.value]
    if not known:
        return None
    return _number(min(known) if row.metric.endswith(LOWER_IS_BETTER) else max(known))


def _beats(row: MetricRow, label: str) -> bool:
    return any(c.label == label and c.p_shown is not None and c.p_shown < LEVEL for c in row.cells)


def _number(value: float) -> str:
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return f"$-${text[1:]}" if text.startswith("-") else text


def _label(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name).strip("-")
