"""Progress where stderr is no terminal: plain lines through the logger, never on stdout."""

import logging

import pytest

from lgdea import progress
from lgdea.progress import EVERY_SECONDS, PlainProgress, show_stages, tell_seconds, track


class _Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="lgdea.progress")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_line_comes_every_thirty_seconds_and_at_the_end(lines):
    clock = _Clock()
    shown = PlainProgress("scoring images", clock=clock)
    for done in range(0, 101, 10):
        shown.update(done, 100)
        clock.now += EVERY_SECONDS / 2
    assert lines() == [
        "scoring images: 20 of 100 in 30 s, about 120 s left".replace("120 s", "2 min"),
        "scoring images: 40 of 100 in 60 s, about 90 s left",
        "scoring images: 60 of 100 in 90 s, about 60 s left",
        "scoring images: 80 of 100 in 2 min, about 30 s left",
        "scoring images: 100 of 100 in 2 min",
    ]


def test_short_work_leaves_no_line(lines):
    assert list(track(range(5), "reading", 5)) == [0, 1, 2, 3, 4]
    assert lines() == []


def test_a_resumed_run_counts_its_own_steps_alone(lines):
    clock = _Clock()
    shown = PlainProgress("pretraining", 900, clock)
    clock.now = 60.0
    shown.update(950, 1000, ", loss 1.250")
    assert lines() == ["pretraining: 950 of 1,000 in 60 s, about 60 s left, loss 1.250"]


def test_every_stage_has_its_own_lines_and_stdout_stays_empty(lines, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    with show_stages() as show:
        show("reading", 1, 2)
        show("asking", 1, 4)
        show("reading", 2, 2)
    assert [line.split(" in ")[0] for line in lines()] == ["reading: 1 of 2", "asking: 1 of 4", "reading: 2 of 2"]
    assert capsys.readouterr().out == ""


def test_a_bar_in_a_bar_is_not_shown(monkeypatch):
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    with show_stages() as outer, show_stages() as inner:
        assert inner is progress._show_nothing
        outer("reading", 1, 2)
    assert not progress._Bars.in_use


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 h")])
def test_times_have_the_unit_that_suits_them(seconds, text):
    assert tell_seconds(seconds) == text
