from functools import partial

import numpy as np
import pytest
import torch

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.embed import embed_archive, read_embeddings
from lgdea.evaluation.encoders.protocol import EvaluableModel, as_evaluable, frame_of, l2_normalize, model_name
from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
from lgdea.imaging.transforms import Preprocess
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.text_tower import build_text_tower, train_tokenizer
from tests.helpers.mini_archive import STUDIES, Oracle, text_of


@pytest.fixture(scope="module", params=["presence", "global"])
def model(request) -> LgdeaModel:
    torch.manual_seed(0)
    tokenizer = train_tokenizer([text_of(i) for i in range(STUDIES)], 300)
    image = build_image_tower("mobilenetv3_small_050", False, 32, 16)
    text = build_text_tower("small-bert", False, tokenizer, hidden=32)
    options = {"dim": 16, "lesion_queries": 2, "prototypes": 4, "scoring": request.param}
    return LgdeaModel(image, text, tokenizer, preprocess=Preprocess(32, mode="center_crop"), **options).eval()


@pytest.fixture
def pixels() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((20, 24), dtype=np.float32), rng.random((40, 30), dtype=np.float32)]


def test_the_wrapper_answers_as_the_model_does(model, pixels):
    wrapped = as_evaluable(model)
    assert isinstance(wrapped, EvaluableModel)
    assert wrapped.scoring == model.scoring
    phrases = ["left pleural effusion", "no finding"]
    batch = torch.stack([model.preprocess(p)[0] for p in pixels])
    np.testing.assert_allclose(wrapped.score_phrases(pixels, phrases), model.score_phrases(batch, phrases), atol=1e-5)
    np.testing.assert_allclose(wrapped.encode_images(pixels), model.encode_image(pixels), atol=1e-6)
    np.testing.assert_allclose(wrapped.encode_texts(phrases), model.encode_text(phrases), atol=1e-6)
    for heat, phrase in zip(wrapped.heat_maps(pixels[1], phrases), phrases, strict=True):
        np.testing.assert_allclose(heat, model.heat_map(pixels[1], phrase), atol=1e-6)
        assert heat.shape == (40, 30)
        assert np.isnan(heat[:5]).all()


def test_maps_of_several_images_are_those_of_each(model, pixels):
    wrapped, phrases = as_evaluable(model), [["no finding", "left pleural effusion"], ["mass", "no finding"]]
    for image, mine, maps in zip(pixels, phrases, wrapped.heat_maps_of(pixels, phrases), strict=True):
        for heat, alone in zip(maps, wrapped.heat_maps(image, mine), strict=True):
            np.testing.assert_allclose(heat, alone, atol=1e-6)


@pytest.mark.parametrize("mode", ["center_crop", "letterbox"])
def test_an_image_in_the_models_frame_is_the_image_to_it(model, pixels, monkeypatch, mode):
    monkeypatch.setattr(model, "preprocess", Preprocess(32, mode=mode))
    wrapped = as_evaluable(model)
    framed = [frame_of(wrapped)(p) for p in pixels]
    assert [f.shape for f in framed] == [(32, 32)] * 2
    np.testing.assert_array_equal(wrapped.encode_images(framed), wrapped.encode_images(pixels))
    assert frame_of(Oracle()) is None


def test_a_model_that_has_the_methods_is_taken_as_it_is():
    oracle = Oracle()
    assert as_evaluable(oracle) is oracle
    assert model_name(oracle) == "oracle"


def test_a_model_without_preprocessing_is_refused(model):
    with pytest.raises(UsageError, match="no preprocessing"):
        as_evaluable(LgdeaModel(model.image_tower, model.text_tower, model.tokenizer, dim=16))


@pytest.mark.parametrize("task", [zero_shot, retrieval, grounding])
def test_an_untrained_model_is_near_chance_on_every_task(model, mini, task):
    result = partial(task, bootstrap_replicates=200)(model, mini)
    name, chance = {
        "zero-shot": ("auroc_macro", 0.5),
        "retrieval": ("report_to_image/recall@1", 0.1),
        "grounding": ("pointing_macro", 0.05),
    }[result.task]
    assert result.metrics[name].value == pytest.approx(chance, abs=0.25)
    assert result.model == "unsaved"


def test_an_archive_is_embedded(model, mini, tmp_path):
    vectors, ids = read_embeddings(embed_archive(model, mini, tmp_path / "e"), "report")
    assert vectors.shape == (STUDIES, model.embedding_dim)
    np.testing.assert_allclose(vectors[5], model.encode_text(ids["report_id"].map(
        dict(zip(mini.reports["report_id"], mini.reports["text"], strict=True))
    ).iloc[5])[0], atol=1e-5)  # fmt: skip


def test_vectors_come_at_unit_length_and_finite():
    np.testing.assert_allclose(l2_normalize(np.array([[3.0, 4.0], [0.0, 0.0]]), "x"), [[0.6, 0.8], [0.0, 0.0]])
    with pytest.raises(DataError, match="x that are not finite"):
        l2_normalize(np.array([[np.inf, 1.0]]), "x")
