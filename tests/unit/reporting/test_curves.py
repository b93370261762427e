from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.errors import DataError
from lgdea.reporting.curves import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Curve,
    line_chart,
    read_metrics,
    thin,
)
from lgdea.reporting.svg import round_ticks, short_number


def write(folder: Path, text: str) -> Path:
    file = folder / "metrics.csv"
    file.write_text(text)
    return file


def test_wide_metrics_leave_blanks_out(tmp_path: Path) -> None:
    curves = read_metrics(write(tmp_path, "step,epoch,train/loss,val/auroc\n0,0,2.0,\n10,0,1.5,0.6\n20,1,,0.7\n"))
    assert list(curves) == ["train/loss", "val/auroc"]
    assert curves["train/loss"][0].tolist() == [0, 10]
    assert curves["val/auroc"][1].tolist() == [0.6, 0.7]


def test_long_metrics_read_the_same(tmp_path: Path) -> None:
    text = "step,name,value\n10,train/loss,1.5\n0,train/loss,2.0\n10,val/auroc,0.6\n"
    curves = read_metrics(write(tmp_path, text))
    assert curves["train/loss"][0].tolist() == [0, 10]
    assert curves["train/loss"][1].tolist() == [2.0, 1.5]


def test_infinities_words_and_empty_files(tmp_path: Path) -> None:
    curves = read_metrics(write(tmp_path, "step,loss,note\n0,inf,start\n1,3.0,end\n"))
    assert {k: v[1].tolist() for k, v in curves.items()} == {"loss": [3.0]}
    assert read_metrics(write(tmp_path, "")) == {}


def test_a_csv_without_steps_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics\.csv: has no column `step`"):
        read_metrics(write(tmp_path, "a,b\n1,2\n"))


@given(n=st.integers(1, 900))
def test_thinning_keeps_ends_order_and_mean(n: int) -> None:
    steps, values = np.arange(n, dtype=float), np.random.default_rng(n).random(n)
    thinned, means = thin(steps, values, points=50)
    assert len(thinned) == min(n, 50)
    assert (thinned[0], thinned[-1]) == (0, n - 1)
    assert (np.diff(thinned) > 0).all()
    assert means.min() >= values.min()
    assert means.max() <= values.max()


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_inside(low: float, width: float) -> None:
    found = round_ticks(low, low + width)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-6 * width - 1e-9 <= t <= low + width * 1.000001 + 1e-9 for t in found)


def test_tick_values() -> None:
    assert round_ticks(0, 1) == [0, 0.5, 1] or round_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert round_ticks(0, 300) == [0, 100, 200, 300]
    assert [short_number(x) for x in (0, 0.5, 1500, 2e6, 0.0001)] == ["0", "0.5", "1.5k", "2M", "1e-4"]


def test_the_line_runs_from_corner_to_corner() -> None:
    curve = Curve("lgdea", 0, np.array([0.0, 100.0]), np.array([1.0, 0.0]))
    svg = line_chart("train/loss", [curve])
    path = re.search(r' d="M([^"]*)"', svg)
    assert path
    (x0, y0), (x1, y1) = ([float(v) for v in p.split(",")] for p in path[1].split("L"))
    assert (x0, x1) == (LEFT, WIDTH - RIGHT)
    assert TOP <= y0 < y1 <= HEIGHT - BOTTOM
    # The page's script reads values back with the range and the frame that the chart carries.
    _, _, low, high = map(float, re.search(r'data-range="([^"]*)"', svg)[1].split())
    assert low + (HEIGHT - BOTTOM - y0) / (HEIGHT - TOP - BOTTOM) * (high - low) == pytest.approx(1, abs=0.01)


def test_one_point_and_equal_values_are_drawn() -> None:
    svg = line_chart("lr", [Curve("a", 0, np.array([5.0]), np.array([1e-4]))])
    assert "<circle" in svg
    assert "nan" not in svg.lower().replace("lr", "")


def test_names_are_escaped() -> None:
    svg = line_chart('"><script>', [Curve("<b>", 0, np.array([0.0, 1]), np.array([0.0, 1]))])
    assert "<script" not in svg
    assert "<b>" not in svg
