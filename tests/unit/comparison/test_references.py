"""Healthy references against brute force: who is healthy, who is chosen, what a relative score is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from lgdea.comparison.references.choose import STRATEGIES, choose_references
from lgdea.comparison.references.healthy import (
    BY_ABSENT,
    BY_NO_FINDING,
    healthy_people,
    people,
    truth_of_labels,
    truth_of_reports,
)
from lgdea.comparison.references.prompt import load_compare_prompt
from lgdea.comparison.references.relative import (
    LikelihoodRatio,
    explained_share,
    healthy_deviation,
    reference_mean,
    z_scores,
)
from lgdea.comparison.references.triples import make_triples, read_triples, training_rows, write_triples
from lgdea.errors import UsageError
from lgdea.evidence.io import read_evidence


def _people(count: int, seed: int, patients: int, missing: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "image_id": [f"i{seed}-{n}" for n in range(count)],
            "study_id": [f"s{seed}-{n}" for n in range(count)],
            "patient_id": [f"p{n}" for n in rng.integers(patients, size=count)],
            "site": rng.choice(["A", "B"], count),
            "age": rng.integers(20, 90, count).astype(float),
            "sex": rng.choice(["F", "M"], count),
            "view": rng.choice(["AP", "PA"], count),
            "modality": "CR",
        }
    )
    for name in ("age", "sex", "view", "site"):
        table[name] = table[name].astype(object).where(rng.random(count) >= missing, None)
    return table


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(STRATEGIES), st.integers(1, 6), st.integers(2, 12))
def test_patients_are_never_shared_and_each_is_taken_once(seed, strategy, k, patients):
    queries, healthy = _people(12, seed, patients, 0.1), _people(20, seed + 1, patients, 0.1)
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(12, 4)), rng.normal(size=(20, 4)))
    found = choose_references(queries, healthy, strategy, k, seed=seed, embeddings=vectors)
    table = found.table
    assert (table["query_patient"] != table["reference_patient"]).all()
    assert not table.duplicated(["query_id", "reference_patient"]).any()
    assert set(table["query_id"]) | {item["id"] for item in found.skipped} == set(queries["image_id"])
    assert (table.groupby("query_id")["rank"].apply(list).map(lambda r: r == list(range(1, len(r) + 1)))).all()
    fewer = choose_references(queries.iloc[:5], healthy, strategy, k, seed=seed, embeddings=vectors).table
    same = table[table["query_id"].isin(fewer["query_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(fewer, same)  # a query's references depend on itself alone


def test_fewer_references_are_the_first_of_more():
    queries, healthy = _people(6, 1, 50), _people(40, 2, 50)
    few, many = (choose_references(queries, healthy, "random", k).table for k in (3, 12))
    pd.testing.assert_frame_equal(few, many[many["rank"] <= 3].reset_index(drop=True))
    other = choose_references(queries, healthy, "random", 3, seed=1).table
    assert (few["reference_id"] != other["reference_id"]).any()


def test_demographic_is_the_brute_force_order():
    queries, healthy = _people(30, 3, 100, 0.2), _people(60, 4, 100, 0.2)
    healthy = healthy.drop_duplicates("patient_id")
    found = choose_references(queries, healthy, "demographic", 5)
    for query in queries.itertuples():
        mine = found.table[found.table["query_id"] == query.image_id]
        best = sorted(_distance(query, other) for other in healthy.itertuples() if other.patient_id != query.patient_id)
        chosen = [_distance(query, healthy.set_index("image_id").loc[i]) for i in mine["reference_id"]]
        assert chosen == best[:5]
    assert any("age is not known" in note for note in found.notes)
    assert found.table["rule"].str.contains("not known").any()
    alike = "(same {0}|other {0}|{0} not known)"
    rule = rf"{alike.format('view')}, {alike.format('sex')}, (\d+ years apart|age not known)"
    assert found.table["rule"].str.fullmatch(rule).all()


def _distance(query, other) -> tuple[bool, bool, float]:
    years = abs(other.age - query.age) if other.age is not None and query.age is not None else np.inf
    return (
        query.view is None or other.view != query.view,
        query.sex is None or other.sex != query.sex,
        np.inf if np.isnan(years) else years,
    )


def test_embedding_and_centres_are_what_they_say():
    queries, healthy = _people(10, 5, 100), _people(40, 6, 100)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(10, 4)), rng.normal(size=(40, 4))
    nearest = choose_references(queries, healthy, "embedding", 1, embeddings=(a, b)).table
    for row, query in enumerate(queries.itertuples()):
        cosines = np.where(healthy["patient_id"] == query.patient_id, -np.inf, b @ a[row])
        assert nearest["reference_id"][row] == healthy["image_id"][int(cosines.argmax())]
    site = pd.concat([queries, healthy]).set_index("image_id")["site"]
    for strategy, same in (("cross_centre", False), ("same_centre", True)):
        table = choose_references(queries, healthy, strategy, 4).table
        assert ((table["query_id"].map(site) == table["reference_id"].map(site)) == same).all()


def test_other_modalities_and_projections_are_no_references():
    queries, healthy = _people(4, 7, 100), _people(40, 8, 100)
    healthy.loc[:19, "modality"] = "CT"
    healthy.loc[20:29, "view"] = "lateral"
    for strategy in ("random", "demographic"):
        table = choose_references(queries, healthy, strategy, 40).table
        assert set(table["reference_id"]) <= set(healthy["image_id"][30:])


@pytest.mark.parametrize(
    ("change", "strategy", "problem"),
    [
        ({"age": None}, "demographic", "the age of no query is known"),
        ({"sex": None}, "demographic", "the sex of no query is known"),
        ({"view": None}, "demographic", "the view of no query is known"),
        ({"site": "A"}, "cross_centre", r"all healthy images are of one site \(A\)"),
        ({"site": None}, "cross_centre", "no healthy image has a site"),
        ({}, "embedding", "no embeddings"),
        ({}, "nearest", "no strategy 'nearest'"),
    ],
)
def test_what_a_strategy_needs_and_lacks_is_one_line(change, strategy, problem):
    queries, healthy = (_people(8, seed, 50).assign(**change) for seed in (9, 10))
    with pytest.raises(UsageError, match=problem):
        choose_references(queries, healthy, strategy, 3)


def test_a_patient_with_one_study_is_no_reference_of_itself():
    alone = _people(1, 11, 1)
    found = choose_references(alone, alone, "random", 3)
    assert found.table.empty
    assert found.skipped == [
        {"id": "i11-0", "reason": "no healthy image of another patient in its modality and projection"}
    ]
    others = pd.concat([alone, _people(3, 12, 50).assign(patient_id=["x", "y", "z"])], ignore_index=True)
    assert set(choose_references(alone, others, "random", 3).table["reference_patient"]) == {"x", "y", "z"}


def test_healthy_by_labels():
    values = pd.DataFrame(
        {"no_finding": [1, 1, 0, np.nan, 1], "mass": [0, 1, 0, 0, np.nan], "edema": [0, 0, 0, 0, -1]},
        index=pd.Index(list("abcde"), name="image_id"),
    )
    truth = truth_of_labels(values)
    assert (truth.healthy.tolist(), truth.rule) == ([True, False, False, False, False], BY_NO_FINDING)
    assert np.isnan(truth.values.loc["e", "edema"])
    without = truth_of_labels(values.drop(columns="no_finding"))
    assert (without.healthy.tolist(), without.rule) == ([True, False, True, True, False], BY_ABSENT)


def test_healthy_by_reports_is_the_phantoms_truth(bench):
    images = people(bench.archive, "all")
    found = truth_of_reports(read_evidence(bench.evidence), bench.archive.reports, images)
    ill = set(bench.archive.extra("image_truth")["image_id"])
    said = set(images["image_id"][~images["image_id"].isin(ill)])
    healthy = set(found.healthy.index[found.healthy])
    assert healthy
    assert healthy <= said, "a picture with a finding is called healthy"
    assert len(healthy) > 0.9 * len(said)
    assert healthy_people(bench.archive, "train", found)["image_id"].isin(healthy).all()


def test_no_healthy_image_is_one_line(bench):
    values = pd.DataFrame({"mass": 1.0}, index=pd.Index(bench.archive.images["image_id"], name="image_id"))
    with pytest.raises(UsageError, match="the val split has no healthy image"):
        healthy_people(bench.archive, "val", truth_of_labels(values))


def test_z_is_a_difference_in_deviations_and_gaps_are_no_references():
    rng = np.random.default_rng(0)
    q, r = rng.normal(size=50), rng.normal(size=(50, 8))
    np.testing.assert_allclose(z_scores(q, r, 2.0), (q - r.mean(axis=1)) / (2.0 * np.sqrt(1 + 1 / 8)))
    gaps = np.where(rng.random(r.shape) < 0.4, np.nan, r)
    gaps[0] = np.nan
    single = [z_scores(q[i : i + 1], gaps[i : i + 1][:, ~np.isnan(gaps[i])], 1.0) for i in range(1, 50)]
    np.testing.assert_allclose(z_scores(q, gaps, 1.0)[1:], np.concatenate(single))
    assert np.isnan(z_scores(q, gaps, 1.0)[0])
    assert np.isnan(reference_mean(gaps)[0])
    assert np.isnan(z_scores(q, r, 0.0)).all()


@pytest.mark.parametrize("k", [1, 5, 30])
def test_z_of_healthy_people_has_unit_variance(k):
    rng = np.random.default_rng(k)
    q, r = 3 * rng.normal(size=4000), 3 * rng.normal(size=(4000, k))
    deviation = healthy_deviation(q, r)
    assert deviation == pytest.approx(3, rel=0.05)
    assert np.std(z_scores(q, r, deviation)) == pytest.approx(1, rel=0.05)


def test_references_explain_what_they_share_with_the_query():
    rng = np.random.default_rng(2)
    shared, own = rng.normal(size=(2, 5000))
    r = shared[:, None] + rng.normal(size=(5000, 4))
    assert explained_share(shared + own, r) == pytest.approx(0.5 / 1.25, abs=0.05)
    assert explained_share(own, r) < 0.01
    assert explained_share(-shared, r) == 0.0
    assert explained_share(np.ones(5000), r) == 0.0


def test_the_likelihood_ratio_is_that_of_two_gaussians():
    rng = np.random.default_rng(1)
    labels = np.repeat([0.0, 1.0], 200)
    shift = rng.normal(size=400)
    q, r = shift + labels + 0.5 * rng.normal(size=400), shift[:, None] + 0.5 * rng.normal(size=(400, 3))
    ratio = LikelihoodRatio.fit(q, r, labels)
    x = np.stack([q, r.mean(axis=1)], axis=1)
    parts = [x[labels == side] for side in (0, 1)]
    covariance = sum((len(p) - 1) * np.cov(p.T) for p in parts) / 398
    logs = [multivariate_normal(p.mean(axis=0), covariance).logpdf(x) for p in parts]
    np.testing.assert_allclose(ratio(q, r), logs[1] - logs[0], atol=1e-4)
    assert ratio.slopes[1] == pytest.approx(-ratio.slopes[0], rel=0.2), "a common shift is taken out"
    with pytest.raises(ValueError, match="present"):
        LikelihoodRatio.fit(q, r, np.zeros(400))
    equal = LikelihoodRatio.fit(q, np.ones((400, 1)), labels)
    assert np.isfinite(equal(q, np.ones((400, 1)))).all()


def test_triples_and_training_rows(tmp_path):
    queries, healthy = _people(20, 13, 100), _people(30, 14, 100)
    references = choose_references(queries, healthy, "random", 3).table
    values = pd.DataFrame({"mass": [1.0] * 8 + [0.0] * 10 + [np.nan] * 2, "edema": 1.0}, index=queries["image_id"])
    paths = pd.Series({i: f"{i}.png" for i in [*queries["image_id"], *healthy["image_id"]]})
    triples = make_triples(references, values, paths, most=4)
    assert set(triples["class"]) == {"mass"}, "a finding that all queries show cannot be told"
    assert triples.groupby("label")["query_id"].nunique().to_dict() == {0: 4, 1: 4}
    assert (triples["label"] == triples["query_id"].map(values["mass"])).all()
    prompt = load_compare_prompt()
    write_triples(tmp_path, triples, prompt, image_root=tmp_path, facts={"k": 3})
    again, report = read_triples(tmp_path)
    pd.testing.assert_frame_equal(again, triples)
    assert (report["k"], report["prompt_id"]) == (3, "compare-v1")
    rows = list(training_rows(triples, prompt, 2))
    assert len(rows) == 8
    first = triples[triples["query_id"] == rows[0]["query_id"]]
    assert rows[0]["images"] == [*first["reference_path"][:2], first["query_path"].iloc[0]]
    assert [len(row["images"]) for row in training_rows(triples, prompt, 0)] == [1] * 8
    with pytest.raises(UsageError, match="no query has a label of nodule"):
        make_triples(references, values, paths, findings=["nodule"])
    with pytest.raises(UsageError, match="holds no triples"):
        read_triples(tmp_path / "none")
