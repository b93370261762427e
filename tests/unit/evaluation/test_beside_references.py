"""Reading beside references on a phantom: references remove what a site adds, and nothing where nothing is added."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

import lgdea
from benchmarks.references import shown_otherwise
from lgdea.comparison.references.answers import read_answers
from lgdea.comparison.references.choose import choose_references
from lgdea.comparison.references.display import grey_quantiles, mean_quantiles, standardise
from lgdea.comparison.references.healthy import healthy_people, people, truth_of_labels
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.metrics.classification import choose_balanced_threshold
from lgdea.evaluation.metrics.references import METRICS, balanced_accuracy_test, method_statistic
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.evaluation.results.result import read_result, write_result
from lgdea.evaluation.tasks import references
from lgdea.evaluation.tasks.references_attribution import COLUMNS, _measure, attribution_values, maps_of_model
from lgdea.imaging.read import read_image
from lgdea.phantom import generate
from lgdea.records.archive import Archive
from lgdea.vocabulary.phrases import canonical_phrase

SMALL = {"counts": (1, 8), "min_positive": 1, "bootstrap_replicates": 20, "classes": ("cardiomegaly", "atelectasis")}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    prevalence = {"cardiomegaly": 6.0, "atelectasis": 6.0}
    folder = tmp_path_factory.mktemp("phantom")
    return generate(folder, studies=260, size=64, seed=3, prevalence=prevalence, masks=False, workers=1)


class Scorer:
    """Knows an image by its pixels; scores are the truth, plus noise, plus what its site adds."""

    name = "scorer"
    scoring = "global"

    def __init__(self, archive, site=0.0, noise=0.3):
        rng = np.random.default_rng(0)
        labels = archive.labels.pivot(index="study_id", columns="finding", values="value")
        sites = archive.studies.set_index("study_id")["site"]
        self.known = {}
        for _, row in archive.images.iterrows():
            added = site * (sites[row["study_id"]] == "hillside") + noise * rng.normal(size=labels.shape[1])
            scores = dict(zip(labels, labels.loc[row["study_id"]] + added, strict=True))
            self.known[np.asarray(read_image(archive.image_path(row)).pixels).tobytes()] = scores

    def score_phrases(self, images, phrases):
        names = {canonical_phrase(f): f for f in next(iter(self.known.values()))}
        return np.array([[self.known.get(x.tobytes(), {}).get(names.get(p), 0.0) for p in phrases] for x in images])

    def encode_images(self, images):
        rng = np.random.default_rng(1)
        return np.stack([rng.normal(size=4) for _ in images])

    def encode_texts(self, texts):
        return np.zeros((len(texts), 4))

    def heat_maps(self, image, phrases):
        return [np.zeros(image.shape) for _ in phrases]


def test_references_take_out_what_another_site_adds(phantom, tmp_path):
    crossing = {"threshold_site": "harbour", "site": "hillside", **SMALL}
    crossing |= {"strategies": ("same_centre", "cross_centre"), "bootstrap_replicates": 200}
    result = references(Scorer(phantom, site=3.0), phantom, **crossing)
    single = result.metrics["single/balanced_accuracy_macro"].value
    beside = result.metrics["z/same_centre@8/balanced_accuracy_macro"].value
    assert single == 0.5, "with the other site's threshold all is called present"
    assert beside > 0.85
    assert result.metrics["z/same_centre@8/balanced_accuracy_gain"].value == pytest.approx(beside - single)
    assert result.metrics["z/same_centre@8/p_value"].value < 0.05
    assert result.metrics["z/cross_centre@8/balanced_accuracy_macro"].value < 0.7, (
        "they come from where the shift is not"
    )
    assert {v.definition for v in result.metrics.values()} <= set(DEFINITIONS)
    assert {v.definition for c in result.per_class.values() for v in c.values()} <= set(DEFINITIONS)
    assert "images of hillside" in result.notes
    assert read_result(write_result(result, tmp_path)).metrics == result.metrics


class Grey(Scorer):
    """Calls by grey values alone: the score of a picture is its share of bright pixels."""

    name = "grey"
    scoring = "presence"

    def __init__(self):
        pass

    def score_phrases(self, images, phrases):
        return np.array([[float((np.asarray(x) > 0.55).mean())] * len(phrases) for x in images])


def test_another_display_is_undone_by_references_of_the_same_site(phantom, tmp_path):
    """Calls are those of the pictures as they were, which they are not alone nor beside the other site's people."""
    changed = Archive.open(shown_otherwise(phantom, "hillside", 2.0, tmp_path / "changed"))
    settings = {**SMALL, "threshold_site": "harbour", "site": "hillside", "bootstrap_replicates": 0, "counts": (8,)}
    settings |= {"strategies": ("same_centre", "cross_centre"), "standardise": True}
    before, after = (references(Grey(), archive, **settings) for archive in (phantom, changed))
    same = {
        name: (after.items[f"{name}/call"] == before.items[f"{truth}/call"]).mean()
        for name, truth in [
            ("single", "single"),
            ("standardised/same_centre@8", "standardised/same_centre@8"),
            ("standardised/cross_centre@8", "standardised/same_centre@8"),
        ]
    }
    assert same["standardised/same_centre@8"] > 0.95
    assert same["standardised/same_centre@8"] > max(same["single"], same["standardised/cross_centre@8"]) + 0.1
    # the same of the items, by hand
    row = after.items.iloc[0]
    healthy = healthy_people(changed, "train", truth_of_labels(labels_of(changed)))
    of_site = list(healthy.loc[healthy["site"] == "harbour", "image_id"])
    query = people(changed, "test").query("image_id == @row.image_id")
    found = choose_references(query, healthy, "same_centre", 8).table["reference_id"]
    seen, known = (
        mean_quantiles([grey_quantiles(changed.read_image(i).pixels) for i in ids]) for ids in (found, of_site)
    )
    shown = standardise(changed.read_image(row["image_id"]).pixels, seen, known)
    share = Grey().score_phrases([shown], ["x"])[0, 0]
    assert row["standardised/same_centre@8"] == pytest.approx(np.log(share / (1 - share)))
    assert {v.definition for v in after.metrics.values()} <= set(DEFINITIONS)
    assert after.metrics["self/balanced_accuracy_macro"].definition == "references/balanced-accuracy-self-v1"


