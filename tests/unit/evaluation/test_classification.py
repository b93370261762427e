import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from lgdea.evaluation.metrics import classification as m
from lgdea.statistics.roc import auroc, weighted_auroc

# Few distinct scores make many ties; half of the range is below 0, as cosines may be.
scored = st.lists(st.tuples(st.sampled_from([-0.9, -0.5, -0.1, 0.0, 0.3]), st.sampled_from([0.0, 1.0])), min_size=1)


def pairs_by_loop(scores, labels):
    wins = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p, lp in zip(scores, labels, strict=True)
        for n, ln in zip(scores, labels, strict=True)
        if lp == 1 and ln == 0
    ]
    return np.mean(wins) if wins else np.nan


@given(scored)
def test_auroc_agrees_with_all_pairs_and_scikit_learn(items):
    scores, labels = np.array(items).T
    assert auroc(scores, labels) == pytest.approx(pairs_by_loop(scores, labels), nan_ok=True)
    if len(set(labels)) == 2:
        assert auroc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores))


@given(scored)
def test_auprc_agrees_with_scikit_learn(items):
    scores, labels = np.array(items).T
    expected = sk.average_precision_score(labels, scores) if len(set(labels)) == 2 else np.nan
    assert m.auprc(scores, labels) == pytest.approx(expected, nan_ok=True)


@given(scored, st.sampled_from([-1.0, -0.5, -0.3, 0.0, 0.3, 0.5]))
def test_f1_and_mcc_agree_with_scikit_learn(items, threshold):
    scores, labels = np.array(items).T
    f1, mcc = m.f1_mcc_at_threshold(scores, labels, threshold)
    if len(set(labels)) < 2:
        assert np.isnan(f1)
        assert np.isnan(mcc)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert f1 == pytest.approx(sk.f1_score(labels, scores >= threshold, zero_division=0))
        assert mcc == pytest.approx(sk.matthews_corrcoef(labels, scores >= threshold))


@given(scored)
def test_the_chosen_threshold_has_the_best_f1_of_all(items):
    scores, labels = np.array(items).T
    threshold = m.choose_threshold(scores, labels)
    if len(set(labels)) < 2:
        assert np.isnan(threshold)
        return
    best = max(sk.f1_score(labels, scores >= t, zero_division=0) for t in np.unique(scores))
    assert m.f1_mcc_at_threshold(scores, labels, threshold)[0] == pytest.approx(best)


@given(scored, st.lists(st.integers(0, 3), min_size=1))
def test_weights_mean_repeated_items(items, counts):
    scores, labels = np.array(items).T
    counts = np.resize(counts, len(scores))
    again, labels_again = np.repeat(scores, counts), np.repeat(labels, counts)
    weights = counts[None].astype(float)
    assert weighted_auroc(scores, labels, weights)[0] == pytest.approx(auroc(again, labels_again), nan_ok=True)
    assert m.weighted_auprc(scores, labels, weights)[0] == pytest.approx(m.auprc(again, labels_again), nan_ok=True)
    f1, mcc = m.weighted_f1_mcc(scores, labels, -0.5, weights)
    assert (f1[0], mcc[0]) == pytest.approx(m.f1_mcc_at_threshold(again, labels_again, -0.5), nan_ok=True)


@pytest.mark.parametrize("metric", [auroc, m.auprc, m.choose_threshold])
def test_unknown_labels_are_left_out(metric):
    scores, labels = [0.9, 0.2, 0.5, 0.7], [1.0, 0.0, np.nan, np.nan]
    assert metric(scores, labels) == metric([0.9, 0.2], [1.0, 0.0])


@pytest.mark.parametrize("metric", [auroc, m.auprc, m.choose_threshold])
@pytest.mark.parametrize("labels", [[], [1.0, 1.0], [0.0, 0.0], [np.nan, 1.0]])
def test_one_class_or_nothing_is_not_a_number(metric, labels):
    assert np.isnan(metric(np.arange(len(labels)), labels))


def test_a_constant_scorer_is_at_chance():
    labels = np.array([1, 0, 0, 0, 1, 0, 0, 0.0])
    assert auroc(np.zeros(8), labels) == 0.5
    assert m.auprc(np.zeros(8), labels) == 0.25
    assert m.f1_mcc_at_threshold(np.zeros(8), labels, 0.0) == (pytest.approx(0.4), 0.0)


def test_the_score_of_an_unlabelled_item_may_be_anything_but_a_labelled_one_must_be_finite():
    assert auroc([0.9, 0.1, np.nan], [1, 0, np.nan]) == 1.0
    with pytest.raises(ValueError, match="not finite"):
        auroc([0.9, np.nan], [1, 0])


def test_labels_outside_zero_and_one_are_refused():
    with pytest.raises(ValueError, match="label"):
        auroc([0.9, 0.1], [1, -1])
    with pytest.raises(ValueError, match="must both be"):
        m.auprc([0.9, 0.1], [1])


def test_macro_leaves_undefined_classes_out():
    scores = np.array([[0.9, 0.1], [0.1, 0.2]])
    labels = np.array([[1.0, 1.0], [0.0, np.nan]])
    areas = m.multilabel(auroc, scores, labels)
    assert areas[0] == 1.0
    assert np.isnan(areas[1])
    assert m.macro(areas) == 1.0
    assert np.isnan(m.macro([np.nan, np.nan]))


def test_single_label_accuracy_weighs_classes_the_same():
    scores = np.eye(3)[[0, 0, 0, 0, 2, 2]]
    targets = np.array([0, 0, 0, 0, 1, 2])
    assert m.single_label_accuracy(scores, targets) == pytest.approx(
        sk.balanced_accuracy_score(targets, [0] * 4 + [2] * 2)
    )
    assert np.isnan(m.single_label_accuracy(np.zeros((0, 3)), []))


def test_tied_classes_share_the_hit():
    np.testing.assert_allclose(m.top1_credit([[-1.0, -1.0, -2.0], [0.0, 0.0, 0.0]], [0, 2]), [1 / 2, 1 / 3])
