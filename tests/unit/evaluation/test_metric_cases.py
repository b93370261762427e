"""Cases that every metric must survive: shifted and all-negative scores, duplicates, one class, nothing, no label.

The metrics' own files hold the independent references; here stands what is the same for all of them.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from lgdea.evaluation.metrics import classification as c
from lgdea.evaluation.metrics import detection as d
from lgdea.evaluation.metrics import grounding as g
from lgdea.evaluation.metrics import retrieval as r
from lgdea.statistics import bootstrap as b
from lgdea.statistics.roc import auroc

CLASSIFICATION = {
    "auroc": auroc,
    "auprc": c.auprc,
    "f1": lambda s, y: c.f1_mcc_at_threshold(s, y, c.choose_threshold(s, y))[0],
    "mcc": lambda s, y: c.f1_mcc_at_threshold(s, y, c.choose_threshold(s, y))[1],
}
REFERENCE = {
    "auroc": sk.roc_auc_score,
    "auprc": sk.average_precision_score,
    "f1": lambda y, s: max(sk.f1_score(y, s >= t) for t in np.unique(s)),
}
RETRIEVAL = {
    "recall": lambda s, grades: r.recall_at_k(s, grades == 1, 2),
    "rank": lambda s, grades: r.first_positive_rank(*r.ties_at_best_positive(s, grades == 1)),
    "precision": lambda s, grades: r.precision_at_k(s, grades, 2),
    "ndcg": lambda s, grades: r.ndcg_at_k(s, grades, 2),
}
few_scores = st.sampled_from([-0.9, -0.5, -0.1, 0.0, 0.3])
labelled = st.lists(st.tuples(few_scores, st.sampled_from([0.0, 1.0, np.nan])), min_size=1, max_size=12)
ranked = st.lists(st.tuples(few_scores, st.sampled_from([0.0, 0.25, 1.0])), min_size=1, max_size=8)


def same(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("name", CLASSIFICATION)
@given(items=labelled)
def test_classification_knows_no_zero_no_order_and_no_unknown_label(name, items):
    metric, (scores, labels) = CLASSIFICATION[name], np.array(items).T
    value = metric(scores, labels)
    same(metric(scores / 2 - 0.5, labels), value)  # all negative, as cosines may be
    same(metric(scores[::-1], labels[::-1]), value)
    known = ~np.isnan(labels)
    same(metric(scores[known], labels[known]), value)
    if len(np.unique(labels[known])) < 2:
        assert np.isnan(value)
    elif name in REFERENCE:
        assert value == pytest.approx(REFERENCE[name](labels[known], scores[known]))


@pytest.mark.parametrize("name", ["auroc", "auprc", "f1", "mcc"])
@given(items=labelled)
def test_classification_of_everything_twice_is_the_same(name, items):
    scores, labels = np.array(items).T
    same(CLASSIFICATION[name](np.tile(scores, 2), np.tile(labels, 2)), CLASSIFICATION[name](scores, labels))


@pytest.mark.parametrize("labels", [[], [1.0, 1.0], [0.0, 0.0], [np.nan, 1.0], [np.nan, np.nan]])
def test_f1_and_mcc_of_one_class_or_nothing_are_not_numbers(labels):
    assert np.isnan(c.f1_mcc_at_threshold(-np.arange(1.0, len(labels) + 1), labels, -1.0)).all()
    assert np.isnan(c.f1_mcc_at_threshold([0.1, 0.2], [0, 1], np.nan)).all()


@given(st.lists(st.tuples(st.tuples(*[st.sampled_from([-0.3, -0.1, 0.2])] * 3), st.integers(0, 2)), min_size=1))
def test_single_label_accuracy_by_loop(items):
    credit = {}
    for scores, target in items:
        top = [k for k in range(3) if scores[k] == max(scores)]
        credit.setdefault(target, []).append(1 / len(top) if target in top else 0.0)
    expected = np.mean([np.mean(values) for values in credit.values()])
    scores, targets = zip(*items, strict=True)
    assert c.single_label_accuracy(scores, targets) == pytest.approx(expected)


@pytest.mark.parametrize("name", RETRIEVAL)
@given(items=ranked)
def test_retrieval_knows_no_zero_and_no_order(name, items):
    metric, (scores, grades) = RETRIEVAL[name], np.array(items).T[:, None]
    value = metric(scores, grades)
    assert value.shape == (1,)
    same(metric(scores / 2 - 0.5, grades), value)
    same(metric(scores[:, ::-1], grades[:, ::-1]), value)
    if not (grades == 1).any():
        assert np.isnan(value[0]) or (name in ("precision", "ndcg") and (grades > 0).any())


@pytest.mark.parametrize("name", RETRIEVAL)
def test_retrieval_without_queries_and_without_candidates(name):
    assert RETRIEVAL[name](np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)
    with pytest.raises(ValueError, match="no candidates"):
        RETRIEVAL[name](np.zeros((2, 0)), np.zeros((2, 0)))
    with pytest.raises(ValueError, match="not finite"):
        RETRIEVAL[name](np.array([[np.nan, 1.0]]), np.ones((1, 2)))


def test_a_duplicated_right_answer_takes_one_place_of_the_first_two():
    scores, grades = np.array([[0.9, 0.5, 0.5, 0.1]]), np.array([[0.0, 1.0, 1.0, 0.0]])
    assert RETRIEVAL["recall"](scores, grades)[0] == 1.0
    assert RETRIEVAL["rank"](scores, grades)[0] == 2.0
    assert RETRIEVAL["precision"](scores, grades)[0] == 0.5


GROUNDING = {"cnr": g.cnr, "miou": g.miou, "chance": g.pointing_chance}


@pytest.mark.parametrize("name", GROUNDING)
def test_maps_of_one_kind(name):
    metric, mask = GROUNDING[name], g.box_mask([[0, 0, 2, 1]], 2, 3)
    everywhere = np.ones((2, 3), bool)
    assert np.isnan(metric(np.full((2, 3), np.nan), mask))
    negative = metric(np.full((2, 3), -0.5), mask)  # nowhere warm
    assert negative == (pytest.approx(1 / 3) if name == "chance" else 0.0)
    whole = metric(np.full((2, 3), 0.7), everywhere)  # nothing outside
    assert np.isnan(whole) if name == "cnr" else whole == 1.0
    with pytest.raises(ValueError, match="mask is empty"):
        metric(np.zeros((2, 3)), ~everywhere)


def test_pointing_of_a_map_with_duplicated_boxes_counts_them_once():
    heat = np.array([[-0.2, -0.9], [-0.2, -0.9]])  # tied maxima, all negative
    assert g.pointing(heat, [[0, 0, 1, 1]] * 3) == 0.5
    iou, _ = d.overlaps([[0, 0, 1, 1]], [[0, 0, 1, 1]] * 3)
    assert d.hit_share(iou, 0.5) == 1.0  # every true box is overlapped ...
    assert d.match_boxes(iou, [-0.1], 0.5).sum() == 1  # ... but one found box answers to one


def test_intervals_of_nothing_and_of_one_patient():
    for items, patients in ((np.zeros(0), np.zeros(0)), (np.array([0.2, 0.4]), np.zeros(2))):
        value, low, high = b.cluster_bootstrap(b.weighted_mean(items), patients, replicates=20)
        assert np.isnan([low, high]).all()
        assert np.isnan(value) == (len(items) == 0)


@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.5, np.nan]), st.sampled_from("ab"), st.integers(0, 2)),
        min_size=1,
        max_size=9,
    )
)
def test_class_means_are_those_of_repeated_items(rows):
    items, classes, counts = (np.array(x) for x in zip(*rows, strict=True))
    again, names = np.repeat(items, counts), np.repeat(classes, counts)
    means = []
    for name in np.unique(classes):
        kept = [x for x, k in zip(again, names, strict=True) if k == name and not np.isnan(x)]
        means.append(np.mean(kept) if kept else np.nan)
    known = [x for x in means if not np.isnan(x)]
    expected = [*means, np.mean(known) if known else np.nan]
    same(b.class_means(items, classes)(counts[None].astype(float))[0], expected)


def test_permutation_is_right_as_often_as_it_says_when_there_is_nothing_to_find():
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(200):
        # Three images a patient that share most of their score: items alone would be far too sure.
        shared = np.repeat(rng.normal(0, 1, 15), 3)
        a, other = shared + rng.normal(0, 0.1, 45), np.repeat(rng.normal(0, 1, 15), 3)
        p_values.append(b.permutation_test(a, other, np.repeat(np.arange(15), 3), replicates=200, seed=seed).p_value)
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_swapping_without_a_defined_statistic_has_no_p_value():
    def area(scores):
        return auroc(scores, np.ones(len(scores)))  # one class only

    scores = np.arange(4.0)
    assert np.isnan(b.swap_test(area, scores, scores, np.arange(4)).p_value)
    with pytest.raises(ValueError, match="differ in shape"):
        b.swap_test(area, scores, scores[:2], np.arange(4))