def labels_of(archive):
    values = archive.labels.pivot(index="study_id", columns="finding", values="value")
    return archive.images.set_index("image_id")["study_id"].map(values.to_dict("index")).apply(pd.Series)


def test_the_numbers_are_those_of_the_items(phantom):
    result = references(Scorer(phantom, noise=0.8), phantom, **SMALL, strategies=("random", "demographic"))
    items = result.items
    for method in ("single", "ratio/demographic@8", "z/random@1"):
        parts = [
            (balanced_accuracy_score(g["label"], g[f"{method}/call"]), f1_score(g["label"], g[f"{method}/call"]),
             roc_auc_score(g["label"], g[method]))
            for _, g in items.groupby("class")
        ]  # fmt: skip
        for name, expected in zip(METRICS, np.mean(parts, axis=0), strict=True):
            value = result.metrics[f"{method}/{name}_macro"]
            assert value.value == pytest.approx(expected), (method, name)
            assert value.low <= value.value <= value.high
    name = "ratio/demographic@8"
    assert result.per_class["atelectasis"][f"{name}/auroc"].value == pytest.approx(
        roc_auc_score(*items[items["class"] == "atelectasis"][["label", name]].to_numpy().T)
    )


def test_strategies_that_cannot_be_followed_are_notes_unless_asked_for(phantom):
    one_site = phantom.with_tables(studies=phantom.studies.assign(site="harbour", age=np.nan))
    result = references(Scorer(one_site), one_site, **SMALL)
    assert any("left out: cross_centre: all healthy images are of one site" in note for note in result.notes)
    assert any("left out: demographic: the age of no query is known" in note for note in result.notes)
    assert {m.split("/")[1].split("@")[0] for m in result.metrics if "@" in m} == {
        "random", "embedding", "same_centre",
    }  # fmt: skip
    with pytest.raises(UsageError, match="the age of no query is known"):
        references(Scorer(one_site), one_site, **SMALL, strategies=("demographic",))


