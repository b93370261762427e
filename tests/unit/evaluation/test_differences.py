import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lgdea.evaluation.results import differences as d
from lgdea.evaluation.results import paired_tests
from lgdea.evaluation.results.result import Result, Value
from lgdea.evaluation.tasks import change, grounding, retrieval, zero_shot
from lgdea.phantom import generate
from lgdea.statistics.roc import auroc
from tests.helpers.mini_archive import Oracle, Shuffled


@pytest.fixture(scope="module")
def results(mini):
    models = {"chance": Shuffled(seed=1), "other": Shuffled(seed=2), "oracle": Oracle()}
    return {
        task.__name__: {name: task(model, mini, bootstrap_replicates=0) for name, model in models.items()}
        for task in (zero_shot, retrieval, grounding)
    }


def brute_holm(p_values):
    """Holm by its closed testing principle: p of a hypothesis is the worst Bonferroni p of all sets that hold it."""
    adjusted = []
    for i in range(len(p_values)):
        sets = (s for k in range(1, len(p_values) + 1) for s in itertools.combinations(range(len(p_values)), k))
        adjusted.append(max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in sets if i in s))
    return adjusted


@pytest.mark.parametrize(
    "p_values",
    [[0.01, 0.04, 0.03], [0.2], [0.5, 0.5, 0.5], [1e-4, 0.9, 0.02, 0.02, 0.3], [0.0, 1.0, 0.011, 0.2, 0.05, 0.05]],
)
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    assert d.holm(p_values).tolist() == pytest.approx(brute_holm(p_values))


def test_holm_does_not_count_tests_that_were_not_made():
    assert d.holm([np.nan, 0.02, np.nan, 0.01]).tolist() == pytest.approx([np.nan, 0.02, np.nan, 0.02], nan_ok=True)
    assert d.holm([]).tolist() == []
    assert np.isnan(d.holm([np.nan, np.nan])).all()


@pytest.mark.parametrize("task", ["zero_shot", "retrieval", "grounding"])
def test_the_difference_is_that_of_the_reported_values(results, task):
    """Every value that a task reports and items can tell, recomputed here from the items alone."""
    table = results[task]
    for label, found in d.differences(table, replicates=20).items():
        assert found
        for (name, metric), difference in found.items():
            values = [r.per_class[name][metric] if name else r.metrics[metric] for r in (table[label], table["chance"])]
            assert difference.value == pytest.approx(values[0].value - values[1].value, nan_ok=True), (name, metric)
            assert difference.n == values[0].n


def test_all_metrics_that_items_can_tell_are_compared(results):
    # An average precision is of a whole ranking of boxes, not of items.
    precision = {m for m in results["grounding"]["oracle"].metrics if m.startswith("ap@")}
    assert precision
    for task, missing in (("zero_shot", {"single_label_accuracy"}), ("retrieval", set()), ("grounding", precision)):
        found = d.differences(results[task], replicates=5)["oracle"]
        references = (*paired_tests.NO_SCORE, "prevalence")
        wanted = {m for m in results[task]["oracle"].metrics if not any(word in m for word in references)}
        assert wanted - {m for name, m in found if not name} == missing


def test_an_oracle_beats_chance_in_every_class_and_chance_does_not(results):
    for task, metric in (("zero_shot", "auroc"), ("grounding", "pointing")):
        found = d.differences(results[task], replicates=300)
        classes = results[task]["oracle"].per_class
        for name in classes:
            better, same = found["oracle"][name, metric], found["other"][name, metric]
            assert better.p_value < 0.05
            assert better.low > 0
            assert same.p_value > 0.005
            assert same.low < better.value
        raw = [found[label][name, metric].p_value for label in found for name in classes]
        corrected = [found[label][name, metric].p_holm for label in found for name in classes]
        assert corrected == pytest.approx(brute_holm(raw))


def test_only_tables_by_class_are_corrected(results):
    found = d.differences(results["zero_shot"], replicates=50)["oracle"]
    assert np.isnan(found["", "auroc_macro"].p_holm)
    assert all(np.isnan(v.p_holm) for (_, metric), v in found.items() if metric != "auroc")


def test_the_paired_interval_is_narrower_than_two_of_its_own(results):
    """Two models that share their errors: both intervals are wide, that of the difference is not."""
    rng = np.random.default_rng(0)
    score, patients = rng.random(200), [f"p{i}" for i in range(200)]
    frame = {"direction": "image_to_report", "query_id": range(200), "patient_id": patients}
    told = {"image_to_report/recall@5": Value(0.5)}
    a, b = (
        Result("retrieval", "v1", "m", "a", "test", told, {}, {}, pd.DataFrame({**frame, "recall@5": s}))
        for s in (score + 0.01 + rng.normal(0, 0.01, 200), score)
    )
    found = d.differences({"b": b, "a": a}, replicates=200)["a"]["", "image_to_report/recall@5"]
    width = 2 * 1.96 * score.std() / np.sqrt(200)
    assert found.high - found.low < width / 10
    assert found.low > 0
    assert found.p_value < 0.01


