"""Training of the entity head: batches, what the losses teach, resume, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import lgdea
from lgdea.comparison.entity.batches import EntityBatches
from lgdea.comparison.entity.entities import Entity
from lgdea.comparison.entity.model import EntityModel
from lgdea.comparison.entity.module import EntityTraining
from lgdea.comparison.entity.ranking import EntityViews, GradedQueries, choose_mix, rerank
from lgdea.comparison.entity.reranker import EvidenceReader, PairReranker
from lgdea.comparison.entity.reranking import fit_reader, fit_weights
from lgdea.comparison.entity.train import _ranked, load_entity_model, preprocessed, train_entity_head
from lgdea.comparison.images import linked_images, read_units
from lgdea.errors import DataError, UsageError
from lgdea.vocabulary.entailment import PRESENT, UNCERTAIN


@pytest.fixture(scope="module")
def batches(bench):
    images = linked_images(bench.archive, None, "train")
    images["modality"] = np.where(np.arange(len(images)) % 2, "CR", "CT")
    frames = np.zeros((len(images), 8, 8), np.uint8)
    frames[:, 0, 0] = np.arange(len(images))  # an image holds its own number
    units = read_units(bench.archive, bench.evidence)
    return EntityBatches(images, units, frames, bench.config().data, seed=3)


def test_a_part_is_about_one_entity_of_one_modality_and_has_hard_negatives(batches):
    hard = 0
    for step in range(30):
        batch = batches[step]
        rows = batch["images"][:, 0, 0, 0].reshape(2, 6).numpy()
        for part, of_part in enumerate(rows):
            assert len(set(batches.modality[of_part])) == 1
            name = batches.phrases[int(batch["entity"][part])]
            entity = next(i for i, e in enumerate(batches.entities) if e.text == name)
            status = batches.facts[entity].status[batches.study[of_part]]
            assert (status == PRESENT).any()
            hard += np.isin(of_part, batches.pools[entity][1]).sum()
            np.testing.assert_array_equal(batch["status"].reshape(2, 6, 2)[part, :, part].numpy(), status)
            same_patient = batches.patient[of_part][:, None] == batches.patient[of_part][None, :]
            np.testing.assert_array_equal(batch["comparable"][part].numpy(), ~same_patient)
            grades = batch["grades"][part].numpy()
            assert not grades[status < PRESENT].any()
            assert not grades[:, status < UNCERTAIN].any()
    assert hard > 30


def test_entities_are_drawn_by_the_root_of_their_frequency_and_never_a_held_out_one(batches):
    shown = np.array([len(pool) for pool, _, _ in batches.pools])
    np.testing.assert_allclose(batches.share, np.sqrt(shown) / np.sqrt(shown).sum())
    assert not any(entity.finding == "pneumothorax" for entity in batches.entities)
    assert any(entity.finding == "pleural_effusion" for entity in batches.entities)


def test_a_batch_depends_on_seed_and_step_alone(batches):
    first, again, other = batches[5], batches[5], batches[6]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["images"], other["images"])


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(bench, trained, tmp_path, monkeypatch):
    config = bench.config()
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("lgdea.comparison.entity.batches.EntityBatches._assemble", _stopping_at(3))
        with pytest.raises(KeyboardInterrupt):
            train_entity_head(config, out)
    assert not (out / "_SUCCESS").exists()
    folder = train_entity_head(config, out)
    whole, resumed = load_entity_model(trained), load_entity_model(folder)
    for a, b in zip(whole.head.parameters(), resumed.head.parameters(), strict=True):
        assert torch.equal(a, b)
    pd.testing.assert_frame_equal(pd.read_csv(trained.parent / "metrics.csv"), pd.read_csv(out / "metrics.csv"))
    assert train_entity_head(config, out) == folder  # a finished run is left alone


def _stopping_at(step):
    original, calls = EntityBatches._assemble, []

    def assemble(self, *args):
        calls.append(1)
        if len(calls) > step:
            raise KeyboardInterrupt
        return original(self, *args)

    return assemble


def test_the_folder_holds_base_and_head_and_the_base_is_what_it_was(bench, trained):
    base, again = lgdea.load_model(bench.base), lgdea.load_model(trained)
    texts = ["left pleural effusion"]
    np.testing.assert_array_equal(base.encode_text(texts), again.encode_text(texts))
    model = load_entity_model(trained)
    assert model.facts["held_out"] == ["pneumothorax"]
    assert 0 <= model.mix <= 1
    assert not list(trained.glob("*.ckpt"))
    with pytest.raises(UsageError, match="no entity head"):
        load_entity_model(bench.base)


def test_the_head_learns_one_batch_by_heart(bench, batches):
    torch.manual_seed(0)
    still = {"rotate_degrees": 0, "scale": 0, "translate": 0, "brightness": 0, "contrast": 0, "noise": 0}
    model = EntityModel.create(lgdea.load_model(bench.base), width=32, length=24)
    module = EntityTraining(model, bench.config(augment=still), model.embed_phrases(batches.phrases))
    batch = batches[1] | {"images": torch.randint(0, 256, (12, 1, 64, 64), dtype=torch.uint8)}
    module.log = module.log_dict = lambda *_: None  # no Trainer here
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-3)
    totals = []
    for _ in range(40):
        optimizer.zero_grad()
        totals.append(module.training_step(batch))
        totals[-1].backward()
        optimizer.step()
    assert float(totals[-1].detach()) < float(totals[0].detach()) - 0.4  # what reports say alike keeps its entropy


def test_what_cannot_be_trained_on_is_refused(bench, tmp_path):
    with pytest.raises(UsageError, match="no such evidence"):
        train_entity_head(
            bench.config(data={**bench.config().data.model_dump(), "evidence": tmp_path / "none"}), tmp_path / "a"
        )
    with pytest.raises(DataError, match="no entity is shown by 5000"):
        train_entity_head(bench.config(data={**bench.config().data.model_dump(), "least_images": 5000}), tmp_path / "b")


def test_reranking_moves_the_first_candidates_only_and_its_ends_are_its_parts(bench, trained):
    model = load_entity_model(trained)
    pixels = np.random.default_rng(0).integers(0, 255, (9, 64, 64), dtype=np.uint8)
    views = EntityViews.encode(model, preprocessed(model, pixels), ["cardiomegaly", "nodule"])
    rows = np.array([0, 4])
    scores = views.similarity(1, rows)
    assert scores.shape == (2, 9)
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    scores[[0, 1], rows] = -np.inf
    kept = rerank(model, views, 1, rows, scores, top=4, mix=1.0)
    np.testing.assert_array_equal(np.argsort(-kept, axis=1), np.argsort(-scores, axis=1))
    changed = rerank(model, views, 1, rows, scores, top=4, mix=0.0)
    first = np.sort(np.argsort(-scores, axis=1)[:, :4], axis=1)
    np.testing.assert_array_equal(np.sort(np.argsort(-changed, axis=1)[:, :4], axis=1), first)
    grades = np.zeros((2, 9), np.float32)
    assert (
        choose_mix(model, views, [GradedQueries(1, rows, grades, np.isfinite(scores))], top=4) == 0.5
    )  # nothing to choose by
    best = scores.argmax(axis=1)
    grades[np.arange(2), best] = 1.0
    assert choose_mix(
        model, views, [GradedQueries(1, rows, grades, np.isfinite(scores))], top=4, choices=(0.0, 1.0)
    ) in (0.0, 1.0)


def test_the_reader_is_fitted_to_other_patients_and_finds_what_is_in_a_place():
    rng = np.random.default_rng(0)
    reader = EvidenceReader(2, 4, (4, 4), 2)
    patches = torch.as_tensor(rng.normal(size=(240, 16, 2)), dtype=torch.float32)
    shown = rng.random((240, 2)) < 0.3
    # The same bright patch means the first entity above left, and the second below right.
    patches[shown[:, 0], 0, 0] += 3.0
    patches[shown[:, 1], 15, 0] += 3.0
    status = np.where(shown, PRESENT, 0).astype(np.int8)
    patient = np.arange(240) // 2
    strengths = fit_reader(reader, reader.pool(patches), status, patient)
    again = reader(patches)
    for k in (0, 1):
        for read in (strengths, again):
            assert roc_auc_score(shown[:, k], read[:, k]) > 0.9
    assert roc_auc_score(shown[:, 0], strengths[:, 1]) < 0.7
    torch.testing.assert_close(reader.base_rate, torch.as_tensor(shown.mean(axis=0), dtype=torch.float32))
    # Noise is not learned by heart: without its own patients nothing is read of it, on itself it would be.
    noise = np.where(rng.random((240, 1)) < 0.5, PRESENT, 0).astype(np.int8)
    blind = EvidenceReader(2, 4, (4, 4), 1)
    held_out = fit_reader(blind, blind.pool(patches), noise, patient)
    assert abs(roc_auc_score(noise[:, 0] == PRESENT, held_out[:, 0]) - 0.5) < 0.15
    assert roc_auc_score(noise[:, 0] == PRESENT, blind(patches)[:, 0]) > 0.6
    few = fit_reader(EvidenceReader(2, 4, (4, 4), 2), reader.pool(patches[:8]), status[:8], patient[:8])
    assert not few.any()


def test_the_rerankers_weights_follow_the_grades_of_first_candidates():
    generator = torch.Generator().manual_seed(0)
    reranker = PairReranker(2, 4, (3, 3), 2)
    embedding = torch.nn.functional.normalize(torch.randn(40, 1, 8, generator=generator), dim=-1)
    evidence = torch.randn(40, 2, generator=generator)
    attention = torch.tensor([[1.0, 0.0]])
    views = EntityViews(embedding.half(), torch.randn(40, 1, generator=generator), embedding[:, 0], evidence, attention)
    rows, known = np.arange(40), ~np.eye(40, dtype=bool)
    grades = np.repeat((evidence[:, :1].numpy() > 0).T, 40, axis=0).astype(np.float32)  # right: what shows the first
    assert fit_weights(reranker, views, [GradedQueries(0, rows, grades, known)], top=10) == 400
    similar, strong, agree, _ = reranker.weights.tolist()
    assert strong > 3 * abs(similar)
    assert strong > 3 * abs(agree)
    untouched = PairReranker(2, 4, (3, 3), 2)
    alone = GradedQueries(0, rows[:1], grades[:1], np.zeros((1, 40), bool))  # a query without candidates
    assert fit_weights(untouched, views, [alone], top=10) == 0
    assert fit_weights(untouched, views, [GradedQueries(0, rows, np.ones((40, 40), np.float32), known)], top=5) == 200
    assert untouched.weights.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_an_unfitted_reranker_keeps_the_order_of_the_similarity(bench):
    model = EntityModel.create(lgdea.load_model(bench.base), width=32, length=24).eval()
    pixels = np.random.default_rng(0).integers(0, 255, (12, 64, 64), dtype=np.uint8)
    views = EntityViews.encode(model, preprocessed(model, pixels), ["cardiomegaly"])
    assert views.evidence.shape == (12, 0)
    rows = np.arange(12)
    scores = np.where(~np.eye(12, dtype=bool), views.similarity(0, rows), -np.inf).astype(np.float32)
    untrained = rerank(model, views, 0, rows, scores, top=10, mix=0.0)
    np.testing.assert_array_equal(untrained.argmax(axis=1), scores.argmax(axis=1))


def test_training_fits_one_evidence_token_per_entity(bench, trained):
    model = load_entity_model(trained)
    reader = model.head.reranker.reader
    assert len(reader.base_rate) == len(model.facts["entities"])
    assert float(reader.weight.abs().sum()) > 0
    assert model.head.reranker.weights.tolist() != [1.0, 0.0, 0.0, 0.0]
    z = model.embed_phrases(model.facts["entities"][:3])
    assert reader.attend(z).argmax(dim=1).tolist() == [0, 1, 2]


def test_the_reranker_learns_from_candidates_of_the_same_modality(bench, trained):
    model = load_entity_model(trained)
    images = linked_images(bench.archive, None, "train").head(40)
    images["modality"] = np.where(np.arange(40) % 2, "CR", "CT")
    frames = np.zeros((40, 64, 64), np.uint8)
    units = read_units(bench.archive, bench.evidence)
    asked = [Entity.of_finding(finding) for finding in ("cardiomegaly", "pleural_effusion")]
    _, graded = _ranked(model, images, units, frames, asked)
    assert graded
    patient = images["patient_id"].to_numpy()
    for one in graded:
        same = (one.queries[:, None] % 2 == np.arange(40)[None, :] % 2) & (patient[one.queries][:, None] != patient)
        np.testing.assert_array_equal(one.known, same)
