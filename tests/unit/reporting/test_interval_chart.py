from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lgdea.evaluation.results.result import Result, Value, write_result
from lgdea.reporting.interval_chart import (
    SHAPES,
    Plot,
    class_plot,
    interval_chart,
    standalone,
    table_plots,
    write_plots,
)
from lgdea.reporting.measures import Cell, MetricRow, TaskTables, task_tables
from lgdea.reporting.palette import SERIES

COLOURS = {"a": 0, "b <&>": 1}


@pytest.fixture
def found(tmp_path: Path) -> TaskTables:
    for i in range(2):
        metrics = {"auroc_macro": Value(0.8, 0.7, 0.9, 5), "mcc_macro": Value(-0.1, -0.3, 0.2), "cnr_macro": Value(2.5)}
        metrics |= {"x/median_rank": Value(20.0, 10.0, 40.0), "y/median_rank": Value(30.0)}
        per_class = {f"class_{c}": {"auroc": Value(0.5 + c / 20, 0.4, 0.9, 7)} for c in range(5)}
        if i:
            per_class["class_0"] = {"auroc": Value(math.nan)}
            del metrics["mcc_macro"]
        write_result(Result("zero-shot", "v1", "m", "x/../y", "test", metrics, per_class, {}), tmp_path / str(i))
    (table,) = task_tables({"a": tmp_path / "0", "b <&>": tmp_path / "1"})
    return table


def bars(svg: str) -> tuple[int, int, int]:
    """Marks, whiskers and places without a value."""
    marks = re.findall(r"<g class=\"s\d\" data-label", svg)
    return len(marks), svg.count('class="whisker"'), svg.count('class="none"')


def test_every_value_has_its_bar_and_every_gap_is_shown(found: TaskTables) -> None:
    (by_class,) = found.per_class
    plot = class_plot(found, by_class, COLOURS)
    assert bars(plot.svg) == (9, 9, 1)
    assert "b &lt;&amp;&gt;, class 0: no value" in plot.svg
    assert "a, class 1: 0.550 [0.400, 0.900], n 7" in plot.svg


def test_rows_that_share_no_scale_share_no_picture(found: TaskTables) -> None:
    plots = table_plots(found, COLOURS)
    assert [(p.title, bars(p.svg)) for p in plots] == [
        ("Zero-shot, all metrics", (3, 3, 1)),
        ("Zero-shot, CNR", (2, 0, 0)),
        ("Zero-shot, median rank, lower is better", (4, 2, 0)),
    ]


def test_bars_stand_at_their_values(found: TaskTables) -> None:
    row = next(r for r in found.rows if r.metric == "auroc_macro")
    svg = ET.fromstring(str(interval_chart("t", [row], found.labels, COLOURS)))
    ticks = {t.text: float(t.attrib["x"]) for t in svg.iter("text") if t.attrib.get("class") == "tick"}
    zero, one = ticks["0"], ticks["1"]
    whisker = next(e for e in svg.iter("line") if e.attrib["class"] == "whisker")
    assert float(whisker.attrib["x1"]) == pytest.approx(zero + 0.7 * (one - zero), abs=0.1)
    assert float(whisker.attrib["x2"]) == pytest.approx(zero + 0.9 * (one - zero), abs=0.1)


def test_files_stand_alone(found: TaskTables, tmp_path: Path) -> None:
    plots = [*table_plots(found, COLOURS), class_plot(found, found.per_class[0], COLOURS)]
    files = write_plots(tmp_path / "plots", [*plots, plots[0]])
    assert len(files) == len(set(files)) == 5
    assert {f.parent for f in files} == {tmp_path / "plots"}
    for file in files:
        text = file.read_text()
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in text
        assert SERIES[1] in text
        assert not re.findall(r"(?:href|src)=|url\(|@import", text)


def test_every_colour_has_its_own_shape() -> None:
    assert len(set(SHAPES)) == len(SHAPES) == len(SERIES)


def test_a_row_of_one_value_without_interval_has_a_picture() -> None:
    row = MetricRow("t", "cnr", "CNR", (Cell("a", Value(0.0)),), None, 0.0, 1.0)
    chart = interval_chart("t", [row], ["a"], COLOURS)
    assert bars(chart) == (1, 0, 0)
    assert standalone(Plot("n", "t", chart)).count("<svg ") == 1