def test_bad_requests_are_one_line(phantom):
    model = Scorer(phantom)
    ill = phantom.labels.assign(value=phantom.labels["value"].where(phantom.labels["finding"] != "no_finding", 0.0))
    for archive, settings, problem in [
        (phantom, {"split": "all"}, r"split all and threshold_split val share \d+ images"),
        (phantom.with_tables(labels=ill), {}, "the train split has no healthy image"),
        (phantom, {"site": "moon"}, "has no site 'moon'"),
        (phantom.with_tables(labels=phantom.labels.iloc[:0]), {}, "has no labels"),
    ]:
        with pytest.raises(UsageError, match=problem):
            references(model, archive, **{**SMALL, **settings})
    with pytest.raises(DataError, match="no class has 500 positive"):
        references(model, phantom, **{**SMALL, "min_positive": 500})
    present = phantom.with_tables(labels=phantom.labels[phantom.labels["value"] == 1])
    with pytest.raises(DataError, match=r"no class has .* call nothing absent.*labels\.unlisted_is_absent"):
        references(model, present, **SMALL)


def test_reports_are_the_truth_where_there_are_no_labels(phantom, tmp_path):
    bare = phantom.with_tables(labels=phantom.labels.iloc[:0])
    units = phantom.extra("evidence_truth")
    result = references(Scorer(phantom), bare, **{**SMALL, "strategies": ("random",)}, evidence=units)
    assert any("report says no finding" in note for note in result.notes)
    assert result.metrics["single/balanced_accuracy_macro"].value > 0.8


def test_the_threshold_is_the_best_of_all():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=80).round(1), rng.integers(2, size=80).astype(float)
    found = balanced_accuracy_score(labels, scores >= choose_balanced_threshold(scores, labels))
    assert found == max(balanced_accuracy_score(labels, scores >= t) for t in [*scores, 9.0])
    assert np.isnan(choose_balanced_threshold([1.0, 2.0], [1, 1]))


def test_weights_are_copies_and_the_test_is_about_the_macro_difference():
    rng = np.random.default_rng(1)
    scores, truth = rng.normal(size=(2, 30, 3)), rng.integers(2, size=(30, 3)).astype(float)
    truth[rng.random(truth.shape) < 0.2] = np.nan
    calls = (scores > 0).astype(float)
    weights = rng.integers(0, 3, size=(1, 30)).astype(float)
    copied = np.repeat(np.arange(30), weights[0].astype(int))
    a = method_statistic(scores, calls, truth)(weights)
    b = method_statistic(scores[:, copied], calls[:, copied], truth[copied])(np.ones((1, len(copied))))
    np.testing.assert_allclose(a, b)
    table = method_statistic(scores, calls, truth)(np.ones((1, 30))).reshape(2, 2, 3, 4)
    patients = np.array([f"p{i % 11}" for i in range(30)], object)
    test = balanced_accuracy_test(calls[1], calls[0], truth, patients, replicates=100, seed=0)
    assert test.difference == pytest.approx(table[1, 1, 0, -1])
    same = balanced_accuracy_test(calls[0], calls[0], truth, patients, replicates=100, seed=0)
    assert (same.difference, same.p_value) == (0.0, 1.0)


