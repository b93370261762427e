"""The benchmark of readers beside references: its rows, its runs, and the table that is made of what is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import finetune
from benchmarks.finetune_pictures import Level, draw_patients, write_curriculum, write_films
from lgdea.comparison.finetune.rows import read_rows


@pytest.fixture
def small(monkeypatch) -> None:
    for name, value in (("TEST_PATIENTS", 6), ("ADAPT_PATIENTS", 6), ("ADAPT_STEPS", 1), ("ROWS", 2)):
        monkeypatch.setattr(finetune, name, value)
    monkeypatch.setattr(finetune, "CURRICULUM", ((finetune.SUBTLE, 6, 1), (finetune.SUBTLE, 6, 1)))


def test_twins_ask_about_the_same_queries_and_answers_say_what_was_drawn(tmp_path):
    patients = draw_patients(tmp_path / "a.npz", 8, finetune.SUBTLE, finetune.FINDINGS, seed=1, workers=1)
    again = draw_patients(tmp_path / "b.npz", 8, finetune.SUBTLE, finetune.FINDINGS, seed=1, workers=2)
    np.testing.assert_array_equal(patients.abnormal, again.abnormal)
    assert (patients.abnormal != patients.normal).any((1, 2)).all()
    write_films(patients, tmp_path / "level-0", 32)
    rows = {}
    for reading in ("single", "prior", "other"):
        levels = [("level-0", patients, 20)]
        file = write_curriculum(tmp_path / f"{reading}.jsonl", levels, reading, rows_per_step=4, seed=0)
        rows[reading] = read_rows(file)
    assert [len(rows[reading][0].images) for reading in ("single", "prior", "other")] == [1, 2, 2]
    for single, prior, other in zip(*rows.values(), strict=True):
        query = single.images[-1]
        assert query == prior.images[-1] == other.images[-1]
        assert single.answer == prior.answer == other.answer
        number, _, kind = query.stem.partition("-")
        side = "left" if patients.left[int(number)] else "right"
        assert single.answer == (f"yes {side}" if kind == "abnormal" else "no")
        assert prior.images[0].stem.startswith(f"{number}-")
        assert prior.images[0] != query
        assert not prior.images[0].stem.endswith("abnormal")
    assert any(row.images[0].stem.split("-")[0] != row.images[1].stem.split("-")[0] for row in rows["other"])


def test_old_findings_are_on_every_film_of_a_patient(tmp_path):
    level = Level(0.0, 2.0, (0.5, 1.0), old=3)
    healthy = draw_patients(tmp_path / "a.npz", 6, Level(0.0, 2.0, (0.5, 1.0)), ["consolidation"], seed=2, workers=1)
    marked = draw_patients(tmp_path / "b.npz", 6, level, ["consolidation"], seed=2, workers=1)
    apart = [
        np.abs(m.astype(float) - h.astype(float)).mean((1, 2))
        for m, h in zip((marked.before, marked.normal), (healthy.before, healthy.normal), strict=True)
    ]
    has_old = apart[0] > 3
    assert 0 < has_old.sum() < 6  # 0 to 3 of them
    np.testing.assert_array_equal(has_old, apart[1] > 3)
    assert (np.abs(marked.abnormal.astype(float) - marked.normal).mean((1, 2)) > 1).all()


def test_runs_are_done_once_and_make_the_table(small, tmp_path, monkeypatch, capsys):
    pytest.importorskip("trl", reason="lgdea[finetune] is not installed")
    command = ["finetune", "--out", str(tmp_path), "--seeds", "0", "--readings", "prior", "single"]
    monkeypatch.setattr("sys.argv", [*command, "--targets", "other-site"])
    finetune.main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == [
        "other-site-0",
        "other-site-before-0",
        "prior-0",
        "single-0",
    ]
    assert lines[2].split("|")[4].strip() != "-"  # the difference to its twin
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "results").iterdir()}
    finetune.main()
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "results").iterdir()} == times


def test_balanced_accuracy_is_of_both_queries_of_a_patient(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    for name, normal, abnormal in (("single-0", [1.0, -1.0], [1.0, -1.0]), ("prior-0", [-1.0, -1.0], [1.0, -1.0])):
        content = {"steps": 1, "reading": name[:-2], "normal": normal, "abnormal": abnormal}
        (results / f"{name}.json").write_text(json.dumps(content))
    prior, single = (line.split("|") for line in finetune.table(Path(tmp_path)).splitlines()[2:])
    assert prior[2].strip().startswith("0.750")
    assert single[2].strip().startswith("0.500")
    assert prior[4].strip().startswith("0.250")
