import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.results.compare import compare_results
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.evaluation.results.result import write_result
from lgdea.evaluation.tasks import classifiers, probe
from lgdea.records.archive import write_archive
from tests.helpers.mini_archive import FINDINGS, number_of, truth_of


class Knows:
    """Embeds an image as what is present in it."""

    name = "knows"

    def encode_images(self, images):
        return np.array([[1.0, *(f in truth_of(number_of(i)) for f in FINDINGS)] for i in images])


class Random:
    """Embeds every image by chance."""

    name = "random"

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def encode_images(self, images):
        return self.rng.normal(size=(len(images), 8))


FAST = {"bootstrap_replicates": 20, "draws": 2, "costs": (0.01, 1.0), "neighbours": (3, 5)}


@pytest.fixture(scope="module")
def larger(mini, tmp_path_factory):
    """``mini`` with half of its patients in training, so that every combination of findings is seen there."""
    number = mini.studies["patient_id"].str.removeprefix("mini:p").astype(int)
    split = np.select([number < 30, number < 40], ["train", "val"], "test")
    tables = {name: getattr(mini, name) for name in ("images", "reports", "boxes", "labels")}
    tables["studies"] = mini.studies.assign(split=split)
    return write_archive(tmp_path_factory.mktemp("larger") / "archive", "mini", tables, mini.image_root, {})


def test_an_oracle_scores_one_from_all_labels(larger):
    result = probe(Knows(), larger, fractions=(0.04, 1.0), draws=2, bootstrap_replicates=20)
    for setting in ("linear@100%", "knn@100%"):
        for metric in ("auroc_macro", "auprc_macro"):
            value = result.metrics[f"{setting}/{metric}"]
            assert (value.value, value.low, value.high) == pytest.approx((1, 1, 1))
    assert 0.5 <= result.metrics["linear@4%/auroc_macro"].value < 1
    assert result.config["chosen"]["knn@100%"][0] in result.config["neighbours"]


def test_a_model_without_knowledge_is_at_chance(mini):
    found = [probe(Random(seed), mini, **FAST | {"bootstrap_replicates": 0}).metrics for seed in range(5)]
    for setting in ("linear@1%", "linear@100%", "knn@10%", "knn@100%"):
        assert np.mean([m[f"{setting}/auroc_macro"].value for m in found]) == pytest.approx(0.5, abs=0.08)
    share = found[0]["prevalence_macro"].value
    assert np.mean([m["linear@100%/auprc_macro"].value for m in found]) == pytest.approx(share, abs=0.12)


def test_items_give_the_metrics_again(mini):
    result = probe(Random(), mini, **FAST)
    for name, rows in result.items.groupby("class"):
        for setting, draws in (("linear@10%", 2), ("knn@100%", 1)):
            columns = [rows[f"{setting}/{d}"] for d in range(draws)]
            assert f"{setting}/{draws}" not in rows
            for metric, reference in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
                value = result.per_class[name][f"{setting}/{metric}"]
                assert value.value == pytest.approx(np.mean([reference(rows["label"], c) for c in columns]))
                assert value.low <= value.value <= value.high
    assert set(result.items.merge(mini.studies, on="study_id")["split"]) == {"test"}
    macro = np.mean([v["linear@10%/auroc"].value for v in result.per_class.values()])
    assert result.metrics["linear@10%/auroc_macro"].value == pytest.approx(macro)


def test_the_same_seed_gives_the_same_numbers(larger):
    a, b, c = (probe(Random(), larger, **FAST, seed=seed) for seed in (0, 0, 1))
    assert a.to_dict() == b.to_dict()
    assert a.metrics["linear@10%/auroc_macro"] != c.metrics["linear@10%/auroc_macro"]


def test_a_class_that_the_drawn_labels_do_not_tell_scores_by_chance_and_is_named(mini):
    result = probe(Knows(), mini, **FAST)
    note = next(n for n in result.notes if n.startswith("1% of the labels: 1 patients"))
    assert "by chance" in note
    rows = result.items[["class", "linear@1%/0", "knn@1%/0"]].groupby("class").nunique()
    blind = [name for name, n in rows["linear@1%/0"].items() if n == 1]
    assert blind
    assert all(name in note for name in blind)


def test_settings_that_mix_patients_are_refused(mini):
    for settings in ({"split": "all"}, {"choose_split": "train"}, {"split": "val"}):
        with pytest.raises(UsageError, match=r"share \d+ patients"):
            probe(Knows(), mini, **settings)


def test_what_cannot_be_probed_is_one_clear_error(mini):
    with pytest.raises(DataError, match="no class has 50 positive"):
        probe(Knows(), mini, min_positive=50)

    class Broken(Knows):
        def encode_images(self, images):
            return super().encode_images(images) * np.nan

    with pytest.raises(DataError, match="not finite"):
        probe(Broken(), mini)


def test_unreadable_images_are_named(damaged):
    result = probe(Random(), damaged, **FAST)
    assert {item["id"] for item in result.skipped} == {"mini:30-a", "mini:31-a"}
    assert result.items["image_id"].nunique() == 40


