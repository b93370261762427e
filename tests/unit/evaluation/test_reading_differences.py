"""Paired differences of reading beside references: within one result and of two, against the metrics of their items."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.metrics.references import METRICS
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.evaluation.results.differences import differences, holm
from lgdea.evaluation.results.reading_differences import reading_differences, reading_pairs
from lgdea.evaluation.results.result import Result, write_result
from lgdea.evaluation.tasks.references import _summarise
from lgdea.evaluation.tasks.references_attribution import COLUMNS, attribution_values
from lgdea.evaluation.tasks.references_scores import Scored
from lgdea.reporting.latex import reading_latex
from tests.helpers.command_line import run_lgdea
from tests.unit.reporting.test_latex import check_structure

READINGS = ("single", "z/random@1", "ratio/random@1", "z/random@5", "z/demographic@1")
NOISE = (2.5, 2.5, 2.5, 0.6, 2.5)
"""Five random references help; nothing else differs from the query alone by more than chance."""
CONFIG = ReferencesConfig(bootstrap_replicates=20)
CLASSES = ["mass", "nodule"]


def made(seed: int, noise: tuple[float, ...] = NOISE, readings: tuple[str, ...] = READINGS) -> Result:
    """A result of 120 images of 40 patients; labels are the same for all seeds, some unknown."""
    truth = np.random.default_rng(7).integers(2, size=(120, 2)).astype(float)
    truth[::13, 0] = np.nan
    ids = {name: [f"{name[0]}{i // (3 if name == 'patient_id' else 1):03d}" for i in range(120)]
           for name in ("image_id", "study_id", "patient_id")}  # fmt: skip
    scored = Scored(pd.DataFrame(ids), CLASSES, truth)
    rng = np.random.default_rng(seed)
    for reading, spread in zip(readings, noise, strict=True):
        scored.scores[reading] = np.nan_to_num(truth) + spread * rng.normal(size=truth.shape)
        scored.calls[reading] = (scored.scores[reading] > 0.5).astype(float)
    overall, per_class = _summarise(scored, CONFIG)
    rows, columns = np.nonzero(~np.isnan(truth))
    table = {name: np.array(values)[rows] for name, values in ids.items()}
    table |= {"class": np.array(CLASSES)[columns], "label": truth[rows, columns]}
    for reading in readings:
        table[reading] = scored.scores[reading][rows, columns]
        table[f"{reading}/call"] = scored.calls[reading][rows, columns]
    items = pd.DataFrame(table)
    measured = items[items["label"] == 1].iloc[:12][["image_id", "class", "patient_id"]]
    measured[list(COLUMNS)] = rng.random((12, len(COLUMNS)))
    overall |= attribution_values(measured, measured["patient_id"].to_numpy(object), CONFIG)
    items = items.merge(measured.drop(columns="patient_id"), on=["image_id", "class"], how="left")
    config = CONFIG.model_dump(mode="json")
    return Result("references", "references-v1", "m", "x", "test", overall, per_class, config, items)


def by_hand(items: pd.DataFrame, reading: str) -> dict[str, float]:
    parts = [
        (balanced_accuracy_score(g["label"], g[f"{reading}/call"]), f1_score(g["label"], g[f"{reading}/call"]),
         roc_auc_score(g["label"], g[reading]))
        for _, g in items.groupby("class")
    ]  # fmt: skip
    return dict(zip(METRICS, np.mean(parts, axis=0), strict=True))


def test_pairs_differ_in_one_thing():
    assert set(reading_pairs(READINGS)) == {
        *((name, "single", "references") for name in READINGS[1:]),
        ("ratio/random@1", "z/random@1", "score"),
        ("z/random@5", "z/random@1", "number"),
        ("z/demographic@1", "z/random@1", "strategy"),
    }
    assert reading_pairs(["single", "self", "standardised/random@1", "z/random@1"]) == [
        ("standardised/random@1", "single", "references"),
        ("z/random@1", "single", "references"),
        ("standardised/random@1", "self", "references"),
        ("self", "single", "score"),
        ("z/random@1", "standardised/random@1", "score"),
    ]
    # of another name that holds the same letters, and without the query alone
    assert reading_pairs(["paired/cross_centre@10", "paired/centre@10"]) == [
        ("paired/centre@10", "paired/cross_centre@10", "strategy")
    ]
    assert reading_pairs([]) == []


def test_differences_are_those_of_the_items_and_intervals_are_by_patient():
    result = made(0)
    found = reading_differences(result, replicates=300)
    assert [(d.a, d.b, d.what) for d in found] == reading_pairs(READINGS)
    for d in found:
        a, b = by_hand(result.items, d.a), by_hand(result.items, d.b)
        for metric in METRICS:
            value = d.metrics[metric]
            assert value.value == pytest.approx(a[metric] - b[metric]), (d.name, metric)
            assert value.low <= value.value <= value.high
            assert value.definition in DEFINITIONS
            assert value.n == 120
    against = {d.a: d for d in found if d.what == "references"}
    assert against["z/random@5"].metrics["balanced_accuracy"].value == pytest.approx(
        result.metrics["z/random@5/balanced_accuracy_gain"].value
    )
    assert against["z/random@5"].p_holm < 0.05 < against["z/random@1"].p_value
    assert against["z/random@5"].metrics["auroc"].low > 0
    for what in ("references", "number"):
        family = [d for d in found if d.what == what]
        assert [d.p_holm for d in family] == pytest.approx(list(holm([d.p_value for d in family])))


def test_bounds_are_those_of_drawn_patients():
    """Copies of the items of drawn patients, measured by scikit-learn."""
    result = made(3)
    rng, groups = np.random.default_rng(1), dict(tuple(result.items.groupby("patient_id")))
    drawn = []
    for _ in range(300):
        copies = pd.concat([groups[name] for name in rng.choice(list(groups), len(groups))])
        a, b = (by_hand(copies, reading)["balanced_accuracy"] for reading in ("z/random@5", "z/random@1"))
        drawn.append(a - b)
    found = next(d for d in reading_differences(result, replicates=1000) if d.what == "number")
    value = found.metrics["balanced_accuracy"]
    assert [value.low, value.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_two_results_are_compared_reading_by_reading():
    a, b = made(0), made(1, noise=(2.5, 0.5, 2.5), readings=("single", "z/random@1", "paired/random@1"))
    found = differences({"a": a, "b": b}, replicates=100)["b"]
    shared = {"single", "z/random@1"}
    assert {m.rpartition("/")[0] for _, m in found} == {*shared, "attribution"}
    for (name, metric), d in found.items():
        values = [r.per_class[name][metric] if name else r.metrics[metric] for r in (b, a)]
        assert d.value == pytest.approx(values[0].value - values[1].value), (name, metric)
        assert d.n == values[0].n, (name, metric)
        assert d.low <= d.value <= d.high
    wanted = {m for m in a.metrics if m.rpartition("/")[0] in shared and not m.endswith("p_value")}
    assert wanted == {m for name, m in found if not name and not m.startswith("attribution")}
    better = found["", "z/random@1/balanced_accuracy_macro"]
    assert better.p_value < 0.01
    assert better.low > 0
    assert found["mass", "z/random@1/balanced_accuracy"].p_holm >= found["mass", "z/random@1/balanced_accuracy"].p_value
    assert found["", "single/balanced_accuracy_macro"].p_value > 0.005


def test_other_tasks_no_items_and_no_replicates_have_none():
    result = made(0)
    assert reading_differences(result, replicates=0) == []
    assert reading_differences(Result(**{**vars(result), "task": "change"})) == []
    assert reading_differences(Result(**{**vars(result), "items": pd.DataFrame()})) == []


@pytest.mark.parametrize("kind", ["terminal", "markdown", "latex", "csv", "json"])
def test_the_command_shows_them(capsys, tmp_path, kind):
    folder = write_result(made(0), tmp_path / "one").parent
    code, out, _ = run_lgdea(
        capsys, "eval", "compare", f"reader_1={folder}", "--format", kind, "--replicates", 100, "--seed", 2
    )
    assert code == 0
    d = next(d for d in reading_differences(made(0), replicates=100, seed=2) if d.what == "number")
    value = d.metrics["balanced_accuracy"]
    if kind == "json":
        row = next(r for r in json.loads(out) if r["metric"] == "z/random@5 - z/random@1/balanced_accuracy_macro")
        assert [row["value"], row["low"], row["high"], row["p_value"], row["p_holm"]] == pytest.approx(
            [value.value, value.low, value.high, d.p_value, d.p_holm]
        )
        assert row["model"] == "reader_1"
        return
    assert f"{value.value:.3f}" in out
    if kind == "latex":
        assert "reader\\_1" in out
        check_structure(out[out.rindex("\\begin{table}") :])
        return
    assert ("z/random@5 - z/random@1" in out) or kind == "terminal"
    assert kind == "csv" or "differences of the readings of" in " ".join(out.split())


def test_latex_marks_what_is_better_beyond_chance(tmp_path):
    from lgdea.evaluation.results.compare import compare_results
    from lgdea.evaluation.results.reading_differences import reading_tables

    (table,) = reading_tables(compare_results({"a_b": {"references": made(0)}}), replicates=100)
    body = [line for line in reading_latex(table).splitlines() if " & " in line]
    starred = [line.strip().split("$")[0] for line in body if "$^{*}$" in line]
    assert any(line.startswith("z/random@5 - single") for line in starred)
    assert not any(line.startswith("z/random@1 - single") for line in starred)