@pytest.fixture
def answers(phantom, tmp_path):
    labels = phantom.labels[phantom.labels["finding"] == "atelectasis"].set_index("study_id")["value"]
    test = phantom.images[
        phantom.images["study_id"].isin(phantom.studies[phantom.studies["split"] == "test"]["study_id"])
    ]
    rows = []
    for image, study in zip(test["image_id"], test["study_id"], strict=True):
        for strategy, k in (("random", 0), ("random", 4)):
            right = k or hash_of(image) % 2
            score = labels[study] if right else 1 - labels[study]
            rows.append((image, "atelectasis", labels[study], strategy, k, "yes" if score else "no", float(score)))
    columns = ["query_id", "class", "label", "strategy", "k", "answer", "score"]
    pd.DataFrame(rows[:-1], columns=columns).to_parquet(tmp_path / "answers.parquet")
    pd.DataFrame(columns=[*columns, "cell"]).to_parquet(tmp_path / "hidden.parquet")
    (tmp_path / "run.json").write_text(json.dumps({"summary": {"model": "tiny", "notes": ["asked by a test"]}}))
    (tmp_path / "_SUCCESS").write_text("")
    return tmp_path


def hash_of(text: str) -> int:
    return sum(text.encode())


def test_answers_of_a_vision_language_model(phantom, answers):
    results = lgdea.evaluate(str(answers), phantom, "references", settings={"references": {"counts": (4,)}})
    result = results["references"]
    assert result.model == "tiny"
    assert result.metrics["paired/random@4/balanced_accuracy_macro"].value == 1.0
    assert result.metrics["single/balanced_accuracy_macro"].value < 0.8
    assert any("1 of" in note and "left out" in note for note in result.notes)
    assert result.notes.count("asked by a test") == 1
    with pytest.raises(DataError, match="alone and beside"):
        references(read_answers(answers), phantom, counts=(5,))
    (answers / "_SUCCESS").unlink()
    with pytest.raises(UsageError, match="unfinished answers"):
        read_answers(answers)


class Bright:
    """Finds what is bright: the score of an image is its highest pixel."""

    scoring = "presence"

    def score_phrases(self, images, phrases):
        return np.array([[float(x.max()) * 0.9 for _ in phrases] for x in images])


class Pictures:
    """An archive of two pictures: dark, and dark with a bright spot."""

    def read_image(self, image_id):
        pixels = np.full((32, 48), 0.2, np.float32)
        if image_id == "query":
            pixels[4:8, 36:42] = 1.0
        return type("Image", (), {"pixels": pixels})


def test_maps_are_highest_where_the_finding_is_and_measured_there():
    maps = maps_of_model(Bright(), Pictures(), "query", ["healthy"], "nodule", 8, 7)
    boxes = np.array([[36.0, 4.0, 42.0, 8.0]])
    assert _measure(maps, boxes) == (1.0, 1.0, 1.0, 1.0, pytest.approx(24 / (32 * 48)))
    assert [heat.shape for heat in maps] == [(32, 48)] * 2
    table = pd.DataFrame([("a", "nodule", 1, 1, 0.5, 0.75, 0.1), ("b", "nodule", 0, 1, 0.5, np.nan, 0.1)])
    table.columns = ["image_id", "class", *COLUMNS]
    found = attribution_values(table, np.array(["p", "q"], object), ReferencesConfig(bootstrap_replicates=50))
    assert found["attribution/pointing_gain"].value == 0.5
    assert (found["attribution/inside_mass_gain"].value, found["attribution/inside_mass_gain"].n) == (0.25, 1)
    assert {v.definition for v in found.values()} <= set(DEFINITIONS)


def test_attribution_is_part_of_the_result(phantom):
    result = references(Scorer(phantom), phantom, **SMALL, strategies=("random",), attribution=3, grid=2)
    measured = result.items.dropna(subset="pointing_chance")
    assert len(measured) == 3
    assert measured["label"].eq(1).all()
    assert result.metrics["attribution/pointing_chance"].value == pytest.approx(measured["pointing_chance"].mean())