def test_rank_auroc_counts_what_scipy_sorts():
    rng = np.random.default_rng(3)
    scores = np.round(rng.normal(size=(60, 4)), 1)  # ties
    truth = rng.integers(2, size=(60, 4)).astype(float)
    truth[rng.random((60, 4)) < 0.2] = np.nan
    truth[:, 3] = 1
    ranks = pd.DataFrame(scores).rank().to_numpy()
    areas = paired_tests._rank_auroc(ranks, truth)
    for c in range(3):
        positive, negative = scores[truth[:, c] == 1, c], scores[truth[:, c] == 0, c]
        expected = stats.mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))
        assert areas[c] == pytest.approx(expected)
        assert areas[c] == pytest.approx(auroc(scores[:, c], truth[:, c]))
    assert np.isnan(areas[3])
    assert areas[4] == pytest.approx(areas[:3].mean())


def test_other_items_other_tasks_and_no_replicates_give_nothing(results):
    table = results["grounding"]
    fewer = Result(**{**vars(table["oracle"]), "items": table["oracle"].items.iloc[1:]})
    assert d.differences({"a": table["chance"], "b": fewer}) == {}
    assert d.differences(table, replicates=0) == {}
    unknown = {k: Result(**{**vars(r), "task": "another"}) for k, r in table.items()}
    assert d.differences(unknown) == {}
    empty = {k: Result(**{**vars(r), "items": pd.DataFrame()}) for k, r in table.items()}
    assert d.differences(empty) == {}


def test_an_infinite_contrast_is_left_out_as_in_the_result(results):
    table = results["grounding"]
    items = table["other"].items.copy()
    items.loc[0, "cnr"] = np.inf
    spoiled = Result(**{**vars(table["other"]), "items": items})
    found = d.differences({"a": table["chance"], "b": spoiled}, replicates=20)["b"]["", "cnr_micro"]
    assert np.isfinite(found.value)
    assert found.n == len(items) - 1


def test_a_new_mean_of_items_is_compared_and_a_reference_is_not(results):
    """A task may gain a metric; what is the same for every model is no score."""
    more = {}
    for i, (label, r) in enumerate(results["grounding"].items()):
        items = r.items.assign(iou=np.linspace(0, 1, len(r.items)) + i, iou_chance=0.1)
        metrics = {**r.metrics, "iou_micro": Value(0.5 + i), "iou_chance_micro": Value(0.1)}
        more[label] = Result(**{**vars(r), "items": items, "metrics": metrics})
    found = d.differences(more, replicates=20)["other"]
    assert found["", "iou_micro"].value == pytest.approx(1)
    assert not [m for _, m in found if "chance" in m]


class States:
    """Answers each finding of a pair at random or, for a share of the pairs, in one way."""

    def __init__(self, seed, stable):
        self.rng, self.stable = np.random.default_rng(seed), stable

    def read_changes(self, prior, current, findings):
        table = self.rng.random((len(prior), len(findings), 5))
        table[self.rng.random(len(prior)) < self.stable, :, 2] = 2
        return table


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    phantom = generate(folder, studies=120, size=64, seed=5, revisits=0.75, masks=False, workers=1)
    models = {"guess": States(0, 0.2), "other": States(1, 0.5)}
    settings = {"split": "all", "bootstrap_replicates": 0, "min_items": 2}
    return {name: change(model, phantom, **settings) for name, model in models.items()}


def test_the_difference_of_two_readers_of_change_is_that_of_their_values(changes):
    found = d.differences(changes, replicates=50)["other"]
    wanted = {m for m in changes["other"].metrics if "chance" not in m}
    assert {m for name, m in found if not name} == wanted
    assert {name for name, _ in found} - {""} == set(changes["other"].per_class)
    for (name, metric), difference in found.items():
        values = [(r.per_class[name] if name else r.metrics)[metric] for r in (changes["other"], changes["guess"])]
        assert difference.value == pytest.approx(values[0].value - values[1].value), (name, metric)
        assert difference.n == values[0].n
        assert difference.low <= difference.value + 0.2
        tested = metric != "swap_flipped"  # of each model's own answers, so of different items
        assert np.isnan(difference.p_value) != tested


def test_the_test_of_balanced_accuracy_weighs_as_the_metric_does(changes):
    """The weighted mean of items whose difference the test permutes is the difference of the metric itself."""
    model, base = changes["other"], changes["guess"]
    both = d.shared_items(model, base)
    state, findings = both["state"].to_numpy(str), both["class"].to_numpy(str)
    scored = list(model.per_class)
    weights = paired_tests._state_weights(state, findings, scored, 2)
    gap = both["correct"].to_numpy(float) - both["correct_base"].to_numpy(float)
    names = [*((name, "balanced_accuracy") for name in scored), ("", "balanced_accuracy_macro")]
    found = d.differences(changes, replicates=5)["other"]
    for name, w in zip([*names, ("", "balanced_accuracy")], weights, strict=True):
        assert (gap * w).mean() == pytest.approx(found[name].value)
        assert w.sum() == pytest.approx(len(gap))