def test_probes_side_by_side_are_tested_where_nothing_was_drawn(larger, tmp_path):
    for name, model in (("random", Random()), ("knows", Knows())):
        write_result(probe(model, larger, **FAST), tmp_path / name)
    (table,) = compare_results({n: tmp_path / n for n in ("random", "knows")}, replicates=30)
    assert set(table.tests) == {"linear@100%/auroc_macro", "knn@100%/auroc_macro"}
    for metric, tests in table.tests.items():
        assert tests["knows"].p_value < 0.05
        a, b = (table.metrics[metric][n].value for n in ("knows", "random"))
        assert tests["knows"].difference == pytest.approx(a - b)


def test_every_value_has_a_known_definition(mini):
    result = probe(Random(), mini, **FAST)
    found = [*result.metrics.values(), *(v for values in result.per_class.values() for v in values.values())]
    assert {value.definition for value in found} <= set(DEFINITIONS)


def test_subsets_are_patients_and_nested():
    patients = np.repeat(np.arange(40), 3)
    subsets = classifiers.nested_subsets(patients, (0.01, 0.1, 1.0), 4, seed=0)
    assert [len(subsets[f]) for f in (0.01, 0.1, 1.0)] == [4, 4, 1]
    for small, large in zip(subsets[0.01], subsets[0.1], strict=True):
        assert (small.sum(), large.sum()) == (3, 12)
        assert not (small & ~large).any()
        assert len(np.unique(patients[large])) == 4
    assert subsets[1.0][0].all()
    assert len({mask.tobytes() for mask in subsets[0.1]}) > 1
    again = classifiers.nested_subsets(patients, (0.1,), 4, seed=0)
    assert all((a == b).all() for a, b in zip(again[0.1], subsets[0.1], strict=True))


@pytest.mark.parametrize("dim", [5, 80])
def test_the_linear_probe_is_sklearns_also_with_more_dimensions_than_items(dim):
    rng = np.random.default_rng(0)
    x, queries = rng.normal(size=(40, dim)), rng.normal(size=(15, dim))
    labels = (x[:, :2] + rng.normal(size=(40, 2)) > 0).astype(float)
    labels[:10, 1] = np.nan
    for cost, (scores,) in classifiers.LinearProbe().label_scores(x, labels, [queries], (1.0, 0.01)):
        for c in range(2):
            known = ~np.isnan(labels[:, c])
            reference = LogisticRegression(C=cost, max_iter=5000, tol=1e-8).fit(x[known], labels[known, c])
            np.testing.assert_allclose(scores[:, c], reference.decision_function(queries), atol=2e-2)


def neighbours_by_loop(x, labels, queries, k, temperature):
    scores = np.zeros((len(queries), labels.shape[1]))
    for q, query in enumerate(queries):
        for c in range(labels.shape[1]):
            known = np.flatnonzero(~np.isnan(labels[:, c]))
            if len(set(labels[known, c])) < 2:
                continue
            near = sorted(known, key=lambda i: -(x[i] @ query))[:k]
            votes = {i: np.exp(x[i] @ query / temperature) for i in near}
            scores[q, c] = sum(votes[i] * labels[i, c] for i in near) / sum(votes.values())
    return scores


def test_neighbours_vote_as_in_a_plain_loop(monkeypatch):
    monkeypatch.setattr(classifiers, "_CELLS", 90)
    rng = np.random.default_rng(1)
    x, queries = rng.normal(size=(30, 6)), rng.normal(size=(11, 6))
    x, queries = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, queries))
    labels = rng.integers(0, 2, (30, 4)).astype(float)
    labels[::3, 1], labels[:, 2], labels[:, 3] = np.nan, 1.0, np.nan
    for k, scores in zip((1, 4, 99), classifiers.neighbour_scores(x, labels, queries, (1, 4, 99), 0.07), strict=True):
        np.testing.assert_allclose(scores, neighbours_by_loop(x, labels, queries, k, 0.07))
    assert (scores[:, 2:] == 0).all()


def test_rare_classes_are_not_outvoted():
    x = np.repeat(np.eye(2), [10, 2], axis=0)
    targets = np.repeat([7, 9], [10, 2])
    query = np.array([[0.0, 1.0], [1.0, 0.0], [2**-0.5, 2**-0.5]])
    assert classifiers.neighbour_classes(x, targets, query, 12, 10.0).tolist() == [9, 7, 7]
    assert classifiers.neighbour_classes(x[:3], targets[:3], query, 5, 0.07).tolist() == [7, 7, 7]
    assert classifiers.nearest_mean(x, targets, query[:2]).tolist() == [9, 7]


def test_a_constant_feature_is_only_centred():
    x = np.array([[1.0, 0.1 + 0.2], [3.0, 0.3]])
    np.testing.assert_allclose(classifiers.Standardised.of(x)(x), [[-1, 0], [1, 0]], atol=1e-12)
