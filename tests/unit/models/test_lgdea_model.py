from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lgdea.errors import ConfigError
from lgdea.models.heads import l2_normalize
from lgdea.models.lgdea_model import SMOOTH_MAX_SHARPNESS, LgdeaModel

PHRASES = ["left pleural effusion", "right upper lobe pneumonia", "no finding"]
Make = Callable[..., LgdeaModel]


@pytest.mark.parametrize(
    ("tower", "size", "patches"), [("mobilenetv3_small_050", 64, 16), ("vit_tiny_patch16_224", 96, 36)]
)
def test_shapes_and_unit_lengths(make_model: Make, tower: str, size: int, patches: int) -> None:
    model = make_model(tower, size).eval()
    out = model.forward_image(torch.rand(2, 1, size, size))
    text = model.forward_text(**model.tokenize(PHRASES))
    assert {k: tuple(v.shape) for k, v in out.items()} == {
        "pooled": (2, 32),
        "patches": (2, patches, 32),
        "lesions": (2, 4, 32),
        "attention": (2, 4, patches),
        "presence": (2, 4),
    }
    assert text["pooled"].shape == (3, 32)
    assert text["tokens"].shape[::2] == (3, 32)
    for tensor in (out["pooled"], out["patches"], out["lesions"], text["pooled"], model.embed_phrases(PHRASES)):
        torch.testing.assert_close(tensor.norm(dim=-1), torch.ones(tensor.shape[:-1]))


def test_image_histogram_is_the_presence_gated_mean(make_model: Make) -> None:
    model = make_model()
    lesions = l2_normalize(torch.randn(2, 4, 32))
    presence = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    histogram = model.image_histogram({"lesions": lesions, "presence": presence})
    share = model.prototypes.assign(lesions, model.lesion_temperature)
    torch.testing.assert_close(histogram[0], share[0, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(histogram[1], share[1, :2].mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(histogram.sum(1), torch.ones(2))


def test_presence_logits_by_hand(make_model: Make) -> None:
    model = make_model(dim=2)
    out = {"patches": torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), "lesions": torch.tensor([[[0.6, 0.8]]])}
    logit = model.presence_logits(out, torch.tensor([[1.0, 0.0]])).item()
    t = SMOOTH_MAX_SHARPNESS
    patches = np.log(np.mean(np.exp(np.array([1.0, 0.0]) * t))) / t
    assert logit == pytest.approx(10 * (patches + 0.6) / 2 - 2, rel=1e-5)


def squares(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise (count, 1, 64, 64) with a bright square at the patient's left, right, both or neither; (count, 2) truth."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, 64, 64, generator=rng) * 0.3
    present = torch.rand(count, 2, generator=rng) < 0.5
    for image, (left, right) in zip(images, present.tolist(), strict=True):
        # The patient's right is at the picture's left.
        for here, start in ((left, 36), (right, 4)):
            column, row = (int(torch.randint(low, low + 12, (1,), generator=rng)) for low in (start, 20))
            if here:
                image[0, row : row + 12, column : column + 12] += 2
    return images, present


def test_presence_learns_what_and_where(conv_model: LgdeaModel) -> None:
    model = conv_model.train()
    phrases = ["left pleural effusion", "right pneumonia"]
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for step in range(80):
        images, present = squares(32, step)
        logits = model.presence_logits(model.forward_image(images), model.embed_phrases(phrases))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, present.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, present = squares(128, 1000)
    scores = model.score_phrases(images, phrases)
    for column in range(2):
        assert roc_auc_score(present[:, column], scores[:, column]) > 0.95
    maps = model.phrase_maps(images, phrases)
    assert maps.shape == (128, 2, 8, 8)
    at_picture_right = maps.flatten(2).argmax(-1) % 8 >= 4
    assert at_picture_right[:, 0][present[:, 0]].float().mean() > 0.8
    assert at_picture_right[:, 1][present[:, 1]].float().mean() < 0.2


def test_global_scoring_is_the_pooled_cosine(make_model: Make) -> None:
    model = make_model(scoring="global").eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        pooled = model.forward_image(images)["pooled"]
        text = model.forward_text(**model.tokenize(PHRASES))["pooled"]
    torch.testing.assert_close(model.score_phrases(images, PHRASES), pooled @ text.t())
    maps = model.phrase_maps(images, PHRASES)
    assert maps.shape == (2, 3, 4, 4)
    assert maps.abs().max() <= 1 + 1e-5


def test_scoring_leaves_training_mode_and_gradient_alone(make_model: Make) -> None:
    model = make_model().train()
    scores = model.score_phrases(torch.rand(2, 1, 64, 64), PHRASES)
    assert model.training
    assert not scores.requires_grad
    assert ((scores > 0) & (scores < 1)).all()
    assert model.embed_phrases(PHRASES).requires_grad
    assert model.embed_phrases([]).shape == (0, 32)


def test_every_parameter_that_lgdea_trains_gets_a_gradient(make_model: Make) -> None:
    model = make_model()
    out = model.forward_image(torch.rand(2, 1, 64, 64))
    text = model.forward_text(**model.tokenize(PHRASES[:2]))
    loss = model.presence_logits(out, model.embed_phrases(PHRASES)).square().sum()
    loss = loss + (model.image_histogram(out)[:, 0]).sum() + model.global_logit_scale
    loss = loss + (out["pooled"] * text["pooled"]).sum() + text["tokens"][..., 0].sum()
    loss.backward()
    # The BERT pooler is unused: its tokens are averaged.
    without = [n for n, p in model.named_parameters() if p.grad is None and "pooler" not in n]
    assert without == []


def test_long_reports_are_cut_to_what_the_text_tower_can_read(make_model: Make) -> None:
    model = make_model(max_tokens=16).eval()
    assert model.tokenize(["effusion " * 1000])["input_ids"].shape == (1, 16)
    assert make_model().tokenize(["effusion " * 1000])["input_ids"].shape == (1, 256)


def test_forward_under_bfloat16_stays_close(make_model: Make) -> None:
    model = make_model().eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        full = model.presence_logits(model.forward_image(images), model.embed_phrases(PHRASES))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model.forward_image(images)
            half = model.presence_logits(out, model.embed_phrases(PHRASES))
    assert {v.dtype for v in out.values()} == {torch.float32}
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, atol=0.3, rtol=0)


def test_an_unknown_scoring_is_one_clear_line(make_model: Make) -> None:
    with pytest.raises(ConfigError, match="choose one of presence, global, local"):
        make_model(scoring="best")
