"""Entity retrieval: an oracle scores 1, shuffled scores are at chance, and candidates are who they should be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lgdea.comparison.entity.entities import Entity, entities_of
from lgdea.comparison.entity.grades import StudyFacts, agreement, with_studies
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import EntityRetrievalConfig
from lgdea.evaluation.results.differences import differences
from lgdea.evaluation.results.result import Result
from lgdea.evaluation.tasks.entity_retrieval import (
    choose_entities,
    images_with_reports,
    macro_mean,
    score_entities,
    summarise,
)
from lgdea.phantom import generate
from lgdea.vocabulary.confusable import confusable_with
from lgdea.vocabulary.entailment import PRESENT

CONFIG = EntityRetrievalConfig(split="all", bootstrap_replicates=50, least_images=4)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    archive = generate(tmp_path_factory.mktemp("entities") / "archive", studies=250, size=64, masks=False)
    images = images_with_reports(archive, "all")
    studies = pd.Index(images["study_id"].unique())
    units = pd.read_parquet(archive.folder / "evidence_truth.parquet")
    facts = StudyFacts(with_studies(units, archive.reports), studies)
    return archive, images, facts, studies.get_indexer(pd.Index(images["study_id"]))


class Scores:
    """Scores by a function of the grades."""

    def __init__(self, facts, study, entities, make):
        self.facts, self.study, self.entities, self.make = facts, study, entities, make

    def scores(self, entity, queries, known):
        of = self.facts.of(self.entities[entity]).take(self.study)
        asked = self.entities[entity]
        grades = agreement(of.take(queries), of, anatomy=asked.kind == "anatomy")
        return {"conditioned": self.make(grades), "unconditioned": np.zeros_like(grades)}


def items_of(phantom, make, entities=None, held_out=(), config=CONFIG):
    _, images, facts, study = phantom
    entities = entities or entities_of(facts.present(), least=config.least_images)
    scorer = Scores(facts, study, entities, make)
    return score_entities(scorer, images, facts, study, entities, config, held_out=held_out)


def test_an_oracle_scores_one_everywhere(phantom):
    overall, per_class = summarise(items_of(phantom, lambda grades: grades), CONFIG)
    assert len(per_class) > 20
    for values in (overall, *per_class.values()):
        for metric in ("recall@1", "recall@3", "recall@5", "ndcg@5"):
            found = values[f"conditioned/{metric}"]
            assert found.value == pytest.approx(1.0) or (np.isnan(found.value) and found.n == 0)
    assert {"kind: finding", "kind: anatomy", "candidates: of other sites", "candidates: confusable"} <= set(per_class)
    gain = overall["conditioned-unconditioned/recall@1"]
    assert gain.value == pytest.approx(1 - overall["unconditioned/recall@1"].value)
    assert gain.low <= gain.value <= gain.high


def test_shuffled_and_constant_scores_are_at_chance(phantom):
    rng = np.random.default_rng(0)
    items = items_of(phantom, lambda grades: rng.random(grades.shape))
    overall, per_class = summarise(items, CONFIG)
    for values in (overall, per_class["candidates: of other sites"], per_class["candidates: confusable"]):
        for metric in ("recall@1", "recall@5", "ndcg@5"):
            chance = values[f"conditioned/{metric.replace('@', '_chance@')}"].value
            assert values[f"conditioned/{metric}"].value == pytest.approx(chance, abs=0.04)
            # A constant is exactly there, by the expectation over tied orders.
            assert values[f"unconditioned/{metric}"].value == pytest.approx(chance, abs=1e-9)


def test_candidates_are_of_other_patients_other_sites_and_what_is_mistaken(phantom):
    _, images, facts, study = phantom
    entity = Entity.of_finding("pleural_effusion")
    seen = {}

    class Spy(Scores):
        def scores(self, number, queries, known):
            seen["queries"], seen["known"] = queries, known
            return super().scores(number, queries, known)

    items = score_entities(Spy(facts, study, [entity], lambda g: g), images, facts, study, [entity], CONFIG)
    patients = images["patient_id"].to_numpy()
    np.testing.assert_array_equal(seen["known"], patients[seen["queries"]][:, None] != patients[None, :])
    # Everything of the query's patient has the highest score: it must not count as found.
    same = lambda grades: np.where(seen["known"], grades, 5.0)  # noqa: E731
    again = score_entities(Scores(facts, study, [entity], same), images, facts, study, [entity], CONFIG)
    pd.testing.assert_series_equal(items["conditioned/recall@1"], again["conditioned/recall@1"])
    assert (items["confusable/recall_chance@1"] > items["recall_chance@1"]).all()  # fewer candidates, all right ones
    # Among those that are confusable no other image stands, however high its score; among all it would.
    mistaken = facts.shows(confusable_with("pleural_effusion"))[study]
    others = ~mistaken & (facts.of(entity).take(study).status != PRESENT)
    assert mistaken.any()
    assert others.any()
    loud = lambda grades: np.where(others[None, :], 5.0, grades)  # noqa: E731
    again = score_entities(Scores(facts, study, [entity], loud), images, facts, study, [entity], CONFIG)
    pd.testing.assert_series_equal(items["confusable/conditioned/recall@1"], again["confusable/conditioned/recall@1"])
    assert again["conditioned/recall@1"].sum() == 0
    # And those that are mistaken for it do.
    loud = lambda grades: np.where(mistaken[None, :] & (grades == 0), 5.0, grades)  # noqa: E731
    again = score_entities(Scores(facts, study, [entity], loud), images, facts, study, [entity], CONFIG)
    assert again["confusable/conditioned/recall@1"].sum() == 0


def test_a_part_of_the_archive_of_another_modality_is_never_a_candidate(phantom):
    _, images, facts, study = phantom
    entity = Entity.of_finding("cardiomegaly")
    split = images.assign(modality=np.where(np.arange(len(images)) % 2, "CT", "CR"))
    scorer = Scores(facts, study, [entity], lambda grades: grades)
    apart = score_entities(scorer, split, facts, study, [entity], CONFIG)
    together = score_entities(scorer, split, facts, study, [entity], CONFIG.model_copy(update={"same_modality": False}))
    assert (apart["positives"] < together["positives"]).all()


def test_kinds_of_a_held_out_finding_are_unseen(phantom):
    items = items_of(phantom, lambda grades: grades, held_out=["lung_lesion"])
    unseen = set(items.loc[items["unseen"], "entity"])
    assert "pulmonary nodule" in unseen
    assert "cardiomegaly" not in unseen
    _, per_class = summarise(items, CONFIG)
    assert per_class["entities: unseen"]["conditioned/recall@1"].n < len(items)


def test_entities_weigh_the_same_however_many_queries_they_have():
    columns = np.array([[1.0, np.nan], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    statistic = macro_mean(columns, np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(statistic(np.ones((1, 4)))[0], [0.5, 0.5])
    np.testing.assert_allclose(statistic(np.array([[1.0, 1.0, 1.0, 0.0]]))[0], [1.0, 0.0])  # a group that is not drawn


def test_two_models_are_compared_as_each_is_scored(phantom):
    rng = np.random.default_rng(0)
    makes = {"oracle": lambda grades: grades, "shuffled": lambda grades: rng.random(grades.shape)}
    results = {}
    for name, make in makes.items():
        items = items_of(phantom, make)
        overall, per_class = summarise(items, CONFIG)
        results[name] = Result(
            "entity-retrieval", "entity-retrieval-v1", name, "phantom", "all", overall, per_class, {}, items
        )
    found = differences({"shuffled": results["shuffled"], "oracle": results["oracle"]}, replicates=50)["oracle"]
    name = "conditioned/recall@1"
    gap = results["oracle"].metrics[name].value - results["shuffled"].metrics[name].value
    assert found["", name].value == pytest.approx(gap)
    assert found["", name].p_value < 0.05
    of_class = "entity: cardiomegaly"
    gap = results["oracle"].per_class[of_class][name].value - results["shuffled"].per_class[of_class][name].value
    assert found[of_class, name].value == pytest.approx(gap)


def test_what_cannot_be_asked_is_refused_in_one_line(phantom):
    archive, _, facts, _ = phantom
    with pytest.raises(UsageError, match="not in the vocabulary"):
        choose_entities(facts, CONFIG.model_copy(update={"entities": ("mitral configuration",)}))
    with pytest.raises(UsageError, match="no word"):
        choose_entities(facts, CONFIG.model_copy(update={"entities": ("xqzzv",)}))
    with pytest.raises(DataError, match="no entity"):
        choose_entities(facts, CONFIG.model_copy(update={"least_images": 10_000}))
    first = archive.studies["patient_id"] == archive.studies["patient_id"][0]
    alone = archive.with_tables(studies=archive.studies.assign(split=np.where(first, "test", "train")))
    with pytest.raises(DataError, match="only one patient"):
        images_with_reports(alone, "test")
